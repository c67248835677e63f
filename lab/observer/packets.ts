/**
 * Reads from frames what the measurement asks: which host routes does this packet announce or withdraw, which address
 * does this ARP speak for. Not the product's codecs on purpose: a measurement must not share the mistakes of what it
 * measures.
 */
import { addressText } from '../team/neighbour-discovery.ts';

export interface RouteSighting {
  readonly protocol: 'ospf' | 'bgp';
  readonly kind: 'announce' | 'withdraw';
  readonly address: string;
  /** Who claims it, which need not be the neighbour that says so: OSPF's Advertising Router, the last AS of BGP's AS_PATH. */
  readonly origin?: string;
  /** Whoever says it only stands by for somebody else (docs/wire.md). */
  readonly shadow?: true;
}

const OSPF_HEADER = 24;
const LSA_HEADER = 20;
const MAX_AGE = 3600;
/** Bits 31 to 27 of the route tag of a shadow; all of a stub link's metric. */
const SHADOW_TAG = 0x58000000;
const SHADOW_STUB = 0xffff;

const quad = (bytes: Buffer, at: number): string => `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;

/** Sender's protocol address of an Ethernet/IPv4 ARP payload (without Ethernet header). */
export function arpSender(payload: Buffer): string | undefined {
  if (payload.length < 28 || payload.readUInt32BE(0) !== 0x00010800) return undefined;
  return quad(payload, 14);
}

/** @param packet an IPv4 or IPv6 packet, without link-layer header */
export function routeSightings(packet: Buffer): RouteSighting[] {
  if (packet.length >= 60 && packet[0]! >> 4 === 6 && packet[6] === 6) {
    const segment = packet.subarray(40, Math.min(packet.length, 40 + packet.readUInt16BE(4)));
    return bgpSightings(segment.subarray((segment[12]! >> 4) * 4));
  }
  if (packet.length < 20 || packet[0]! >> 4 !== 4) return [];
  const header = (packet[0]! & 15) * 4;
  const payload = packet.subarray(header, Math.min(packet.length, packet.readUInt16BE(2)));
  if (packet[9] === 89) return ospfSightings(payload);
  if (packet[9] === 6 && payload.length >= 20) return bgpSightings(payload.subarray((payload[12]! >> 4) * 4));
  return [];
}

/** RFC 2328 §A.3.5: external LSAs (5, 7) for one address, and the stub links of router LSAs. */
function ospfSightings(packet: Buffer): RouteSighting[] {
  if (packet.length < OSPF_HEADER + 4 || packet[0] !== 2 || packet[1] !== 4) return [];
  const found: RouteSighting[] = [];
  let at = OSPF_HEADER + 4;
  for (let left = packet.readUInt32BE(OSPF_HEADER); left > 0 && at + LSA_HEADER <= packet.length; left--) {
    const length = packet.readUInt16BE(at + 18);
    if (length < LSA_HEADER || at + length > packet.length) break;
    const kind = packet.readUInt16BE(at) >= MAX_AGE ? 'withdraw' : 'announce';
    const type = packet[at + 3]!;
    if ((type === 5 || type === 7) && length >= LSA_HEADER + 4 && packet.readUInt32BE(at + LSA_HEADER) === 0xffffffff) {
      const sighting = { protocol: 'ospf', kind, address: quad(packet, at + 4), origin: quad(packet, at + 8) } as const;
      const tag = length >= LSA_HEADER + 16 ? packet.readUInt32BE(at + LSA_HEADER + 12) : 0;
      found.push((tag & 0xf8000000) === SHADOW_TAG ? { ...sighting, shadow: true } : sighting);
    }
    if (type === 1) found.push(...stubLinks(packet.subarray(at, at + length), kind));
    at += length;
  }
  return found;
}

function stubLinks(lsa: Buffer, kind: 'announce' | 'withdraw'): RouteSighting[] {
  const found: RouteSighting[] = [];
  for (let at = LSA_HEADER + 4; at + 12 <= lsa.length; at += 12 + lsa[at + 9]! * 4) {
    const isHost = lsa[at + 8] === 3 && lsa.readUInt32BE(at + 4) === 0xffffffff;
    const sighting = { protocol: 'ospf', kind, address: quad(lsa, at), origin: quad(lsa, 8) } as const;
    if (isHost) found.push(lsa.readUInt16BE(at + 10) === SHADOW_STUB ? { ...sighting, shadow: true } : sighting);
  }
  return found;
}

/** RFC 4271 §4.3; messages that begin in this segment. A message cut by the segment's end is read as far as it goes. */
function bgpSightings(segment: Buffer): RouteSighting[] {
  const found: RouteSighting[] = [];
  let at = 0;
  while (at + 19 <= segment.length && segment.subarray(at, at + 16).every((octet) => octet === 0xff)) {
    const length = segment.readUInt16BE(at + 16);
    if (length < 19) break;
    if (segment[at + 18] === 2) found.push(...updateSightings(segment.subarray(at + 19, at + length)));
    at += length;
  }
  return found;
}

function updateSightings(update: Buffer): RouteSighting[] {
  if (update.length < 4) return [];
  const withdrawn = update.readUInt16BE(0);
  if (update.length < 4 + withdrawn) return hostsIn(update.subarray(2), 'withdraw');
  const length = update.readUInt16BE(2 + withdrawn);
  const attributes = pathAttributes(update.subarray(4 + withdrawn, 4 + withdrawn + length));
  const path = attributes.find(({ type }) => type === AS_PATH);
  const origin = path && originOf(path.value);
  const shadow = attributes.some(({ type, value }) => type === LARGE_COMMUNITY && standsBy(value));
  const announced = [
    ...multiprotocolHosts(attributes, MP_REACH_NLRI),
    ...hostsIn(update.subarray(4 + withdrawn + length), 'announce'),
  ];
  return [
    ...hostsIn(update.subarray(2, 2 + withdrawn), 'withdraw'),
    ...multiprotocolHosts(attributes, MP_UNREACH_NLRI),
    ...announced.map((sighting) => ({
      ...sighting,
      ...(origin === undefined ? {} : { origin }),
      ...(shadow ? { shadow } : {}),
    })),
  ];
}

const AS_PATH = 2;
const MP_REACH_NLRI = 14;
const MP_UNREACH_NLRI = 15;
const LARGE_COMMUNITY = 32;

/** RFC 8092: one of the communities is `asn:20559:1`. */
function standsBy(communities: Buffer): boolean {
  for (let at = 0; at + 12 <= communities.length; at += 12) {
    if (communities.readUInt32BE(at + 4) === 20559 && communities.readUInt32BE(at + 8) === 1) return true;
  }
  return false;
}

interface PathAttribute {
  readonly type: number;
  readonly value: Buffer;
}

function pathAttributes(bytes: Buffer): PathAttribute[] {
  const found: PathAttribute[] = [];
  let at = 0;
  while (at + 3 <= bytes.length) {
    const extended = (bytes[at]! & 0x10) !== 0;
    if (at + (extended ? 4 : 3) > bytes.length) break;
    const length = extended ? bytes.readUInt16BE(at + 2) : bytes[at + 2]!;
    const start = at + (extended ? 4 : 3);
    found.push({ type: bytes[at + 1]!, value: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

/** The last AS of one segment of four-octet numbers (RFC 6793), as every speaker here sends it. */
const originOf = (path: Buffer): string | undefined =>
  path.length >= 6 && path.length === 2 + path[1]! * 4 ? String(path.readUInt32BE(path.length - 4)) : undefined;

/** RFC 4760: IPv6 unicast, and IPv4 unicast, which some speakers prefer to the fields of RFC 4271. */
function multiprotocolHosts(attributes: readonly PathAttribute[], type: number): RouteSighting[] {
  const value = attributes.find((attribute) => attribute.type === type)?.value;
  if (value === undefined || value.length < 3 || value[2] !== 1) return [];
  const family = value.readUInt16BE(0);
  if (family !== 1 && family !== 2) return [];
  const bits = family === 1 ? 32 : 128;
  if (type === MP_UNREACH_NLRI) return hostsIn(value.subarray(3), 'withdraw', bits);
  return value.length >= 5 ? hostsIn(value.subarray(5 + value[3]!), 'announce', bits) : [];
}

function hostsIn(prefixes: Buffer, kind: 'announce' | 'withdraw', host: 32 | 128 = 32): RouteSighting[] {
  const found: RouteSighting[] = [];
  let at = 0;
  while (at < prefixes.length) {
    const bits = prefixes[at]!;
    const octets = (bits + 7) >> 3;
    if (bits > host || at + 1 + octets > prefixes.length) break;
    if (bits === host) {
      const address = host === 32 ? quad(prefixes, at + 1) : addressText(prefixes.subarray(at + 1, at + 17));
      found.push({ protocol: 'bgp', kind, address });
    }
    at += 1 + octets;
  }
  return found;
}
