/**
 * The authentication section, RFC 5880 §4.2-§4.4. It is read so that a peer which uses one can be named for what it is;
 * no keys are held here, hence nothing is verified.
 */

export type AuthenticationSection =
  | { readonly type: 'simple'; readonly keyId: number /** 1 to 16 octets. */; readonly password: Uint8Array }
  | {
      readonly type: 'md5' | 'meticulous-md5' | 'sha1' | 'meticulous-sha1';
      readonly keyId: number;
      readonly sequence: number;
      /** 16 octets for MD5, 20 for SHA1. */
      readonly digest: Uint8Array;
    };

export type AuthenticationError = 'authentication-length' | 'authentication-type';

/** RFC 5880 §4.1: Auth Type. */
const TYPES = { simple: 1, md5: 2, 'meticulous-md5': 3, sha1: 4, 'meticulous-sha1': 5 } as const;
const NAMES: ReadonlyMap<number, keyof typeof TYPES> = new Map(
  Object.entries(TYPES).map(([name, number]) => [number, name as keyof typeof TYPES]),
);
const DIGEST_AT = 8;

const digestLength = (type: Exclude<keyof typeof TYPES, 'simple'>): number => (type.endsWith('md5') ? 16 : 20);

/** `bytes`: from the section on to the end of the packet, which has nothing behind it. */
export function decodeAuthentication(bytes: Uint8Array): AuthenticationSection | AuthenticationError {
  const length = bytes[1];
  if (length === undefined || length !== bytes.length) return 'authentication-length';
  const type = NAMES.get(bytes[0]!);
  if (type === undefined) return 'authentication-type';
  const keyId = bytes[2]!;
  if (type === 'simple') {
    if (length < 4 || length > 19) return 'authentication-length';
    return { type, keyId, password: bytes.slice(3) };
  }
  if (length !== DIGEST_AT + digestLength(type)) return 'authentication-length';
  const sequence = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4);
  return { type, keyId, sequence, digest: bytes.slice(DIGEST_AT) };
}

/** @throws RangeError for a password or digest of a length that its type does not have */
export function encodeAuthentication(section: AuthenticationSection): Uint8Array {
  if (section.type === 'simple') {
    const { length } = section.password;
    if (length < 1 || length > 16) throw new RangeError('a password has 1 to 16 octets (RFC 5880 §4.2)');
    return Uint8Array.of(TYPES.simple, length + 3, section.keyId, ...section.password);
  }
  const { type, keyId, sequence, digest } = section;
  if (digest.length !== digestLength(type)) throw new RangeError(`a ${type} digest has ${digestLength(type)} octets`);
  const bytes = new Uint8Array(DIGEST_AT + digest.length);
  bytes.set([TYPES[type], bytes.length, keyId, 0]);
  new DataView(bytes.buffer).setUint32(4, sequence);
  bytes.set(digest, DIGEST_AT);
  return bytes;
}
