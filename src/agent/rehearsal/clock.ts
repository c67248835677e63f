import type { Clock, Instant, Timer } from '../../model/clock.ts';

/** Virtual time between two turns of the real event loop, ms. */
const STEP = 300;

interface Entry {
  readonly at: Instant;
  readonly run: () => void;
}

/** Time that passes only when told to, so that a rehearsal of minutes takes milliseconds and no real timer. */
export class RehearsalClock implements Clock {
  #now: Instant = 1_000;
  /** By instant; those of one instant in the order in which they were scheduled. */
  readonly #entries: Entry[] = [];

  now(): Instant {
    return this.#now;
  }

  schedule(at: Instant, run: () => void): Timer {
    const entry = { at: Math.max(at, this.#now), run };
    let place = this.#entries.length;
    while (place > 0 && this.#entries[place - 1]!.at > entry.at) place--;
    this.#entries.splice(place, 0, entry);
    return {
      cancel: () => {
        const index = this.#entries.indexOf(entry);
        if (index >= 0) this.#entries.splice(index, 1);
      },
    };
  }

  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (let next = this.#entries[0]; next && next.at <= end; next = this.#entries[0]) {
      this.#entries.shift();
      this.#now = next.at;
      next.run();
    }
    this.#now = end;
  }

  /** As `advance`, in slices. */
  *passing(milliseconds: number): Generator<void> {
    for (let left = milliseconds; left > 0; left -= STEP) {
      this.advance(Math.min(left, STEP));
      yield;
    }
  }

  /** What ends waits for instants of this clock. */
  async during(work: Promise<unknown>): Promise<void> {
    let done = false;
    const ending = work.finally(() => {
      done = true;
    });
    while (!done) {
      this.advance(STEP);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ending;
  }
}
