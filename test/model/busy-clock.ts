import type { Clock, Instant, Timer } from '../../src/model/clock.ts';

/**
 * The clock of somebody whose event loop is busy at times: what falls due meanwhile waits, and then comes as in Node:
 * timers first, then what has arrived, then what was to come soon.
 */
export class BusyClock implements Clock {
  readonly #clock: Clock;
  #busy = false;
  /** What arrives is lost. */
  deaf = false;
  readonly #due: (() => void)[] = [];
  readonly #arrived: (() => void)[] = [];
  #soon: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now = (): Instant => this.#clock.now();

  schedule(at: Instant, run: () => void): Timer {
    let cancelled = false;
    const timer = this.#clock.schedule(at, () => {
      if (this.#busy) this.#due.push(() => cancelled || run());
      else run();
    });
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  soon(run: () => void): Timer {
    let cancelled = false;
    this.#soon.push(() => cancelled || run());
    return {
      cancel: () => {
        cancelled = true;
      },
    };
  }

  /** To be called with whatever arrives. */
  arrive(read: () => void): void {
    if (this.deaf) return;
    if (this.#busy) this.#arrived.push(read);
    else read();
  }

  /** One turn of the loop lasts as long as `meanwhile` lets time pass. */
  turn(meanwhile: () => void): void {
    this.#busy = true;
    meanwhile();
    this.#busy = false;
    for (const run of this.#due.splice(0)) run();
    for (const read of this.#arrived.splice(0)) read();
    for (const run of this.#soon.splice(0)) run();
  }
}
