import type { SessionState } from '../codec/packet.ts';

/** RFC 5880 §6.8.3: while a session is not Up it is spoken no faster than this (ms). */
const SLOW = 1_000;

export interface Intervals {
  /** bfd.DesiredMinTxInterval, ms. */
  readonly tx: number;
  /** bfd.RequiredMinRxInterval, ms. */
  readonly rx: number;
}

/**
 * Our two intervals as we want them, as we tell them to the peer, and as we go by (RFC 5880 §6.8.3). Told and wanted
 * differ while a Poll Sequence for an earlier change is under way: its Final would not say which of the two it answers.
 */
export class Timers {
  #wanted: Intervals;
  #told: Intervals;
  #used: Intervals;
  /** `settling`: the Final has come, and a packet without it must come before the next Poll. */
  #poll: 'idle' | 'active' | 'settling' = 'idle';

  constructor(intervals: Intervals) {
    this.#wanted = this.#told = this.#used = intervals;
  }

  get told(): Intervals {
    return this.#told;
  }

  get used(): Intervals {
    return this.#used;
  }

  /** The P bit is due. */
  get polling(): boolean {
    return this.#poll === 'active';
  }

  /** All that is wanted is told, and the peer has confirmed it. */
  get settled(): boolean {
    return this.#poll !== 'active' && same(this.#wanted, this.#told);
  }

  want(intervals: Intervals, state: SessionState): void {
    const tx = state === 'Up' ? intervals.tx : Math.max(SLOW, intervals.tx);
    this.#wanted = { tx, rx: intervals.rx };
    if (state === 'Up') {
      this.#tell();
      return;
    }
    // Where nobody counts on the other yet there is nothing to agree on.
    this.#told = this.#used = this.#wanted;
    this.#poll = 'idle';
  }

  heard(final: boolean): void {
    if (this.#poll === 'active' && final) {
      this.#used = this.#told;
      this.#poll = 'settling';
    } else if (this.#poll === 'settling' && !final) {
      this.#poll = 'idle';
      this.#tell();
    }
  }

  /** The peer may not know what we told in an earlier life. */
  askAgain(): void {
    this.#poll = 'active';
  }

  #tell(): void {
    if (this.#poll !== 'idle' || same(this.#wanted, this.#told)) return;
    this.#told = this.#wanted;
    // Slower than before, or stricter, only when the peer knows.
    this.#used = { tx: Math.min(this.#used.tx, this.#told.tx), rx: Math.max(this.#used.rx, this.#told.rx) };
    this.#poll = 'active';
  }
}

const same = (one: Intervals, other: Intervals): boolean => one.tx === other.tx && one.rx === other.rx;
