/**
 * BFD between G and both ToRs, 100 ms times 3: a link that passes nothing is found by it, and an agent that is exchanged on
 * purpose is not missed by it.
 */
import type { GroupView } from '../../src/agent/api.ts';
import type { AgentConfiguration } from '../tor/peerless.ts';
import type { LabCase } from './case.ts';
import { restart } from './restart.ts';
import { silentUplink } from './silent-uplink.ts';

type Section = Readonly<Record<string, unknown>>;

const withBfd = (entries: unknown): Section[] => (entries as Section[]).map((entry) => ({ ...entry, bfd: true }));

function settings(configuration: AgentConfiguration): AgentConfiguration {
  const { ospf, bgp, portLink } = configuration;
  return {
    ...configuration,
    portLink: portLink.map((group) => ({ ...group, upWhen: ['carrier', 'bfd'] })),
    ...(ospf && { ospf: { ...ospf, interfaces: withBfd(ospf.interfaces) } }),
    ...(bgp && { bgp: { ...bgp, neighbors: withBfd(bgp.neighbors) } }),
    bfd: { interval: '100ms', multiplier: 3 },
  };
}

export const silentUplinkBfd: LabCase = {
  ...silentUplink,
  name: 'silent-uplink-bfd',
  title: 'uplink silent, found by BFD',
  bfd: true,
  settings,
  phases: silentUplink.phases.map((phase) =>
    phase.name !== 'fault'
      ? phase
      : {
          ...phase,
          verify: async (hands) => {
            const group = await hands.tor('A').ask<GroupView>('/v1/portlink/fabric');
            const wrong: string[] = [];
            if (group.state !== 'shut') wrong.push(`A's group is ${group.state}: ${group.reason}`);
            if (!/BFD with 192\.0\.2\.1 is (Down|Init)/.test(group.reason)) wrong.push(`it says: ${group.reason}`);
            return wrong;
          },
        },
  ),
};

export const restartBfd: LabCase = {
  name: 'restart-bfd',
  title: "A's agent restarted (`peerless restart`) beside BFD",
  tors: ['peerless'],
  concerned: ['C3', 'C4'],
  bfd: true,
  settings,
  phases: restart.phases.filter(({ name }) => name === 'planned'),
};
