/** bpf/hold.h in TypeScript: what the program and the agent share. Host byte order unless said otherwise. */
import { type Address, addressBytes, type Mac, macBytes } from '../../../model/address.ts';

export const SLOTS = 4096;
export const KEYS = 4096;
/** skb->priority of what is sent back into a tunnel device. */
export const RELEASED_PRIORITY = 0x504c4e48;
export const HOLD_ETHERTYPE = 0x88b5;
/** struct hold_header. */
export const HEADER = 40;
/** struct virtio_net_hdr. */
export const VNET = 10;

const KIND = { none: 0, ipv4: 2, ipv6: 10, flood: 255 } as const;

export function settingsValue(door: number, alive: bigint): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(alive, 0);
  bytes.writeUInt32LE(door, 8);
  return bytes;
}

export function indexKey(index: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(index);
  return bytes;
}

export function deviceValue(slot: number, external: boolean): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(slot, 0);
  bytes.writeUInt32LE(Number(external), 4);
  return bytes;
}

export function fdbKey(ifindex: number, mac: Mac): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32LE(ifindex, 0);
  bytes.set(macBytes(mac), 4);
  return bytes;
}

export function remoteKey(remote: Address): Buffer {
  const bytes = Buffer.alloc(20);
  const octets = addressBytes(remote);
  bytes.writeUInt32LE(octets.length === 4 ? KIND.ipv4 : KIND.ipv6, 0);
  bytes.set(octets, 4);
  return bytes;
}

export function remoteSlot(remote: Address, local: Address | undefined): Buffer {
  const bytes = Buffer.alloc(40);
  const octets = addressBytes(remote);
  bytes.writeUInt32LE(octets.length === 4 ? KIND.ipv4 : KIND.ipv6, 0);
  bytes.set(octets, 8);
  if (local !== undefined) bytes.set(addressBytes(local), 24);
  return bytes;
}

export function floodSlot(wait: boolean): Buffer {
  const bytes = Buffer.alloc(40);
  bytes.writeUInt32LE(KIND.flood, 0);
  bytes.writeUInt32LE(Number(wait), 4);
  return bytes;
}

export const noSlot = (): Buffer => Buffer.alloc(40);

export function counterValue(count: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, count));
  return bytes;
}

/** Of a frame on its way into an external device. */
export interface TunnelParameters {
  /** VNI or key. */
  readonly id: number;
  readonly ttl: number;
  readonly tos: number;
  /** HOLD_CHECKSUM, HOLD_WHOLE */
  readonly flags: number;
}

export function keyValue(remote: Address, { id, ttl, tos, flags }: TunnelParameters, mark: number): Buffer {
  const bytes = Buffer.alloc(32);
  const octets = addressBytes(remote);
  bytes.writeUInt32LE(octets.length === 4 ? KIND.ipv4 : KIND.ipv6, 0);
  bytes.writeUInt32LE(id, 4);
  bytes.set(octets, 8);
  bytes.writeUInt32LE(mark, 24);
  bytes[28] = ttl;
  bytes[29] = tos;
  bytes.writeUInt16LE(flags, 30);
  return bytes;
}

export interface HeldFrame {
  readonly slot: number;
  /** Of the tunnel device that it was on its way into. */
  readonly ifindex: number;
  readonly mark: number;
  readonly tunnel: TunnelParameters;
  /** With its struct virtio_net_hdr before it, as a packet socket takes it. */
  readonly frame: Buffer;
}

/** What came through the door; undefined when it is none of ours. Writes into `message`. */
export function parseHeld(message: Buffer): HeldFrame | undefined {
  if (message.length < VNET + HEADER + 14 || message.readUInt16BE(VNET + 12) !== HOLD_ETHERTYPE) return undefined;
  const at = VNET + 16;
  const held = {
    slot: message.readUInt32LE(at),
    ifindex: message.readUInt32LE(at + 4),
    mark: message.readUInt32LE(at + 8),
    tunnel: {
      id: message.readUInt32LE(at + 16),
      ttl: message[at + 20]!,
      tos: message[at + 21]!,
      flags: message.readUInt16LE(at + 22),
    },
  };
  // The virtio header counts from the frame's first octet, which was the header's.
  const headerLength = message.readUInt16LE(2);
  if (headerLength >= HEADER) message.writeUInt16LE(headerLength - HEADER, 2);
  const checksumStart = message.readUInt16LE(6);
  if (message[0]! & 1 && checksumStart >= HEADER) message.writeUInt16LE(checksumStart - HEADER, 6);
  message.copyWithin(HEADER, 0, VNET);
  return { ...held, frame: message.subarray(HEADER) };
}
