/** Links (`struct ifinfomsg`), their kind data and the bridge-port attributes. */
import {
  AF,
  IFF,
  IFLA,
  IFLA_BR,
  IFLA_BRPORT,
  IFLA_INFO,
  IFLA_PROTO_DOWN_REASON,
  IFLA_VETH_PEER,
  IFLA_VLAN_ID,
  IFLA_VRF_TABLE,
} from './constants.ts';
import { AttributeCursor, attributeBytes, Malformed, type Message, type MessageWriter } from './message.ts';
import { linkAddressBytes } from './text.ts';

const IFINFOMSG = 16;

/** Attributes of a port of a bridge; only those given are set. */
export interface BridgePort {
  /** See `BR_STATE`. */
  state?: number;
  priority?: number;
  cost?: number;
  hairpin?: boolean;
  guard?: boolean;
  learning?: boolean;
  unicastFlood?: boolean;
  multicastFlood?: boolean;
  broadcastFlood?: boolean;
  neighbourSuppress?: boolean;
  isolated?: boolean;
  locked?: boolean;
}

export interface Link {
  /** AF_UNSPEC, or AF_BRIDGE when the message is about the port of a bridge. */
  readonly family: number;
  readonly ifindex: number;
  readonly name: string;
  /** ARPHRD_*. */
  readonly hardwareType: number;
  /** IFF_*. */
  readonly flags: number;
  /** IFF_UP. */
  readonly up: boolean;
  /** IFLA_CARRIER, read by the kernel when it wrote the message; undefined in bridge messages. */
  readonly carrier: boolean | undefined;
  readonly carrierChanges: number | undefined;
  readonly operationalState: number | undefined;
  readonly address: string | undefined;
  readonly mtu: number;
  /** 0: none. */
  readonly master: number;
  /** The lower or peer interface, 0: none. */
  readonly link: number;
  readonly linkNetnsId: number | undefined;
  readonly kind: string | undefined;
  readonly kindData: Uint8Array | undefined;
  readonly slaveKind: string | undefined;
  readonly bridgePort: Readonly<BridgePort> | undefined;
  readonly alias: string | undefined;
  readonly protoDown: boolean;
  /** One bit for each who holds it in protodown; 0 when nobody has given a reason. */
  readonly protoDownReason: number;
}

/** What is set or created; `flags` are those of IFF_* named by `change`. */
export interface LinkChange {
  readonly family?: number;
  readonly ifindex?: number;
  readonly name?: string;
  readonly up?: boolean;
  readonly address?: string;
  readonly mtu?: number;
  /** 0 takes the interface out of its master. */
  readonly master?: number;
  readonly link?: number;
  readonly alias?: string;
  /** 0 is that of every new interface. */
  readonly group?: number;
  /** The kernel refuses `false` with EBUSY while any reason is left. */
  readonly protoDown?: boolean;
  /** The bits of `mask` become those of `value`, before `protoDown` is looked at. Since Linux 5.9; ignored before. */
  readonly protoDownReason?: { readonly mask: number; readonly value: number };
  /** File descriptor of the network namespace to move to. */
  readonly netnsFd?: number;
  readonly kind?: string;
  readonly kindData?: Uint8Array;
  readonly bridgePort?: Readonly<BridgePort>;
  /** RTEXT_FILTER_* in requests that read. */
  readonly extendedMask?: number;
}

export function encodeLink(writer: MessageWriter, change: LinkChange): void {
  encodeInfo(writer, change);
  encodeAttributes(writer, change);
}

function encodeInfo(writer: MessageWriter, change: LinkChange): void {
  writer.u8(change.family ?? AF.UNSPEC);
  writer.u8(0);
  writer.u16(0);
  writer.u32(change.ifindex ?? 0);
  writer.u32(change.up ? IFF.UP : 0);
  writer.u32(change.up === undefined ? 0 : IFF.UP);
}

function encodeAttributes(writer: MessageWriter, change: LinkChange): void {
  if (change.name !== undefined) writer.attributeText(IFLA.IFNAME, change.name);
  if (change.address !== undefined) writer.attributeBytes(IFLA.ADDRESS, linkAddressBytes(change.address));
  if (change.mtu !== undefined) writer.attributeU32(IFLA.MTU, change.mtu);
  if (change.master !== undefined) writer.attributeU32(IFLA.MASTER, change.master);
  if (change.link !== undefined) writer.attributeU32(IFLA.LINK, change.link);
  if (change.alias !== undefined) writer.attributeText(IFLA.IFALIAS, change.alias);
  if (change.group !== undefined) writer.attributeU32(IFLA.GROUP, change.group);
  if (change.protoDown !== undefined) writer.attributeU8(IFLA.PROTO_DOWN, Number(change.protoDown));
  if (change.protoDownReason !== undefined) {
    const nest = writer.nest(IFLA.PROTO_DOWN_REASON);
    writer.attributeU32(IFLA_PROTO_DOWN_REASON.MASK, change.protoDownReason.mask);
    writer.attributeU32(IFLA_PROTO_DOWN_REASON.VALUE, change.protoDownReason.value);
    writer.nestEnd(nest);
  }
  if (change.netnsFd !== undefined) writer.attributeU32(IFLA.NET_NS_FD, change.netnsFd);
  if (change.extendedMask !== undefined) writer.attributeU32(IFLA.EXT_MASK, change.extendedMask);
  if (change.bridgePort !== undefined) {
    const nest = writer.nest(IFLA.PROTINFO);
    encodeBridgePort(writer, change.bridgePort);
    writer.nestEnd(nest);
  }
  if (change.kind !== undefined) {
    const nest = writer.nest(IFLA.LINKINFO);
    writer.attributeText(IFLA_INFO.KIND, change.kind);
    if (change.kindData !== undefined) writer.attributeBytes(IFLA_INFO.DATA, change.kindData);
    writer.nestEnd(nest);
  }
}

const PORT_FLAGS = [
  ['hairpin', IFLA_BRPORT.MODE],
  ['guard', IFLA_BRPORT.GUARD],
  ['learning', IFLA_BRPORT.LEARNING],
  ['unicastFlood', IFLA_BRPORT.UNICAST_FLOOD],
  ['multicastFlood', IFLA_BRPORT.MCAST_FLOOD],
  ['broadcastFlood', IFLA_BRPORT.BCAST_FLOOD],
  ['neighbourSuppress', IFLA_BRPORT.NEIGH_SUPPRESS],
  ['isolated', IFLA_BRPORT.ISOLATED],
  ['locked', IFLA_BRPORT.LOCKED],
] as const;

const PORT_FLAG_OF_TYPE = new Map<number, (typeof PORT_FLAGS)[number][0]>(
  PORT_FLAGS.map(([name, type]) => [type, name]),
);

function encodeBridgePort(writer: MessageWriter, port: Readonly<BridgePort>): void {
  if (port.state !== undefined) writer.attributeU8(IFLA_BRPORT.STATE, port.state);
  if (port.priority !== undefined) writer.attributeU16(IFLA_BRPORT.PRIORITY, port.priority);
  if (port.cost !== undefined) writer.attributeU32(IFLA_BRPORT.COST, port.cost);
  for (const [name, type] of PORT_FLAGS) {
    const value = port[name];
    if (value !== undefined) writer.attributeU8(type, Number(value));
  }
}

function decodeBridgePort(cursor: AttributeCursor): BridgePort {
  const port: BridgePort = {};
  while (cursor.next()) {
    const flag = PORT_FLAG_OF_TYPE.get(cursor.type);
    if (flag) port[flag] = cursor.u8() !== 0;
    else if (cursor.type === IFLA_BRPORT.STATE) port.state = cursor.u8();
    else if (cursor.type === IFLA_BRPORT.PRIORITY) port.priority = cursor.u16();
    else if (cursor.type === IFLA_BRPORT.COST) port.cost = cursor.u32();
  }
  return port;
}

export function decodeLink(message: Message): Link | Malformed {
  const { bytes, start, end } = message;
  if (end - start < IFINFOMSG) return new Malformed('short message');
  const flags = bytes.readUInt32LE(start + 8);
  const cursor = new AttributeCursor(bytes, start + IFINFOMSG, end);
  let name = '';
  let carrier: boolean | undefined;
  let carrierChanges: number | undefined;
  let operationalState: number | undefined;
  let address: string | undefined;
  let mtu = 0;
  let master = 0;
  let link = 0;
  let linkNetnsId: number | undefined;
  let alias: string | undefined;
  let protoDown = false;
  let protoDownReason = 0;
  let bridgePort: BridgePort | undefined;
  let info: LinkInfo = {};
  while (cursor.next()) {
    switch (cursor.type) {
      case IFLA.IFNAME:
        name = cursor.text();
        break;
      case IFLA.CARRIER:
        carrier = cursor.u8() !== 0;
        break;
      case IFLA.CARRIER_CHANGES:
        carrierChanges = cursor.u32();
        break;
      case IFLA.OPERSTATE:
        operationalState = cursor.u8();
        break;
      case IFLA.ADDRESS:
        address = cursor.linkAddress();
        break;
      case IFLA.MTU:
        mtu = cursor.u32();
        break;
      case IFLA.MASTER:
        master = cursor.u32();
        break;
      case IFLA.LINK:
        link = cursor.u32();
        break;
      case IFLA.LINK_NETNSID:
        linkNetnsId = cursor.u32() | 0;
        break;
      case IFLA.IFALIAS:
        alias = cursor.text();
        break;
      case IFLA.PROTO_DOWN:
        protoDown = cursor.u8() !== 0;
        break;
      case IFLA.PROTO_DOWN_REASON: {
        const reasons = cursor.nested();
        while (reasons.next()) if (reasons.type === IFLA_PROTO_DOWN_REASON.VALUE) protoDownReason = reasons.u32();
        cursor.adopt(reasons);
        break;
      }
      case IFLA.PROTINFO:
        // AF_INET6 puts its own structure here; only a bridge's is meant.
        if (bytes[start] === AF.BRIDGE) {
          const nested = cursor.nested();
          bridgePort = decodeBridgePort(nested);
          cursor.adopt(nested);
        }
        break;
      case IFLA.LINKINFO:
        info = decodeInfo(cursor);
        bridgePort ??= info.bridgePort;
        break;
    }
  }
  if (cursor.malformed) return cursor.malformed;
  return {
    family: bytes[start]!,
    ifindex: bytes.readInt32LE(start + 4),
    name,
    hardwareType: bytes.readUInt16LE(start + 2),
    flags,
    up: (flags & IFF.UP) !== 0,
    carrier,
    carrierChanges,
    operationalState,
    address,
    mtu,
    master,
    link,
    linkNetnsId,
    kind: info.kind,
    kindData: info.kindData,
    slaveKind: info.slaveKind,
    bridgePort,
    alias,
    protoDown,
    protoDownReason,
  };
}

/** Of all that a link's message says, IFLA_CARRIER alone. */
export function decodeCarrier({ bytes, start, end }: Message): boolean | undefined | Malformed {
  const cursor = new AttributeCursor(bytes, start + IFINFOMSG, end);
  while (cursor.next()) if (cursor.type === IFLA.CARRIER) return cursor.u8() !== 0;
  return cursor.malformed;
}

interface LinkInfo {
  kind?: string;
  kindData?: Uint8Array;
  slaveKind?: string;
  bridgePort?: BridgePort;
}

function decodeInfo(parent: AttributeCursor): LinkInfo {
  const info: LinkInfo = {};
  const cursor = parent.nested();
  let slaveData: AttributeCursor | undefined;
  while (cursor.next()) {
    if (cursor.type === IFLA_INFO.KIND) info.kind = cursor.text();
    else if (cursor.type === IFLA_INFO.DATA) info.kindData = cursor.copy();
    else if (cursor.type === IFLA_INFO.SLAVE_KIND) info.slaveKind = cursor.text();
    else if (cursor.type === IFLA_INFO.SLAVE_DATA) slaveData = cursor.nested();
  }
  if (slaveData && info.slaveKind === 'bridge') {
    info.bridgePort = decodeBridgePort(slaveData);
    cursor.adopt(slaveData);
  }
  parent.adopt(cursor);
  return info;
}

/** `kindData` of a veth pair: the other end. */
export function vethPeer(peer: LinkChange): Uint8Array {
  return attributeBytes((writer) => {
    const nest = writer.nest(IFLA_VETH_PEER);
    encodeLink(writer, peer);
    writer.nestEnd(nest);
  });
}

export function vlanData(id: number): Uint8Array {
  return attributeBytes((writer) => writer.attributeU16(IFLA_VLAN_ID, id));
}

export function vrfData(table: number): Uint8Array {
  return attributeBytes((writer) => writer.attributeU32(IFLA_VRF_TABLE, table));
}

/** The routing table of a VRF, from its `kindData`; undefined when that has none. */
export function vrfTable(kindData: Uint8Array | undefined): number | undefined {
  if (!kindData) return undefined;
  const bytes = Buffer.from(kindData.buffer, kindData.byteOffset, kindData.byteLength);
  const cursor = new AttributeCursor(bytes, 0, bytes.length);
  let table: number | undefined;
  while (cursor.next()) if (cursor.type === IFLA_VRF_TABLE) table = cursor.u32();
  return cursor.malformed ? undefined : table;
}

export interface BridgeSettings {
  readonly vlanFiltering?: boolean;
  readonly spanningTree?: boolean;
  /** Seconds a learned address lives. */
  readonly ageingSeconds?: number;
  readonly multicastSnooping?: boolean;
}

export function bridgeData(settings: BridgeSettings): Uint8Array {
  return attributeBytes((writer) => {
    if (settings.ageingSeconds !== undefined) writer.attributeU32(IFLA_BR.AGEING_TIME, settings.ageingSeconds * 100);
    if (settings.spanningTree !== undefined) writer.attributeU32(IFLA_BR.STP_STATE, Number(settings.spanningTree));
    if (settings.vlanFiltering !== undefined) {
      writer.attributeU8(IFLA_BR.VLAN_FILTERING, Number(settings.vlanFiltering));
    }
    if (settings.multicastSnooping !== undefined) {
      writer.attributeU8(IFLA_BR.MCAST_SNOOPING, Number(settings.multicastSnooping));
    }
  });
}
