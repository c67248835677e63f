/**
 * Figures 7 and 10 and the death of a ToR with a crowd: C3 and C4 have a thousand addresses more, or ten thousand. What
 * is asked is when the last of them is reached again.
 */
import type { Faults } from '../faults.ts';
import type { Hands } from '../hands.ts';
import { sleep } from '../processes.ts';
import { letAnnounce } from '../servers.ts';
import { batch } from '../topology/build.ts';
import { CROWD_NETWORK, namespaceOf, SERVERS } from '../topology/plan.ts';
import type { CasePhase, LabCase, LabHost } from './case.ts';
import type { CrowdName } from './names.ts';

/** The probe has no breath for more of them. */
const PROBED = 8;
/** What a server says in one breath. */
const PORTION = 250;

const addressOf = (index: number): string => `10.20.${index >> 8}.${index & 255}`;

function hostsOn(server: 'C3' | 'C4', from: number, count: number): LabHost[] {
  const { mac } = SERVERS.find(({ name }) => name === server)!;
  const gap = Math.floor((count - 1) / (PROBED / 2 - 1));
  return Array.from({ length: count }, (_, index) => ({
    name: `M${from + index}`,
    address: addressOf(from + index),
    mac,
    home: ['A'],
    node: server,
    device: 'bond0',
    probed: index % gap === 0,
  }));
}

interface Fault {
  readonly name: string;
  readonly title: string;
  readonly alone?: 'C4';
  readonly lose: (hands: Hands, faults: Faults) => number | Promise<number>;
  readonly mend: (hands: Hands, faults: Faults) => number | Promise<number>;
  readonly adjacencyLost?: true;
}

const FAULTS: readonly Fault[] = [
  {
    name: 'server-link',
    title: 'server link down',
    alone: 'C4',
    lose: (_, faults) => faults.cables(['A2'], false),
    mend: (_, faults) => faults.cables(['A2'], true),
  },
  {
    name: 'uplink',
    title: 'uplink down',
    lose: (_, faults) => faults.cables(['A0'], false),
    mend: (_, faults) => faults.cables(['A0'], true),
    adjacencyLost: true,
  },
  {
    name: 'tor-death',
    title: 'ToR A loses power',
    lose: (hands, faults) => faults.losePower('A', hands.tor('A')),
    mend: (hands, faults) => faults.restorePower('A', hands.tor('A')),
    adjacencyLost: true,
  },
];

function crowd(fault: Fault, count: number): LabCase {
  const hosts = fault.alone
    ? hostsOn(fault.alone, 1, count)
    : [...hostsOn('C3', 1, count / 2), ...hostsOn('C4', 1 + count / 2, count / 2)];
  const concerned = [...(fault.alone ? [fault.alone] : ['C3', 'C4']), ...hosts.map(({ name }) => name)];
  const { lose, mend, adjacencyLost } = fault;
  const common: Pick<CasePhase, 'patience' | 'trail'> = { patience: 60_000, trail: 3000 };
  return {
    name: `${fault.name}-${count}` as CrowdName,
    title: `${fault.title}, ${count} addresses`,
    tors: ['peerless'],
    concerned,
    hosts,
    settings: (configuration) => ({
      ...configuration,
      hostRoutes: {
        ...configuration.hostRoutes,
        prefixes: [...(configuration.hostRoutes.prefixes as string[]), CROWD_NETWORK],
        limits: { perPort: 2 * count, total: 4 * count },
      },
    }),
    prepare: async ({ state }) => {
      for (const [node, own] of Map.groupBy(hosts, (host) => host.node)) {
        for (let first = 0; first < own.length; first += PORTION) {
          const portion = own.slice(first, first + PORTION);
          const lines = portion.map(({ address }) => `address add ${address}/32 dev bond0`);
          await batch(namespaceOf(state.name, node), lines);
          letAnnounce(state.name, portion, [4]);
          await sleep(20);
        }
      }
    },
    restore: async ({ state }) => {
      for (const [node, own] of Map.groupBy(hosts, (host) => host.node)) {
        const lines = own.map(({ address }) => `address del ${address}/32 dev bond0`);
        await batch(namespaceOf(state.name, node), lines);
      }
    },
    phases: [
      {
        ...common,
        name: 'fault',
        act: (hands) => lose(hands, hands.faults),
        leads: Object.fromEntries(concerned.map((name) => [name, ['B']])),
        ...(adjacencyLost ? { adjacencyLost } : {}),
      },
      { ...common, name: 'back', act: (hands) => mend(hands, hands.faults) },
    ],
  };
}

export const CROWDS: readonly LabCase[] = [1_000, 10_000].flatMap((count) =>
  FAULTS.map((fault) => crowd(fault, count)),
);
