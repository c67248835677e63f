/**
 * Packets to bytes. Each packet is written once into a buffer of its exact size, digest included. A Link State Update
 * copies the LSAs' own bytes and never looks into them: that is the path of a withdrawal of a thousand host routes.
 *
 * What comes in here is the caller's own: a value that does not fit is a mistake in the program, hence a RangeError.
 */
import { authTypeOf, HEADER_LENGTH, sign, trailerLength } from './auth.ts';
import { packetChecksum } from './checksum.ts';
import { LSA_HEADER_LENGTH } from './lsa-parser.ts';
import type { Authentication, Lsa, LsaHeader, OutgoingPacket, U32 } from './types.ts';
import { MaxAge, PacketType } from './types.ts';
import { Writer } from './writer.ts';

const UPDATE_OVERHEAD = HEADER_LENGTH + 4;
const MAX_PACKET = 65_535 - 20;

/** What every packet of one `packUpdates` has in common. */
export interface UpdateHeader {
  readonly routerId: U32;
  readonly areaId: U32;
  /** Needed with cryptographic authentication; all the packets carry this one (it must never decrease, §D.3). */
  readonly cryptoSequence?: U32;
  /** InfTransDelay, seconds: added to the age of each LSA as it is copied (RFC 2328 §13.3 (5)). Default 0. */
  readonly transmitDelay?: number;
}

/**
 * Encodes a whole OSPF packet, digest included, to be handed to a raw IP socket.
 * @param cryptoSequence for cryptographic authentication; default: the packet's own, else 0
 * @throws RangeError when the packet cannot be put on the wire (too long, password too long ...)
 */
export function encodePacket(
  packet: OutgoingPacket,
  authentication: Authentication = { type: 'none' },
  cryptoSequence: U32 = packet.cryptoSequence ?? 0,
): Uint8Array {
  const length = HEADER_LENGTH + bodyLength(packet);
  const writer = beginPacket(packet.type, length, packet.routerId, packet.areaId, authentication);
  switch (packet.type) {
    case PacketType.Hello:
      writer.u32(packet.networkMask);
      writer.u16(packet.helloInterval);
      writer.u8(packet.options);
      writer.u8(packet.priority);
      writer.u32(packet.deadInterval);
      writer.u32(packet.designatedRouter);
      writer.u32(packet.backupDesignatedRouter);
      for (const neighbor of packet.neighbors) writer.u32(neighbor);
      break;
    case PacketType.DatabaseDescription:
      writer.u16(packet.interfaceMtu);
      writer.u8(packet.options);
      writer.u8(packet.flags);
      writer.u32(packet.sequence);
      for (const header of packet.headers) writeLsaHeader(writer, header);
      break;
    case PacketType.LinkStateRequest:
      for (const request of packet.requests) {
        writer.u32(request.type);
        writer.u32(request.linkStateId);
        writer.u32(request.advertisingRouter);
      }
      break;
    case PacketType.LinkStateUpdate:
      writer.u32(packet.lsas.length);
      for (const lsa of packet.lsas) writer.raw(lsa.raw);
      break;
    case PacketType.LinkStateAck:
      for (const header of packet.headers) writeLsaHeader(writer, header);
      break;
  }
  return finishPacket(writer.bytes, length, authentication, cryptoSequence);
}

/**
 * Packs LSAs, in their order, into as few Link State Updates of at most `maxBytes` as they need. An LSA that is too
 * long for that goes out in a packet of its own, and IP fragments it (RFC 2328 §A.1).
 * @param maxBytes of the OSPF packet with its digest: the interface's MTU less 20 for the IP header
 * @throws RangeError as `encodePacket` does
 */
export function packUpdates(
  lsas: readonly Uint8Array[],
  maxBytes: number,
  header: UpdateHeader,
  authentication: Authentication = { type: 'none' },
): Uint8Array[] {
  const room = Math.min(maxBytes, MAX_PACKET) - trailerLength(authentication);
  const packets: Uint8Array[] = [];
  for (let from = 0; from < lsas.length; ) {
    let length = UPDATE_OVERHEAD + lsas[from]!.length;
    let to = from + 1;
    while (to < lsas.length && length + lsas[to]!.length <= room) length += lsas[to++]!.length;
    packets.push(encodeUpdate(lsas, from, to, length, header, authentication));
    from = to;
  }
  return packets;
}

function encodeUpdate(
  lsas: readonly Uint8Array[],
  from: number,
  to: number,
  length: number,
  header: UpdateHeader,
  authentication: Authentication,
): Uint8Array {
  const delay = header.transmitDelay ?? 0;
  const writer = beginPacket(PacketType.LinkStateUpdate, length, header.routerId, header.areaId, authentication);
  writer.u32(to - from);
  for (let index = from; index < to; index++) {
    const at = writer.offset;
    writer.raw(lsas[index]!);
    if (delay > 0) addAge(writer.bytes, at, delay);
  }
  return finishPacket(writer.bytes, length, authentication, header.cryptoSequence ?? 0);
}

function addAge(bytes: Uint8Array, at: number, delay: number): void {
  // The top bit is DoNotAge (RFC 1793 §2.2): it stays, and the age under it still counts the hops.
  const doNotAge = bytes[at]! & 0x80;
  const age = Math.min((((bytes[at]! & 0x7f) << 8) | bytes[at + 1]!) + delay, MaxAge);
  bytes[at] = (age >>> 8) | doNotAge;
  bytes[at + 1] = age;
}

function beginPacket(type: number, length: number, routerId: U32, areaId: U32, authentication: Authentication): Writer {
  const size = length + trailerLength(authentication);
  if (size > MAX_PACKET) throw new RangeError(`an OSPF packet of ${size} octets does not fit into an IP packet`);
  const writer = new Writer(size);
  writer.u8(2);
  writer.u8(type);
  writer.u16(length);
  writer.u32(routerId);
  writer.u32(areaId);
  writer.u16(0);
  writer.u16(authTypeOf(authentication));
  writer.offset = HEADER_LENGTH;
  return writer;
}

function finishPacket(
  bytes: Uint8Array,
  length: number,
  authentication: Authentication,
  cryptoSequence: U32,
): Uint8Array {
  if (authTypeOf(authentication) !== 2) {
    const checksum = packetChecksum(bytes, length);
    bytes[12] = checksum >>> 8;
    bytes[13] = checksum;
  }
  if (authentication.type !== 'none') sign(bytes, length, authentication, cryptoSequence);
  return bytes;
}

function bodyLength(packet: OutgoingPacket): number {
  switch (packet.type) {
    case PacketType.Hello:
      return 20 + packet.neighbors.length * 4;
    case PacketType.DatabaseDescription:
      return 8 + packet.headers.length * LSA_HEADER_LENGTH;
    case PacketType.LinkStateRequest:
      return packet.requests.length * 12;
    case PacketType.LinkStateUpdate:
      return packet.lsas.reduce((sum: number, lsa: Pick<Lsa, 'raw'>) => sum + lsa.raw.length, 4);
    case PacketType.LinkStateAck:
      return packet.headers.length * LSA_HEADER_LENGTH;
  }
}

/** All 20 octets, with the checksum and the length that the header names. */
export function writeLsaHeader(writer: Writer, header: LsaHeader): void {
  writer.u16(header.age);
  writer.u8(header.options);
  writer.u8(header.type);
  writer.u32(header.linkStateId);
  writer.u32(header.advertisingRouter);
  writer.u32(header.sequence);
  writer.u16(header.checksum);
  writer.u16(header.length);
}
