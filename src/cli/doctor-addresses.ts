import type { TorConfig } from '../config/index.ts';
import type { Diagnosis } from './diagnosis.ts';
import { type Box, sysctl } from './doctor-box.ts';

/** Ports that the agent may shut: by a group, or for a drain. */
function mayBeShut({ portLink, hostRoutes }: TorConfig): Set<string> {
  const ports = new Set(hostRoutes.policy.ports);
  for (const { direction, uplinks, downlinks, shutUplinks } of portLink) {
    if (direction !== 'downlink') for (const port of downlinks) ports.add(port);
    if (direction !== 'uplink' && shutUplinks) for (const port of uplinks) ports.add(port);
  }
  return ports;
}

/**
 * A port whose admin state goes down loses its IPv6 addresses, unlike those of IPv4, and opened again it has no gateway.
 * Protodown does not touch them, but which device takes it only its driver knows.
 */
export function keptAddresses(config: TorConfig, box: Box): Diagnosis[] {
  if (config.ports.method === 'protodown') return [];
  return [...mayBeShut(config)].flatMap((name): Diagnosis[] => {
    const own = (box.addresses.get(name) ?? []).find(
      ({ address }) => address.includes(':') && !/^fe[89ab]/.test(address),
    );
    if (!own || isKept(name)) return [];
    return [
      {
        check: 'keep_addr_on_down',
        verdict: 'warning',
        message: `${name} loses ${own.address} whenever it is shut (keep_addr_on_down): opened again it has no IPv6 gateway`,
        remedy: `sysctl -w net.ipv6.conf.${name}.keep_addr_on_down=1`,
      },
    ];
  });
}

/** Of `all` and the port's own the first that is not 0 decides, and less than 0 is no. */
function isKept(port: string): boolean {
  const of = (name: string): number => sysctl(`net.ipv6.conf.${name}.keep_addr_on_down`) ?? 0;
  return (of('all') || of(port)) > 0;
}
