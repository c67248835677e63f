import type { Address, Mac } from '../../model/address.ts';
import { addressBytes, formatAddress, formatMac, macBytes } from '../../model/address.ts';

/** Neighbour solicitation or advertisement, RFC 4861 §4.3, §4.4. */
export interface NdPacket {
  readonly type: 'solicitation' | 'advertisement';
  readonly source: Address;
  readonly destination: Address;
  readonly target: Address;
  /** Source (solicitation) or target (advertisement) link-layer address option. */
  readonly linkLayer?: Mac;
  readonly router: boolean;
  readonly solicited: boolean;
  readonly override: boolean;
}

export type NdError =
  | 'nd-short'
  | 'nd-not-ipv6'
  | 'nd-not-icmp'
  | 'nd-hop-limit'
  | 'nd-length'
  | 'nd-type'
  | 'nd-checksum'
  | 'nd-target'
  | 'nd-option'
  | 'nd-destination';

const IPV6_HEADER = 40;
const BODY = 24;
const ICMPV6 = 58;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const SOURCE_LINK_LAYER = 1;
const TARGET_LINK_LAYER = 2;
export const UNSPECIFIED = '::' as Address;
export const ALL_NODES = 'ff02::1' as Address;

/** `bytes` start at the IPv6 header. Checks what RFC 4861 §7.1.1 and §7.1.2 demand. */
export function decodeNd(bytes: Uint8Array): NdPacket | NdError {
  if (bytes.length < IPV6_HEADER + BODY) return 'nd-short';
  if (bytes[0]! >> 4 !== 6) return 'nd-not-ipv6';
  if (bytes[6] !== ICMPV6) return 'nd-not-icmp';
  if (bytes[7] !== 255) return 'nd-hop-limit';
  const length = (bytes[4]! << 8) | bytes[5]!;
  if (length < BODY || bytes.length < IPV6_HEADER + length) return 'nd-length';
  const type = bytes[IPV6_HEADER]!;
  if ((type !== SOLICITATION && type !== ADVERTISEMENT) || bytes[IPV6_HEADER + 1] !== 0) return 'nd-type';
  if (icmpChecksum(bytes, length) !== 0) return 'nd-checksum';
  const target = bytes.subarray(IPV6_HEADER + 8, IPV6_HEADER + 24);
  if (target[0] === 0xff) return 'nd-target';
  const linkLayer = linkLayerOption(
    bytes.subarray(IPV6_HEADER + BODY, IPV6_HEADER + length),
    type === SOLICITATION ? SOURCE_LINK_LAYER : TARGET_LINK_LAYER,
  );
  if (linkLayer === false) return 'nd-option';
  const source = formatAddress(bytes.subarray(8, 24));
  const multicast = bytes[24] === 0xff;
  const flags = type === ADVERTISEMENT ? bytes[IPV6_HEADER + 4]! : 0;
  // A solicitation without a source carries no source address option and goes to a multicast group.
  if (type === SOLICITATION && source === UNSPECIFIED && (linkLayer || !multicast)) return 'nd-destination';
  if (type === ADVERTISEMENT && multicast && flags & 0x40) return 'nd-destination';
  return {
    type: type === SOLICITATION ? 'solicitation' : 'advertisement',
    source,
    destination: formatAddress(bytes.subarray(24, 40)),
    target: formatAddress(target),
    ...(linkLayer ? { linkLayer } : {}),
    router: (flags & 0x80) !== 0,
    solicited: (flags & 0x40) !== 0,
    override: (flags & 0x20) !== 0,
  };
}

export function ndLength(packet: NdPacket): number {
  return IPV6_HEADER + BODY + (packet.linkLayer ? 8 : 0);
}

/** Writes `ndLength` octets, IPv6 header included, at `offset`. */
export function encodeNd(packet: NdPacket, into: Uint8Array, offset: number): void {
  const total = ndLength(packet);
  const bytes = into.subarray(offset, offset + total);
  const length = total - IPV6_HEADER;
  bytes.fill(0);
  bytes[0] = 0x60;
  bytes[4] = length >> 8;
  bytes[5] = length & 255;
  bytes[6] = ICMPV6;
  bytes[7] = 255;
  bytes.set(addressBytes(packet.source), 8);
  bytes.set(addressBytes(packet.destination), 24);
  const advertisement = packet.type === 'advertisement';
  bytes[IPV6_HEADER] = advertisement ? ADVERTISEMENT : SOLICITATION;
  if (advertisement) {
    bytes[IPV6_HEADER + 4] = (packet.router ? 0x80 : 0) | (packet.solicited ? 0x40 : 0) | (packet.override ? 0x20 : 0);
  }
  bytes.set(addressBytes(packet.target), IPV6_HEADER + 8);
  if (packet.linkLayer) {
    bytes[IPV6_HEADER + BODY] = advertisement ? TARGET_LINK_LAYER : SOURCE_LINK_LAYER;
    bytes[IPV6_HEADER + BODY + 1] = 1;
    bytes.set(macBytes(packet.linkLayer), IPV6_HEADER + BODY + 2);
  }
  const sum = icmpChecksum(bytes, length);
  bytes[IPV6_HEADER + 2] = sum >> 8;
  bytes[IPV6_HEADER + 3] = sum & 255;
}

/** ff02::1:ffXX:XXXX (RFC 4291 §2.7.1) and its Ethernet group (RFC 2464 §7). */
export function solicitedNode(target: Address): { address: Address; mac: Mac } {
  const bytes = addressBytes(target);
  const group = Uint8Array.from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, bytes[13]!, bytes[14]!, bytes[15]!]);
  return { address: formatAddress(group), mac: formatMac(Uint8Array.from([0x33, 0x33, ...group.subarray(12)])) };
}

/** false: the options are malformed. */
function linkLayerOption(options: Uint8Array, wanted: number): Mac | undefined | false {
  let found: Mac | undefined;
  for (let at = 0; at < options.length; ) {
    const size = (options[at + 1] ?? 0) * 8;
    if (size === 0 || at + size > options.length) return false;
    if (options[at] === wanted && size === 8) found = formatMac(options.subarray(at + 2, at + 8));
    at += size;
  }
  return found;
}

/** Over the pseudo-header (RFC 8200 §8.1) and the ICMPv6 message; 0 when the message carries the right one. */
export function icmpChecksum(bytes: Uint8Array, length: number): number {
  let sum = length + ICMPV6;
  for (let at = 8; at < IPV6_HEADER + length; at += 2) {
    sum += (bytes[at]! << 8) | (at + 1 < IPV6_HEADER + length ? bytes[at + 1]! : 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
