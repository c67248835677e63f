import type { Address, Family, Prefix } from '../../model/address.ts';
import { addressBytes, familyOf, makePrefix, prefixAddress, prefixLength } from '../../model/address.ts';
import type { Reader } from './reader.ts';
import { Writer } from './writer.ts';

/**
 * RFC 4271 §4.3: length in bits, then as many octets as hold them. Undefined when a length is greater than the
 * family's or the octets run out, which RFC 7606 §5.3 answers with a session reset.
 */
export function readPrefixes(reader: Reader, family: Family): Prefix[] | undefined {
  const prefixes: Prefix[] = [];
  const longest = family === 4 ? 32 : 128;
  while (reader.remaining > 0) {
    const length = reader.u8();
    if (length > longest) return undefined;
    const octets = reader.take((length + 7) >> 3);
    if (reader.overrun) return undefined;
    prefixes.push(length === 32 && family === 4 ? hostText(octets) : padded(octets, length, longest >> 3));
  }
  return prefixes;
}

const hostText = (octets: Uint8Array): Prefix => `${octets[0]}.${octets[1]}.${octets[2]}.${octets[3]}/32` as Prefix;

/** Trailing bits are irrelevant on the wire (§4.3) and zero in the model. */
function padded(octets: Uint8Array, length: number, size: number): Prefix {
  const bytes = new Uint8Array(size);
  bytes.set(octets);
  return makePrefix(bytes, length);
}

export function writePrefix(writer: Writer, prefix: Prefix): void {
  const length = prefixLength(prefix);
  writer.u8(length).put(addressBytes(prefixAddress(prefix)).subarray(0, (length + 7) >> 3));
}

export function prefixNlri(prefix: Prefix): Uint8Array {
  const writer = new Writer(17);
  writePrefix(writer, prefix);
  return writer.done();
}

/** NLRI of a host route: 5 octets for IPv4, 17 for IPv6. */
export function hostNlri(address: Address): Uint8Array {
  const bytes = addressBytes(address);
  const nlri = new Uint8Array(bytes.length + 1);
  nlri[0] = familyOf(address) === 4 ? 32 : 128;
  nlri.set(bytes, 1);
  return nlri;
}
