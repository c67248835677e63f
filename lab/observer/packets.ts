/**
 * Reads from frames what the measurement asks: which host routes does this packet announce or withdraw, which address
 * does this ARP speak for. Not the product's codecs on purpose: a measurement must not share the mistakes of what it
 * measures.
 */
import { BgpStreams } from './bgp-stream.ts';
import { quad, type RouteSighting } from './sighting.ts';

const OSPF_HEADER = 24;
const LSA_HEADER = 20;
const MAX_AGE = 3600;
/** Bits 31 to 27 of the route tag of a shadow; all of a stub link's metric. */
const SHADOW_TAG = 0x58000000;
const SHADOW_STUB = 0xffff;

/** Sender's protocol address of an Ethernet/IPv4 ARP payload (without Ethernet header). */
export function arpSender(payload: Buffer): string | undefined {
  if (payload.length < 28 || payload.readUInt32BE(0) !== 0x00010800) return undefined;
  return quad(payload, 14);
}

/** Reads the packets that arrive at one port, in order. */
export class RouteReader {
  readonly #streams = new BgpStreams();

  /** How often octets of a BGP stream could not be read. */
  get lost(): number {
    return this.#streams.lost;
  }

  /**
   * @param packet an IPv4 or IPv6 packet, without link-layer header
   * @param at when it arrived, in milliseconds
   */
  read(packet: Buffer, at: number): RouteSighting[] {
    if (packet.length >= 60 && packet[0]! >> 4 === 6 && packet[6] === 6) {
      const segment = packet.subarray(40, Math.min(packet.length, 40 + packet.readUInt16BE(4)));
      return this.#streams.read(packet.subarray(8, 40), segment, at);
    }
    if (packet.length < 20 || packet[0]! >> 4 !== 4) return [];
    const header = (packet[0]! & 15) * 4;
    const payload = packet.subarray(header, Math.min(packet.length, packet.readUInt16BE(2)));
    if (packet[9] === 89) return ospfSightings(payload);
    return packet[9] === 6 ? this.#streams.read(packet.subarray(12, 20), payload, at) : [];
  }
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
