/**
 * Connection tracking zones. Networks that can be routed to each other share one zone, so that a connection between two
 * of them is one connection; a network whose addresses stand in another too has a zone of its own, and is not routed to
 * the others. Zone 0 is the host's.
 */
import { familyOf } from '../../../../model/address.ts';
import type { OverlayNetwork, OverlayState } from '../../../../model/overlay.ts';
import { domainsOf } from '../../network/domains.ts';
import { outermostFirst, rangeOf } from './literals.ts';

export const SHARED_ZONE = 1;
const FIRST_OWN = 2;
const ZONES = 65_536;

/** Names of the networks of which an address may stand in another network. */
function overlapping(networks: Iterable<OverlayNetwork>): ReadonlySet<string> {
  const all = [...networks];
  const found = new Set<string>();
  for (const family of [4, 6] as const) {
    let outer: { last: bigint; name: string } | undefined;
    const sorted = all
      .filter(({ subnet }) => familyOf(subnet) === family)
      .map(({ name, subnet }) => ({ name, ...rangeOf(subnet) }))
      .sort(outermostFirst);
    for (const { name, first, last } of sorted) {
      if (outer && first <= outer.last) found.add(outer.name).add(name);
      else outer = { last, name };
    }
  }
  return found;
}

/** By name. A zone follows from the VNI, so that a network keeps its zone when others come and go. */
export function zonesOf({ networks }: Pick<OverlayState, 'networks'>): ReadonlyMap<string, number> {
  // Who is routed to whom is the network layout's to say; what is not routed at all needs its own zone if it overlaps.
  const { shared } = domainsOf(networks.values());
  const overlaps = overlapping(networks.values());
  const zones = new Map<string, number>();
  const taken = new Set<number>();
  for (const { name, vni } of [...networks.values()].sort((a, b) => a.vni - b.vni)) {
    if (shared.has(name) || !overlaps.has(name)) {
      zones.set(name, SHARED_ZONE);
      continue;
    }
    let zone = FIRST_OWN + (vni % (ZONES - FIRST_OWN));
    while (taken.has(zone)) zone = zone + 1 < ZONES ? zone + 1 : FIRST_OWN;
    taken.add(zone);
    zones.set(name, zone);
  }
  return zones;
}
