/**
 * A's processes stop, then all its cables lose carrier at once (a box without power sends no TCP FIN and no last hello),
 * then the processes are gone. Its way back is a boot: an empty kernel, new processes.
 */
import type { LabCase } from './case.ts';

export const torDeath: LabCase = {
  name: 'tor-death',
  title: 'ToR A loses power',
  standard: true,
  concerned: ['C3', 'C4'],
  phases: [
    {
      name: 'fault',
      act: (hands) => hands.faults.losePower('A', hands.tor('A')),
      leads: { C3: ['B'], C4: ['B'] },
      adjacencyLost: true,
    },
    { name: 'back', act: (hands) => hands.faults.restorePower('A', hands.tor('A')) },
  ],
};
