/**
 * What a gateway loses by itself. FRR's zebra replaces an IPv6 route by deleting it and adding the new one, since the
 * kernel's own replacement works otherwise there than for IPv4; a packet that falls between the two has no way, and no
 * ToR could spare it that. Pure.
 */
import type { Observation } from './observer/observer.ts';
import type { Hole } from './probe/streams.ts';

/** An address that G led nowhere between two messages of its kernel, ms of CLOCK_MONOTONIC. */
export interface Gap {
  readonly address: string;
  readonly from: number;
  readonly to: number;
}

/** Longer, and it was no replacement but a route that was missing (ms). */
const LONGEST = 5;
/** The observer hears of it that much later at most (ms). */
const LATE = 25;

export function gapsOf(observations: readonly Observation[]): Gap[] {
  const empty = new Map<string, number>();
  const gaps: Gap[] = [];
  for (const seen of observations) {
    if (seen.kind !== 'fib' || !seen.address.includes(':')) continue;
    const from = empty.get(seen.address);
    empty.delete(seen.address);
    if (seen.via.length === 0) empty.set(seen.address, seen.at);
    else if (from !== undefined && seen.at - from <= LONGEST) gaps.push({ address: seen.address, from, to: seen.at });
  }
  return gaps;
}

/** How many packets to `address` fell into such a gap; the probe sends one a millisecond. */
export function lostInGaps(address: string, holes: readonly Hole[], gaps: readonly Gap[]): number {
  const own = gaps.filter((gap) => gap.address === address);
  return holes
    .filter(({ count, firstBy, last }) =>
      own.some(({ from, to }) => count <= Math.ceil(to - from) + 1 && from >= firstBy - 1 && from <= last + LATE),
    )
    .reduce((sum, { count }) => sum + count, 0);
}
