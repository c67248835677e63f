/**
 * Routine questions and the looks at their answers come on this grid (ms). Thousands of hosts have thousands of deadlines
 * a second: so they share the turns of the loop instead of having one each. It is a small part of the seconds for which a host
 * was silent by then.
 */
export const GRID_MS = 50;

/**
 * A verdict costs more than a question: a delta, a write to each neighbour and to the kernel, an event. So verdicts come on
 * a coarser grid, and those who are silent at the same time leave in one delta. It is a small part of the interval too.
 */
export function verdictsOf(interval: number): number {
  return Math.max(GRID_MS, Math.floor(interval / 20 / GRID_MS) * GRID_MS);
}

/**
 * A port has questions only at some instants of the grid, so often in an interval, and its neighbours have them at others:
 * what is asked together on one port is answered together, and read at once. To read forty ports for two answers each is
 * most of the work otherwise. No question comes later for that: it may be early.
 */
const ROUNDS = 15;

/** From one round of a port to its next (ms); 0: the interval is too short for rounds. */
export function roundOf(interval: number): number {
  const round = Math.floor(interval / ROUNDS / GRID_MS) * GRID_MS;
  return round > GRID_MS ? round : 0;
}
