import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { TorConfig } from '../config/index.ts';
import { REPAIR_ALIAS, REPAIR_PORT } from '../netlink/index.ts';
import type { Diagnosis } from './diagnosis.ts';
import { type Box, sysctl } from './doctor-box.ts';

/** IPv4, UDP, VXLAN-GPE. */
const OVERHEAD = 36;
const WHOLE = 1500;
/** An npm package has a program `nft` too. */
const SYSTEM = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

/** What can keep the repair path of a switch (`shadow.repair`) from carrying packets. */
export function repairPath(config: TorConfig, box: Box): Diagnosis[] {
  const { shadow, portLink } = config;
  if (!shadow.enabled || !shadow.repair) return [];
  const uplinks = [...new Set(portLink.flatMap((group) => group.uplinks))].filter((name) => box.ports.has(name));
  const found = [
    ...device(shadow.device, box),
    ...wayBack(shadow.device, box),
    ...ends(uplinks, box),
    ...room(uplinks, box, config),
    ...filter(),
  ];
  const names = uplinks.join(', ');
  return found.length > 0
    ? found
    : [{ check: 'repair', verdict: 'fine', message: `a tunnel can begin and end at ${names}` }];
}

const warning = (message: string, remedy: string): Diagnosis => ({
  check: 'repair',
  verdict: 'warning',
  message,
  remedy,
});
const wrong = (message: string, remedy: string): Diagnosis => ({ check: 'repair', verdict: 'wrong', message, remedy });

function device(name: string, box: Box): Diagnosis[] {
  const present = box.ports.get(name);
  if (present?.alias === REPAIR_ALIAS) return [];
  if (present) {
    return [
      wrong(`${name} is there already, and is not ours`, 'Name another device in shadow.device, or delete this one.'),
    ];
  }
  if (!existsSync('/sys/module/vxlan') && spawnSync('modprobe', ['-n', 'vxlan'], { env: SYSTEM }).status !== 0) {
    return [wrong('the kernel has no vxlan', 'Install the module vxlan (CONFIG_VXLAN), or set shadow.repair: false.')];
  }
  if (isBound(REPAIR_PORT)) {
    return [
      wrong(
        `UDP port ${REPAIR_PORT} is taken by another program or tunnel`,
        `Free it (ss -lupn sport = :${REPAIR_PORT}; ip -d link show type vxlan), or set shadow.repair: false.`,
      ),
    ];
  }
  return [];
}

/** The kernel takes the greater of the device's and that of `all`, and the agent sets the device's to 0. */
function wayBack(name: string, box: Box): Diagnosis[] {
  if (sysctl('net.ipv4.conf.all.rp_filter') === 1) {
    return [
      wrong(
        'net.ipv4.conf.all.rp_filter is 1: the kernel drops what comes out of the repair tunnel, since its way back is another',
        'sysctl -w net.ipv4.conf.all.rp_filter=0 (and set it for each interface that is to have it)',
      ),
    ];
  }
  const own = box.ports.has(name) ? sysctl(`net.ipv4.conf.${name}.rp_filter`) : 0;
  return own === 1
    ? [
        wrong(
          `rp_filter of ${name} is 1: what comes out of it is dropped`,
          `sysctl -w net.ipv4.conf.${name}.rp_filter=0`,
        ),
      ]
    : [];
}

function ends(uplinks: readonly string[], box: Box): Diagnosis[] {
  const found: Diagnosis[] = [];
  const addressed = uplinks.filter((name) => (box.addresses.get(name) ?? []).some(({ address }) => isGlobal(address)));
  if (addressed.length === 0) {
    found.push(
      wrong(
        'no uplink of a port-link group has an IPv4 address for repair tunnels to begin and end at',
        'Give an uplink one, or set shadow.repair: false.',
      ),
    );
  }
  return found;
}

/** Only our own end of each link can be seen. */
function room(uplinks: readonly string[], box: Box, config: TorConfig): Diagnosis[] {
  const small = uplinks.filter((name) => (box.ports.get(name)?.mtu ?? WHOLE) < WHOLE + OVERHEAD);
  if (small.length === 0) return [];
  const ipv6 = config.hostRoutes.policy.prefixes.some((prefix) => prefix.includes(':'));
  const also = ipv6 ? ' (and some kernels answer IPv6 packets of that size with Packet Too Big)' : '';
  return [
    warning(
      `the MTU of ${small.join(', ')} is less than ${WHOLE + OVERHEAD}: in a repair tunnel packets of ${WHOLE} octets go in two pieces${also}`,
      `Give all links of the fabric an MTU of ${WHOLE + OVERHEAD} or more: ip link set ${small[0]} mtu 9000`,
    ),
  ];
}

/** A packet filter that drops what it does not name, and does not name our port. */
function filter(): Diagnosis[] {
  const { status, stdout } = spawnSync('nft', ['list', 'ruleset'], { encoding: 'utf8', timeout: 5_000, env: SYSTEM });
  if (status !== 0 || !closed(stdout) || new RegExp(`\\b${REPAIR_PORT}\\b`).test(stdout)) return [];
  return [
    warning(
      `nftables drops what comes in and is not allowed, and no rule names UDP port ${REPAIR_PORT}`,
      `Allow it from the other switch alone: ip saddr ADDRESS udp dport ${REPAIR_PORT} accept (docs/shadow.md)`,
    ),
  ];
}

const closed = (ruleset: string): boolean => /hook input\b[^;]*;\s*policy drop/.test(ruleset);

const isGlobal = (address: string): boolean => !address.includes(':') && !/^(127|169\.254)\./.test(address);

/** Somebody in this network namespace has the UDP port. */
function isBound(port: number): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['udp', 'udp6'].some((table) => {
    try {
      const lines = readFileSync(`/proc/thread-self/net/${table}`, 'utf8').split('\n');
      return lines.some((line) => line.trim().split(/\s+/)[1]?.endsWith(wanted) === true);
    } catch {
      // No IPv6 in this kernel: nobody has it there.
      return false;
    }
  });
}
