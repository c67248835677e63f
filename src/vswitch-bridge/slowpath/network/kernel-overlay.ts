/**
 * Networks that another has laid out in this kernel (flannel, a script, a hand): bridges with their ports, vxlan devices
 * with their forwarding databases, routes into them. Read, and never touched.
 *
 * Two kinds are known. *Switched*: a vxlan device is a port of a bridge; remote hosts are what its forwarding database
 * names, and what is behind them is known as far as this host has talked to it. *Routed* (flannel): a vxlan device stands
 * alone, routes lead into it through next hops whose MAC the forwarding database sends to a host; the bridge that holds
 * the instances has a subnet of its own.
 */
import {
  type InterfaceAddress,
  type Link,
  type Neighbour,
  NTF,
  NUD,
  type Route,
  readVxlan,
  type VxlanSettings,
} from 'rtnetlink-ts';
import {
  type Address,
  addressBytes,
  familyOf,
  hostPrefix,
  type Mac,
  makePrefix,
  type Prefix,
  parseAddress,
  parseMac,
  parsePrefix,
  prefixAddress,
  prefixLength,
} from '../../../model/address.ts';
import type { OverlayInstance, OverlayNetwork, OverlayRemote } from '../../../model/overlay.ts';
import { isOurBridge, isOurTunnel, VXLAN_PORT } from './names.ts';

export interface KernelTables {
  readonly links: readonly Link[];
  readonly addresses: readonly InterfaceAddress[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly Neighbour[];
  readonly routes: readonly Route[];
}

/** All of origin `kernel`. */
export interface KernelOverlay {
  readonly networks: readonly OverlayNetwork[];
  readonly instances: readonly OverlayInstance[];
  readonly remotes: readonly OverlayRemote[];
  /** Ports of the bridges of whom nobody here knows an address: they have not spoken to this host yet. */
  readonly silent: readonly string[];
}

const EVERY_MAC = '00:00:00:00:00:00';

interface Place {
  readonly address: Address;
  readonly mac: Mac;
}

export function kernelOverlay(tables: KernelTables): KernelOverlay {
  const networks: OverlayNetwork[] = [];
  const instances: OverlayInstance[] = [];
  const remotes: OverlayRemote[] = [];
  const silent: string[] = [];
  const bridges = tables.links.filter(({ kind, name }) => kind === 'bridge' && !isOurBridge(name));
  const taken = new Set<number>();
  for (const tunnel of tables.links) {
    const vxlan = tunnel.kind === 'vxlan' && !isOurTunnel(tunnel.name) ? readVxlan(tunnel.kindData) : undefined;
    if (vxlan?.id === undefined || vxlan.external) continue;
    const switched = bridges.find(({ ifindex }) => ifindex === tunnel.master);
    const behind = switched ? switchedRemotes(tables, tunnel, switched) : routedRemotes(tables, tunnel);
    const prefixes = [...behind.values()].flat();
    const bridge =
      switched ??
      bridges.find(
        (each) => !taken.has(each.ifindex) && !carries(tables, each, vxlan) && isBeside(tables, each, prefixes),
      );
    if (!bridge) continue;
    const own = subnetOf(tables, bridge);
    const subnet = coveringPrefix(own ? [own.subnet, ...prefixes] : prefixes);
    if (!subnet) continue;
    taken.add(bridge.ifindex);
    const network = tunnel.name;
    networks.push({
      name: network,
      vni: vxlan.id,
      subnet,
      ...(own ? { gateway: own.gateway } : {}),
      encapsulation: 'vxlan',
      ...(vxlan.port === undefined || vxlan.port === VXLAN_PORT ? {} : { port: vxlan.port }),
      origin: 'kernel',
      devices: { bridge: bridge.name, tunnel: tunnel.name },
    });
    for (const [host, addresses] of behind) remotes.push({ host, network, addresses, origin: 'kernel' });
    const known = placesOn(tables, bridge);
    for (const port of tables.links) {
      if (port.master !== bridge.ifindex || port.ifindex === tunnel.ifindex) continue;
      const place = known.find(({ mac }) => portOf(tables, bridge, mac) === port.ifindex);
      if (!place) silent.push(port.name);
      else instances.push({ name: port.name, network, ...place, interface: port.name, origin: 'kernel' });
    }
  }
  return { networks, instances, remotes, silent };
}

/** Hosts that the tunnel's forwarding database names, with the addresses whose MACs it sends there. */
function switchedRemotes(tables: KernelTables, tunnel: Link, bridge: Link): Map<Address, Prefix[]> {
  const remotes = new Map<Address, Prefix[]>();
  const places = placesOn(tables, bridge);
  for (const { mac, host } of entriesOf(tables, tunnel)) {
    const addresses = remotes.get(host) ?? [];
    remotes.set(host, addresses);
    if (mac === EVERY_MAC) continue;
    for (const place of places) if (place.mac === mac) addresses.push(hostPrefix(place.address));
  }
  return remotes;
}

function routedRemotes(tables: KernelTables, tunnel: Link): Map<Address, Prefix[]> {
  const remotes = new Map<Address, Prefix[]>();
  const hostOf = new Map(entriesOf(tables, tunnel).map(({ mac, host }) => [mac, host]));
  const macOf = new Map(placesOn(tables, tunnel).map(({ address, mac }) => [address, mac]));
  for (const { destination, nextHops } of tables.routes) {
    const hop = nextHops.length === 1 ? nextHops[0] : undefined;
    const via = hop?.ifindex === tunnel.ifindex ? parseAddress(hop.gateway ?? '') : undefined;
    const host = via === undefined ? undefined : hostOf.get(macOf.get(via) ?? ('' as Mac));
    const prefix = parsePrefix(destination);
    if (!host || !prefix) continue;
    remotes.set(host, [...(remotes.get(host) ?? []), prefix]);
  }
  return remotes;
}

function entriesOf(tables: KernelTables, tunnel: Link): { mac: Mac; host: Address }[] {
  return tables.fdb.flatMap((entry) => {
    const mac = parseMac(entry.linkAddress ?? '');
    const host = parseAddress(entry.destination ?? '');
    return entry.ifindex === tunnel.ifindex && entry.flags & NTF.SELF && mac && host ? [{ mac, host }] : [];
  });
}

const RESOLVED = NUD.REACHABLE | NUD.STALE | NUD.DELAY | NUD.PROBE | NUD.PERMANENT | NUD.NOARP;

function placesOn(tables: KernelTables, device: Link): Place[] {
  return tables.neighbours.flatMap((entry) => {
    const address = parseAddress(entry.destination ?? '');
    const mac = parseMac(entry.linkAddress ?? '');
    const known = entry.ifindex === device.ifindex && entry.state & RESOLVED && entry.type !== MULTICAST;
    return known && address && mac && !address.startsWith('fe80:') ? [{ address, mac }] : [];
  });
}

/** RTN_MULTICAST */
const MULTICAST = 5;

function portOf({ fdb }: KernelTables, bridge: Link, mac: Mac): number | undefined {
  return fdb.find(
    (entry) =>
      entry.linkAddress === mac &&
      entry.master === bridge.ifindex &&
      !(entry.flags & NTF.SELF) &&
      !(entry.state & NUD.PERMANENT),
  )?.ifindex;
}

function subnetOf({ addresses }: KernelTables, bridge: Link): { subnet: Prefix; gateway: Address } | undefined {
  for (const { ifindex, address, prefixLength: length } of addresses) {
    const gateway = parseAddress(address);
    if (ifindex !== bridge.ifindex || !gateway || address.startsWith('fe80:')) continue;
    return { subnet: makePrefix(addressBytes(gateway), length), gateway };
  }
  return undefined;
}

/** The tunnel's own packets leave by it: this is the underlay, however large its subnet is. */
const carries = ({ addresses }: KernelTables, bridge: Link, { link, local }: VxlanSettings): boolean =>
  link === bridge.ifindex || addresses.some(({ ifindex, address }) => ifindex === bridge.ifindex && address === local);

/** Its subnet is of the same size as those behind the others, and none of them: one host's share of one network. */
function isBeside(tables: KernelTables, bridge: Link, prefixes: readonly Prefix[]): boolean {
  const own = subnetOf(tables, bridge)?.subnet;
  const [first] = prefixes;
  if (own === undefined || first === undefined || familyOf(own) !== familyOf(first)) return false;
  return prefixLength(own) === prefixLength(first) && !prefixes.includes(own);
}

/** The smallest that holds them all; undefined: they are of two families, or none. */
export function coveringPrefix(prefixes: readonly Prefix[]): Prefix | undefined {
  const [first, ...rest] = prefixes;
  if (first === undefined || rest.some((each) => familyOf(each) !== familyOf(first))) return undefined;
  const bytes = addressBytes(prefixAddress(first));
  let length = prefixLength(first);
  for (const prefix of rest) {
    const other = addressBytes(prefixAddress(prefix));
    length = Math.min(length, prefixLength(prefix), commonBits(bytes, other));
  }
  return makePrefix(bytes, length);
}

function commonBits(one: Uint8Array, other: Uint8Array): number {
  for (let index = 0; index < one.length; index++) {
    const different = one[index]! ^ other[index]!;
    if (different !== 0) return index * 8 + Math.clz32(different) - 24;
  }
  return one.length * 8;
}
