/** Neighbours and, with AF_BRIDGE, the forwarding database of bridges and of vxlan devices (`struct ndmsg`). */
import { AF, NDA } from './constants.ts';
import { AttributeCursor, Malformed, type Message, type MessageWriter } from './message.ts';
import { addressBytes, linkAddressBytes } from './text.ts';

const NDMSG = 12;

export interface Neighbour {
  /** AF_INET, AF_INET6, or AF_BRIDGE for an entry of a forwarding database. */
  readonly family: number;
  readonly ifindex: number;
  /** The protocol address; with AF_BRIDGE the remote tunnel end, if any. */
  readonly destination: string | undefined;
  readonly linkAddress: string | undefined;
  /** NUD_*. */
  readonly state: number;
  /** NTF_*. */
  readonly flags: number;
  /** NDA_FLAGS_EXT. */
  readonly extendedFlags: number;
  /** RTN_* of the destination; 0 in requests. */
  readonly type: number;
  /** Who made the entry (RTPROT_*), 0 when nobody said. */
  readonly protocol: number;
  /** The bridge, 0: none. */
  readonly master: number;
  readonly vlan: number | undefined;
  readonly vni: number | undefined;
  readonly probes: number | undefined;
}

/** What a request needs to say. */
export interface NeighbourEntry {
  readonly family: number;
  readonly ifindex: number;
  readonly destination?: string | undefined;
  readonly linkAddress?: string | undefined;
  readonly state?: number;
  readonly flags?: number;
  readonly extendedFlags?: number;
  readonly type?: number;
  readonly protocol?: number;
  readonly master?: number;
  readonly vlan?: number | undefined;
  readonly vni?: number | undefined;
}

export function encodeNeighbour(writer: MessageWriter, entry: NeighbourEntry): void {
  writer.u8(entry.family);
  writer.u8(0);
  writer.u16(0);
  writer.u32(entry.ifindex);
  writer.u16(entry.state ?? 0);
  writer.u8(entry.flags ?? 0);
  writer.u8(entry.type ?? 0);
  if (entry.destination !== undefined) writer.attributeBytes(NDA.DST, addressBytes(entry.destination));
  if (entry.linkAddress !== undefined) writer.attributeBytes(NDA.LLADDR, linkAddressBytes(entry.linkAddress));
  if (entry.extendedFlags) writer.attributeU32(NDA.FLAGS_EXT, entry.extendedFlags);
  if (entry.protocol) writer.attributeU8(NDA.PROTOCOL, entry.protocol);
  if (entry.master) writer.attributeU32(NDA.MASTER, entry.master);
  if (entry.vlan !== undefined) writer.attributeU16(NDA.VLAN, entry.vlan);
  if (entry.vni !== undefined) writer.attributeU32(NDA.VNI, entry.vni);
}

/** Filters of a dump: the header must be empty but for the family, or the strict check refuses it. */
export function encodeNeighbourFilter(
  writer: MessageWriter,
  filter: { family: number; ifindex?: number | undefined; master?: number | undefined },
): void {
  writer.u8(filter.family);
  writer.u8(0);
  writer.u16(0);
  // The forwarding database takes the port in the header, the neighbour tables take it as an attribute.
  writer.u32(filter.family === AF.BRIDGE ? (filter.ifindex ?? 0) : 0);
  writer.u32(0);
  if (filter.ifindex && filter.family !== AF.BRIDGE) writer.attributeU32(NDA.IFINDEX, filter.ifindex);
  if (filter.master) writer.attributeU32(NDA.MASTER, filter.master);
}

export function decodeNeighbour(message: Message): Neighbour | Malformed {
  const { bytes, start, end } = message;
  if (end - start < NDMSG) return new Malformed('short message');
  const family = bytes[start]!;
  if (family !== AF.INET && family !== AF.INET6 && family !== AF.BRIDGE) return new Malformed('unsupported family');
  const octets = family === AF.INET ? 4 : family === AF.INET6 ? 16 : undefined;
  const cursor = new AttributeCursor(bytes, start + NDMSG, end);
  let destination: string | undefined;
  let linkAddress: string | undefined;
  let extendedFlags = 0;
  let protocol = 0;
  let master = 0;
  let vlan: number | undefined;
  let vni: number | undefined;
  let probes: number | undefined;
  while (cursor.next()) {
    switch (cursor.type) {
      case NDA.DST:
        destination = cursor.address(octets);
        break;
      case NDA.LLADDR:
        linkAddress = cursor.linkAddress();
        break;
      case NDA.PROBES:
        probes = cursor.u32();
        break;
      case NDA.VLAN:
        vlan = cursor.u16();
        break;
      case NDA.VNI:
        vni = cursor.u32();
        break;
      case NDA.MASTER:
        master = cursor.u32();
        break;
      case NDA.PROTOCOL:
        protocol = cursor.u8();
        break;
      case NDA.FLAGS_EXT:
        extendedFlags = cursor.u32();
        break;
    }
  }
  if (cursor.malformed) return cursor.malformed;
  if ((family === AF.BRIDGE ? linkAddress : destination) === undefined) return new Malformed('missing attribute');
  return {
    family,
    ifindex: bytes.readInt32LE(start + 4),
    destination,
    linkAddress,
    state: bytes.readUInt16LE(start + 8),
    flags: bytes[start + 10]!,
    extendedFlags,
    type: bytes[start + 11]!,
    protocol,
    master,
    vlan,
    vni,
    probes,
  };
}
