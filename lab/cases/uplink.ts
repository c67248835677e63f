/** The cable A0-G (figure 10). */
import type { LabCase } from './case.ts';

export const uplink: LabCase = {
  name: 'uplink',
  title: 'uplink down (G-A, fig. 10)',
  standard: true,
  concerned: ['C3', 'C4'],
  phases: [
    {
      name: 'fault',
      act: ({ faults }) => faults.cables(['A0'], false),
      leads: { C3: ['B'], C4: ['B'] },
      adjacencyLost: true,
    },
    { name: 'back', act: ({ faults }) => faults.cables(['A0'], true) },
  ],
};
