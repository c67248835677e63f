/** Next-hop objects and their groups (`struct nhmsg`). */
import { AF, NHA } from './constants.ts';
import { AttributeCursor, Malformed, type Message, type MessageWriter, NLA_F_NESTED } from './message.ts';
import { addressBytes } from './text.ts';

const NHMSG = 8;
const GROUP_MEMBER = 8;

export interface NextHop {
  /** 0 in a request: the kernel chooses. */
  readonly id: number;
  /** AF_UNSPEC for groups. */
  readonly family: number;
  readonly protocol: number;
  readonly scope?: number;
  /** RTNH_F_*. */
  readonly flags?: number;
  readonly ifindex?: number;
  readonly gateway?: string;
  readonly blackhole?: boolean;
  readonly encapsulation?: { readonly type: number; readonly data: Uint8Array };
  /** Members by id; weight 1 to 256. */
  readonly group?: readonly { readonly id: number; readonly weight: number }[];
  /** The object is for forwarding databases. */
  readonly fdb?: boolean;
}

export function encodeNextHop(writer: MessageWriter, nextHop: NextHop): void {
  writer.u8(nextHop.family);
  writer.u8(nextHop.scope ?? 0);
  writer.u8(nextHop.protocol);
  writer.u8(0);
  writer.u32(nextHop.flags ?? 0);
  if (nextHop.id) writer.attributeU32(NHA.ID, nextHop.id);
  if (nextHop.group) {
    const bytes = new Uint8Array(nextHop.group.length * GROUP_MEMBER);
    const view = new DataView(bytes.buffer);
    for (const [index, member] of nextHop.group.entries()) {
      view.setUint32(index * GROUP_MEMBER, member.id, true);
      bytes[index * GROUP_MEMBER + 4] = member.weight - 1;
    }
    writer.attributeBytes(NHA.GROUP, bytes);
  }
  if (nextHop.blackhole) writer.attributeBytes(NHA.BLACKHOLE, new Uint8Array(0));
  if (nextHop.fdb) writer.attributeBytes(NHA.FDB, new Uint8Array(0));
  if (nextHop.ifindex !== undefined) writer.attributeU32(NHA.OIF, nextHop.ifindex);
  if (nextHop.gateway !== undefined) writer.attributeBytes(NHA.GATEWAY, addressBytes(nextHop.gateway));
  if (nextHop.encapsulation) {
    writer.attributeU16(NHA.ENCAP_TYPE, nextHop.encapsulation.type);
    writer.attributeBytes(NHA.ENCAP | NLA_F_NESTED, nextHop.encapsulation.data);
  }
}

export interface NextHopFilter {
  readonly ifindex?: number | undefined;
  readonly master?: number | undefined;
  readonly groupsOnly?: boolean | undefined;
}

export function encodeNextHopFilter(writer: MessageWriter, filter: NextHopFilter): void {
  writer.u32(0);
  writer.u32(0);
  if (filter.ifindex !== undefined) writer.attributeU32(NHA.OIF, filter.ifindex);
  if (filter.master !== undefined) writer.attributeU32(NHA.MASTER, filter.master);
  if (filter.groupsOnly) writer.attributeBytes(NHA.GROUPS, new Uint8Array(0));
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export function decodeNextHop(message: Message): NextHop | Malformed {
  const { bytes, start, end } = message;
  if (end - start < NHMSG) return new Malformed('short message');
  const family = bytes[start]!;
  const cursor = new AttributeCursor(bytes, start + NHMSG, end);
  const octets = family === AF.INET ? 4 : family === AF.INET6 ? 16 : undefined;
  const flags = bytes.readUInt32LE(start + 4);
  const scope = bytes[start + 1]!;
  const nextHop: Writable<NextHop> = {
    id: 0,
    family,
    protocol: bytes[start + 2]!,
    ...(scope ? { scope } : {}),
    ...(flags ? { flags } : {}),
  };
  let encapsulationType = 0;
  let encapsulation: Uint8Array | undefined;
  while (cursor.next()) {
    if (cursor.type === NHA.ID) nextHop.id = cursor.u32();
    else if (cursor.type === NHA.GROUP) nextHop.group = readGroup(cursor);
    else if (cursor.type === NHA.BLACKHOLE) nextHop.blackhole = true;
    else if (cursor.type === NHA.FDB) nextHop.fdb = true;
    else if (cursor.type === NHA.OIF) nextHop.ifindex = cursor.u32();
    else if (cursor.type === NHA.GATEWAY) nextHop.gateway = cursor.address(octets);
    else if (cursor.type === NHA.ENCAP_TYPE) encapsulationType = cursor.u16();
    else if (cursor.type === NHA.ENCAP) encapsulation = cursor.copy();
  }
  if (cursor.malformed) return cursor.malformed;
  if (encapsulationType && encapsulation) nextHop.encapsulation = { type: encapsulationType, data: encapsulation };
  return nextHop;
}

function readGroup(cursor: AttributeCursor): { id: number; weight: number }[] {
  const { bytes, start, end } = cursor.range;
  if ((end - start) % GROUP_MEMBER !== 0) cursor.fail('bad attribute length');
  const members: { id: number; weight: number }[] = [];
  for (let at = start; at + GROUP_MEMBER <= end; at += GROUP_MEMBER) {
    members.push({ id: bytes.readUInt32LE(at), weight: bytes[at + 4]! + 1 });
  }
  return members;
}
