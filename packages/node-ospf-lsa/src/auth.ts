/**
 * Packet authentication: none, simple password, MD5 (RFC 2328 Appendix D), HMAC-SHA (RFC 5709).
 *
 * With a cryptographic type the digest stands behind the OSPF packet and is not counted in its length. Both kinds are
 * computed over packet plus trailer, with the trailer first filled by what the RFC says: the key for MD5, Apad for HMAC.
 * `Authentication` objects are taken as the constants that their type says they are: a new key is a new object.
 */
import { createHmac, createSecretKey, hash, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { Authentication } from './types.ts';

export const HEADER_LENGTH = 24;
const AUTH_AT = 16;
const SIMPLE_LENGTH = 8;
const MD5_KEY_LENGTH = 16;
/** RFC 5709 §3.3. */
const APAD = Uint8Array.of(0x87, 0x8f, 0xe1, 0xf3);

type Cryptographic = Exclude<Authentication, { readonly type: 'none' | 'simple' }>;

const DIGEST_LENGTH = {
  md5: 16,
  'hmac-sha-1': 20,
  'hmac-sha-256': 32,
  'hmac-sha-384': 48,
  'hmac-sha-512': 64,
} as const satisfies Record<Cryptographic['type'], number>;
const HASH_NAME = {
  'hmac-sha-1': 'sha1',
  'hmac-sha-256': 'sha256',
  'hmac-sha-384': 'sha384',
  'hmac-sha-512': 'sha512',
} as const;

export function authTypeOf(authentication: Authentication): 0 | 1 | 2 {
  return authentication.type === 'none' ? 0 : authentication.type === 'simple' ? 1 : 2;
}

/** Octets that the authentication adds behind the packet. */
export function trailerLength(authentication: Authentication): number {
  return isCryptographic(authentication) ? DIGEST_LENGTH[authentication.type] : 0;
}

/** What makes this authentication impossible to use on the wire, or undefined when it is fine. */
export function authenticationProblem(authentication: Authentication): string | undefined {
  if (authentication.type === 'none') return undefined;
  if (authentication.type === 'simple') {
    const length = Buffer.byteLength(authentication.password);
    return length > SIMPLE_LENGTH ? `the simple password has ${length} octets, at most 8 fit` : undefined;
  }
  const { keyId, secret, type } = authentication;
  if (!Number.isInteger(keyId) || keyId < 0 || keyId > 255) return `key id ${keyId} is not within 0..255`;
  if (secret.length === 0) return 'the secret is empty';
  return type === 'md5' && secret.length > MD5_KEY_LENGTH
    ? `the MD5 secret has ${secret.length} octets, at most 16 fit`
    : undefined;
}

/**
 * Writes the authentication field and the trailer into a packet that is otherwise complete.
 * @throws RangeError when `authentication` cannot be used (see `authenticationProblem`)
 */
export function sign(bytes: Uint8Array, length: number, authentication: Authentication, cryptoSequence: number): void {
  const problem = authenticationProblem(authentication);
  if (problem !== undefined) throw new RangeError(problem);
  if (authentication.type === 'simple') {
    bytes.set(Buffer.from(authentication.password), AUTH_AT);
  } else if (isCryptographic(authentication)) {
    const size = DIGEST_LENGTH[authentication.type];
    bytes[AUTH_AT + 2] = authentication.keyId;
    bytes[AUTH_AT + 3] = size;
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(AUTH_AT + 4, cryptoSequence);
    bytes.set(digest(bytes.subarray(0, length + size), length, authentication), length);
  }
}

/** Why a packet is not from someone who holds one of `accepted`, or undefined when it is. AuType was read before. */
export function refusal(bytes: Uint8Array, length: number, accepted: readonly Authentication[]): string | undefined {
  const authType = (bytes[14]! << 8) | bytes[15]!;
  const sameType = accepted.filter((candidate) => authTypeOf(candidate) === authType);
  if (sameType.length === 0) return `AuType ${authType} is not the configured one`;
  if (authType === 0) return undefined;
  if (authType === 1) {
    const field = bytes.subarray(AUTH_AT, AUTH_AT + SIMPLE_LENGTH);
    return sameType.some((candidate) => candidate.type === 'simple' && samePassword(field, candidate.password))
      ? undefined
      : 'wrong password';
  }
  const keyId = bytes[AUTH_AT + 2]!;
  const size = bytes[AUTH_AT + 3]!;
  let reason = `key id ${keyId} is not configured`;
  for (const candidate of sameType) {
    if (!isCryptographic(candidate) || candidate.keyId !== keyId) continue;
    const problem = authenticationProblem(candidate);
    if (problem !== undefined) return problem;
    if (size !== DIGEST_LENGTH[candidate.type]) {
      reason = `a digest of ${size} octets does not belong to ${candidate.type}`;
      continue;
    }
    const copy = new Uint8Array(bytes.subarray(0, length + size));
    if (timingSafeEqual(digest(copy, length, candidate), bytes.subarray(length, length + size))) return undefined;
    reason = 'wrong digest';
  }
  return reason;
}

/** `bytes` is packet plus trailer; the trailer is overwritten on the way. */
function digest(bytes: Uint8Array, length: number, authentication: Cryptographic): Uint8Array {
  const trailer = bytes.subarray(length);
  if (authentication.type === 'md5') {
    trailer.fill(0);
    trailer.set(authentication.secret);
    return hash('md5', bytes, 'buffer');
  }
  for (let index = 0; index < trailer.length; index++) trailer[index] = APAD[index & 3]!;
  return createHmac(HASH_NAME[authentication.type], hmacKey(authentication, authentication.type))
    .update(bytes)
    .digest();
}

/** Importing raw key bytes costs four times what the rest of an HMAC does, so it is done once for each object. */
const hmacKeys = new WeakMap<Cryptographic, KeyObject>();

function hmacKey(authentication: Cryptographic, type: keyof typeof HASH_NAME): KeyObject {
  const known = hmacKeys.get(authentication);
  if (known) return known;
  const { secret } = authentication;
  // RFC 5709 §3.3 (1): a key longer than the digest (not than the block, as in plain HMAC) is hashed first.
  const bytes = secret.length > DIGEST_LENGTH[type] ? hash(HASH_NAME[type], secret, 'buffer') : secret;
  const key = createSecretKey(bytes);
  hmacKeys.set(authentication, key);
  return key;
}

function samePassword(field: Uint8Array, password: string): boolean {
  const expected = Buffer.from(password);
  if (expected.length > SIMPLE_LENGTH) return false;
  const padded = new Uint8Array(SIMPLE_LENGTH);
  padded.set(expected);
  return timingSafeEqual(field, padded);
}

function isCryptographic(authentication: Authentication): authentication is Cryptographic {
  return authentication.type !== 'none' && authentication.type !== 'simple';
}
