/*
 * Socket addresses, control messages and TCP MD5 keys as the kernel lays them out. Both architectures that this package
 * knows are little-endian with 64-bit longs; fields that the kernel wants in network order say so.
 */
import { AF } from './constants.ts';
import { native } from './native.ts';

export type SocketAddress =
  | { family: 'netlink'; pid: number; groups: number }
  | {
      family: 'packet';
      ifindex: number;
      /** Host byte order, as in ETH_P. */
      protocol: number;
      hatype?: number;
      pkttype?: number;
      address?: Uint8Array;
    }
  | { family: 'ipv4'; address: string; port: number }
  | { family: 'ipv6'; address: string; port: number; scopeId?: number };

export interface ControlMessage {
  level: number;
  type: number;
  data: Uint8Array;
}

/** Room for any sockaddr (struct sockaddr_storage). */
export const ADDRESS_ROOM = 128;

const scratch = new Uint8Array(16);

function ipBytes(text: string, family: 'ipv4' | 'ipv6'): Uint8Array {
  const length = native.parseAddress(text, scratch);
  if (length !== (family === 'ipv4' ? 4 : 16)) throw new TypeError(`not an ${family} address: ${text}`);
  return scratch.subarray(0, length);
}

/** @throws TypeError when a field is not what the family needs */
export function encodeAddress(address: SocketAddress): Uint8Array {
  switch (address.family) {
    case 'netlink': {
      const bytes = Buffer.alloc(12); // struct sockaddr_nl
      bytes.writeUInt16LE(AF.NETLINK, 0);
      bytes.writeUInt32LE(address.pid >>> 0, 4);
      bytes.writeUInt32LE(address.groups >>> 0, 8);
      return bytes;
    }
    case 'packet': {
      const bytes = Buffer.alloc(20); // struct sockaddr_ll
      const hardware = address.address;
      if (hardware && hardware.length > 8) throw new TypeError('a hardware address has at most 8 bytes');
      bytes.writeUInt16LE(AF.PACKET, 0);
      bytes.writeUInt16BE(address.protocol, 2);
      bytes.writeInt32LE(address.ifindex, 4);
      bytes.writeUInt16LE(address.hatype ?? 0, 8);
      bytes[10] = address.pkttype ?? 0;
      bytes[11] = hardware?.length ?? 0;
      if (hardware) bytes.set(hardware, 12);
      return bytes;
    }
    case 'ipv4': {
      const bytes = Buffer.alloc(16); // struct sockaddr_in
      bytes.writeUInt16LE(AF.INET, 0);
      bytes.writeUInt16BE(address.port, 2);
      bytes.set(ipBytes(address.address, 'ipv4'), 4);
      return bytes;
    }
    case 'ipv6': {
      const bytes = Buffer.alloc(28); // struct sockaddr_in6
      bytes.writeUInt16LE(AF.INET6, 0);
      bytes.writeUInt16BE(address.port, 2);
      bytes.set(ipBytes(address.address, 'ipv6'), 8);
      bytes.writeUInt32LE(address.scopeId ?? 0, 24);
      return bytes;
    }
    default:
      throw new TypeError(`unknown address family ${(address as { family: unknown }).family}`);
  }
}

/** undefined: no address, or a family that is none of ours. */
export function decodeAddress(bytes: Buffer): SocketAddress | undefined {
  if (bytes.length < 2) return undefined;
  switch (bytes.readUInt16LE(0)) {
    case AF.NETLINK:
      if (bytes.length < 12) return undefined;
      return { family: 'netlink', pid: bytes.readUInt32LE(4), groups: bytes.readUInt32LE(8) };
    case AF.PACKET: {
      if (bytes.length < 12) return undefined;
      const hardware = Math.min(bytes[11]!, 8, bytes.length - 12);
      return {
        family: 'packet',
        protocol: bytes.readUInt16BE(2),
        ifindex: bytes.readInt32LE(4),
        hatype: bytes.readUInt16LE(8),
        pkttype: bytes[10]!,
        address: Uint8Array.prototype.slice.call(bytes, 12, 12 + hardware),
      };
    }
    case AF.INET:
      if (bytes.length < 8) return undefined;
      return {
        family: 'ipv4',
        address: `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`,
        port: bytes.readUInt16BE(2),
      };
    case AF.INET6:
      if (bytes.length < 28) return undefined;
      return {
        family: 'ipv6',
        address: native.formatIpv6(bytes.subarray(8, 24)),
        port: bytes.readUInt16BE(2),
        scopeId: bytes.readUInt32LE(24),
      };
    default:
      return undefined;
  }
}

const CMSG_HEADER = 16;
const align = (length: number) => (length + 7) & ~7;

/** cmsg(3): each message is a 16-byte header (length with header, level, type) and data, padded to 8 bytes. */
export function encodeControl(messages: readonly ControlMessage[]): Uint8Array {
  let total = 0;
  for (const message of messages) total += CMSG_HEADER + align(message.data.length);
  const bytes = Buffer.alloc(total);
  let at = 0;
  for (const message of messages) {
    bytes.writeUInt32LE(CMSG_HEADER + message.data.length, at);
    bytes.writeInt32LE(message.level, at + 8);
    bytes.writeInt32LE(message.type, at + 12);
    bytes.set(message.data, at + CMSG_HEADER);
    at += CMSG_HEADER + align(message.data.length);
  }
  return bytes;
}

/** Takes what the kernel wrote; a header that claims more than there is (MSG_CTRUNC) ends the list. */
export function decodeControl(bytes: Buffer): ControlMessage[] {
  const messages: ControlMessage[] = [];
  for (let at = 0; at + CMSG_HEADER <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < CMSG_HEADER || at + length > bytes.length) break;
    messages.push({
      level: bytes.readInt32LE(at + 8),
      type: bytes.readInt32LE(at + 12),
      data: Buffer.from(bytes.subarray(at + CMSG_HEADER, at + length)),
    });
    at += align(length);
  }
  return messages;
}

const MD5_KEY_MAX = 80; // TCP_MD5SIG_MAXKEYLEN
const MD5_FLAG_PREFIX = 1; // TCP_MD5SIG_FLAG_PREFIX

/**
 * struct tcp_md5sig (RFC 2385): the key for segments from and to `address`. Set it as TCP.MD5SIG on a listener and,
 * before connect, on a client. With `prefixLength` it holds for a whole prefix and must be set as TCP.MD5SIG_EXT. An
 * empty secret removes the key.
 *
 * @throws TypeError for an address of neither family, RangeError for a secret of more than 80 bytes
 */
export function tcpMd5Key(address: string, secret: Uint8Array, prefixLength?: number): Uint8Array {
  if (secret.length > MD5_KEY_MAX) throw new RangeError(`a TCP MD5 secret has at most ${MD5_KEY_MAX} bytes`);
  const family = address.includes(':') ? 'ipv6' : 'ipv4';
  const most = family === 'ipv6' ? 128 : 32;
  if (prefixLength !== undefined && !(prefixLength >= 0 && prefixLength <= most)) {
    throw new RangeError(`a prefix length is 0 to ${most}`);
  }
  const bytes = Buffer.alloc(ADDRESS_ROOM + 8 + MD5_KEY_MAX);
  bytes.set(encodeAddress({ family, address, port: 0 }), 0);
  if (prefixLength !== undefined) {
    bytes[ADDRESS_ROOM] = MD5_FLAG_PREFIX;
    bytes[ADDRESS_ROOM + 1] = prefixLength;
  }
  bytes.writeUInt16LE(secret.length, ADDRESS_ROOM + 2);
  bytes.set(secret, ADDRESS_ROOM + 8);
  return bytes;
}
