/** The ring follows its source; what is said of keys is versions, fingerprints and reasons. */
import { keyText } from '../codec/identity.ts';
import type { KeyRing } from '../keys/ring.ts';
import type { KeyListing, KeyProblem, KeySource } from '../keys/store.ts';
import type { EncryptionEvent } from './view.ts';

export interface KeyFollowingOptions {
  readonly ring: KeyRing;
  readonly source: KeySource;
  readonly record: (event: EncryptionEvent) => void;
  /** The ring has other keys than before. */
  readonly changed: () => void;
}

export class KeyFollowing {
  readonly #options: KeyFollowingOptions;
  #trouble: string | undefined;
  #problems: readonly KeyProblem[] = [];
  #heard: (() => void) | undefined;
  #listed = false;
  #listings = 0;

  constructor(options: KeyFollowingOptions) {
    this.#options = options;
  }

  /** Whether the source has ever said what there is. */
  get listed(): boolean {
    return this.#listed;
  }

  /** Resolves with the first word of the source, be it that it can't be reached. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#heard = resolve;
      this.#options.source.start({
        listing: (listing) => this.#take(listing),
        trouble: (reason) => this.#troubled(reason),
      });
    });
  }

  stop(): void {
    this.#options.source.stop();
    this.#options.ring.clear();
  }

  warnings(): string[] {
    const { ring } = this.#options;
    return [
      ...(this.#trouble === undefined ? [] : [`no new keys can be had: ${this.#trouble}`]),
      ...this.#problems.map(({ where, message, remedy }) => `${where} ${message}${remedy ? `. ${remedy}` : ''}`),
      ...(this.#listed && ring.held.length === 0 ? ['there is no key'] : []),
    ];
  }

  counters(): Record<string, number> {
    return { listings: this.#listings, held: this.#options.ring.held.length, problems: this.#problems.length };
  }

  #take(listing: KeyListing): void {
    const first = !this.#listed;
    this.#listed = true;
    this.#listings++;
    this.#problems = listing.problems;
    const { ring, record, changed } = this.#options;
    const had = ring.ids.map(keyText);
    if (ring.replace(listing.keys) || first) {
      const held = ring.ids.map(keyText);
      const message = held.length === 0 ? 'no key is left' : `the newest key is ${held[0]}`;
      const severity = held.length === 0 ? 'error' : 'info';
      record({ type: 'encryption.keys', severity, message, fields: { held, had } });
      changed();
    }
    this.#heard?.();
  }

  #troubled(reason: string | undefined): void {
    if (reason !== this.#trouble) {
      const fields = reason === undefined ? {} : { reason };
      const message = reason === undefined ? 'the source of keys answers' : `no new keys can be had: ${reason}`;
      this.#options.record({
        type: 'encryption.source',
        severity: reason === undefined ? 'info' : 'warning',
        message,
        fields,
      });
    }
    this.#trouble = reason;
    if (reason !== undefined) this.#heard?.();
  }
}
