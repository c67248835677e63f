/**
 * Routes that an earlier life of the agent left where the present one, with another configuration, does not look: a
 * restart withdraws nothing. A daemon that reads a table which is handed over no more would announce its hosts for ever,
 * and a default route of a protocol that is spoken no more would draw traffic for ever.
 */
import { AF, type Route, type Rtnetlink, requests } from 'rtnetlink-ts';
import { type Counters, type PortTable, sendPaced, tableOf } from './installing.ts';

/** Where routes of one of our protocol numbers belong. */
export interface Belonging {
  readonly protocol: number;
  readonly tables: readonly number[];
  /** In the table of their interface's VRF too. */
  readonly vrfs?: boolean;
}

/** @returns how many were found elsewhere; those that the kernel refused to delete are in `counters` */
export async function removeStrays(
  rtnetlink: Pick<Rtnetlink, 'dumpRoutes' | 'sendNow'>,
  links: Pick<PortTable, 'portByIndex'>,
  belongings: readonly Belonging[],
  counters: Counters,
): Promise<number> {
  let found = 0;
  for (const { protocol, tables, vrfs } of belongings) {
    const belongs = ({ table, nextHops: [hop] }: Route): boolean =>
      tables.includes(table) || (vrfs === true && tableOf(links, hop?.ifindex ?? 0, 0) === table);
    for (const family of [AF.INET, AF.INET6]) {
      const strays = (await rtnetlink.dumpRoutes({ family, protocol })).filter((route) => !belongs(route));
      found += strays.length;
      await sendPaced(rtnetlink, strays, (route) => [requests.deleteRoute(route)], counters);
    }
  }
  return found;
}
