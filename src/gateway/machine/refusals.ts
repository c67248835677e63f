import type { Address } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { Refusal } from './types.ts';

/** The same of the same switch is told again after this (ms); it is counted every time. */
const TELL_AGAIN = 60_000;
/** Pairs of switch and reason that are remembered. */
const REMEMBERED = 1_024;

/** What was not taken: counted by reason, and told now and then. */
export class Refusals {
  readonly counters: Record<string, number> = {};
  readonly #toldAt = new Map<string, Instant>();
  #fresh: Refusal[] = [];
  #now: Instant = 0;

  /** The instant of what is counted from here on. */
  at(now: Instant): void {
    this.#now = now;
  }

  count(routerId: Address, reason: string, message: string): void {
    this.counters[reason] = (this.counters[reason] ?? 0) + 1;
    const key = `${routerId} ${reason}`;
    const before = this.#toldAt.get(key);
    if (before !== undefined && this.#now - before < TELL_AGAIN) return;
    if (this.#toldAt.size >= REMEMBERED) this.#toldAt.clear();
    this.#toldAt.set(key, this.#now);
    if (this.#fresh.length < REMEMBERED) this.#fresh.push({ routerId, reason, message });
  }

  /** What is new since the last time. */
  take(): readonly Refusal[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }
}
