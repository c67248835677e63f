import type { Clock, Instant, Timer } from '../../src/model/clock.ts';

interface Entry {
  readonly at: Instant;
  readonly serial: number;
  run: (() => void) | undefined;
}

const before = (one: Entry, other: Entry): boolean =>
  one.at < other.at || (one.at === other.at && one.serial < other.serial);

/** Virtual time: a heap of what is to happen, in the order of time and then of asking. */
export class VirtualClock implements Clock {
  #now: Instant = 1_000;
  #serial = 0;
  #live = 0;
  readonly #heap: Entry[] = [];

  readonly now = (): Instant => this.#now;

  /** What is scheduled and not cancelled. */
  get pending(): number {
    return this.#live;
  }

  schedule(at: Instant, run: () => void): Timer {
    const entry: Entry = { at: Math.max(at, this.#now), serial: this.#serial++, run };
    this.#push(entry);
    this.#live++;
    return {
      cancel: () => {
        if (entry.run) this.#live--;
        entry.run = undefined;
      },
    };
  }

  after(delay: number, run: () => void): Timer {
    return this.schedule(this.#now + delay, run);
  }

  /** Runs the next thing that is due until `end`; false: there is none, and it is `end` now. */
  step(end: Instant): boolean {
    for (;;) {
      const first = this.#heap[0];
      if (!first || first.at > end) {
        this.#now = end;
        return false;
      }
      this.#pop();
      const { run } = first;
      if (!run) continue;
      first.run = undefined;
      this.#live--;
      this.#now = first.at;
      run();
      return true;
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(entry);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(entry, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}

/** The clock of one life of an agent: with its death all that it had scheduled is forgotten. */
export class LifeClock implements Clock {
  readonly #clock: VirtualClock;
  #dead = false;
  #pending = 0;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** Timers of this life. */
  get pending(): number {
    return this.#pending;
  }

  readonly now = (): Instant => this.#clock.now();

  schedule(at: Instant, run: () => void): Timer {
    this.#pending++;
    let open = true;
    const close = (): void => {
      if (open) this.#pending--;
      open = false;
    };
    const timer = this.#clock.schedule(at, () => {
      close();
      if (!this.#dead) run();
    });
    return {
      cancel: () => {
        close();
        timer.cancel();
      },
    };
  }

  after(delay: number, run: () => void): Timer {
    return this.schedule(this.#clock.now() + delay, run);
  }

  die(): void {
    this.#dead = true;
  }
}
