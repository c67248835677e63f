import type { Instant } from '../../model/clock.ts';

/** One timer of the RFC: a thing that happens at an instant. It can be set again and again without allocating. */
export interface Deadline {
  at: Instant;
  /** Place in the heap, -1 when not set. */
  slot: number;
  readonly run: (now: Instant) => void;
}

export function deadline(run: (now: Instant) => void): Deadline {
  return { at: 0, slot: -1, run };
}

export const isSet = (timer: Deadline): boolean => timer.slot >= 0;

/**
 * All timers of the speaker in one binary heap, so that `nextDeadline()` is a look at its root and cancelling the
 * refresh timers of a thousand withdrawn hosts costs a few swaps each.
 */
export class Deadlines {
  readonly #heap: Deadline[] = [];

  next(): Instant | undefined {
    return this.#heap[0]?.at;
  }

  set(timer: Deadline, at: Instant): void {
    if (timer.slot < 0) {
      timer.slot = this.#heap.length;
      this.#heap.push(timer);
    }
    timer.at = at;
    this.#settle(timer);
  }

  cancel(timer: Deadline): void {
    const slot = timer.slot;
    if (slot < 0) return;
    timer.slot = -1;
    const last = this.#heap.pop()!;
    if (last === timer) return;
    last.slot = slot;
    this.#heap[slot] = last;
    this.#settle(last);
  }

  /** Takes the earliest timer that is due out of the heap. */
  takeDue(now: Instant): Deadline | undefined {
    const first = this.#heap[0];
    if (!first || first.at > now) return undefined;
    this.cancel(first);
    return first;
  }

  #settle(timer: Deadline): void {
    const heap = this.#heap;
    let slot = timer.slot;
    while (slot > 0) {
      const above = heap[(slot - 1) >> 1]!;
      if (above.at <= timer.at) break;
      heap[slot] = above;
      above.slot = slot;
      slot = (slot - 1) >> 1;
    }
    for (;;) {
      let child = slot * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      const below = heap[child]!;
      if (below.at >= timer.at) break;
      heap[slot] = below;
      below.slot = slot;
      slot = child;
    }
    heap[slot] = timer;
    timer.slot = slot;
  }
}
