/** Which of two instances of an LSA is newer, and what ages have to do with it. */
import type { Lsa, LsaHeader, LsaKey } from './types.ts';
import { MaxAge, MaxAgeDiff } from './types.ts';

/** RFC 1793 §2.2: the top bit of the age field says that the LSA does not age in the database. */
export const DoNotAge = 0x8000;

/** The age in seconds, 0..MaxAge, whatever DoNotAge says. */
export function lsaAge(header: Pick<LsaHeader, 'age'>): number {
  return Math.min(header.age & ~DoNotAge, MaxAge);
}

/**
 * RFC 2328 §13.1: positive when `a` is the more recent instance, negative when `b` is, 0 when they count as the same.
 */
export function compareInstances(
  a: Pick<LsaHeader, 'sequence' | 'checksum' | 'age'>,
  b: Pick<LsaHeader, 'sequence' | 'checksum' | 'age'>,
): number {
  if (a.sequence !== b.sequence) return a.sequence > b.sequence ? 1 : -1;
  if (a.checksum !== b.checksum) return a.checksum > b.checksum ? 1 : -1;
  const ageA = lsaAge(a);
  const ageB = lsaAge(b);
  if ((ageA === MaxAge) !== (ageB === MaxAge)) return ageA === MaxAge ? 1 : -1;
  if (Math.abs(ageA - ageB) > MaxAgeDiff) return ageA < ageB ? 1 : -1;
  return 0;
}

/** A Map key for the LSA (not for the instance), unique over type, Link State ID and Advertising Router. */
export function lsaKeyText(key: LsaKey): string {
  return `${key.type}/${key.linkStateId}/${key.advertisingRouter}`;
}

/** A copy of the LSA's bytes with another age. The checksum does not cover the age, so nothing else changes. */
export function withAge(raw: Uint8Array, age: number): Uint8Array {
  const copy = new Uint8Array(raw);
  copy[0] = age >>> 8;
  copy[1] = age;
  return copy;
}

/** The same instance with another age, in its header and in its bytes (MaxAge: what is flooded to flush it). */
export function lsaWithAge(lsa: Lsa, age: number): Lsa {
  return { header: { ...lsa.header, age }, body: lsa.body, raw: withAge(lsa.raw, age) };
}
