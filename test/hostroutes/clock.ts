import { type Clock, type Instant, systemClock, type Timer } from '../../src/model/clock.ts';

/** Time passes when the test says so. */
export class VirtualClock implements Clock {
  time = 0;
  readonly timers = new Set<{ at: Instant; run: () => void }>();
  now = () => this.time;
  schedule(at: Instant, run: () => void) {
    const timer = { at, run };
    this.timers.add(timer);
    return { cancel: () => this.timers.delete(timer) };
  }
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const [next] = [...this.timers].sort((a, b) => a.at - b.at);
      if (!next || next.at > end) break;
      this.time = Math.max(this.time, next.at);
      this.timers.delete(next);
      next.run();
    }
    this.time = end;
  }
}

interface Waiting {
  readonly at: Instant;
  readonly run: () => void;
  timer: Timer | undefined;
}

/** The system's time until it is held; from then on it passes when the test says so, however slow the machine is. */
export class HeldClock implements Clock {
  #heldAt: Instant | undefined;
  readonly #waiting = new Set<Waiting>();

  now = (): Instant => this.#heldAt ?? systemClock.now();

  schedule(at: Instant, run: () => void): Timer {
    const waiting: Waiting = { at, run, timer: undefined };
    this.#waiting.add(waiting);
    if (this.#heldAt === undefined || at <= this.#heldAt) {
      waiting.timer = systemClock.schedule(at, () => this.#run(waiting));
    }
    return {
      cancel: () => {
        waiting.timer?.cancel();
        this.#waiting.delete(waiting);
      },
    };
  }

  soon(run: () => void): Timer {
    return systemClock.soon!(run);
  }

  hold(): void {
    this.#heldAt ??= systemClock.now();
    for (const waiting of this.#waiting) {
      if (waiting.at <= this.#heldAt) continue;
      waiting.timer?.cancel();
      waiting.timer = undefined;
    }
  }

  /** What is due meanwhile runs, each at its time. */
  advance(ms: number): void {
    const end = this.#heldAt! + ms;
    for (;;) {
      const [next] = [...this.#waiting].sort((one, other) => one.at - other.at);
      if (!next || next.at > end) break;
      this.#heldAt = Math.max(this.#heldAt!, next.at);
      next.timer?.cancel();
      this.#run(next);
    }
    this.#heldAt = end;
  }

  #run(waiting: Waiting): void {
    if (this.#waiting.delete(waiting)) waiting.run();
  }
}
