/** CLOCK_MONOTONIC in milliseconds, with fractions. Never wall-clock time. */
export type Instant = number;

export interface Timer {
  cancel(): void;
}

/** The only source of time in the agent: the real one in production, a virtual one in tests and simulations. */
export interface Clock {
  now(): Instant;
  /** Calls `run` once at `at` or as soon after as possible; an instant in the past means the next turn. */
  schedule(at: Instant, run: () => void): Timer;
}

/**
 * `performance.now()` is CLOCK_MONOTONIC less the process's start: added back, instants compare across processes. The
 * largest of several differences: whatever holds us up between the two readings makes it smaller.
 */
const processStart = Math.max(
  ...Array.from({ length: 20 }, () => Number(process.hrtime.bigint()) / 1e6 - performance.now()),
);

/** setTimeout counts in 31 bits and takes anything longer for 1 ms. */
const LONGEST = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => processStart + performance.now(),
  schedule(at, run) {
    let handle: NodeJS.Timeout;
    const arm = (): void => {
      const wait = Math.max(0, Math.ceil(at - systemClock.now()));
      handle = wait > LONGEST ? setTimeout(arm, LONGEST) : setTimeout(run, wait);
    };
    arm();
    return { cancel: () => clearTimeout(handle) };
  },
};
