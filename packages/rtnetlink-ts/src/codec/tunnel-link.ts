/** Kind data of tunnel devices: vxlan, geneve, gretap and ipip. Which of them a kernel has shows when one is made. */
import { IFLA_GENEVE, IFLA_GRE, IFLA_IPTUN, IFLA_VXLAN } from './constants.ts';
import { AttributeCursor, attributeBytes, type MessageWriter } from './message.ts';
import { addressBytes, isIpv6 } from './text.ts';

/** A key stands in the header (RFC 2890). */
const GRE_KEY = 0x2000;

export interface VxlanSettings {
  readonly id?: number;
  readonly local?: string;
  /** Remote unicast address or multicast group. */
  readonly group?: string;
  /** Lower interface. */
  readonly link?: number;
  readonly port?: number;
  readonly ttl?: number;
  readonly learning?: boolean;
  /** The tunnel's parameters come with the route or the packet (`external`). */
  readonly external?: boolean;
  /** Generic protocol extension: carries IP without Ethernet. */
  readonly gpe?: boolean;
}

export function vxlanData(settings: VxlanSettings): Uint8Array {
  return attributeBytes((writer) => {
    if (settings.id !== undefined) writer.attributeU32(IFLA_VXLAN.ID, settings.id);
    const { group, local } = settings;
    if (group) writer.attributeBytes(isIpv6(group) ? IFLA_VXLAN.GROUP6 : IFLA_VXLAN.GROUP, addressBytes(group));
    if (local) writer.attributeBytes(isIpv6(local) ? IFLA_VXLAN.LOCAL6 : IFLA_VXLAN.LOCAL, addressBytes(local));
    if (settings.link !== undefined) writer.attributeU32(IFLA_VXLAN.LINK, settings.link);
    if (settings.ttl !== undefined) writer.attributeU8(IFLA_VXLAN.TTL, settings.ttl);
    // Learning is the kernel's default, and refused together with `external` and `gpe`.
    const learning = settings.learning ?? (settings.external ? false : undefined);
    if (learning !== undefined) writer.attributeU8(IFLA_VXLAN.LEARNING, Number(learning));
    attributePort(writer, IFLA_VXLAN.PORT, settings.port ?? 4789);
    if (settings.external) writer.attributeU8(IFLA_VXLAN.COLLECT_METADATA, 1);
    if (settings.gpe) writer.attributeBytes(IFLA_VXLAN.GPE, new Uint8Array(0));
  });
}

/** What a vxlan device is, from its `kindData`; undefined when that is none of a vxlan. */
export function readVxlan(kindData: Uint8Array | undefined): VxlanSettings | undefined {
  if (!kindData) return undefined;
  const settings: { -readonly [K in keyof VxlanSettings]: VxlanSettings[K] } = {};
  const cursor = cursorOver(kindData);
  while (cursor.next()) {
    switch (cursor.type) {
      case IFLA_VXLAN.ID:
        settings.id = cursor.u32();
        break;
      case IFLA_VXLAN.GROUP:
        settings.group = cursor.address(4);
        break;
      case IFLA_VXLAN.GROUP6:
        settings.group = cursor.address(16);
        break;
      case IFLA_VXLAN.LOCAL:
        settings.local = cursor.address(4);
        break;
      case IFLA_VXLAN.LOCAL6:
        settings.local = cursor.address(16);
        break;
      case IFLA_VXLAN.LINK:
        settings.link = cursor.u32();
        break;
      case IFLA_VXLAN.TTL:
        settings.ttl = cursor.u8();
        break;
      case IFLA_VXLAN.LEARNING:
        settings.learning = cursor.u8() !== 0;
        break;
      case IFLA_VXLAN.PORT:
        settings.port = networkOrder(cursor.u16());
        break;
      case IFLA_VXLAN.COLLECT_METADATA:
        settings.external = cursor.u8() !== 0;
        break;
      case IFLA_VXLAN.GPE:
        settings.gpe = true;
        break;
    }
  }
  return cursor.malformed || settings.id === undefined ? undefined : settings;
}

export interface GeneveSettings {
  readonly id: number;
  readonly remote: string;
  /** Default 6081. */
  readonly port?: number;
  readonly ttl?: number;
}

export function geneveData({ id, remote, port = 6081, ttl }: GeneveSettings): Uint8Array {
  return attributeBytes((writer) => {
    writer.attributeU32(IFLA_GENEVE.ID, id);
    writer.attributeBytes(isIpv6(remote) ? IFLA_GENEVE.REMOTE6 : IFLA_GENEVE.REMOTE, addressBytes(remote));
    if (ttl !== undefined) writer.attributeU8(IFLA_GENEVE.TTL, ttl);
    attributePort(writer, IFLA_GENEVE.PORT, port);
  });
}

/** `gretap` (Ethernet in GRE) and `ip6gretap`. */
export interface GreSettings {
  readonly local: string;
  readonly remote: string;
  /** NVGRE (RFC 7637 §3.2): the virtual subnet in the upper 24 bits, a flow in the lower 8. */
  readonly key?: number;
  readonly ttl?: number;
}

export function greData({ local, remote, key, ttl }: GreSettings): Uint8Array {
  return attributeBytes((writer) => {
    if (key !== undefined) {
      for (const type of [IFLA_GRE.IFLAGS, IFLA_GRE.OFLAGS]) attributePort(writer, type, GRE_KEY);
      for (const type of [IFLA_GRE.IKEY, IFLA_GRE.OKEY]) {
        writer.attributeBytes(type, Uint8Array.of(key >>> 24, (key >>> 16) & 255, (key >>> 8) & 255, key & 255));
      }
    }
    writer.attributeBytes(IFLA_GRE.LOCAL, addressBytes(local));
    writer.attributeBytes(IFLA_GRE.REMOTE, addressBytes(remote));
    if (ttl !== undefined) writer.attributeU8(IFLA_GRE.TTL, ttl);
  });
}

export interface IpipSettings {
  readonly local: string;
  readonly remote: string;
  readonly ttl?: number;
}

export function ipipData({ local, remote, ttl }: IpipSettings): Uint8Array {
  return attributeBytes((writer) => {
    writer.attributeBytes(IFLA_IPTUN.LOCAL, addressBytes(local));
    writer.attributeBytes(IFLA_IPTUN.REMOTE, addressBytes(remote));
    if (ttl !== undefined) writer.attributeU8(IFLA_IPTUN.TTL, ttl);
  });
}

/** The two ends of a tunnel device that has just one other end, from its `kindData`; absent: unspecified. */
export function readTunnelEnds(kind: string | undefined, kindData: Uint8Array | undefined): TunnelEnds | undefined {
  const types = kind === undefined ? undefined : ENDS[kind];
  if (!kindData || !types) return undefined;
  const ends: { -readonly [K in keyof TunnelEnds]: TunnelEnds[K] } = {};
  const cursor = cursorOver(kindData);
  while (cursor.next()) {
    if (cursor.type === types.local) ends.local = cursor.address();
    else if (cursor.type === types.remote || cursor.type === types.remote6) ends.remote = cursor.address();
    else if (cursor.type === types.id) ends.id = cursor.u32();
    else if (cursor.type === types.key) ends.id = swapped(cursor.u32());
  }
  return cursor.malformed ? undefined : ends;
}

export interface TunnelEnds {
  readonly local?: string;
  readonly remote?: string;
  /** Network identifier, or the key of GRE. */
  readonly id?: number;
}

type EndTypes = { local?: number; remote: number; remote6?: number; id?: number; key?: number };
const ENDS: Readonly<Record<string, EndTypes>> = {
  geneve: { remote: IFLA_GENEVE.REMOTE, remote6: IFLA_GENEVE.REMOTE6, id: IFLA_GENEVE.ID },
  gretap: { local: IFLA_GRE.LOCAL, remote: IFLA_GRE.REMOTE, key: IFLA_GRE.OKEY },
  ip6gretap: { local: IFLA_GRE.LOCAL, remote: IFLA_GRE.REMOTE, key: IFLA_GRE.OKEY },
  ipip: { local: IFLA_IPTUN.LOCAL, remote: IFLA_IPTUN.REMOTE },
};

const attributePort = (writer: MessageWriter, type: number, port: number): void =>
  writer.attributeBytes(type, Uint8Array.of(port >> 8, port & 255));

const networkOrder = (value: number): number => ((value & 255) << 8) | (value >> 8);
const swapped = (value: number): number =>
  (((value & 255) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;

function cursorOver(data: Uint8Array): AttributeCursor {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return new AttributeCursor(bytes, 0, bytes.length);
}
