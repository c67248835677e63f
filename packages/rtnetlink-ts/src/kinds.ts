/** What there is to follow: the groups that notify of each kind, and how all of it is read. */
import { type LinuxSocket, NETLINK, SOL } from 'linux-sockets';
import { AF, RTNLGRP } from './codec/constants.ts';
import type { Rule } from './codec/rule.ts';
import { lacksFamily } from './error.ts';
import type { Kind, ObjectOf } from './mirror.ts';
import { openRouteSocket, type SocketOptions } from './receive.ts';
import type { Rtnetlink } from './rtnetlink.ts';

const GROUPS: Record<Kind, readonly number[]> = {
  link: [RTNLGRP.LINK],
  address: [RTNLGRP.IPV4_IFADDR, RTNLGRP.IPV6_IFADDR],
  neighbour: [RTNLGRP.NEIGH],
  fdb: [RTNLGRP.NEIGH],
  route: [RTNLGRP.IPV4_ROUTE, RTNLGRP.IPV6_ROUTE],
  rule: [RTNLGRP.IPV4_RULE, RTNLGRP.IPV6_RULE],
  nexthop: [RTNLGRP.NEXTHOP],
};

export const READ: { readonly [K in Kind]: (rtnetlink: Rtnetlink) => Promise<ObjectOf[K][]> } = {
  link: (rtnetlink) => rtnetlink.dumpLinks(),
  address: (rtnetlink) => rtnetlink.dumpAddresses(),
  neighbour: (rtnetlink) => rtnetlink.dumpNeighbours(),
  fdb: (rtnetlink) => rtnetlink.dumpFdb(),
  route: (rtnetlink) => bothFamilies((family) => rtnetlink.dumpRoutes({ family })),
  rule: (rtnetlink) => bothFamilies((family) => rulesOf(rtnetlink, family)),
  nexthop: (rtnetlink) => rtnetlink.dumpNextHops(),
};

async function bothFamilies<T>(read: (family: number) => Promise<T[]>): Promise<T[]> {
  return [...(await read(AF.INET)), ...(await read(AF.INET6))];
}

/** A kernel refuses to tell of rules that it can't have: without IPv6 those of IPv6. */
async function rulesOf(rtnetlink: Rtnetlink, family: number): Promise<Rule[]> {
  try {
    return await rtnetlink.dumpRules({ family });
  } catch (error) {
    if (lacksFamily(error)) return [];
    throw error;
  }
}

const DEFAULT_RECEIVE_BUFFER = 8 << 20;

/** @throws SystemCallError */
export function openSubscribed(options: SocketOptions & { readonly kinds: readonly Kind[] }): LinuxSocket {
  const socket = openRouteSocket({ ...options, receiveBuffer: options.receiveBuffer ?? DEFAULT_RECEIVE_BUFFER });
  try {
    for (const group of new Set(options.kinds.flatMap((kind) => GROUPS[kind]))) {
      socket.setOption(SOL.NETLINK, NETLINK.ADD_MEMBERSHIP, group);
    }
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}
