/**
 * The version keys that this host holds. The last received is the newest, whatever its number; of a number that comes round
 * again the earlier key goes. Octets of a key that leaves the ring are zeroed.
 */

import type { ControlKey } from '../codec/control.ts';
import { controlKey, fingerprintOf, VERSION_KEY_LENGTH } from '../codec/derivation.ts';
import { type KeyId, MOST_VERSIONS } from '../codec/identity.ts';

/** A key as a source has it. The ring copies; the source zeroes its own. */
export interface IssuedKey {
  /** 1 to 255. */
  readonly version: number;
  /** Milliseconds since 1970, by the controller's clock; what a controller issues later is larger. */
  readonly issued: number;
  /** 32 octets. */
  readonly key: Uint8Array;
}

export interface HeldKey {
  readonly id: KeyId;
  readonly issued: number;
  readonly key: Uint8Array;
  readonly control: Uint8Array;
}

export class KeyRing {
  /** How many are kept. */
  readonly versions: number;
  #held: readonly HeldKey[] = [];

  constructor(versions: number) {
    if (versions < 1 || versions > MOST_VERSIONS)
      throw new RangeError(`1 to ${MOST_VERSIONS} versions, not ${versions}`);
    this.versions = versions;
  }

  /** The newest first. */
  get held(): readonly HeldKey[] {
    return this.#held;
  }

  get ids(): readonly KeyId[] {
    return this.#held.map(({ id }) => id);
  }

  /** In the order of `held`. */
  get controlKeys(): readonly ControlKey[] {
    return this.#held;
  }

  find(id: KeyId): HeldKey | undefined {
    return this.#held.find(({ id: own }) => own.version === id.version && own.fingerprint === id.fingerprint);
  }

  /** What the source has now, in any order; true when it makes a difference. @throws RangeError for a key of wrong length */
  replace(issued: readonly IssuedKey[]): boolean {
    const before = this.#held;
    const seen = new Set<number>();
    const held: HeldKey[] = [];
    for (const { version, issued: at, key } of [...issued].sort((a, b) => b.issued - a.issued)) {
      if (key.length !== VERSION_KEY_LENGTH) throw new RangeError(`a key has ${VERSION_KEY_LENGTH} octets`);
      if (seen.has(version) || held.length === this.versions) continue;
      seen.add(version);
      const id = { version, fingerprint: fingerprintOf(key) };
      const own = before.find((one) => one.issued === at && sameOctets(one.key, key) && one.id.version === version);
      held.push(own ?? { id, issued: at, key: Uint8Array.from(key), control: controlKey(key) });
    }
    for (const one of before) if (!held.includes(one)) forget(one);
    this.#held = held;
    return held.length !== before.length || held.some((one, index) => one !== before[index]);
  }

  clear(): void {
    this.#held.forEach(forget);
    this.#held = [];
  }
}

function forget({ key, control }: HeldKey): void {
  key.fill(0);
  control.fill(0);
}

const sameOctets = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
