/** The cable A2-C4 (figure 7). Both ends lose carrier, no port is shut by anybody. */
import type { LabCase } from './case.ts';

export const serverLink: LabCase = {
  name: 'server-link',
  title: 'server link down (A2, fig. 7)',
  standard: true,
  concerned: ['C4'],
  phases: [
    { name: 'fault', act: ({ faults }) => faults.cables(['A2'], false), leads: { C4: ['B'] } },
    { name: 'back', act: ({ faults }) => faults.cables(['A2'], true) },
  ],
};
