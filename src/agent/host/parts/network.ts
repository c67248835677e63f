import { join } from 'node:path';
import {
  NetworkProjection,
  type SysctlMemory,
  type SysctlRecord,
} from '../../../vswitch-bridge/slowpath/network/index.ts';
import { memoryFile } from '../../memory-store.ts';
import type { InstanceState, OpenHostPart } from '../part.ts';
import { leaveBackend, prepareBackend, settleBackend } from './encryption-backends.ts';

/** The slow path's bridges, tunnel ports and routes. */
export const openNetwork: OpenHostPart = async (context) => {
  const { config, clock, log, state, record } = context;
  await prepareBackend(context);
  const network = await NetworkProjection.open({
    clock,
    log,
    state: state(),
    memory: settingsMemory(config.stateDirectory),
    onMended: (kind, what) =>
      record({
        type: `network.${kind}`,
        severity: 'warning',
        message: `somebody else had changed what the networks stand on, it is as it was again: ${some(what)}`,
        fields: { what: what.slice(0, 100) },
      }),
  });
  await settleBackend(context);
  return {
    apply: (state, changes) => network.apply(state, changes),
    counters: () => network.counters(),
    problems: () => network.view().problems,
    warnings: () => {
      const { networks } = network.view();
      const stray = networks.flatMap(({ instances }) => instances.filter(({ state }) => state === 'elsewhere'));
      const large = networks.flatMap(({ tunnelMtu, instances }) =>
        instances.filter(({ oversize }) => oversize).map(({ name, mtu }) => `${name} (${mtu}, of ${tunnelMtu})`),
      );
      return [
        ...stray.map(({ name, device }) => `instance ${name}: ${device} is in the bridge of somebody else`),
        ...(large.length === 0 ? [] : [`packets of these are too large for the tunnels: ${some(large)}`]),
      ];
    },
    networks: () => new Map(network.view().networks.map(({ name, tunnelMtu }) => [name, { mtu: tunnelMtu }])),
    instances: () =>
      new Map(
        network
          .view()
          .networks.flatMap(({ instances }) => instances.map(({ name, state }) => [name, STATES[state]] as const)),
      ),
    close: async ({ keep }) => {
      await network.close({ purge: !keep });
      if (!keep) await leaveBackend(context);
    },
  };
};

const STATES: Readonly<Record<'joined' | 'waiting' | 'elsewhere' | 'down', InstanceState>> = {
  joined: 'up',
  waiting: 'absent',
  elsewhere: 'elsewhere',
  down: 'down',
};

const some = (names: readonly string[]): string =>
  names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ');

/** What the kernel's settings were before us. */
export function settingsMemory(stateDirectory: string): SysctlMemory {
  const file = memoryFile(join(stateDirectory, 'sysctls.json'));
  return {
    read: () => JSON.parse(file.read() ?? '{}') as SysctlRecord,
    write: (record) => file.write(`${JSON.stringify(record)}\n`),
  };
}
