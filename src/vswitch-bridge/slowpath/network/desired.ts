/** From the overlay's table to the objects in the kernel: pure. */
import {
  type Address,
  familyOf,
  hostPrefix,
  type Mac,
  type Prefix,
  prefixAddress,
  prefixContains,
  prefixLength,
} from '../../../model/address.ts';
import type {
  Encapsulation,
  OverlayInstance,
  OverlayNetwork,
  OverlayRemote,
  OverlayService,
  OverlayState,
  OverlayUnderlay,
} from '../../../model/overlay.ts';
import { type Domains, overlaps } from './domains.ts';
import {
  bridgeName,
  LAYOUT_MTU,
  networkMark,
  nextHopOf,
  ownTable,
  PRIORITY,
  routerMac,
  SHARED_TABLE,
  tunnelName,
} from './names.ts';
import type { LayoutObject, RouteObject, RuleObject } from './objects.ts';

/** What the kernel says of devices that are not ours. */
export interface Facts {
  /** undefined: it is not there (yet). */
  mtuOf(device: string): number | undefined;
}

/** What one network holds; see `membersOf`. */
export interface Members {
  readonly instances: readonly OverlayInstance[];
  readonly remotes: readonly OverlayRemote[];
  readonly services: readonly OverlayService[];
}

const EVERY_MAC = '00:00:00:00:00:00' as Mac;
const DEFAULT_MTU = 1500;
/** RFC 791: every path carries this. */
const LEAST_MTU = 68;

/** Lower is preferred: what is known of one address or subnet before the network as a whole. */
const METRIC = { remote: 50, subnet: 100, unreachable: 200 } as const;

/** Octets that a packet of an instance gains on its way, from its IP header to the outer one inclusive. */
export function overheadOf(encapsulation: Encapsulation, underlay: Address): number {
  const outer = familyOf(underlay) === 4 ? 20 : 40;
  const inside = { vxlan: 8 + 8 + 14, geneve: 8 + 8 + 14, gre: 8 + 14, ipip: 0 }[encapsulation];
  return outer + inside;
}

/** As `overheadOf`, where it is encrypted, by whomever: UDP, ESP, IV, UDP, VXLAN, Ethernet, padding, ICV (docs/encryption.md). */
const ENCRYPTED_OVERHEAD = 95;

export const networkOverhead = ({ encapsulation, encrypted }: OverlayNetwork, underlay: Address): number =>
  encrypted ? ENCRYPTED_OVERHEAD : overheadOf(encapsulation, underlay);

/** What this agent lays out; a network that was found in the kernel is another's. */
export const isLaidOut = (network: OverlayNetwork): boolean => network.origin !== 'kernel';

export function membersOf(state: OverlayState, names: ReadonlySet<string>): Map<string, Members> {
  const members = new Map<
    string,
    { instances: OverlayInstance[]; remotes: OverlayRemote[]; services: OverlayService[] }
  >();
  for (const name of names) members.set(name, { instances: [], remotes: [], services: [] });
  for (const each of state.instances.values())
    if (each.origin !== 'kernel') members.get(each.network)?.instances.push(each);
  for (const each of state.remotes.values())
    if (each.origin !== 'kernel') members.get(each.network)?.remotes.push(each);
  for (const each of state.services.values()) members.get(each.network)?.services.push(each);
  for (const { remotes } of members.values()) remotes.sort((a, b) => (a.host < b.host ? -1 : 1));
  return members;
}

/** The objects of one network; `domains` must know it. */
export function networkObjects(
  network: OverlayNetwork,
  { instances, remotes, services }: Members,
  domains: Domains,
  underlay: OverlayUnderlay,
  facts: Facts,
): LayoutObject[] {
  const bridge = bridgeName(network.vni);
  const others = remotes.filter(({ host }) => host !== underlay.address);
  const objects: LayoutObject[] = [
    {
      kind: 'bridge',
      name: bridge,
      mac: routerMac(underlay.address),
      mtu: LAYOUT_MTU,
    },
  ];
  for (const instance of instances) {
    objects.push({ kind: 'port', device: instance.interface, bridge });
    if (instance.mac) objects.push({ kind: 'bridge-entry', device: instance.interface, mac: instance.mac });
  }
  if (network.gateway !== undefined) {
    objects.push({ kind: 'address', device: bridge, address: network.gateway, length: prefixLength(network.subnet) });
  }
  const addresses = new Set<Address>(services.map(({ address }) => address));
  if (network.gateway !== undefined) addresses.delete(network.gateway);
  for (const address of addresses) {
    objects.push({ kind: 'address', device: bridge, address, length: prefixLength(hostPrefix(address)) });
  }
  objects.push(...tunnelObjects(network, others, underlay));
  if (isRouted(network)) {
    const table = tableOf(network, domains);
    const mtu = { tunnel: tunnelMtu(network, underlay, facts), instance: instanceMtu(instances, facts) };
    objects.push(...routesOf(network, instances, others, table, mtu));
    objects.push(...rulesOf(network, [network.gateway, ...addresses], table, domains));
  }
  return objects;
}

const isRouted = (network: OverlayNetwork): network is OverlayNetwork & { gateway: Address } =>
  network.gateway !== undefined;

export const tableOf = (network: OverlayNetwork, domains: Domains): number =>
  domains.shared.has(network.name) ? SHARED_TABLE : ownTable(network.vni);

/** Between the tables: what leads from one into none of the others, and from none of them out of the host. */
export function betweenObjects({ networks, services }: OverlayState, domains: Domains): LayoutObject[] {
  const objects: LayoutObject[] = [];
  const all = [...networks.values()].filter(isLaidOut).filter(isRouted);
  const own = new Set(all.map(({ gateway }) => gateway));
  for (const { address } of services.values()) own.add(address);
  for (const address of own) {
    const source = hostPrefix(address);
    // What the host answers as a gateway or service never leaves for elsewhere.
    objects.push({
      kind: 'rule',
      family: familyOf(address),
      priority: PRIORITY.noSource,
      table: 0,
      input: 'lo',
      source,
    });
  }
  const isolated = all.filter(({ name }) => domains.isolated.has(name));
  const families = new Set(all.filter(({ name }) => domains.shared.has(name)).map(({ subnet }) => familyOf(subnet)));
  for (const family of families) {
    objects.push({ kind: 'rule', family, priority: PRIORITY.shared, table: SHARED_TABLE, notInput: 'lo' });
  }
  const subnets = new Set(all.map(({ subnet }) => subnet));
  const apart = new Set(isolated.map(({ subnet }) => subnet));
  // Of many networks of equal subnets each is compared with one.
  const others = new Map([...apart].map((own) => [own, [...subnets].filter((subnet) => !overlaps(subnet, own))]));
  if (families.size > 0) for (const subnet of apart) objects.push(unreachable(SHARED_TABLE, subnet));
  for (const { vni, subnet: own } of isolated) {
    for (const subnet of others.get(own)!) objects.push(unreachable(ownTable(vni), subnet));
  }
  return objects;
}

const unreachable = (table: number, destination: Prefix): RouteObject => ({
  kind: 'route',
  table,
  destination,
  metric: METRIC.unreachable,
});

/** Of what is routed to other hosts: the gateway tells the sender of what is larger. */
export const tunnelMtu = (network: OverlayNetwork, { address, device }: OverlayUnderlay, facts: Facts): number =>
  Math.max((facts.mtuOf(device) ?? DEFAULT_MTU) - networkOverhead(network, address), LEAST_MTU);

/** What is routed to an instance of this host must fit into the smallest. */
function instanceMtu(instances: readonly OverlayInstance[], facts: Facts): number | undefined {
  const known = instances.flatMap(({ interface: device }) => facts.mtuOf(device) ?? []);
  return known.length === 0 ? undefined : Math.min(...known);
}

const DEVICE_TYPE = { vxlan: 'vxlan', geneve: 'geneve', gre: 'gretap', ipip: 'ipip' } as const;

function tunnelObjects(
  network: OverlayNetwork,
  remotes: readonly OverlayRemote[],
  { address: local }: OverlayUnderlay,
): LayoutObject[] {
  const { vni, encapsulation } = network;
  const bridge = bridgeName(vni);
  const type = DEVICE_TYPE[encapsulation];
  const objects: LayoutObject[] = [];
  if (network.encrypted === 'worker') {
    // The packet worker makes its TAP itself, and knows who is behind which host.
    const device = tunnelName(vni);
    objects.push({ kind: 'port', device, bridge, mtu: LAYOUT_MTU });
    if (isRouted(network)) {
      for (const { host } of remotes) objects.push({ kind: 'bridge-entry', device, mac: routerMac(host) });
    }
    return objects;
  }
  if (encapsulation === 'vxlan') {
    const name = tunnelName(vni);
    objects.push({ kind: 'tunnel', name, type, bridge, vni, local, mtu: LAYOUT_MTU });
    for (const { host } of remotes) {
      objects.push({ kind: 'tunnel-entry', device: name, mac: EVERY_MAC, to: host });
      if (isRouted(network)) {
        objects.push({ kind: 'tunnel-entry', device: name, mac: routerMac(host), to: host });
        objects.push({ kind: 'bridge-entry', device: name, mac: routerMac(host) });
      }
    }
    return objects;
  }
  for (const { host } of remotes) {
    const name = tunnelName(vni, host);
    const ethernet = encapsulation !== 'ipip';
    objects.push({
      kind: 'tunnel',
      name,
      type,
      ...(ethernet ? { bridge } : {}),
      vni,
      ...(type === 'geneve' ? {} : { local }),
      remote: host,
      mtu: LAYOUT_MTU,
    });
    if (ethernet && isRouted(network)) objects.push({ kind: 'bridge-entry', device: name, mac: routerMac(host) });
  }
  return objects;
}

/** The prefixes that lie behind each remote host; of one that two claim, the lower address has it. */
function routesOf(
  { vni, subnet, encapsulation }: OverlayNetwork,
  instances: readonly OverlayInstance[],
  remotes: readonly OverlayRemote[],
  table: number,
  mtu: { readonly tunnel: number; readonly instance: number | undefined },
): LayoutObject[] {
  const device = bridgeName(vni);
  const local = { device, ...(mtu.instance === undefined ? {} : { mtu: mtu.instance }) };
  const family = familyOf(subnet);
  const objects: LayoutObject[] = [{ kind: 'route', table, destination: subnet, metric: METRIC.subnet, ...local }];
  const here = new Set(instances.map(({ address }) => hostPrefix(address)));
  const claimed = new Set<Prefix>();
  for (const { host, addresses } of remotes) {
    let needed = false;
    const via = nextHopOf(host, family);
    for (const destination of addresses) {
      // What is here is not elsewhere.
      if (claimed.has(destination) || here.has(destination) || !isInside(destination, subnet)) continue;
      claimed.add(destination);
      needed = true;
      const way = encapsulation === 'ipip' ? { device: tunnelName(vni, host) } : { device, via };
      objects.push({ kind: 'route', table, destination, metric: METRIC.remote, ...way, mtu: mtu.tunnel });
    }
    if (needed && encapsulation !== 'ipip') {
      objects.push({ kind: 'neighbour', device, address: via, mac: routerMac(host) });
    }
  }
  // An instance of ours inside a subnet that is said to be behind another host.
  const wide = [...claimed].filter((prefix) => prefixLength(prefix) < (family === 4 ? 32 : 128));
  for (const { address } of instances) {
    if (!wide.some((prefix) => prefixContains(prefix, address))) continue;
    objects.push({ kind: 'route', table, destination: hostPrefix(address), metric: METRIC.remote, ...local });
  }
  return objects;
}

export const isInside = (prefix: Prefix, subnet: Prefix): boolean =>
  prefixLength(prefix) >= prefixLength(subnet) && prefixContains(subnet, prefixAddress(prefix));

function rulesOf(
  network: OverlayNetwork,
  own: readonly (Address | undefined)[],
  table: number,
  domains: Domains,
): LayoutObject[] {
  const device = bridgeName(network.vni);
  const family = familyOf(network.subnet);
  const rule = (priority: number, rest: Partial<RuleObject>): RuleObject => ({
    kind: 'rule',
    family,
    priority,
    table,
    ...rest,
  });
  const rules = [rule(PRIORITY.output, { output: device })];
  if (domains.isolated.has(network.name)) {
    rules.push(rule(PRIORITY.mark, { mark: networkMark(network.vni) }), rule(PRIORITY.input, { input: device }));
  }
  for (const address of own) {
    const ambiguous = address === undefined || domains.ambiguous.has(address);
    if (!ambiguous) rules.push(rule(PRIORITY.source, { input: 'lo', source: hostPrefix(address) }));
  }
  return rules;
}
