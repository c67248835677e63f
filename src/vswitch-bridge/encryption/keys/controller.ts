/** The embedded key controller: which version comes next, what is kept, what goes. */
import { randomBytes } from 'node:crypto';
import { fingerprintOf, VERSION_KEY_LENGTH } from '../codec/derivation.ts';
import { forgetListing, type KeyProblem, type KeyStore } from './store.ts';

/** What may be shown of a key. */
export interface KeyView {
  readonly version: number;
  /** Eight hexadecimal digits. */
  readonly fingerprint: string;
  /** ISO 8601. */
  readonly issued: string;
  /** ms */
  readonly age: number;
  readonly newest: boolean;
}

export interface KeysView {
  /** The newest first. */
  readonly keys: readonly KeyView[];
  readonly problems: readonly KeyProblem[];
}

export class KeyController {
  readonly #store: KeyStore;
  /** Milliseconds since 1970. */
  readonly #wall: () => number;

  constructor(store: KeyStore, wall: () => number = Date.now) {
    this.#store = store;
    this.#wall = wall;
  }

  async list(): Promise<KeysView> {
    const listing = await this.#store.read();
    const now = this.#wall();
    const keys = [...listing.keys]
      .sort((a, b) => b.issued - a.issued)
      .map(({ version, issued, key }, index) => ({
        version,
        fingerprint: fingerprintOf(key).toString(16).padStart(8, '0'),
        issued: new Date(issued).toISOString(),
        age: Math.max(0, now - issued),
        newest: index === 0,
      }));
    forgetListing(listing);
    return { keys, problems: listing.problems };
  }

  /**
   * A new key, under the number after the newest's, in a cycle of `cycle`; versions beyond the `keep` newest go.
   * @throws RangeError unless 1 <= keep <= cycle <= 255
   */
  async rotate(
    cycle: number,
    keep: number,
  ): Promise<{ readonly version: number; readonly removed: readonly number[] }> {
    if (!(keep >= 1 && keep <= cycle && cycle <= 255)) throw new RangeError('1 <= keep <= cycle <= 255');
    const listing = await this.#store.read();
    forgetListing(listing);
    const known = [...listing.keys].sort((a, b) => b.issued - a.issued);
    const newest = known[0];
    const version = newest && newest.version < cycle ? newest.version + 1 : 1;
    // A clock that was set back must not make an older key the newest.
    const issued = Math.max(this.#wall(), newest ? newest.issued + 1 : 0);
    const key = new Uint8Array(randomBytes(VERSION_KEY_LENGTH));
    try {
      await this.#store.write({ version, issued, key });
    } finally {
      key.fill(0);
    }
    const kept = new Set([
      version,
      ...known
        .filter((one) => one.version !== version)
        .slice(0, keep - 1)
        .map((one) => one.version),
    ]);
    const removed = known.map((one) => one.version).filter((one) => !kept.has(one));
    for (const old of removed) await this.#store.remove(old);
    return { version, removed };
  }

  /** False: no such version. */
  revoke(version: number): Promise<boolean> {
    return this.#store.remove(version);
  }
}
