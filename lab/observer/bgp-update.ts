/** Which hosts an UPDATE announces or withdraws (RFC 4271 §4.3), also one of which only the front has arrived. */
import { addressText } from '../team/neighbour-discovery.ts';
import { quad, type RouteSighting } from './sighting.ts';

/**
 * What a longer front of the same UPDATE says begins with what a shorter one says. Hosts are withdrawn as their octets
 * come. They are announced once all path attributes are there: who claims them, and whether it only stands by, may come
 * after the NLRI (RFC 7606 §5.1 has MP_REACH_NLRI first).
 * @param update without the header
 */
export function updateSightings(update: Buffer): RouteSighting[] {
  if (update.length < 2) return [];
  const withdrawn = update.readUInt16BE(0);
  const found = hostsIn(update.subarray(2, 2 + withdrawn), 'withdraw');
  if (update.length < 4 + withdrawn) return found;
  const start = 4 + withdrawn;
  const end = start + update.readUInt16BE(2 + withdrawn);
  const attributes = pathAttributes(update.subarray(start, end));
  found.push(...multiprotocolHosts(attributes, MP_UNREACH_NLRI));
  if (update.length < end) return found;
  const path = attributes.find(({ type }) => type === AS_PATH);
  const origin = path && originOf(path.value);
  const shadow = attributes.some(({ type, value }) => type === LARGE_COMMUNITY && standsBy(value));
  const announced = [...multiprotocolHosts(attributes, MP_REACH_NLRI), ...hostsIn(update.subarray(end), 'announce')];
  for (const sighting of announced) {
    found.push({ ...sighting, ...(origin === undefined ? {} : { origin }), ...(shadow ? { shadow } : {}) });
  }
  return found;
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
