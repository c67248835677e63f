import type { HistoryEntry } from './types.ts';

/** A queue from which only the oldest is ever taken. */
class Queue<T> {
  #items: T[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  oldest(): T | undefined {
    return this.#items[this.#head];
  }

  shift(): void {
    this.#items[this.#head++] = undefined as T;
    if (this.#head < 1_024 || this.#head * 2 < this.#items.length) return;
    this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }

  toArray(): T[] {
    return this.#items.slice(this.#head);
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let index = this.#head; index < this.#items.length; index++) yield this.#items[index]!;
  }
}

/** The gateway's own ports stand among the switches under this. */
const HERE = '';

/**
 * What happened, bounded by age and by count. Each switch has a queue of its own, and the longest gives way: one that
 * never rests pushes out its own past and nobody else's.
 */
export class History {
  readonly #queues = new Map<string, Queue<HistoryEntry>>();
  readonly #most: number;
  #count = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#count;
  }

  add(entry: HistoryEntry): void {
    const owner = entry.kind === 'gateway' ? HERE : entry.routerId;
    let queue = this.#queues.get(owner);
    if (!queue) {
      queue = new Queue();
      this.#queues.set(owner, queue);
    }
    queue.push(entry);
    this.#count++;
    if (this.#count > this.#most) this.#dropOne();
  }

  /** Entries from before `wall` (ms since 1970) go. */
  expire(wall: number): void {
    for (const [owner, queue] of this.#queues) {
      for (let oldest = queue.oldest(); oldest && oldest.at < wall; oldest = queue.oldest()) {
        queue.shift();
        this.#count--;
      }
      if (queue.length === 0) this.#queues.delete(owner);
    }
  }

  /** In no order over several switches. */
  *all(): Generator<HistoryEntry> {
    for (const queue of this.#queues.values()) yield* queue;
  }

  /** As `all`, as it is now. */
  snapshot(): HistoryEntry[] {
    return [...this.#queues.values()].flatMap((queue) => queue.toArray());
  }

  #dropOne(): void {
    let longest: Queue<HistoryEntry> | undefined;
    for (const queue of this.#queues.values()) if (!longest || queue.length > longest.length) longest = queue;
    longest!.shift();
    this.#count--;
  }
}
