import type { Instant } from '../../model/clock.ts';

const LOOKED_AT = 1024;

export interface Sleeper {
  wakeAt: Instant;
  /** Place in the heap, -1 when not in it. Owned by Deadlines. */
  heapIndex: number;
}

/**
 * A binary heap whose members know their place. Hosts that are heard do not touch it: they are looked at again when
 * their old deadline comes and are then put back later, so hearing 20,000 hosts costs one pop each per interval.
 */
export class Deadlines<T extends Sleeper> {
  readonly #heap: T[] = [];

  get size(): number {
    return this.#heap.length;
  }

  first(): T | undefined {
    return this.#heap[0];
  }

  /**
   * Whether `test` holds for one of those that are due at `now`. Of many (when ten thousand hosts have been doubted at once)
   * only the first are looked at, and then it may: to look at all of them each few milliseconds would be most of the work.
   */
  mayBeDue(now: Instant, test: (item: T) => boolean): boolean {
    let left = LOOKED_AT;
    const look = (index: number): boolean => {
      const item = this.#heap[index];
      if (!item || item.wakeAt > now) return false;
      return left-- === 0 || test(item) || look(2 * index + 1) || look(2 * index + 2);
    };
    return look(0);
  }

  set(item: T, wakeAt: Instant): void {
    if (wakeAt === Number.POSITIVE_INFINITY) {
      this.delete(item);
      return;
    }
    const earlier = wakeAt < item.wakeAt;
    item.wakeAt = wakeAt;
    if (item.heapIndex < 0) {
      item.heapIndex = this.#heap.length;
      this.#heap.push(item);
      this.#up(item.heapIndex);
    } else if (earlier) this.#up(item.heapIndex);
    else this.#down(item.heapIndex);
  }

  delete(item: T): void {
    const index = item.heapIndex;
    if (index < 0) return;
    item.heapIndex = -1;
    const last = this.#heap.pop()!;
    if (last === item) return;
    this.#heap[index] = last;
    last.heapIndex = index;
    this.#up(index);
    this.#down(last.heapIndex);
  }

  #up(start: number): void {
    const heap = this.#heap;
    const item = heap[start]!;
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent]!;
      if (above.wakeAt <= item.wakeAt) break;
      heap[index] = above;
      above.heapIndex = index;
      index = parent;
    }
    heap[index] = item;
    item.heapIndex = index;
  }

  #down(start: number): void {
    const heap = this.#heap;
    const item = heap[start]!;
    let index = start;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.wakeAt < heap[child]!.wakeAt) child++;
      const below = heap[child]!;
      if (below.wakeAt >= item.wakeAt) break;
      heap[index] = below;
      below.heapIndex = index;
      index = child;
    }
    heap[index] = item;
    item.heapIndex = index;
  }
}
