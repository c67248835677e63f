/** Addresses of interfaces (`struct ifaddrmsg`). */
import { AF, IFA } from './constants.ts';
import { AttributeCursor, Malformed, type Message, type MessageWriter } from './message.ts';
import { addressBytes } from './text.ts';

const IFADDRMSG = 8;

export interface InterfaceAddress {
  /** AF_INET or AF_INET6. */
  readonly family: number;
  readonly ifindex: number;
  /** The own address (IFA_LOCAL, or IFA_ADDRESS where there is no peer). */
  readonly address: string;
  readonly prefixLength: number;
  /** The other end of a point-to-point link. */
  readonly peer?: string;
  readonly broadcast?: string;
  readonly label?: string;
  readonly scope: number;
  /** IFA_F_*. */
  readonly flags: number;
  readonly protocol?: number;
}

export function encodeInterfaceAddress(writer: MessageWriter, value: InterfaceAddress): void {
  writer.u8(value.family);
  writer.u8(value.prefixLength);
  writer.u8(value.flags & 0xff);
  writer.u8(value.scope);
  writer.u32(value.ifindex);
  writer.attributeBytes(IFA.LOCAL, addressBytes(value.address));
  writer.attributeBytes(IFA.ADDRESS, addressBytes(value.peer ?? value.address));
  if (value.broadcast !== undefined) writer.attributeBytes(IFA.BROADCAST, addressBytes(value.broadcast));
  if (value.label !== undefined) writer.attributeText(IFA.LABEL, value.label);
  if (value.flags > 0xff) writer.attributeU32(IFA.FLAGS, value.flags);
  if (value.protocol !== undefined) writer.attributeU8(IFA.PROTO, value.protocol);
}

export function decodeInterfaceAddress(message: Message): InterfaceAddress | Malformed {
  const { bytes, start, end } = message;
  if (end - start < IFADDRMSG) return new Malformed('short message');
  const family = bytes[start]!;
  if (family !== AF.INET && family !== AF.INET6) return new Malformed('unsupported family');
  const octets = family === AF.INET ? 4 : 16;
  const cursor = new AttributeCursor(bytes, start + IFADDRMSG, end);
  let flags = bytes[start + 2]!;
  let local: string | undefined;
  let address: string | undefined;
  let broadcast: string | undefined;
  let label: string | undefined;
  let protocol: number | undefined;
  while (cursor.next()) {
    if (cursor.type === IFA.LOCAL) local = cursor.address(octets);
    else if (cursor.type === IFA.ADDRESS) address = cursor.address(octets);
    else if (cursor.type === IFA.BROADCAST) broadcast = cursor.address(octets);
    else if (cursor.type === IFA.LABEL) label = cursor.text();
    else if (cursor.type === IFA.FLAGS) flags = cursor.u32();
    else if (cursor.type === IFA.PROTO) protocol = cursor.u8();
  }
  if (cursor.malformed) return cursor.malformed;
  const own = local ?? address;
  if (own === undefined) return new Malformed('missing attribute');
  return {
    family,
    ifindex: bytes.readUInt32LE(start + 4),
    address: own,
    prefixLength: bytes[start + 1]!,
    ...(address !== undefined && address !== own ? { peer: address } : {}),
    ...(broadcast !== undefined ? { broadcast } : {}),
    ...(label !== undefined ? { label } : {}),
    scope: bytes[start + 3]!,
    flags,
    ...(protocol !== undefined ? { protocol } : {}),
  };
}
