import type { Address, Mac } from '../../model/address.ts';
import { formatAddress, formatMac, macAt, writeIpv4, writeMac } from '../../model/address.ts';

/** RFC 826, for Ethernet and IPv4. */
export interface ArpPacket {
  readonly operation: 'request' | 'reply';
  readonly senderMac: Mac;
  readonly senderAddress: Address;
  readonly targetMac: Mac;
  readonly targetAddress: Address;
}

export type ArpError = 'arp-short' | 'arp-hardware' | 'arp-protocol' | 'arp-lengths' | 'arp-operation';

export const ARP_LENGTH = 28;
const ETHERNET = 1;
const IPV4 = 0x0800;
const REQUEST = 1;
const REPLY = 2;

/** `bytes` start at the ARP header; what follows it (padding) is ignored. */
export function decodeArp(bytes: Uint8Array): ArpPacket | ArpError {
  const operation = operationAt(bytes, 0);
  if (typeof operation === 'string') return operation;
  return {
    operation: operation === REQUEST ? 'request' : 'reply',
    senderMac: formatMac(bytes.subarray(8, 14)),
    senderAddress: formatAddress(bytes.subarray(14, 18)),
    targetMac: formatMac(bytes.subarray(18, 24)),
    targetAddress: formatAddress(bytes.subarray(24, 28)),
  };
}

/** Who has sent an ARP packet; what it is about is left unread. */
export interface ArpSender {
  readonly reply: boolean;
  readonly mac: Mac;
  readonly address: Address;
  /** It is about the sender itself (RFC 5227 §3). */
  readonly gratuitous: boolean;
}

/** As `decodeArp`, of a packet that begins at `start`: thousands come in a second, and mostly no more is asked. */
export function arpSender(bytes: Uint8Array, start: number): ArpSender | ArpError {
  const operation = operationAt(bytes, start);
  if (typeof operation === 'string') return operation;
  const [sender, target] = [start + 14, start + 24];
  let gratuitous = true;
  for (let octet = 0; octet < 4; octet++) if (bytes[sender + octet] !== bytes[target + octet]) gratuitous = false;
  return {
    reply: operation === REPLY,
    mac: macAt(bytes, start + 8),
    address: `${bytes[sender]}.${bytes[sender + 1]}.${bytes[sender + 2]}.${bytes[sender + 3]}` as Address,
    gratuitous,
  };
}

function operationAt(bytes: Uint8Array, start: number): number | ArpError {
  if (bytes.length - start < ARP_LENGTH) return 'arp-short';
  if (word(bytes, start) !== ETHERNET) return 'arp-hardware';
  if (word(bytes, start + 2) !== IPV4) return 'arp-protocol';
  if (bytes[start + 4] !== 6 || bytes[start + 5] !== 4) return 'arp-lengths';
  const operation = word(bytes, start + 6);
  return operation === REQUEST || operation === REPLY ? operation : 'arp-operation';
}

/** RFC 903: a station's "reverse request" for its own address. Only its MAC matters here. */
export interface RarpPacket {
  readonly senderMac: Mac;
}

const REVERSE_REQUEST = 3;

export function decodeRarp(bytes: Uint8Array): RarpPacket | ArpError {
  if (bytes.length < ARP_LENGTH) return 'arp-short';
  if (word(bytes, 0) !== ETHERNET) return 'arp-hardware';
  if (word(bytes, 2) !== IPV4) return 'arp-protocol';
  if (bytes[4] !== 6 || bytes[5] !== 4) return 'arp-lengths';
  if (word(bytes, 6) !== REVERSE_REQUEST) return 'arp-operation';
  return { senderMac: formatMac(bytes.subarray(8, 14)) };
}

/** Writes 28 octets at `offset`. */
export function encodeArp(packet: ArpPacket, into: Uint8Array, offset: number): void {
  into[offset] = 0;
  into[offset + 1] = ETHERNET;
  into[offset + 2] = IPV4 >> 8;
  into[offset + 3] = IPV4 & 255;
  into[offset + 4] = 6;
  into[offset + 5] = 4;
  into[offset + 6] = 0;
  into[offset + 7] = packet.operation === 'request' ? REQUEST : REPLY;
  writeMac(packet.senderMac, into, offset + 8);
  writeIpv4(packet.senderAddress, into, offset + 14);
  writeMac(packet.targetMac, into, offset + 18);
  writeIpv4(packet.targetAddress, into, offset + 24);
}

const word = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
