import type { Family } from '../../model/address.ts';
import { ATTRIBUTE, FLAG } from './attributes.ts';
import { afiOf, HEADER_LENGTH, MAXIMUM_LENGTH, MESSAGE_TYPE, SAFI_UNICAST } from './messages.ts';

/**
 * The hot path's serializer: host routes, all of one length, into as few UPDATEs as hold them, in one buffer for one
 * write. Attributes and NLRI come already encoded, so the work is one copy.
 */
/** What is packed: 5 octets (IPv4) or 17 (IPv6), the length octet included. */
export interface Routed {
  readonly nlri: Uint8Array;
}

export interface Packed {
  readonly bytes: Buffer;
  readonly updates: number;
}

export const nlriLength = (family: Family): number => (family === 4 ? 5 : 17);

const NOTHING = Buffer.alloc(0);

/** Octets of an UPDATE before the first NLRI: header, two length fields, for IPv6 the head of MP_UNREACH_NLRI. */
const WITHDRAW_HEAD: Record<Family, number> = { 4: HEADER_LENGTH + 2, 6: HEADER_LENGTH + 2 + 2 + 4 + 3 };

export function packWithdrawals(family: Family, routes: readonly Routed[]): Packed {
  const size = nlriLength(family);
  const overhead = family === 4 ? HEADER_LENGTH + 4 : WITHDRAW_HEAD[6];
  return pack(routes, size, overhead, MAXIMUM_LENGTH, (out, at, count) => {
    const octets = count * size;
    if (family === 4) {
      out.writeUInt16BE(octets, at + HEADER_LENGTH);
      out.writeUInt16BE(0, at + HEADER_LENGTH + 2 + octets);
    } else {
      out.writeUInt16BE(0, at + HEADER_LENGTH);
      out.writeUInt16BE(octets + 7, at + HEADER_LENGTH + 2);
      multiprotocolHead(out, at + HEADER_LENGTH + 4, ATTRIBUTE.MP_UNREACH_NLRI, octets + 3);
    }
    return at + WITHDRAW_HEAD[family];
  });
}

/**
 * @param attributes encoded path attributes; for IPv4 with NEXT_HOP in them
 * @param nextHop for IPv6 the 16 or 32 octets of the next hop
 */
export function packAnnouncements(
  family: Family,
  attributes: Uint8Array,
  nextHop: Uint8Array,
  routes: readonly Routed[],
): Packed {
  const size = nlriLength(family);
  const reach = family === 4 ? 0 : 4 + 5 + nextHop.length;
  const overhead = HEADER_LENGTH + 4 + reach + attributes.length;
  return pack(routes, size, overhead, MAXIMUM_LENGTH, (out, at, count) => {
    const octets = count * size;
    out.writeUInt16BE(0, at + HEADER_LENGTH);
    const start = at + HEADER_LENGTH + 4;
    if (family === 4) {
      out.writeUInt16BE(attributes.length, at + HEADER_LENGTH + 2);
      out.set(attributes, start);
      return start + attributes.length;
    }
    out.writeUInt16BE(attributes.length + reach + octets, at + HEADER_LENGTH + 2);
    // RFC 7606 §5.1: MP_REACH_NLRI first. The other attributes therefore follow its NLRI.
    multiprotocolHead(out, start, ATTRIBUTE.MP_REACH_NLRI, 5 + nextHop.length + octets);
    out.writeUInt8(nextHop.length, start + 7);
    out.set(nextHop, start + 8);
    out.writeUInt8(0, start + 8 + nextHop.length);
    out.set(attributes, start + reach + octets);
    return start + reach;
  });
}

function multiprotocolHead(out: Buffer, at: number, type: number, length: number): void {
  out.writeUInt8(FLAG.optional | FLAG.extendedLength, at);
  out.writeUInt8(type, at + 1);
  out.writeUInt16BE(length, at + 2);
  out.writeUInt16BE(afiOf(6), at + 4);
  out.writeUInt8(SAFI_UNICAST, at + 6);
}

/** `frame` writes all but header and NLRI of one UPDATE and answers where its NLRI go. */
function pack(
  routes: readonly Routed[],
  size: number,
  overhead: number,
  limit: number,
  frame: (out: Buffer, at: number, count: number) => number,
): Packed {
  if (routes.length === 0) return { bytes: NOTHING, updates: 0 };
  const capacity = Math.floor((limit - overhead) / size);
  const updates = Math.ceil(routes.length / capacity);
  const out = Buffer.allocUnsafe(updates * overhead + routes.length * size);
  let at = 0;
  for (let first = 0; first < routes.length; first += capacity) {
    const last = Math.min(first + capacity, routes.length);
    const length = overhead + (last - first) * size;
    out.fill(0xff, at, at + 16);
    out.writeUInt16BE(length, at + 16);
    out.writeUInt8(MESSAGE_TYPE.UPDATE, at + 18);
    let cursor = frame(out, at, last - first);
    for (let index = first; index < last; index++) {
      const { nlri } = routes[index]!;
      // Octet by octet: `set` costs more than the copy for so few.
      for (let octet = 0; octet < size; octet++) out[cursor++] = nlri[octet]!;
    }
    at += length;
  }
  return { bytes: out, updates };
}
