/** C4's NIC is shut; the switch sees carrier loss. */
import type { LabCase } from './case.ts';

export const nicDown: LabCase = {
  name: 'nic-down',
  title: 'NIC down at the server (C4)',
  standard: true,
  concerned: ['C4'],
  phases: [
    {
      name: 'fault',
      act: ({ faults }) => {
        const at = faults.nic('C4', 'A2', false);
        faults.cables(['A2'], false);
        return at;
      },
      leads: { C4: ['B'] },
    },
    {
      name: 'back',
      act: ({ faults }) => {
        // The NIC before its light: the kernel tells carrier at once only of a device that is up (linkwatch).
        const at = faults.nic('C4', 'A2', true);
        faults.cables(['A2'], true);
        return at;
      },
    },
  ],
};
