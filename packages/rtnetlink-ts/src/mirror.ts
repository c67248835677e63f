/** Tables that follow the kernel's objects: what a notification or a dump says is put in, what it replaced comes out. */
import { AF, NTF } from './codec/constants.ts';
import type { InterfaceAddress } from './codec/interface-address.ts';
import type { Link } from './codec/link.ts';
import type { Neighbour } from './codec/neighbour.ts';
import type { NextHop } from './codec/nexthop.ts';
import type { Route, RouteNextHop } from './codec/route.ts';
import type { Rule } from './codec/rule.ts';

export interface ObjectOf {
  link: Link;
  address: InterfaceAddress;
  neighbour: Neighbour;
  fdb: Neighbour;
  route: Route;
  rule: Rule;
  nexthop: NextHop;
}

export type Kind = keyof ObjectOf;

export const keyOf: { readonly [K in Kind]: (value: ObjectOf[K]) => string } = {
  link: (link) => String(link.ifindex),
  address: (address) => `${address.ifindex} ${address.address}/${address.prefixLength} ${address.peer ?? ''}`,
  neighbour: (neighbour) => neighbourKey(neighbour.ifindex, neighbour.destination ?? ''),
  fdb: fdbKey,
  route: routeKey,
  rule: ruleKey,
  nexthop: (nextHop) => String(nextHop.id),
};

export const neighbourKey = (ifindex: number, destination: string): string => `${ifindex} ${destination}`;

/**
 * A bridge has an address behind one port at a time and tells a move as a new entry alone, so the port is no part of the
 * key. A device's own table (vxlan) may have several remote ends for one address.
 */
function fdbKey(entry: Neighbour): string {
  const where =
    entry.master && !(entry.flags & NTF.SELF)
      ? `bridge ${entry.master}`
      : `${entry.ifindex} ${entry.destination ?? ''} ${entry.vni ?? ''}`;
  return `${where} ${entry.linkAddress} ${entry.vlan ?? ''}`;
}

/** Of its flags only inversion is the rule's own: the others say whether its interfaces are there now. */
const FIB_RULE_INVERT = 2;

function ruleKey({ flags = 0, ...rule }: Rule): string {
  return JSON.stringify([rule, flags & FIB_RULE_INVERT]);
}

/**
 * The kernel lets device routes of one prefix and metric stand side by side (fe80::/64 on each interface), so their
 * interface is part of the key; next hops with a gateway replace or extend each other.
 */
function routeKey(route: Route): string {
  const [first] = route.nextHops;
  const device = route.nextHops.length === 1 && first?.gateway === undefined ? first?.ifindex : '';
  return `${routeSlot(route)} ${device}`;
}

export const routeSlot = (route: Route): string =>
  `${route.table} ${route.destination} ${route.source ?? ''} ${route.tos ?? 0} ${route.metric ?? 0}`;

/** Told with every deletion, or counting by themselves: no change of the object. */
const VOLATILE = new Set(['kindData', 'probes']);

/** Plain data, compared by value. */
export function sameValue(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  const keys = Object.keys(one);
  if (keys.length !== Object.keys(other).length) return false;
  for (const key of keys) {
    if (VOLATILE.has(key)) continue;
    if (!sameValue((one as Record<string, unknown>)[key], (other as Record<string, unknown>)[key])) return false;
  }
  return true;
}

/**
 * The state of an object after a notification about it, which may tell only a part: bridge messages tell the port's
 * attributes, an IPv6 deletion may name one of several next hops.
 */
export function merged<K extends Kind>(
  kind: K,
  before: ObjectOf[K] | undefined,
  told: ObjectOf[K],
  deleted: boolean,
): ObjectOf[K] | undefined {
  if (kind === 'link') return mergedLink(before as Link | undefined, told as Link, deleted) as ObjectOf[K] | undefined;
  if (kind === 'route' && deleted && before)
    return remainingRoute(before as Route, told as Route) as ObjectOf[K] | undefined;
  return deleted ? undefined : told;
}

function mergedLink(before: Link | undefined, told: Link, deleted: boolean): Link | undefined {
  if (told.family !== AF.BRIDGE) return deleted ? undefined : told;
  if (!before) return undefined;
  // RTM_DELLINK of AF_BRIDGE: the interface left its bridge, it did not go away.
  return { ...before, bridgePort: deleted ? undefined : { ...before.bridgePort, ...told.bridgePort } };
}

const sameHop = (one: RouteNextHop, other: RouteNextHop): boolean =>
  one.ifindex === other.ifindex && one.gateway === other.gateway;

function remainingRoute(before: Route, told: Route): Route | undefined {
  if (before.family !== AF.INET6 || before.nextHops.length < 2 || told.nextHops.length === 0) return undefined;
  const nextHops = before.nextHops.filter((hop) => !told.nextHops.some((gone) => sameHop(hop, gone)));
  return nextHops.length > 0 ? { ...before, nextHops } : undefined;
}
