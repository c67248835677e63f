/**
 * Planned work on A: `peerless drain`, then `peerless undrain` (R4.7). On the way to the servers nobody loses a packet in
 * either. On the way from a server a drain may cost what the server sends until it has noticed that its link has gone: a
 * millisecond or less here, the `miimon` of a bond elsewhere, and no switch can know better. So what a server lost is
 * held against the two moments between which it is the server's own: its port asked to shut, its team on the other link.
 */
import type { EventView } from '../../src/agent/api.ts';
import type { Hands } from '../hands.ts';
import { monotonic } from '../monotonic.ts';
import type { PhaseRun } from '../results.ts';
import { notTheServers } from '../switch-over.ts';
import { CABLES } from '../topology/plan.ts';
import type { LabCase } from './case.ts';

/** @throws Error with what the command said, when it didn't end well */
async function command(hands: Hands, ...words: string[]): Promise<number> {
  const at = monotonic();
  const { code, stdout, stderr } = await hands.tor('A').cli(...words);
  if (code !== 0) throw new Error(`peerless ${words.join(' ')}: exit code ${code}: ${stdout}${stderr}`);
  return at;
}

/** By server: when A last asked the kernel to shut its port, ms of CLOCK_MONOTONIC. */
async function shutTimes(hands: Hands): Promise<Record<string, number>> {
  const events = await hands.tor('A').ask<readonly EventView[]>('/v1/events');
  return Object.fromEntries(
    events
      .filter(({ type }) => type === 'portlink.shut')
      .flatMap(({ fields, monotonicUs }) =>
        CABLES.filter(({ near }) => (fields.ports as string[] | undefined)?.includes(near.port)).map(
          ({ far }) => [far.node, monotonicUs / 1000] as const,
        ),
      ),
  );
}

async function verify(hands: Hands, run: PhaseRun): Promise<string[]> {
  const { lossesFromServers, switchedAt } = run;
  const lost = run.lostToServers - run.lostAtGateway;
  const toServers = lost <= 0 ? [] : [`${lost} packets to the servers were lost`];
  return [...toServers, ...notTheServers(lossesFromServers, await shutTimes(hands), switchedAt)];
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
      verify,
    },
    {
      name: 'back',
      title: 'drain: undrain of A',
      act: (hands) => command(hands, 'undrain', '--pause', '1s'),
      lossless: true,
    },
  ],
};
