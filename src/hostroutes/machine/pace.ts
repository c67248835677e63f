import type { Instant } from '../../model/clock.ts';

/** So many of something in each window, so that thousands of due hosts never become one burst. */
export class Pace {
  readonly #perWindow: number;
  readonly #window: number;
  #start: Instant = Number.NEGATIVE_INFINITY;
  #taken = 0;

  constructor(perWindow: number, window: number) {
    this.#perWindow = perWindow;
    this.#window = window;
  }

  take(now: Instant): boolean {
    if (now - this.#start >= this.#window) {
      this.#start = now;
      this.#taken = 0;
    }
    if (this.#taken >= this.#perWindow) return false;
    this.#taken++;
    return true;
  }

  /** When `take` will succeed again. */
  readyAt(): Instant {
    return this.#taken >= this.#perWindow ? this.#start + this.#window : Number.NEGATIVE_INFINITY;
  }
}
