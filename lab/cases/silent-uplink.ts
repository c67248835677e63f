/**
 * The link G-A passes nothing in either direction, while both ends keep their carrier (a dead line card, a broken media
 * converter). Nobody tells A; it has to find out by asking its next hop (`upWhen: [carrier, nexthop]`). Nothing that A
 * withdraws reaches G either: G follows B's claims as soon as B has them.
 */
import type { GroupView } from '../../src/agent/api.ts';
import type { LabCase } from './case.ts';

export const silentUplink: LabCase = {
  name: 'silent-uplink',
  title: 'uplink silent (G-A up but dead)',
  concerned: ['C3', 'C4'],
  settings: (configuration) => ({
    ...configuration,
    portLink: configuration.portLink.map((group) => ({ ...group, upWhen: ['carrier', 'nexthop'] })),
  }),
  phases: [
    {
      name: 'fault',
      act: ({ faults }) => faults.silence('A0', true),
      leads: { C3: ['B'], C4: ['B'] },
      adjacencyLost: true,
      verify: async (hands) => {
        const group = await hands.tor('A').ask<GroupView>('/v1/portlink/fabric');
        const wrong: string[] = [];
        if (group.state !== 'shut') wrong.push(`A's group is ${group.state}: ${group.reason}`);
        if (!/192\.0\.2\.1 did not answer 3 ARP requests/.test(group.reason)) wrong.push(`it says: ${group.reason}`);
        return wrong;
      },
    },
    { name: 'back', act: ({ faults }) => faults.silence('A0', false) },
  ],
};
