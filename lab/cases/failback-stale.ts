/**
 * C4 fails over and back again and again, faster than the claims of the time before settle: each time the other switch
 * still stands in the fabric with a stronger claim than the usual one. Nobody may lose anything on a way back, and in
 * the end nobody but A may announce C4.
 */
import { sleep, waitUntil } from '../processes.ts';
import type { LabState } from '../state.ts';
import type { CasePhase, LabCase } from './case.ts';

const ROUNDS = 3;
/** Less than the two seconds after which a raised claim settles. */
const SOON = 400;

/**
 * FRR follows in time, and shows B the claim that A has just withdrawn long enough for B to climb over it. By BIRD, or
 * where two protocols tell of it one after the other, B may hear of the withdrawal before it hears the server, and the
 * rounds then use up the levels: the way back of such a round lasts until B has asked for the server, a few hundred
 * milliseconds.
 */
const followsInTime = ({ gateway, protocol }: LabState): boolean => gateway === 'frr' && protocol !== 'both';

const round = (number: number): readonly CasePhase[] => [
  {
    name: `fault ${number}`,
    title: `C4 fails over, time ${number} (A2)`,
    act: ({ faults }) => faults.cables(['A2'], false),
    leads: { C4: ['B'] },
    trail: SOON,
  },
  {
    name: `back ${number}`,
    act: ({ faults }) => faults.cables(['A2'], true),
    lossless: followsInTime,
    trail: SOON,
    ...(number === ROUNDS && {
      verify: async (hands) => {
        await waitUntil(async () => (await hands.strayClaims()).length === 0, 10_000, 100);
        // Were one announced again, it would be now.
        await sleep(1000);
        const stray = await hands.strayClaims();
        return stray.length > 0 ? [`still announced after the way back: ${stray.join(', ')}`] : [];
      },
    }),
  },
];

export const failbackStale: LabCase = {
  name: 'failback-stale',
  title: 'C4 fails over and back while old claims linger',
  concerned: ['C4'],
  phases: Array.from({ length: ROUNDS }, (_, index) => round(index + 1)).flat(),
};
