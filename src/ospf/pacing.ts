/**
 * Bursts of updates, no larger than a neighbour's socket takes. A router with the kernel's default receive buffer holds
 * some ninety full packets; what comes beyond is lost, and comes again only after RxmtInterval. So one turn sends up to
 * `Burst` packets (nearly two thousand hosts), and what is left follows every few milliseconds, in order.
 */
import type { Clock, Timer } from '../model/clock.ts';

const Burst = 48;
const Pause = 4;
/** Packets waiting at most; more are refused, and are still on the retransmission lists. */
const MaxWaiting = 4096;

interface Waiting {
  readonly to: string;
  readonly packets: readonly Uint8Array[];
  /** What is before it has been sent. */
  next: number;
}

export class PacedSender {
  readonly #clock: Clock;
  readonly #write: (to: string, packets: readonly Uint8Array[]) => void;
  readonly #refused: (packets: number) => void;
  readonly #queue: Waiting[] = [];
  #waiting = 0;
  #room = Burst;
  #openedAt = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(
    clock: Clock,
    write: (to: string, packets: readonly Uint8Array[]) => void,
    refused: (packets: number) => void,
  ) {
    this.#clock = clock;
    this.#write = write;
    this.#refused = refused;
  }

  /** Packets that are still to be sent. */
  get waiting(): number {
    return this.#waiting;
  }

  send(to: string, packets: readonly Uint8Array[]): void {
    if (this.#waiting + packets.length > MaxWaiting) {
      this.#refused(packets.length);
      return;
    }
    this.#queue.push({ to, packets, next: 0 });
    this.#waiting += packets.length;
    this.#drain();
  }

  /** What is due by now, for who keeps the loop busy. */
  pump(): void {
    if (this.#queue.length > 0) this.#drain();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#queue.length = 0;
    this.#waiting = 0;
  }

  #drain(): void {
    const now = this.#clock.now();
    if (now - this.#openedAt >= Pause) {
      this.#openedAt = now;
      this.#room = Burst;
    }
    for (let first = this.#queue[0]; first && this.#room > 0; first = this.#queue[0]) {
      const left = first.packets.length - first.next;
      const take = Math.min(left, this.#room);
      const whole = first.next === 0 && take === left;
      const packets = whole ? first.packets : first.packets.slice(first.next, first.next + take);
      first.next += take;
      this.#room -= take;
      this.#waiting -= take;
      if (take === left) this.#queue.shift();
      this.#write(first.to, packets);
    }
    if (this.#queue.length === 0 || this.#timer) return;
    this.#timer = this.#clock.schedule(this.#openedAt + Pause, () => {
      this.#timer = undefined;
      this.#drain();
    });
  }
}
