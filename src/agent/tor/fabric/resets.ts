import type { Clock, Timer } from '../../../model/clock.ts';

/** A session that a reload resets is missed no sooner than this (ms): the link is as sound as it was. */
const RESET_WAIT = 10_000;

interface Reset {
  readonly port: string;
  readonly what: string;
  readonly timer: Timer;
}

/** Sessions that stood when a reload began them anew. For a while their absence says nothing of the port they stood on. */
export class Resets {
  readonly #clock: Clock;
  readonly #onGivenUp: () => void;
  readonly #resets = new Map<string, Reset>();

  /** `onGivenUp`: one was waited for long enough. */
  constructor(clock: Clock, onGivenUp: () => void) {
    this.#clock = clock;
    this.#onGivenUp = onGivenUp;
  }

  /** `what`: whose session, in words; each is one of its own. */
  expect(what: string, port: string): void {
    this.forget(what);
    const timer = this.#clock.schedule(this.#clock.now() + RESET_WAIT, () => {
      this.#resets.delete(what);
      this.#onGivenUp();
    });
    this.#resets.set(what, { port, what, timer });
  }

  forget(what: string): void {
    this.#resets.get(what)?.timer.cancel();
    this.#resets.delete(what);
  }

  /** The port has lost its link, and that is another matter. True: somebody was waited for there. */
  linkLost(port: string): boolean {
    const there = [...this.#resets.values()].filter((reset) => reset.port === port);
    for (const { what } of there) this.forget(what);
    return there.length > 0;
  }

  /** Whose session is waited for on the port. */
  on(port: string): string | undefined {
    return [...this.#resets.values()].find((reset) => reset.port === port)?.what;
  }

  close(): void {
    for (const what of [...this.#resets.keys()]) this.forget(what);
  }
}
