/** Planned work on A: `peerless drain`, then `peerless undrain` (R4.7). Nobody loses a packet in either. */
import type { Hands } from '../hands.ts';
import { monotonic } from '../monotonic.ts';
import type { LabCase } from './case.ts';

/** @throws Error with what the command said, when it didn't end well */
async function command(hands: Hands, ...words: string[]): Promise<number> {
  const at = monotonic();
  const { code, stdout, stderr } = await hands.tor('A').cli(...words);
  if (code !== 0) throw new Error(`peerless ${words.join(' ')}: exit code ${code}: ${stdout}${stderr}`);
  return at;
}

export const drain: LabCase = {
  name: 'drain',
  title: 'drain of A',
  concerned: ['C3', 'C4'],
  phases: [
    {
      name: 'fault',
      act: (hands) => command(hands, 'drain', '--pause', '1s'),
      leads: { C3: ['B'], C4: ['B'] },
      lossless: true,
    },
    {
      name: 'back',
      title: 'drain: undrain of A',
      act: (hands) => command(hands, 'undrain', '--pause', '1s'),
      lossless: true,
    },
  ],
};
