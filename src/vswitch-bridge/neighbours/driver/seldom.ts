import type { Clock, Instant } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';

const EVERY = 60_000;

/** Warnings of what may go wrong at every poll of every neighbour: each of them once a minute. The counters have all. */
export class Seldom {
  readonly #log: Log;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #last = new Map<string, Instant>();

  constructor(log: Log, clock: Pick<Clock, 'now'>) {
    this.#log = log;
    this.#clock = clock;
  }

  warn(fields: object, message: string): void {
    const now = this.#clock.now();
    const last = this.#last.get(message);
    if (last !== undefined && now - last < EVERY) return;
    this.#last.set(message, now);
    this.#log.warn(fields, message);
  }
}
