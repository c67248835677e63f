/** Routes (`struct rtmsg`): one next hop, several (ECMP), a next-hop object by its id, or none (unreachable, blackhole). */
import { AF, RT_SCOPE, RT_TABLE, RTA, RTAX_MTU, RTN } from './constants.ts';
import { AttributeCursor, Malformed, type Message, type MessageWriter, NLA_F_NESTED } from './message.ts';
import { addressBytes, isIpv6, splitPrefix } from './text.ts';

const RTMSG = 12;
const RTNEXTHOP = 8;
/** The low octet of rtm_flags speaks about the only next hop, the rest about the route. */
const NEXT_HOP_FLAGS = 0xff;

export interface RouteNextHop {
  readonly ifindex?: number;
  /** May be IPv6 under an IPv4 route (RFC 8950). */
  readonly gateway?: string;
  /** 1 to 256; 1 unless there are several. */
  readonly weight?: number;
  /** RTNH_F_*. */
  readonly flags?: number;
  /** LWTUNNEL_ENCAP_* and its attributes as they came. */
  readonly encapsulation?: { readonly type: number; readonly data: Uint8Array };
}

export interface Route {
  readonly family: number;
  /** `address/length`; `0.0.0.0/0` and `::/0` are default routes. */
  readonly destination: string;
  readonly source?: string;
  readonly tos?: number;
  readonly table: number;
  readonly protocol: number;
  readonly scope: number;
  /** RTN_*. */
  readonly type: number;
  /** RTM_F_*. */
  readonly flags?: number;
  readonly metric?: number;
  readonly preferredSource?: string;
  readonly inputIfindex?: number;
  readonly mark?: number;
  readonly mtu?: number;
  readonly nextHops: readonly RouteNextHop[];
  /** A next-hop object; the kernel repeats its members in `nextHops`, a request gives the id alone. */
  readonly nextHopId?: number;
}

/** Defaults as `ip route` has them: main table, unicast, link scope for device routes. */
export function makeRoute(route: Partial<Route> & { destination: string; nextHops: readonly RouteNextHop[] }): Route {
  const family = isIpv6(route.destination) ? AF.INET6 : AF.INET;
  const direct = route.nextHops.length > 0 && route.nextHops.every((hop) => hop.gateway === undefined);
  return {
    family,
    table: RT_TABLE.MAIN,
    protocol: 0,
    scope: family === AF.INET && direct ? RT_SCOPE.LINK : RT_SCOPE.UNIVERSE,
    type: RTN.UNICAST,
    ...route,
  };
}

export function encodeRoute(writer: MessageWriter, route: Route): void {
  const destination = splitPrefix(route.destination);
  const source = route.source === undefined ? undefined : splitPrefix(route.source);
  const only = route.nextHops.length === 1 && route.nextHopId === undefined ? route.nextHops[0]! : undefined;
  writer.u8(route.family);
  writer.u8(destination.length);
  writer.u8(source?.length ?? 0);
  writer.u8(route.tos ?? 0);
  writer.u8(route.table < 256 ? route.table : RT_TABLE.COMPAT);
  writer.u8(route.protocol);
  writer.u8(route.scope);
  writer.u8(route.type);
  writer.u32(((route.flags ?? 0) & ~NEXT_HOP_FLAGS) | (only?.flags ?? 0));
  if (destination.length > 0) writer.attributeBytes(RTA.DST, destination.address);
  if (source) writer.attributeBytes(RTA.SRC, source.address);
  if (route.table >= 256) writer.attributeU32(RTA.TABLE, route.table);
  if (route.metric !== undefined) writer.attributeU32(RTA.PRIORITY, route.metric);
  if (route.preferredSource !== undefined) writer.attributeBytes(RTA.PREFSRC, addressBytes(route.preferredSource));
  if (route.inputIfindex !== undefined) writer.attributeU32(RTA.IIF, route.inputIfindex);
  if (route.mark !== undefined) writer.attributeU32(RTA.MARK, route.mark);
  if (route.mtu !== undefined) {
    const nest = writer.nest(RTA.METRICS);
    writer.attributeU32(RTAX_MTU, route.mtu);
    writer.nestEnd(nest);
  }
  if (route.nextHopId !== undefined) writer.attributeU32(RTA.NH_ID, route.nextHopId);
  else if (only) {
    if (only.ifindex !== undefined) writer.attributeU32(RTA.OIF, only.ifindex);
    encodeNextHopAttributes(writer, route.family, only);
  } else if (route.nextHops.length > 1) encodeMultipath(writer, route);
}

function encodeMultipath(writer: MessageWriter, route: Route): void {
  const nest = writer.nest(RTA.MULTIPATH, false);
  for (const hop of route.nextHops) {
    // struct rtnexthop begins with its length in the place where an attribute has it, then flags and weight - 1.
    const at = writer.nest((hop.flags ?? 0) | (((hop.weight ?? 1) - 1) << 8), false);
    writer.u32(hop.ifindex ?? 0);
    encodeNextHopAttributes(writer, route.family, hop);
    writer.nestEnd(at);
  }
  writer.nestEnd(nest);
}

function encodeNextHopAttributes(writer: MessageWriter, family: number, hop: RouteNextHop): void {
  if (hop.gateway !== undefined) {
    const gateway = addressBytes(hop.gateway);
    if ((gateway.length === 16) === (family === AF.INET6)) writer.attributeBytes(RTA.GATEWAY, gateway);
    else writer.attributeBytes(RTA.VIA, Uint8Array.of(gateway.length === 16 ? AF.INET6 : AF.INET, 0, ...gateway));
  }
  if (hop.encapsulation) {
    writer.attributeU16(RTA.ENCAP_TYPE, hop.encapsulation.type);
    writer.attributeBytes(RTA.ENCAP | NLA_F_NESTED, hop.encapsulation.data);
  }
}

export function decodeRoute(message: Message): Route | Malformed {
  const { bytes, start, end } = message;
  if (end - start < RTMSG) return new Malformed('short message');
  const family = bytes[start]!;
  if (family !== AF.INET && family !== AF.INET6) return new Malformed('unsupported family');
  const octets = family === AF.INET ? 4 : 16;
  const destinationLength = bytes[start + 1]!;
  const sourceLength = bytes[start + 2]!;
  if (destinationLength > octets * 8 || sourceLength > octets * 8) return new Malformed('wrong address length');
  const allFlags = bytes.readUInt32LE(start + 8);
  const cursor = new AttributeCursor(bytes, start + RTMSG, end);
  const zero = family === AF.INET ? '0.0.0.0' : '::';
  let destination = zero;
  let source: string | undefined;
  let table = bytes[start + 4]!;
  const route: Writable<Partial<Route>> = {};
  const hop = new NextHopReader(family, octets);
  let nextHops: readonly RouteNextHop[] | undefined;
  while (cursor.next()) {
    switch (cursor.type) {
      case RTA.DST:
        destination = cursor.address(octets);
        break;
      case RTA.SRC:
        source = cursor.address(octets);
        break;
      case RTA.TABLE:
        table = cursor.u32();
        break;
      case RTA.PRIORITY:
        route.metric = cursor.u32();
        break;
      case RTA.PREFSRC:
        route.preferredSource = cursor.address(octets);
        break;
      case RTA.IIF:
        route.inputIfindex = cursor.u32();
        break;
      case RTA.MARK:
        route.mark = cursor.u32();
        break;
      case RTA.METRICS:
        readMetrics(cursor, route);
        break;
      case RTA.NH_ID:
        route.nextHopId = cursor.u32();
        break;
      case RTA.MULTIPATH:
        nextHops = readMultipath(cursor, family, octets);
        break;
      default:
        hop.read(cursor);
    }
  }
  if (cursor.malformed) return cursor.malformed;
  nextHops ??= hop.found ? [hop.nextHop(allFlags & NEXT_HOP_FLAGS, undefined)] : [];
  const tos = bytes[start + 3]!;
  const flags = (allFlags & ~NEXT_HOP_FLAGS) >>> 0;
  return {
    family,
    destination: `${destination}/${destinationLength}`,
    ...(sourceLength > 0 ? { source: `${source ?? zero}/${sourceLength}` } : {}),
    ...(tos ? { tos } : {}),
    table,
    protocol: bytes[start + 5]!,
    scope: bytes[start + 6]!,
    type: bytes[start + 7]!,
    ...(flags ? { flags } : {}),
    ...route,
    nextHops,
  };
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function readMetrics(parent: AttributeCursor, route: Writable<Partial<Route>>): void {
  const cursor = parent.nested();
  while (cursor.next()) if (cursor.type === RTAX_MTU) route.mtu = cursor.u32();
  parent.adopt(cursor);
}

function readMultipath(parent: AttributeCursor, family: number, octets: number): RouteNextHop[] {
  const { bytes, start, end } = parent.range;
  const hops: RouteNextHop[] = [];
  let position = start;
  while (position < end) {
    const length = end - position >= RTNEXTHOP ? bytes.readUInt16LE(position) : 0;
    if (length < RTNEXTHOP || length > end - position) {
      parent.fail('bad attribute length');
      return hops;
    }
    const reader = new NextHopReader(family, octets);
    const cursor = new AttributeCursor(bytes, position + RTNEXTHOP, position + length);
    while (cursor.next()) reader.read(cursor);
    parent.adopt(cursor);
    reader.ifindex = bytes.readInt32LE(position + 4);
    hops.push(reader.nextHop(bytes[position + 2]!, bytes[position + 3]! + 1));
    position += (length + 3) & ~3;
  }
  return hops;
}

/** Gathers the attributes that a route with one next hop and a member of RTA_MULTIPATH have in common. */
class NextHopReader {
  ifindex: number | undefined;
  readonly #family: number;
  readonly #octets: number;
  #gateway: string | undefined;
  #encapsulationType: number | undefined;
  #encapsulation: Uint8Array | undefined;

  constructor(family: number, octets: number) {
    this.#family = family;
    this.#octets = octets;
  }

  get found(): boolean {
    return this.ifindex !== undefined || this.#gateway !== undefined;
  }

  read(cursor: AttributeCursor): void {
    if (cursor.type === RTA.OIF) this.ifindex = cursor.u32();
    else if (cursor.type === RTA.GATEWAY) this.#gateway = cursor.address(this.#octets);
    else if (cursor.type === RTA.VIA) this.#gateway = this.#via(cursor);
    else if (cursor.type === RTA.ENCAP_TYPE) this.#encapsulationType = cursor.u16();
    else if (cursor.type === RTA.ENCAP) this.#encapsulation = cursor.copy();
  }

  nextHop(flags: number, weight: number | undefined): RouteNextHop {
    return {
      ...(this.ifindex ? { ifindex: this.ifindex } : {}),
      ...(this.#gateway !== undefined ? { gateway: this.#gateway } : {}),
      ...(weight !== undefined ? { weight } : {}),
      ...(flags ? { flags } : {}),
      ...(this.#encapsulationType && this.#encapsulation
        ? { encapsulation: { type: this.#encapsulationType, data: this.#encapsulation } }
        : {}),
    };
  }

  #via(cursor: AttributeCursor): string | undefined {
    const { bytes, start, end } = cursor.range;
    const family = end - start >= 2 ? bytes.readUInt16LE(start) : this.#family;
    const octets = family === AF.INET6 ? 16 : 4;
    if (end - start !== 2 + octets) {
      cursor.fail('wrong address length');
      return undefined;
    }
    return cursor.addressAt(2, octets);
  }
}

export interface RouteFilter {
  readonly family: number;
  readonly table?: number | undefined;
  readonly protocol?: number | undefined;
  readonly oif?: number | undefined;
  readonly type?: number | undefined;
}

export function encodeRouteFilter(writer: MessageWriter, filter: RouteFilter): void {
  writer.u8(filter.family);
  writer.u8(0);
  writer.u16(0);
  writer.u8(0);
  writer.u8(filter.protocol ?? 0);
  writer.u8(0);
  writer.u8(filter.type ?? 0);
  writer.u32(0);
  if (filter.table !== undefined) writer.attributeU32(RTA.TABLE, filter.table);
  if (filter.oif !== undefined) writer.attributeU32(RTA.OIF, filter.oif);
}
