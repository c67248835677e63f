import type { Family, Prefix } from '../../model/address.ts';
import { addressBytes } from '../../model/address.ts';
import { ATTRIBUTE, FLAG, writeAttribute, writeAttributes } from './attributes.ts';
import { writeOptionalParameters } from './capabilities.ts';
import type { Message, OpenMessage, PathAttributes, Reach } from './messages.ts';
import { afiOf, HEADER_LENGTH, MESSAGE_TYPE, SAFI_UNICAST } from './messages.ts';
import { writePrefix } from './nlri.ts';
import { Writer } from './writer.ts';

type Control = Exclude<Message, { type: 'UPDATE' }>;

/** An UPDATE to be sent; `packer.ts` writes the many UPDATEs of the hot path. */
export interface OutgoingUpdate {
  readonly type: 'UPDATE';
  readonly withdrawn: readonly Prefix[];
  readonly reach: readonly Reach[];
  readonly attributes: PathAttributes;
}

function start(type: number): Writer {
  const writer = new Writer(64);
  for (let index = 0; index < 4; index++) writer.u32(0xffffffff);
  return writer.u16(0).u8(type);
}

function finish(writer: Writer): Buffer {
  writer.patchU16(16, writer.length);
  return writer.done();
}

const KEEPALIVE = finish(start(MESSAGE_TYPE.KEEPALIVE));

export function serialize(message: Control): Buffer {
  switch (message.type) {
    case 'KEEPALIVE':
      return KEEPALIVE;
    case 'OPEN':
      return open(message);
    case 'NOTIFICATION': {
      const writer = start(MESSAGE_TYPE.NOTIFICATION).u8(message.code).u8(message.subcode);
      return finish(writer.put(message.data));
    }
    case 'ROUTE-REFRESH':
      return finish(start(MESSAGE_TYPE['ROUTE-REFRESH']).u16(message.afi).u8(message.subtype).u8(message.safi));
  }
}

function open(message: OpenMessage): Buffer {
  const writer = start(MESSAGE_TYPE.OPEN).u8(message.version).u16(message.myAs).u16(message.holdTime);
  writer.put(addressBytes(message.identifier));
  writeOptionalParameters(writer, message.capabilities);
  return finish(writer);
}

/** One message, whatever its size; the caller keeps it within 4,096 octets. MP attributes come first (RFC 7606 §5.1). */
export function serializeUpdate(update: OutgoingUpdate, fourOctetAs: boolean): Buffer {
  const writer = start(MESSAGE_TYPE.UPDATE).u16(0);
  for (const prefix of update.withdrawn) if (!prefix.includes(':')) writePrefix(writer, prefix);
  writer.patchU16(HEADER_LENGTH, writer.length - HEADER_LENGTH - 2);
  const lengthAt = writer.length;
  writer.u16(0);
  const gone = update.withdrawn.filter((prefix) => prefix.includes(':'));
  const v6 = update.reach.find((reach) => reach.family === 6);
  const v4 = update.reach.find((reach) => reach.family === 4);
  if (v6) writeAttribute(writer, FLAG.optional, ATTRIBUTE.MP_REACH_NLRI, reachValue(v6));
  if (gone.length > 0) writeAttribute(writer, FLAG.optional, ATTRIBUTE.MP_UNREACH_NLRI, unreachValue(6, gone));
  const { nextHop: _, ...rest } = update.attributes;
  writeAttributes(writer, v4 ? { ...rest, nextHop: v4.nextHop } : rest, { fourOctetAs });
  writer.patchU16(lengthAt, writer.length - lengthAt - 2);
  for (const prefix of v4?.prefixes ?? []) writePrefix(writer, prefix);
  return finish(writer);
}

function reachValue(reach: Reach): Uint8Array {
  const writer = new Writer().u16(afiOf(reach.family)).u8(SAFI_UNICAST);
  const nextHop = addressBytes(reach.nextHop);
  writer.u8(nextHop.length + (reach.linkLocal ? 16 : 0)).put(nextHop);
  if (reach.linkLocal) writer.put(addressBytes(reach.linkLocal));
  writer.u8(0);
  for (const prefix of reach.prefixes) writePrefix(writer, prefix);
  return writer.done();
}

function unreachValue(family: Family, prefixes: readonly Prefix[]): Uint8Array {
  const writer = new Writer().u16(afiOf(family)).u8(SAFI_UNICAST);
  for (const prefix of prefixes) writePrefix(writer, prefix);
  return writer.done();
}

/** RFC 4724 §2. */
export function endOfRib(family: Family): Buffer {
  const writer = start(MESSAGE_TYPE.UPDATE).u16(0);
  if (family === 4) return finish(writer.u16(0));
  const value = unreachValue(family, []);
  writer.u16(value.length + 3);
  writeAttribute(writer, FLAG.optional, ATTRIBUTE.MP_UNREACH_NLRI, value);
  return finish(writer);
}
