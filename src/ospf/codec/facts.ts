/**
 * A port fact in an opaque LSA (RFC 5250): opaque type 201, of the range for private use; the opaque id tells the ports of
 * one router apart. The data is the length of the key and that of the value (2 octets each), the key, the value, and zeros
 * up to a multiple of 4 octets. What key and value say is none of OSPF's business.
 */
import type { U32 } from 'node-ospf-lsa';
import type { CarriedFact } from '../../model/port-facts.ts';

export const FACT_TYPE = 201;
const ID_MASK = 0xffffff;
const HEADER = 4;
export const MAX_KEY_OCTETS = 64;
/** Key and value: the LSA and its packet, signed, fit into 1,500 octets, for BIRD reads no larger ones by default. */
export const MAX_FACT_OCTETS = 1340;

export type FactDataError = 'truncated' | 'bad-key-length' | 'bad-padding';

/** Link State ID of the fact of this opaque id. */
export const factId = (opaqueId: number): U32 => ((FACT_TYPE << 24) | (opaqueId & ID_MASK)) >>> 0;
export const isFactId = (linkStateId: U32): boolean => linkStateId >>> 24 === FACT_TYPE;

/** The low 24 bits of the port's ifindex, or of a hash of the key (FNV-1a) when there is none. */
export function opaqueIdOf({ key, index }: Pick<CarriedFact, 'key' | 'index'>): number {
  if (index !== undefined) return index & ID_MASK;
  let hash = 0x811c9dc5;
  for (const octet of key) hash = Math.imul(hash ^ octet, 0x01000193);
  return ((hash >>> 24) ^ hash) & ID_MASK;
}

export const nextOpaqueId = (id: number): number => (id + 1) & ID_MASK;

export const fits = ({ key, value }: CarriedFact): boolean =>
  key.length > 0 && key.length <= MAX_KEY_OCTETS && key.length + value.length <= MAX_FACT_OCTETS;

export function encodeFactData({ key, value }: Pick<CarriedFact, 'key' | 'value'>): Uint8Array {
  const data = new Uint8Array((HEADER + key.length + value.length + 3) & ~3);
  data[0] = key.length >>> 8;
  data[1] = key.length;
  data[2] = value.length >>> 8;
  data[3] = value.length;
  data.set(key, HEADER);
  data.set(value, HEADER + key.length);
  return data;
}

export function decodeFactData(data: Uint8Array): { key: Uint8Array; value: Uint8Array } | FactDataError {
  if (data.length < HEADER) return 'truncated';
  const keyLength = (data[0]! << 8) | data[1]!;
  const valueLength = (data[2]! << 8) | data[3]!;
  if (keyLength === 0 || keyLength > MAX_KEY_OCTETS) return 'bad-key-length';
  const end = HEADER + keyLength + valueLength;
  if (end > data.length) return 'truncated';
  if (((end + 3) & ~3) !== data.length) return 'bad-padding';
  return { key: data.subarray(HEADER, HEADER + keyLength), value: data.subarray(HEADER + keyLength, end) };
}
