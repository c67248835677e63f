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
  /** See the function `soon`; absent: as `schedule`, at once. */
  soon?(run: () => void): Timer;
}

/**
 * Calls `run` in a later turn, after all that has come in meanwhile was read. A timer is no such thing: when several are due
 * they run one after the other, and nothing is read in between.
 */
export const soon = (clock: Clock, run: () => void): Timer =>
  clock.soon ? clock.soon(run) : clock.schedule(clock.now(), run);

/**
 * A timer that runs so much later than it should (ms): the loop was busy, and what would have kept us from giving somebody
 * up may wait to be read.
 */
export const LATE = 50;

/** The one timer of a machine: it follows the machine's next deadline, and is not touched while that stays. */
export class Alarm {
  readonly #clock: Clock;
  readonly #ring: () => void;
  #at: Instant | undefined;
  #timer: Timer | undefined;

  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /** undefined: nothing is waited for. */
  set(at: Instant | undefined): void {
    if (at === this.#at) return;
    this.#timer?.cancel();
    this.#at = at;
    this.#timer = at === undefined ? undefined : this.#clock.schedule(at, () => this.#due());
  }

  #due(): void {
    this.#at = undefined;
    this.#ring();
  }
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
  soon(run) {
    const handle = setImmediate(run);
    return { cancel: () => clearImmediate(handle) };
  },
};
