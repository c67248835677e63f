/** Which key: its number in the controller's cycle, and what tells it from the same number of another round. */
export interface KeyId {
  /** 1 to 255. */
  readonly version: number;
  /** 32 bits, derived from the key. */
  readonly fingerprint: number;
}

/** What a data packet has room for. */
export interface ShortKeyId {
  /** 0: the sender has no key. */
  readonly version: number;
  /** Upper 12 bits of the fingerprint. */
  readonly fp12: number;
}

export const NO_KEY: ShortKeyId = { version: 0, fp12: 0 };

/** Versions that an end can hold at once: as many as a control packet lists. */
export const MOST_VERSIONS = 16;

export const shorten = ({ version, fingerprint }: KeyId): ShortKeyId => ({ version, fp12: fingerprint >>> 20 });

export const sameKey = (a: KeyId | undefined, b: KeyId | undefined): boolean =>
  a !== undefined && b !== undefined && a.version === b.version && a.fingerprint === b.fingerprint;

export const sameShort = (key: KeyId | undefined, short: ShortKeyId): boolean =>
  key !== undefined && key.version === short.version && key.fingerprint >>> 20 === short.fp12;

/** As people read it: `V3/1f2e3d4c`. */
export const keyText = (key: KeyId | undefined): string =>
  key === undefined ? 'none' : `V${key.version}/${key.fingerprint.toString(16).padStart(8, '0')}`;

export const shortText = ({ version, fp12 }: ShortKeyId): string =>
  version === 0 ? 'none' : `V${version}/${fp12.toString(16).padStart(3, '0')}`;
