/** When routes are computed, from what, and who hears of them. */
import { type Lsa, lsaAge, MaxAge, type U32 } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import type { HeardFact } from '../../model/port-facts.ts';
import type { ClaimSink } from './claims.ts';
import { type Core, count, type Effect, type Interface, type LsdbEntry } from './core.ts';
import { isSet } from './deadlines.ts';
import { scopedKey } from './lsdb.ts';
import { computeRoutes } from './spf.ts';

/** At once after a quiet time, then ever further apart (ms). */
const SpfHoldMin = 10;
const SpfHoldMax = 200;

export const claimSink = (push: (effect: Effect) => void): ClaimSink => ({
  claim: (claim) => push({ kind: 'claim', claim }),
  shadow: (shadow) => push({ kind: 'shadow', shadow }),
  route: (route) => push({ kind: 'host-route', route }),
});

const reportFact = (core: Core) => (fact: HeardFact) => {
  core.effects.push({ kind: 'fact', fact });
};

export function factChanged(
  core: Core,
  { key, database }: LsdbEntry,
  before: Lsa | undefined,
  after: Lsa | undefined,
  now: Instant,
): void {
  const place = scopedKey(database, key);
  const outcome = core.heardFacts.lsaChanged(place, before, after, reportFact(core));
  if (outcome === 'unjudged') scheduleSpf(core, now);
  else if (outcome !== undefined) count(core, `drop.fact-${outcome}`);
}

export function scheduleSpf(core: Core, now: Instant): void {
  if (isSet(core.spfTimer)) return;
  if (now - core.spfAt > SpfHoldMax) core.spfHold = 0;
  core.deadlines.set(core.spfTimer, Math.max(now, core.spfAt + core.spfHold));
}

export function runSpf(core: Core, now: Instant): void {
  core.spfHold = Math.min(SpfHoldMax, Math.max(SpfHoldMin, core.spfHold * 2));
  core.spfAt = now;
  count(core, 'spf.runs');
  const result = computeRoutes({
    routerId: core.routerId,
    areas: Array.from(core.areas.values(), (area) => ({
      id: area.id,
      interfaces: area.interfaces.filter(({ state }) => state !== 'Down').map(spfInterface),
      lsas: lsasOf(area.database.entries.values()),
    })),
    externals: lsasOf(core.external.entries.values()),
  });
  core.heardFacts.reachability(result.reachable, reportFact(core));
  core.claims.reachability(result.reachable, result.addresses, core.claimSink);
  // What we only stand by for is reached through the fabric as anything else.
  const own = new Set<U32>();
  for (const { id, route } of core.hosts.values()) if (!route.shadow) own.add(id);
  const changes = core.routes.update(result, (network, mask) => mask === 0xffffffff && own.has(network));
  if (changes.length > 0) core.effects.push({ kind: 'routes', changes });
}

function spfInterface(iface: Interface) {
  const full = [...iface.neighbors.values()].filter(({ state }) => state === 'Full');
  return {
    name: iface.name,
    address: iface.link!.address,
    ifindex: iface.link!.ifindex,
    neighbors: new Map(full.map(({ routerId, address }) => [routerId, address])),
  };
}

function* lsasOf(entries: Iterable<{ readonly lsa: Lsa }>) {
  for (const { lsa } of entries) if (lsaAge(lsa.header) < MaxAge) yield lsa;
}
