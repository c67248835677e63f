/** CLOCK_MONOTONIC in milliseconds: the one clock that all processes of the lab share. */
export const monotonic = (): number => performance.now() + OFFSET;

/** The largest of several: whatever happens between the two readings makes the difference smaller. */
function sharedOffset(): number {
  let best = Number.NEGATIVE_INFINITY;
  for (let sample = 0; sample < 20; sample++) {
    best = Math.max(best, Number(process.hrtime.bigint()) / 1e6 - performance.now());
  }
  return best;
}

const OFFSET = sharedOffset();

/**
 * What to add to CLOCK_MONOTONIC to get CLOCK_REALTIME, in milliseconds; the kernel stamps packets with the latter.
 * Node shows real time in whole milliseconds only, so this looks at the moments when it moves on, and takes the
 * earliest of a few: about 10 ms of work, right to some microseconds.
 */
export function realtimeOffset(): number {
  let best = Number.NEGATIVE_INFINITY;
  for (let sample = 0; sample < 8; sample++) {
    const before = Date.now();
    let date = before;
    let at = monotonic();
    while (date === before) {
      date = Date.now();
      at = monotonic();
    }
    best = Math.max(best, date - at);
  }
  return best;
}
