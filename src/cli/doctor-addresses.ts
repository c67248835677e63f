import { accessSync, constants } from 'node:fs';
import { keepAddressesOf } from '../agent/tor/kept-addresses.ts';
import type { TorConfig } from '../config/index.ts';
import type { Diagnosis } from './diagnosis.ts';
import { type Box, sysctl } from './doctor-box.ts';

/**
 * A port whose admin state goes down loses its IPv6 addresses, unlike those of IPv4, and opened again it has no gateway.
 * The agent has the kernel keep them (netlink/kept-addresses.ts), unless it is told not to for the whole box, or settings are
 * not the agent's to change. Protodown does not touch them, but which device takes it only its driver knows.
 */
export function keptAddresses(config: TorConfig, box: Box): Diagnosis[] {
  return [...keepAddressesOf(config)].flatMap((name): Diagnosis[] => {
    const own = (box.addresses.get(name) ?? []).find(
      ({ address }) => address.includes(':') && !/^fe[89ab]/.test(address),
    );
    if (!own || isKept(name)) return [];
    return [
      {
        check: 'keep_addr_on_down',
        verdict: 'warning',
        message: `${name} loses ${own.address} whenever it is shut (keep_addr_on_down): opened again it has no IPv6 gateway`,
        remedy: 'sysctl -w net.ipv6.conf.all.keep_addr_on_down=1',
      },
    ];
  });
}

/** Of `all` and the port's own the first that is not 0 decides, and less than 0 is no. */
function isKept(port: string): boolean {
  const of = (name: string): number => sysctl(`net.ipv6.conf.${name}.keep_addr_on_down`) ?? 0;
  const said = of('all') || of(port);
  return said === 0 ? isOurs(port) : said > 0;
}

/** In many containers /proc/sys can only be read. */
function isOurs(port: string): boolean {
  try {
    accessSync(`/proc/sys/net/ipv6/conf/${port}/keep_addr_on_down`, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
