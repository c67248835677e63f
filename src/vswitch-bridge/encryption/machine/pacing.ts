import type { Instant } from '../../../model/clock.ts';

/** When a dedicated packet that nothing has answered goes out again: doubling gaps. */
export class Retry {
  readonly #first: number;
  readonly #last: number;
  #gap: number;
  #at: Instant | undefined;
  #sentAt: Instant | undefined;

  /** Shortest and longest gap, ms. */
  constructor(first: number, last: number) {
    this.#first = first;
    this.#last = last;
    this.#gap = first;
  }

  get at(): Instant | undefined {
    return this.#at;
  }

  /** Something is to be said: at once, but not closer to the last packet than so many ms. */
  begin(now: Instant, apart: number): void {
    this.#gap = this.#first;
    this.#at = this.#sentAt === undefined ? now : Math.max(now, this.#sentAt + apart);
  }

  /** Not later than so many ms from now. */
  hurry(now: Instant, within: number): void {
    if (this.#at !== undefined && this.#at > now + within) this.#at = now + within;
  }

  due(now: Instant): boolean {
    return this.#at !== undefined && this.#at <= now;
  }

  /** @param longest of this gap, ms */
  sent(now: Instant, longest: number): void {
    this.#sentAt = now;
    this.#at = now + Math.min(this.#gap, longest);
    this.#gap = Math.min(this.#gap * 2, this.#last);
  }

  stop(): void {
    this.#at = undefined;
  }
}

/** A bucket of tokens that holds a second's worth. */
export class Allowance {
  readonly #perSecond: number;
  #tokens: number;
  #at: Instant | undefined;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
  }

  take(now: Instant): boolean {
    if (this.#at !== undefined) {
      this.#tokens = Math.min(this.#perSecond, this.#tokens + ((now - this.#at) / 1000) * this.#perSecond);
    }
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
