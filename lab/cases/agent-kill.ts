/** SIGKILL to what runs on A; the kernel and the links go on. */
import { monotonic } from '../monotonic.ts';
import type { LabCase } from './case.ts';

export const agentKill: LabCase = {
  name: 'agent-kill',
  title: "A's agent killed (SIGKILL)",
  standard: true,
  concerned: ['C3', 'C4'],
  phases: [
    { name: 'fault', act: (hands) => hands.tor('A').signal('SIGKILL'), leads: { C3: [], C4: [] } },
    {
      name: 'back',
      act: async (hands) => {
        await hands.tor('A').gone();
        const at = monotonic();
        await hands.tor('A').start(false);
        return at;
      },
    },
  ],
};
