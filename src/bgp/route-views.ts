import type { Address, Prefix } from '../model/address.ts';
import { hostPrefix } from '../model/address.ts';
import { formatCommunities } from './codec/communities.ts';
import type { AsSegment, PathAttributes } from './codec/messages.ts';
import type { OwnRoute } from './origination.ts';
import type { Peer } from './peer.ts';
import type { InRoute, Rib } from './rib.ts';
import type { RouteView } from './types.ts';

/** The three tables of RFC 4271 §3.2 as an operator sees them. */

/** Adj-RIBs-In and Loc-RIB. */
export function* routesIn(rib: Rib): Generator<RouteView> {
  const selected = rib.locRib();
  for (const route of rib.adjIn()) {
    const best = selected.get(route.prefix)?.paths.includes(route) ?? false;
    yield received('in', route, best, rib.rejection(route));
  }
  for (const { paths } of selected.values()) {
    for (const [index, path] of paths.entries()) yield received('loc', path, index === 0, undefined);
  }
}

/** What one neighbour is told: our own hosts, and what is passed on. */
export function* routesOut({ address, told }: Peer, own: Iterable<OwnRoute>): Generator<RouteView> {
  if (!told) return;
  for (const route of own) {
    if (told.families.includes(route.family)) yield sent(address, hostPrefix(route.address), told.attributesOf(route));
  }
  for (const { prefix, attributes } of told.passedOn()) yield sent(address, prefix, attributes);
}

const ORIGIN_NAMES = ['IGP', 'EGP', 'INCOMPLETE'] as const;

function received(table: 'in' | 'loc', route: InRoute, best: boolean, rejected: string | undefined): RouteView {
  const { prefix, peer, nextHop, attributes } = route;
  return { table, prefix, neighbor: peer.address, nextHop, best, rejected, ...shown(attributes) };
}

/** The next hop is ourselves. */
const sent = (neighbor: Address, prefix: Prefix, attributes: PathAttributes): RouteView => ({
  ...{ table: 'out', prefix, neighbor, nextHop: undefined, best: true, rejected: undefined },
  ...shown(attributes),
});

const shown = ({ asPath = [], origin = 2, med, localPreference, communities, largeCommunities }: PathAttributes) => ({
  asPath: pathText(asPath),
  origin: ORIGIN_NAMES[origin],
  med,
  localPreference,
  communities: formatCommunities(communities, largeCommunities),
});

/** As routers show it: `65000 65001 {65010,65011}`. */
function pathText(path: readonly AsSegment[]): string {
  return path.map(({ type, asns }) => (type.endsWith('SET') ? `{${asns.join(',')}}` : asns.join(' '))).join(' ');
}
