import type { Instant } from '../../model/clock.ts';

const LOOKED_AT = 1024;

/** All that wake at one instant, in the order in which they were put there. Owned by Deadlines. */
export interface Line {
  readonly at: Instant;
  first: Sleeper | undefined;
  last: Sleeper | undefined;
  /** Place in the heap. */
  index: number;
}

/** All but `wakeAt` is owned by Deadlines. */
export interface Sleeper {
  wakeAt: Instant;
  /** undefined: it is not to be woken. */
  line: Line | undefined;
  nextInLine: Sleeper | undefined;
  previousInLine: Sleeper | undefined;
}

/**
 * Who is to be woken when. Those of one instant stand in one line, and a binary heap orders the lines: what is routine comes
 * on a grid (see liveness.ts), so ten thousand hosts are a hundred lines, and to put one off is to leave one line and to
 * join another, however many there are. Hosts that are heard are not touched at all: they are looked at again when their
 * old deadline comes, and are then put back later.
 */
export class Deadlines<T extends Sleeper> {
  readonly #heap: Line[] = [];
  readonly #lines = new Map<Instant, Line>();

  first(): T | undefined {
    return this.#heap[0]?.first as T | undefined;
  }

  /**
   * Whether `test` holds for one of those that are due at `now`. Of many (when ten thousand hosts have been doubted at once)
   * only the first are looked at, and then it may: to look at all of them each few milliseconds would be most of the work.
   */
  mayBeDue(now: Instant, test: (item: T) => boolean): boolean {
    let left = LOOKED_AT;
    const look = (index: number): boolean => {
      const line = this.#heap[index];
      if (!line || line.at > now) return false;
      for (let item = line.first; item; item = item.nextInLine) if (left-- === 0 || test(item as T)) return true;
      return look(2 * index + 1) || look(2 * index + 2);
    };
    return look(0);
  }

  set(item: T, wakeAt: Instant): void {
    if (item.line?.at === wakeAt) return;
    this.delete(item);
    item.wakeAt = wakeAt;
    if (wakeAt === Number.POSITIVE_INFINITY) return;
    const line = this.#lines.get(wakeAt) ?? this.#open(wakeAt);
    item.line = line;
    item.previousInLine = line.last;
    if (line.last) line.last.nextInLine = item;
    else line.first = item;
    line.last = item;
  }

  delete(item: T): void {
    const { line, nextInLine: next, previousInLine: previous } = item;
    if (!line) return;
    item.line = undefined;
    item.nextInLine = undefined;
    item.previousInLine = undefined;
    if (previous) previous.nextInLine = next;
    else line.first = next;
    if (next) next.previousInLine = previous;
    else line.last = previous;
    if (!line.first) this.#close(line);
  }

  #open(at: Instant): Line {
    const line: Line = { at, first: undefined, last: undefined, index: this.#heap.length };
    this.#lines.set(at, line);
    this.#heap.push(line);
    this.#up(line);
    return line;
  }

  #close(line: Line): void {
    this.#lines.delete(line.at);
    const last = this.#heap.pop()!;
    if (last === line) return;
    this.#put(last, line.index);
    this.#up(last);
    this.#down(last);
  }

  #put(line: Line, index: number): void {
    this.#heap[index] = line;
    line.index = index;
  }

  #up(line: Line): void {
    let { index } = line;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = this.#heap[parent]!;
      if (above.at <= line.at) break;
      this.#put(above, index);
      index = parent;
    }
    this.#put(line, index);
  }

  #down(line: Line): void {
    const heap = this.#heap;
    let { index } = line;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      const below = heap[child]!;
      if (below.at >= line.at) break;
      this.#put(below, index);
      index = child;
    }
    this.#put(line, index);
  }
}
