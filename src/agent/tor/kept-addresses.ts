import { join } from 'node:path';
import type { TorConfig } from '../../config/index.ts';
import type { GuardMemory } from '../../netlink/frames/index.ts';
import { settingsMemory } from '../memory-store.ts';

/** Ports that the agent may shut: by a group, or for a drain. */
export function mayBeShut({ portLink, hostRoutes }: Pick<TorConfig, 'portLink' | 'hostRoutes'>): Set<string> {
  const ports = new Set(hostRoutes.policy.ports);
  for (const { direction, uplinks, downlinks, shutUplinks } of portLink) {
    if (direction !== 'downlink') for (const port of downlinks) ports.add(port);
    if (direction !== 'uplink' && shutUplinks) for (const port of uplinks) ports.add(port);
  }
  return ports;
}

/** Of these the kernel is to keep the addresses: protodown takes none away. */
export const keepAddressesOf = (config: TorConfig): Set<string> =>
  config.ports.method === 'protodown' ? new Set() : mayBeShut(config);

/** What the settings of ports were before the kernel was told to keep their addresses. */
export function addressMemory(stateDirectory: string, onError: (error: Error) => void): GuardMemory {
  return settingsMemory(join(stateDirectory, 'kept-addresses.json'), onError);
}
