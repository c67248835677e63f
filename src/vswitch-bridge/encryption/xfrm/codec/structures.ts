/** The structures that messages about SAs and policies have in common, octet by octet as linux/xfrm.h lays them out. */
import { type Address, addressBytes, familyOf, formatAddress } from '../../../../model/address.ts';
import { SIZE } from './constants.ts';

export const IPPROTO_ESP = 50;
export const IPPROTO_UDP = 17;

const AF_INET = 2;
const AF_INET6 = 10;
/** No limit (XFRM_INF). */
const INFINITE = 0xffff_ffff_ffff_ffffn;

export interface Net {
  readonly address: Address;
  /** 0 to 32, or to 128. */
  readonly length: number;
}

/** Which packets. Both nets are of one family; a port that is absent is any. */
export interface Selector {
  readonly source: Net;
  readonly destination: Net;
  /** 0: any. */
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

export interface Mark {
  readonly value: number;
  readonly mask: number;
}

export interface SaId {
  readonly destination: Address;
  readonly spi: number;
  /** Without one the mark 0 with the mask 0. */
  readonly mark?: Mark;
}

export const linuxFamily = (address: Address): number => (familyOf(address) === 4 ? AF_INET : AF_INET6);

/** xfrm_address_t: IPv4 in the first four octets. */
export function putAddress(bytes: Buffer, at: number, address: Address): void {
  bytes.set(addressBytes(address), at);
}

/** undefined: another family than IPv4 and IPv6. */
export function getAddress(bytes: Buffer, at: number, family: number): Address | undefined {
  if (family === AF_INET) return formatAddress(bytes.subarray(at, at + 4));
  if (family === AF_INET6) return formatAddress(bytes.subarray(at, at + 16));
  return undefined;
}

export function putSelector(bytes: Buffer, at: number, selector: Selector): void {
  const { source, destination, protocol, sourcePort, destinationPort } = selector;
  putAddress(bytes, at, destination.address);
  putAddress(bytes, at + 16, source.address);
  if (destinationPort !== undefined) {
    bytes.writeUInt16BE(destinationPort, at + 32);
    bytes.writeUInt16BE(0xffff, at + 34);
  }
  if (sourcePort !== undefined) {
    bytes.writeUInt16BE(sourcePort, at + 36);
    bytes.writeUInt16BE(0xffff, at + 38);
  }
  bytes.writeUInt16LE(linuxFamily(destination.address), at + 40);
  bytes[at + 42] = destination.length;
  bytes[at + 43] = source.length;
  bytes[at + 44] = protocol;
}

/** undefined: what we never write, such as a part of the port or a device. */
export function getSelector(bytes: Buffer, at: number): Selector | undefined {
  const family = bytes.readUInt16LE(at + 40);
  const destination = getAddress(bytes, at, family);
  const source = getAddress(bytes, at + 16, family);
  if (destination === undefined || source === undefined) return undefined;
  const most = family === AF_INET ? 32 : 128;
  const [toLength, fromLength] = [bytes[at + 42]!, bytes[at + 43]!];
  const masks = [bytes.readUInt16BE(at + 34), bytes.readUInt16BE(at + 38)];
  if (toLength > most || fromLength > most || masks.some((mask) => mask !== 0 && mask !== 0xffff)) return undefined;
  return {
    source: { address: source, length: fromLength },
    destination: { address: destination, length: toLength },
    protocol: bytes[at + 44]!,
    ...(masks[1] === 0 ? {} : { sourcePort: bytes.readUInt16BE(at + 36) }),
    ...(masks[0] === 0 ? {} : { destinationPort: bytes.readUInt16BE(at + 32) }),
  };
}

export function putId(bytes: Buffer, at: number, destination: Address | undefined, spi: number): void {
  if (destination !== undefined) putAddress(bytes, at, destination);
  bytes.writeUInt32BE(spi, at + 16);
  bytes[at + 20] = IPPROTO_ESP;
}

/** Neither octets nor packets nor time end it: the agent does. */
export function putNoLimits(bytes: Buffer, at: number): void {
  for (let offset = 0; offset < 32; offset += 8) bytes.writeBigUInt64LE(INFINITE, at + offset);
}

export function markBytes({ value, mask }: Mark): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(value, 0);
  bytes.writeUInt32LE(mask, 4);
  return bytes;
}

/** struct xfrm_usersa_id. */
export function saIdBytes({ destination, spi }: SaId): Buffer {
  const bytes = Buffer.alloc(SIZE.SA_ID);
  putAddress(bytes, 0, destination);
  bytes.writeUInt32BE(spi, 16);
  bytes.writeUInt16LE(linuxFamily(destination), 20);
  bytes[22] = IPPROTO_ESP;
  return bytes;
}
