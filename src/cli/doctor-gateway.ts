import { readFileSync } from 'node:fs';
import type { Config, GatewayConfig } from '../config/index.ts';
import type { Diagnosis } from './diagnosis.ts';
import { type Box, sysctl } from './doctor-box.ts';

/** Where FRR keeps what it is told. */
const FRR_FILES = ['/etc/frr/frr.conf', '/etc/frr/ospfd.conf'];

const fine = (message: string): Diagnosis => ({ check: 'gateway', verdict: 'fine', message });
const warning = (message: string, remedy: string): Diagnosis => ({
  check: 'gateway',
  verdict: 'warning',
  message,
  remedy,
});
const wrong = (message: string, remedy: string): Diagnosis => ({ check: 'gateway', verdict: 'wrong', message, remedy });

/** Who only listens beside another daemon needs no port of BGP. */
export const listensForBgp = (config: Config): boolean =>
  config.role !== 'gateway' ||
  config.mode === 'router' ||
  config.bgp?.neighbors.some(({ passive }) => passive) === true;

/** What can keep the gateway's map empty, or its switch-over slow. */
export function gatewayBox(config: GatewayConfig, box: Box): Diagnosis[] {
  const found = config.mode === 'router' ? routes() : [...heardOf(config), ...beside(config, box)];
  return found.length > 0
    ? found
    : [fine(config.mode === 'router' ? 'settings of a router' : 'settings of an observer')];
}

function routes(): Diagnosis[] {
  const found: Diagnosis[] = [];
  if (sysctl('net.ipv4.ip_forward') === 0) {
    found.push(wrong('net.ipv4.ip_forward is 0: nothing is forwarded', 'sysctl -w net.ipv4.ip_forward=1'));
  }
  if (sysctl('net.ipv4.nexthop_compat_mode') === 1) {
    found.push(
      warning(
        'net.ipv4.nexthop_compat_mode is 1: a switch-over of ten thousand routes takes 10 ms instead of 0.1 ms',
        'sysctl -w net.ipv4.nexthop_compat_mode=0',
      ),
    );
  }
  return found;
}

function heardOf({ ospf, bgp }: GatewayConfig): Diagnosis[] {
  if (ospf || bgp) return [];
  return [
    wrong('no protocol is configured: nothing can be heard', 'Add a section bgp: or ospf:, see docs/gateway.md.'),
  ];
}

/** FRR or BIRD at the other end of a pair inside this box. */
function beside({ ospf }: GatewayConfig, box: Box): Diagnosis[] {
  const found: Diagnosis[] = [];
  for (const { name } of ospf?.interfaces ?? []) {
    if (box.ports.get(name)?.kind !== 'veth') continue;
    const of = (key: string): number => sysctl(`net.ipv4.conf.${name}.${key}`) ?? 0;
    if (of('accept_local') === 0) {
      found.push(
        warning(
          `${name} takes no packets from this box itself (accept_local): a daemon at the other end of the pair is not heard`,
          `sysctl -w net.ipv4.conf.${name}.accept_local=1, and the same for the other end`,
        ),
      );
    }
    if (Math.max(of('rp_filter'), sysctl('net.ipv4.conf.all.rp_filter') ?? 0) === 1) {
      found.push(
        warning(
          `${name} checks the way back strictly (rp_filter): a daemon at the other end of the pair is not heard`,
          `sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.${name}.rp_filter=0, and the same for the other end`,
        ),
      );
    }
  }
  if (ospf) found.push(...frr());
  return found;
}

/** FRR passes the facts on, which are opaque LSAs, only when it is told to. */
function frr(): Diagnosis[] {
  const speaks = FRR_FILES.map(read).filter((text) => /^router ospf/m.test(text));
  if (speaks.length === 0 || speaks.some((text) => /^\s+(capability opaque|ospf opaque-lsa)/m.test(text))) return [];
  return [
    warning(
      "FRR's OSPF has no `capability opaque`: what the switches say of their ports does not pass it",
      'vtysh -c "configure terminal" -c "router ospf" -c "capability opaque" -c end -c "clear ip ospf process" -c "write"',
    ),
  ];
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Not there, or not for us to read: nothing is said of it.
    return '';
  }
}
