/** The requests that change something, as values: sent alone or many in one batch. */
import { AF, NLM_F, RTM, RTNH_F } from './codec/constants.ts';
import { encodeInterfaceAddress, type InterfaceAddress } from './codec/interface-address.ts';
import { type BridgePort, encodeLink, type LinkChange } from './codec/link.ts';
import { encodeNeighbour, type NeighbourEntry } from './codec/neighbour.ts';
import { encodeNextHop, type NextHop } from './codec/nexthop.ts';
import { encodeRoute, type Route } from './codec/route.ts';
import { encodeRule, type Rule } from './codec/rule.ts';
import type { Request } from './connection.ts';

/**
 * How an object that may exist already is treated: `create` refuses with EEXIST, `replace` creates or overwrites,
 * `change` refuses with ENOENT when there is none, `append` (routes) adds another one.
 */
export type WriteMode = 'create' | 'replace' | 'change' | 'append';

const MODE_FLAGS: Record<WriteMode, number> = {
  create: NLM_F.CREATE | NLM_F.EXCL,
  replace: NLM_F.CREATE | NLM_F.REPLACE,
  change: NLM_F.REPLACE,
  append: NLM_F.CREATE | NLM_F.APPEND,
};

export const setLink = (change: LinkChange): Request => ({
  type: RTM.SETLINK,
  flags: 0,
  write: (writer) => encodeLink(writer, change),
});

export const addLink = (link: LinkChange): Request => ({
  type: RTM.NEWLINK,
  flags: MODE_FLAGS.create,
  write: (writer) => encodeLink(writer, link),
});

export const deleteLink = (which: { ifindex: number } | { name: string }): Request => ({
  type: RTM.DELLINK,
  flags: 0,
  write: (writer) => encodeLink(writer, which),
});

export const setBridgePort = (ifindex: number, port: Readonly<BridgePort>): Request => ({
  type: RTM.SETLINK,
  flags: 0,
  write: (writer) => encodeLink(writer, { family: AF.BRIDGE, ifindex, bridgePort: port }),
});

export const addAddress = (address: InterfaceAddress, mode: WriteMode = 'create'): Request => ({
  type: RTM.NEWADDR,
  flags: MODE_FLAGS[mode],
  write: (writer) => encodeInterfaceAddress(writer, address),
});

export const deleteAddress = (address: InterfaceAddress): Request => ({
  type: RTM.DELADDR,
  flags: 0,
  write: (writer) => encodeInterfaceAddress(writer, address),
});

export const setNeighbour = (entry: NeighbourEntry, mode: WriteMode = 'replace'): Request => ({
  type: RTM.NEWNEIGH,
  flags: MODE_FLAGS[mode],
  write: (writer) => encodeNeighbour(writer, entry),
});

export const deleteNeighbour = (entry: NeighbourEntry): Request => ({
  type: RTM.DELNEIGH,
  flags: 0,
  write: (writer) => encodeNeighbour(writer, entry),
});

export const setRoute = (route: Route, mode: WriteMode = 'replace'): Request => ({
  type: RTM.NEWROUTE,
  flags: MODE_FLAGS[mode],
  write: (writer) => encodeRoute(writer, withoutReports(route)),
});

/** The kernel takes the first route that matches everything given. */
export const deleteRoute = (route: Route): Request => ({
  type: RTM.DELROUTE,
  flags: 0,
  write: (writer) => encodeRoute(writer, withoutReports(route)),
});

/** A route as it was read carries flags that report (LINKDOWN, OFFLOAD); the kernel refuses them in a request. */
function withoutReports(route: Route): Route {
  const reported = route.flags || route.nextHops.some((hop) => (hop.flags ?? 0) & ~RTNH_F.ONLINK);
  if (!reported) return route;
  const nextHops = route.nextHops.map((hop) => ({ ...hop, flags: (hop.flags ?? 0) & RTNH_F.ONLINK }));
  return { ...route, flags: 0, nextHops };
}

export const addRule = (rule: Rule): Request => ({
  type: RTM.NEWRULE,
  flags: MODE_FLAGS.create,
  write: (writer) => encodeRule(writer, rule),
});

export const deleteRule = (rule: Rule): Request => ({
  type: RTM.DELRULE,
  flags: 0,
  write: (writer) => encodeRule(writer, rule),
});

export const setNextHop = (nextHop: NextHop, mode: WriteMode = 'replace'): Request => ({
  type: RTM.NEWNEXTHOP,
  flags: MODE_FLAGS[mode],
  write: (writer) => encodeNextHop(writer, nextHop),
});

export const deleteNextHop = (id: number): Request => ({
  type: RTM.DELNEXTHOP,
  flags: 0,
  write: (writer) => encodeNextHop(writer, { id, family: AF.UNSPEC, protocol: 0 }),
});
