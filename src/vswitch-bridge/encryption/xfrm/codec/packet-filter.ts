/**
 * What a packet socket is to see of what comes in on the port of ESP: control packets, plain ones, and encrypted ones of a version
 * that nobody here holds. The kernel takes all of them for ESP and drops them, whoever listens on the port. Classic BPF over the IP
 * packet; of what is fragmented, nothing.
 */
import type { FilterInstruction } from 'linux-sockets';
import { type Address, formatAddress } from '../../../../model/address.ts';
import { RANGE } from '../../codec/spi.ts';

const LOAD_BYTE = 0x30;
const LOAD_HALF = 0x28;
const LOAD_WORD = 0x20;
const LOAD_HEADER_LENGTH = 0xb1;
const LOAD_HALF_BEHIND = 0x48;
const LOAD_WORD_BEHIND = 0x40;
const EQUAL = 0x15;
const ANY_BIT = 0x45;
const SHIFT_RIGHT = 0x74;
const AND = 0x54;
const KEEP = 0x07;
const RECALL = 0x87;
const RETURN = 0x06;

/** SKF_AD_OFF + SKF_AD_PKTTYPE; PACKET_HOST is 0. */
const PACKET_TYPE = 0xfffff004;
const UDP = 17;
/** More fragments, or an offset. */
const FRAGMENT = 0x3fff;
/** More versions than this are not told apart: a jump has 8 bits, and a host holds at most 16. */
export const MOST_KEYS = 64;

const step = (code: number, k = 0, jt = 0, jf = 0): FilterInstruction => ({ code, jt, jf, k });
/** Goes on when it holds. */
const demand = (code: number, k: number): FilterInstruction[] => [step(code, k, 1, 0), step(RETURN, 0)];
const refuse = (code: number, k: number): FilterInstruction[] => [step(code, k, 0, 1), step(RETURN, 0)];
const take = (code: number, k: number): FilterInstruction[] => [step(code, k, 0, 1), step(RETURN, 0xffff)];

/** @param keys version and short fingerprint (`keyBits`) of what can be read */
export function packetFilter(port: number, keys: ReadonlySet<number>): FilterInstruction[] {
  return [
    step(LOAD_WORD, PACKET_TYPE),
    ...demand(EQUAL, 0),
    step(LOAD_BYTE, 9),
    ...demand(EQUAL, UDP),
    step(LOAD_HALF, 6),
    ...refuse(ANY_BIT, FRAGMENT),
    step(LOAD_HEADER_LENGTH, 0),
    step(LOAD_HALF_BEHIND, 2),
    ...demand(EQUAL, port),
    step(LOAD_WORD_BEHIND, 8),
    step(KEEP),
    step(SHIFT_RIGHT, 28),
    ...take(EQUAL, RANGE.control),
    ...take(EQUAL, RANGE.plain),
    ...demand(EQUAL, RANGE.encrypted),
    step(RECALL),
    step(SHIFT_RIGHT, 8),
    step(AND, 0xfffff),
    ...[...keys].slice(0, MOST_KEYS).flatMap((key) => refuse(EQUAL, key)),
    step(RETURN, 0xffff),
  ];
}

export interface UdpPacket {
  readonly source: Address;
  readonly destination: Address;
  readonly destinationPort: number;
  readonly payload: Buffer;
}

/** undefined: no whole IPv4 packet with UDP. */
export function readUdpPacket(bytes: Buffer): UdpPacket | undefined {
  if (bytes.length < 28 || bytes[0]! >>> 4 !== 4 || bytes[9] !== UDP) return undefined;
  const header = (bytes[0]! & 15) * 4;
  if (header < 20 || bytes.length < header + 8 || (bytes.readUInt16BE(6) & FRAGMENT) !== 0) return undefined;
  const length = bytes.readUInt16BE(header + 4);
  if (length < 8 || header + length > bytes.length) return undefined;
  return {
    source: formatAddress(bytes.subarray(12, 16)),
    destination: formatAddress(bytes.subarray(16, 20)),
    destinationPort: bytes.readUInt16BE(header + 2),
    payload: bytes.subarray(header + 8, header + length),
  };
}
