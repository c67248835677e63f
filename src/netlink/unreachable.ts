import { makeRoute, type Route, RTN } from 'rtnetlink-ts';
import type { Prefix } from '../model/address.ts';

/** Worse than anything a routing daemon installs; iproute2 shows it for IPv6 as it does for its own defaults. */
export const UNREACHABLE_METRIC = 4_278_198_272;

/** The unreachable routes of these prefixes, and those that the kernel (`routes`, ours) has too many. */
export function unreachables(
  prefixes: readonly Prefix[],
  place: { readonly table: number; readonly protocol: number; readonly metric: number },
  routes: readonly Route[],
): { wanted: Route[]; stale: Route[] } {
  const wanted = prefixes.map((destination) =>
    makeRoute({ ...place, destination, type: RTN.UNREACHABLE, nextHops: [] }),
  );
  const destinations = new Set(wanted.map(({ destination }) => destination));
  const stale = routes.filter(
    ({ type, destination, metric }) =>
      type === RTN.UNREACHABLE && !(destinations.has(destination) && metric === place.metric),
  );
  return { wanted, stale };
}
