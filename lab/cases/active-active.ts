/**
 * C4 is alive behind both switches at once, and both are to announce it: G sends over both. One link dies: the other path
 * stays, and nobody withdraws because of what the other switch says.
 */
import type { LabCase } from './case.ts';

export const activeActive: LabCase = {
  name: 'active-active',
  title: 'C4 behind both switches: A2 down',
  concerned: ['C4'],
  activeActive: ['C4'],
  multipath: true,
  home: { C4: ['A', 'B'] },
  settings: (configuration) => ({
    ...configuration,
    hostRoutes: { ...configuration.hostRoutes, activeActive: true },
  }),
  phases: [
    { name: 'fault', act: ({ faults }) => faults.cables(['A2'], false), leads: { C4: ['B'] } },
    { name: 'back', act: ({ faults }) => faults.cables(['A2'], true), trail: 3000 },
    {
      name: 'other',
      title: 'C4 behind both switches: B2 down',
      act: ({ faults }) => faults.cables(['B2'], false),
      leads: { C4: ['A'] },
    },
    {
      name: 'other back',
      title: 'active-active: B2 back',
      act: ({ faults }) => faults.cables(['B2'], true),
      trail: 3000,
    },
  ],
};
