/**
 * Packets that wait for a neighbour's MAC (mechanism 2).
 *
 * One queue for each place that packets wait for: a tunnel's remote address, or the flood list of a device. Places whose
 * packets go to the same neighbour share its bound. Each packet has its own lifetime; the order within a queue is kept.
 * What comes beyond a bound is refused, not exchanged for an older one: the first packets are those that the other side
 * can use.
 *
 * Pure: packets are whatever the driver holds.
 */
import type { Instant } from '../../../model/clock.ts';

export interface HoldOptions {
  /** ms */
  readonly lifetime: number;
  /** Packets. */
  readonly perNeighbour: number;
  readonly total: number;
  /** Octets of all packets: one may be a segment train of 64 KiB. */
  readonly totalBytes?: number;
}

export interface HoldCounters {
  /** Packets that came to wait, refused ones not among them. */
  readonly held: number;
  readonly sent: number;
  readonly expired: number;
  readonly refused: number;
  /** Waiting now. */
  readonly waiting: number;
  readonly waitingBytes: number;
}

interface Packet<P> {
  readonly content: P;
  readonly bytes: number;
  readonly until: Instant;
}

interface Queue<P> {
  readonly neighbour: string;
  readonly packets: Packet<P>[];
}

const TOTAL_BYTES = 64 << 20;

export class HoldBuffer<K, P> {
  readonly #options: HoldOptions;
  readonly #queues = new Map<K, Queue<P>>();
  readonly #ofNeighbour = new Map<string, number>();
  #waiting = 0;
  #bytes = 0;
  readonly #count = { held: 0, sent: 0, expired: 0, refused: 0 };

  constructor(options: HoldOptions) {
    this.#options = options;
  }

  /** @returns whether it waits now; otherwise it was refused */
  take(place: K, neighbour: string, content: P, bytes: number, now: Instant): boolean {
    const { lifetime, perNeighbour, total, totalBytes = TOTAL_BYTES } = this.#options;
    const queue = this.#queues.get(place);
    // A place that has moved to another neighbour is counted with the old one until it is empty.
    const counted = queue?.neighbour ?? neighbour;
    const beside = this.#ofNeighbour.get(counted) ?? 0;
    if (beside >= perNeighbour || this.#waiting >= total || this.#bytes + bytes > totalBytes) {
      this.#count.refused++;
      return false;
    }
    const packet = { content, bytes, until: now + lifetime };
    if (queue) queue.packets.push(packet);
    else this.#queues.set(place, { neighbour, packets: [packet] });
    this.#ofNeighbour.set(counted, beside + 1);
    this.#waiting++;
    this.#bytes += bytes;
    this.#count.held++;
    return true;
  }

  /** All that wait at `place`, in order; they count as sent. */
  release(place: K): readonly P[] {
    const queue = this.#queues.get(place);
    if (!queue) return [];
    this.#queues.delete(place);
    this.#leave(queue, queue.packets);
    this.#count.sent += queue.packets.length;
    return queue.packets.map(({ content }) => content);
  }

  /** One that was handed out is counted otherwise: the device refused it. */
  unsent(): void {
    this.#count.sent--;
    this.#count.refused++;
  }

  /** What has waited for its lifetime, in order. @returns where, and what */
  expire(now: Instant): readonly { readonly place: K; readonly packets: readonly P[]; readonly left: number }[] {
    const result: { place: K; packets: readonly P[]; left: number }[] = [];
    for (const [place, queue] of this.#queues) {
      if (queue.packets[0]!.until > now) continue;
      const fresh = queue.packets.findIndex(({ until }) => until > now);
      const old = queue.packets.splice(0, fresh < 0 ? queue.packets.length : fresh);
      if (queue.packets.length === 0) this.#queues.delete(place);
      this.#leave(queue, old);
      this.#count.expired += old.length;
      result.push({ place, packets: old.map(({ content }) => content), left: queue.packets.length });
    }
    return result;
  }

  nextDeadline(): Instant | undefined {
    let next: Instant | undefined;
    for (const { packets } of this.#queues.values()) if (!(next! <= packets[0]!.until)) next = packets[0]!.until;
    return next;
  }

  places(): IterableIterator<K> {
    return this.#queues.keys();
  }

  waitingAt(place: K): number {
    return this.#queues.get(place)?.packets.length ?? 0;
  }

  counters(): HoldCounters {
    return { ...this.#count, waiting: this.#waiting, waitingBytes: this.#bytes };
  }

  #leave(queue: Queue<P>, packets: readonly Packet<P>[]): void {
    this.#waiting -= packets.length;
    for (const { bytes } of packets) this.#bytes -= bytes;
    const beside = this.#ofNeighbour.get(queue.neighbour)! - packets.length;
    if (beside > 0) this.#ofNeighbour.set(queue.neighbour, beside);
    else this.#ofNeighbour.delete(queue.neighbour);
  }
}
