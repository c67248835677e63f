import type { Route } from 'rtnetlink-ts';
import type { Clock, Timer } from '../model/clock.ts';
import type { Log } from '../model/log.ts';

/** The kernel removes routes of a port that is set down without a word: they are read when it is up (ms later). */
const READ_AGAIN = 50;
const RETRY = 1_000;

export interface RouteReadingOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** What is read, for the log. */
  readonly what: string;
  /** undefined: what was read is of no use any more. */
  read(): Promise<readonly Route[] | undefined>;
  /** All that there is, no older than the last notification. */
  take(routes: readonly Route[]): void;
}

/** Reads routes whole when a look is due, where notifications alone do not say everything. */
export class RouteReading {
  readonly #options: RouteReadingOptions;
  #timer: Timer | undefined;
  #changes = 0;
  #closed = false;

  constructor(options: RouteReadingOptions) {
    this.#options = options;
  }

  /** The kernel has told of a route: what is being read meanwhile may be older. */
  noticed(): void {
    this.#changes++;
  }

  later(delay = READ_AGAIN): void {
    if (this.#closed) return;
    const { clock, log, what } = this.#options;
    this.#timer ??= clock.schedule(clock.now() + delay, () => {
      this.#timer = undefined;
      this.now().catch((error: Error) => {
        log.warn({ err: error }, `${what} could not be read, it is tried again`);
        this.later(RETRY);
      });
    });
  }

  /** Resolves to whether it was taken; if not, it is read again later. Rejects when the kernel can't be read. */
  async now(): Promise<boolean> {
    const changes = this.#changes;
    const routes = await this.#options.read();
    if (!routes || this.#closed) return false;
    if (changes === this.#changes) this.#options.take(routes);
    else this.later();
    return changes === this.#changes;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}
