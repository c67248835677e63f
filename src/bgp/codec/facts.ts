import type { CarriedFact } from '../../model/port-facts.ts';
import { ATTRIBUTE, FLAG, writeAttribute } from './attributes.ts';
import { AFI, HEADER_LENGTH, MAXIMUM_LENGTH, MESSAGE_TYPE, SAFI_PORT_FACTS } from './messages.ts';
import type { Packed } from './packer.ts';
import type { Reader } from './reader.ts';
import { Writer } from './writer.ts';

/**
 * Facts of ports on the wire (docs/wire.md): AFI 1, SAFI 241 of the range for private use (RFC 4760 §6). A route's NLRI is
 * the length of its key in octets and the key; what it says is in a path attribute of the type that RFC 2042 leaves to
 * development, 255, optional and non-transitive. What key and value mean is nothing to us.
 */
export const LONGEST_KEY = 64;
/** Leaves room for header, key, next hop and a path of hundreds of ASes. */
export const LONGEST_VALUE = 2_048;

/** Undefined when a length is none, greater than a key's, or the octets run out. */
export function readKeys(reader: Reader): Uint8Array[] | undefined {
  const keys: Uint8Array[] = [];
  while (reader.remaining > 0) {
    const length = reader.u8();
    const key = reader.take(length);
    if (reader.overrun || length === 0 || length > LONGEST_KEY) return undefined;
    // The octets received are the socket's buffer.
    keys.push(Uint8Array.from(key));
  }
  return keys;
}

/** What can be carried. */
export const fits = ({ key, value }: CarriedFact): boolean =>
  key.length > 0 && key.length <= LONGEST_KEY && value.length > 0 && value.length <= LONGEST_VALUE;

/**
 * An UPDATE for each fact, as each has a value of its own.
 *
 * @param attributes encoded path attributes that all share, without NEXT_HOP
 * @param nextHop 4 or 16 octets
 */
export function packFacts(facts: Iterable<CarriedFact>, attributes: Uint8Array, nextHop: Uint8Array): Packed {
  const writer = new Writer(4_096);
  let updates = 0;
  for (const { key, value } of facts) {
    const reach = new Writer(96).u16(AFI.ipv4).u8(SAFI_PORT_FACTS).u8(nextHop.length).put(nextHop).u8(0);
    reach.u8(key.length).put(key);
    update(writer, () => {
      writeAttribute(writer, FLAG.optional, ATTRIBUTE.MP_REACH_NLRI, reach.done());
      writer.put(attributes);
      writeAttribute(writer, FLAG.optional, ATTRIBUTE.PORT_FACT, value);
    });
    updates++;
  }
  return { bytes: writer.done(), updates };
}

const FULL = MAXIMUM_LENGTH - HEADER_LENGTH - 4 - 4 - 3 - LONGEST_KEY - 1;

/** As few UPDATEs as hold the keys. */
export function packFactWithdrawals(keys: Iterable<Uint8Array>): Packed {
  const writer = new Writer(256);
  let updates = 0;
  let nlri = new Writer(256);
  const flush = () => {
    if (nlri.length === 0) return;
    unreach(writer, nlri.done());
    nlri = new Writer(256);
    updates++;
  };
  for (const key of keys) {
    nlri.u8(key.length).put(key);
    if (nlri.length > FULL) flush();
  }
  flush();
  return { bytes: writer.done(), updates };
}

/** RFC 4724 §2. */
export function endOfFacts(): Buffer {
  const writer = new Writer(32);
  unreach(writer, new Uint8Array(0));
  return writer.done();
}

function unreach(writer: Writer, nlri: Uint8Array): void {
  const value = new Writer(nlri.length + 3).u16(AFI.ipv4).u8(SAFI_PORT_FACTS).put(nlri).done();
  update(writer, () => writeAttribute(writer, FLAG.optional, ATTRIBUTE.MP_UNREACH_NLRI, value));
}

function update(writer: Writer, attributes: () => void): void {
  const start = writer.length;
  for (let index = 0; index < 4; index++) writer.u32(0xffffffff);
  writer.u16(0).u8(MESSAGE_TYPE.UPDATE).u16(0);
  const lengthAt = writer.length;
  writer.u16(0);
  attributes();
  writer.patchU16(lengthAt, writer.length - lengthAt - 2);
  writer.patchU16(start + 16, writer.length - start);
}
