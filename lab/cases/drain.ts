/**
 * Planned work on A: `peerless drain`, then `peerless undrain` (R4.7). On the way to the servers nobody loses a packet in
 * either. On the way from a server a drain may cost what the server sends until it notices that its link has gone: a
 * fraction of a millisecond here, the `miimon` of a bond elsewhere, and no switch can know better.
 */
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
      verify: (_, { lostToServers }) =>
        lostToServers === 0 ? [] : [`${lostToServers} packets to the servers were lost`],
    },
    {
      name: 'back',
      title: 'drain: undrain of A',
      act: (hands) => command(hands, 'undrain', '--pause', '1s'),
      lossless: true,
    },
  ],
};
