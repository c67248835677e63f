/** What the kernel holds, as layout objects: what is not ours, and what is of no layout that we write, is undefined. */
import {
  AF,
  FR_ACT,
  type InterfaceAddress,
  type Link,
  type Neighbour,
  NTF,
  NUD,
  type Route,
  RTN,
  type Rtnetlink,
  type Rule,
  readTunnelEnds,
  readVxlan,
} from 'rtnetlink-ts';
import { type Mac, type Prefix, parseAddress, parseMac, parsePrefix } from '../../../model/address.ts';
import { isInverted } from './encode.ts';
import { isOurBridge, isOurTunnel, LAYOUT_PROTOCOL, VXLAN_PORT } from './names.ts';
import { type BridgeObject, byKey, type LayoutObject, type TunnelObject } from './objects.ts';

/** Devices by their numbers. */
export type LinkOf = (ifindex: number) => Link | undefined;

/** A bridge or tunnel as it stands; 'foreign': it has our name, and is of another nature. */
export function readLink(link: Link, linkOf: LinkOf): BridgeObject | TunnelObject | 'foreign' | undefined {
  const { name } = link;
  const mtu = link.up ? link.mtu : 0;
  if (isOurBridge(name)) {
    const mac = parseMac(link.address ?? '');
    return link.kind === 'bridge' && mac ? { kind: 'bridge', name, mac, mtu } : 'foreign';
  }
  if (!isOurTunnel(name)) return undefined;
  const bridge = link.master === 0 ? undefined : linkOf(link.master)?.name;
  const nature = tunnelNature(link);
  // A TAP is the packet worker's.
  if (!nature) return link.kind === 'tun' ? undefined : 'foreign';
  return { kind: 'tunnel', name, ...(bridge === undefined ? {} : { bridge }), ...nature, mtu };
}

type Nature = Pick<TunnelObject, 'type' | 'vni' | 'local' | 'remote'>;

/** What can't be changed of a tunnel that stands. */
function tunnelNature({ name, kind, kindData }: Link): Nature | undefined {
  if (kind === 'vxlan') {
    const { id = 0, local: from = '', group, port, learning } = readVxlan(kindData) ?? {};
    const local = parseAddress(from);
    if (!local || group !== undefined || port !== VXLAN_PORT || !learning) return undefined;
    return { type: 'vxlan', vni: id, local };
  }
  if (kind !== 'geneve' && kind !== 'gretap' && kind !== 'ipip') return undefined;
  const ends = readTunnelEnds(kind, kindData);
  const remote = parseAddress(ends?.remote ?? '');
  const local = parseAddress(ends?.local ?? '');
  if (!remote) return undefined;
  // Of ipip the network is in no header: in the name that we gave it.
  const vni = { geneve: ends?.id ?? 0, gretap: (ends?.id ?? 0) >>> 8, ipip: Number.parseInt(name.slice(4), 36) }[kind];
  return { type: kind, vni, ...(local ? { local } : {}), remote };
}

/** A tunnel becomes another by being made anew. */
export const sameNature = (one: TunnelObject, other: TunnelObject): boolean =>
  one.type === other.type && one.vni === other.vni && one.local === other.local && one.remote === other.remote;

export function readPort(link: Link, linkOf: LinkOf): LayoutObject | undefined {
  const bridge = link.master === 0 ? undefined : linkOf(link.master)?.name;
  if (bridge === undefined || !isOurBridge(bridge)) return undefined;
  const port = { kind: 'port', device: link.name, bridge } as const;
  if (!isOurTunnel(link.name)) return port;
  return link.kind === 'tun' ? { ...port, mtu: link.mtu } : undefined;
}

export function readAddress(value: InterfaceAddress, linkOf: LinkOf): LayoutObject | undefined {
  const device = linkOf(value.ifindex)?.name;
  const address = parseAddress(value.address);
  if (device === undefined || !isOurBridge(device) || !address || value.address.startsWith('fe80:')) return undefined;
  return { kind: 'address', device, address, length: value.prefixLength };
}

/** Of forwarding databases what is not learned, of neighbours what is permanent. */
export function readNeighbour(entry: Neighbour, linkOf: LinkOf): LayoutObject | undefined {
  const device = linkOf(entry.ifindex)?.name;
  const mac = parseMac(entry.linkAddress ?? '');
  if (device === undefined || !mac) return undefined;
  const destination = parseAddress(entry.destination ?? '');
  if (entry.family !== AF.BRIDGE) {
    if (!isOurBridge(device) || !destination || entry.protocol !== LAYOUT_PROTOCOL) return undefined;
    // One that is no longer permanent has another state and so another MAC before long.
    const resolved = entry.state === NUD.PERMANENT ? mac : ('00:00:00:00:00:00' as Mac);
    return { kind: 'neighbour', device, address: destination, mac: resolved };
  }
  if (entry.flags & NTF.SELF) {
    if (!isOurTunnel(device) || !destination || !(entry.state & NUD.PERMANENT)) return undefined;
    return { kind: 'tunnel-entry', device, mac, to: destination };
  }
  const sticky = entry.state === NUD.NOARP && entry.flags & NTF.STICKY;
  const bridge = linkOf(entry.master)?.name;
  return sticky && bridge !== undefined && isOurBridge(bridge) ? { kind: 'bridge-entry', device, mac } : undefined;
}

export function readRoute(route: Route, linkOf: LinkOf): LayoutObject | undefined {
  const destination = parsePrefix(route.destination);
  if (route.protocol !== LAYOUT_PROTOCOL || !destination) return undefined;
  const { table, metric = 0, nextHops, type, mtu } = route;
  const [hop] = nextHops;
  const base = { kind: 'route', table, destination, metric } as const;
  if (type === RTN.UNREACHABLE) return base;
  const device = hop?.ifindex === undefined ? undefined : linkOf(hop.ifindex)?.name;
  const via = hop?.gateway === undefined ? undefined : parseAddress(hop.gateway);
  // Without a device it must not be taken for one that is unreachable on purpose.
  return {
    ...base,
    device: nextHops.length === 1 ? (device ?? '?') : '?',
    ...(via === undefined ? {} : { via }),
    ...(mtu === undefined ? {} : { mtu }),
  };
}

export function readRule(rule: Rule): LayoutObject | undefined {
  if (rule.protocol !== LAYOUT_PROTOCOL) return undefined;
  const { inputInterface, outputInterface: output, source, mark } = rule;
  return {
    kind: 'rule',
    family: rule.family === AF.INET ? 4 : 6,
    priority: rule.priority ?? 0,
    table: rule.action === FR_ACT.TO_TBL ? rule.table : 0,
    ...(inputInterface === undefined
      ? {}
      : isInverted(rule)
        ? { notInput: inputInterface }
        : { input: inputInterface }),
    ...(output === undefined ? {} : { output }),
    ...(source === undefined ? {} : { source: source as Prefix }),
    ...(mark === undefined ? {} : { mark }),
  };
}

export interface Standing {
  readonly objects: Map<string, LayoutObject>;
  /** Names of devices that have our names and another nature. */
  readonly foreign: readonly string[];
}

type Reading = Pick<
  Rtnetlink,
  'dumpLinks' | 'dumpAddresses' | 'dumpNeighbours' | 'dumpFdb' | 'dumpRoutes' | 'dumpRules'
>;

/** All that stands of a layout, whichever life of an agent made it. */
export async function readStanding(rtnetlink: Reading): Promise<Standing> {
  const links = await rtnetlink.dumpLinks();
  const byIndex = new Map(links.map((link) => [link.ifindex, link]));
  const linkOf: LinkOf = (ifindex) => byIndex.get(ifindex);
  const objects: (LayoutObject | undefined)[] = [];
  const foreign: string[] = [];
  for (const link of links) {
    const own = readLink(link, linkOf);
    if (own === 'foreign') foreign.push(link.name);
    else objects.push(own ?? readPort(link, linkOf));
  }
  for (const address of await rtnetlink.dumpAddresses()) objects.push(readAddress(address, linkOf));
  for (const neighbour of await rtnetlink.dumpNeighbours()) objects.push(readNeighbour(neighbour, linkOf));
  for (const entry of await rtnetlink.dumpFdb()) objects.push(readNeighbour(entry, linkOf));
  for (const family of [AF.INET, AF.INET6]) {
    for (const route of await rtnetlink.dumpRoutes({ family, protocol: LAYOUT_PROTOCOL })) {
      objects.push(readRoute(route, linkOf));
    }
    for (const rule of await rtnetlink.dumpRules({ family })) objects.push(readRule(rule));
  }
  return { objects: byKey(objects.filter((object) => object !== undefined)), foreign };
}
