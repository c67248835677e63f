/**
 * The agent exchanged while everything else goes on: killed and started, and asked to leave for a restart and started
 * (what `systemctl restart` and an upgrade do). Nobody may lose a packet, by whichever protocol.
 */
import type { Hands } from '../hands.ts';
import { monotonic } from '../monotonic.ts';
import type { LabCase } from './case.ts';

/** The other life has settled its host table and reconciled the kernel's routes by then (ms). */
const TRAIL = 6_000;

async function exchange(hands: Hands, end: () => unknown): Promise<number> {
  const at = monotonic();
  await end();
  await hands.tor('A').gone();
  await hands.tor('A').start(false);
  return at;
}

export const restart: LabCase = {
  name: 'restart',
  title: "A's agent killed and started",
  standard: true,
  tors: ['peerless'],
  concerned: ['C3', 'C4'],
  phases: [
    {
      name: 'kill',
      lossless: true,
      trail: TRAIL,
      act: (hands) => exchange(hands, () => hands.tor('A').signal('SIGKILL')),
    },
    {
      name: 'planned',
      title: "A's agent restarted (`peerless restart`)",
      lossless: true,
      trail: TRAIL,
      act: (hands) =>
        exchange(hands, async () => {
          const { code, stderr } = await hands.tor('A').cli('restart', '--no-wait');
          if (code !== 0) throw new Error(`peerless restart: ${stderr}`);
        }),
    },
  ],
};
