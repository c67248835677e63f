import type { Family } from '../model/address.ts';
import type { Instant } from '../model/clock.ts';
import type { UpdateMessage } from './codec/messages.ts';

/** Without End-of-RIB: this long without an UPDATE, and the table is taken for complete (ms). */
const QUIET = 1_000;
const QUIET_WITHOUT_ANY = 3_000;

/** Whether a session has brought its first table yet. */
export class Arrival {
  readonly #families: ReadonlySet<Family>;
  readonly #since: Instant;
  readonly #ended = new Set<Family>();
  #heardAt: Instant | undefined;

  constructor(families: ReadonlySet<Family>, now: Instant) {
    this.#families = families;
    this.#since = now;
  }

  heard({ endOfRib }: UpdateMessage, now: Instant): void {
    this.#heardAt = now;
    if (endOfRib) this.#ended.add(endOfRib);
  }

  complete(now: Instant): boolean {
    if ([...this.#families].every((family) => this.#ended.has(family))) return true;
    return this.#heardAt === undefined ? now - this.#since >= QUIET_WITHOUT_ANY : now - this.#heardAt >= QUIET;
  }
}
