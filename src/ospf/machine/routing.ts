/**
 * When routes are computed, from what, and who hears of them: all of them after a change of the topology, paced; those to
 * single hosts at once, in the event that brought the news.
 */
import { type Lsa, lsaAge, MaxAge, type U32 } from 'node-ospf-lsa';
import { ipv4FromNumber } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { HeardFact } from '../../model/port-facts.ts';
import type { ClaimSink } from './claims.ts';
import { type Core, count, type Effect, type Interface, type LsdbEntry } from './core.ts';
import { isSet } from './deadlines.ts';
import { hostPaths } from './externals.ts';
import { isOpaque, scopedKey } from './lsdb.ts';
import { routeKey } from './paths.ts';
import { computeRoutes } from './spf.ts';

const HOST_MASK = 0xffffffff;

/** At once after a quiet time, then ever further apart (ms). */
const SpfHoldMin = 10;
const SpfHoldMax = 200;
/** After an adjacency was formed (ms); and while one after the other is. */
const AfterFull = 200;
const MostPostponed = 1000;

export const claimSink = (push: (effect: Effect) => void): ClaimSink => ({
  claim: (claim) => push({ kind: 'claim', claim }),
  shadow: (shadow) => push({ kind: 'shadow', shadow }),
  route: (route) => push({ kind: 'host-route', route }),
});

const reportFact = (core: Core) => (fact: HeardFact) => {
  core.effects.push({ kind: 'fact', fact });
};

/** An LSA of somebody else's, or one of ours about the topology. */
export function lsaChanged(
  core: Core,
  entry: LsdbEntry,
  before: Lsa | undefined,
  after: Lsa | undefined,
  now: Instant,
): void {
  const { type, advertisingRouter } = (after ?? before)!.header;
  if (isOpaque(type)) {
    if (!entry.self) factChanged(core, entry, before, after, now);
    return;
  }
  if (!entry.self) core.claims.lsaChanged(entry.key, before, after, core.claimSink);
  // §16.6: of an external, only the way to what it names. The others tell who can be reached.
  const isOneHost = hostExternalChanged(core, entry, before, after);
  if (!isOneHost || !core.spf?.reachable.has(advertisingRouter)) scheduleSpf(core, now);
}

/** Keeps the list of each host's LSAs. False: it is not, or was not, one of those. */
function hostExternalChanged(core: Core, entry: LsdbEntry, before: Lsa | undefined, after: Lsa | undefined): boolean {
  const host = (after ?? before)!.header.linkStateId;
  const is = after !== undefined && isHostExternal(after);
  const was = before !== undefined && isHostExternal(before);
  const known = core.hostExternals.get(host);
  if (is) {
    if (known) known.add(entry);
    else core.hostExternals.set(host, new Set([entry]));
  } else if (known?.delete(entry) && known.size === 0) core.hostExternals.delete(host);
  if (!is && !was) return false;
  core.staleHosts.add(host);
  return (is || after === undefined) && (was || before === undefined);
}

const isHostExternal = ({ body }: Lsa): boolean => body.kind === 'external' && body.mask === HOST_MASK;

/** At the end of an event: the ways to single hosts that it changed. */
export function updateHosts(core: Core): void {
  const { spf, staleHosts, hostExternals } = core;
  if (staleHosts.size === 0) return;
  if (spf) {
    const paths = hostPaths(spf, staleHosts, (host) => lsasOf(hostExternals.get(host) ?? []));
    const keys = Array.from(staleHosts, (host) => routeKey(host, HOST_MASK));
    const ours = (network: U32) => {
      const record = core.hosts.get(ipv4FromNumber(network));
      return record !== undefined && !record.route.shadow && !record.route.yields;
    };
    // What the topology still has to say may be the way to a host that has none now.
    const found = isSet(core.spfTimer) ? keys.filter((key) => paths.best.has(key)) : keys;
    const changes = core.routes.updateSome(paths, found, ours);
    if (changes.length > 0) core.effects.push({ kind: 'routes', changes });
  }
  staleHosts.clear();
}

/** A host became ours, or ceases to be: the route to it is not learned meanwhile. To be done after what goes on the wire. */
export function ownershipChanged(core: Core, host: U32, now: Instant): void {
  if (!core.claims.has(host)) return;
  core.staleHosts.add(host);
  if (!isSet(core.hostsTimer)) core.deadlines.set(core.hostsTimer, now);
}

function factChanged(
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
  core.deadlines.set(core.spfTimer, Math.max(now, core.spfAt + core.spfHold, core.spfNotBefore));
}

/**
 * A neighbour became Full. If it died a while ago, the database still has what it said then, and its hosts with it, and
 * that was just made valid again by the adjacency: it gets a moment to take it back (§13.4).
 */
export function postponeSpf(core: Core, now: Instant): void {
  if (now >= core.spfPostponedUntil) core.spfPostponedUntil = now + MostPostponed;
  core.spfNotBefore = Math.min(now + AfterFull, core.spfPostponedUntil);
  const { spfTimer, spfNotBefore } = core;
  if (isSet(spfTimer) && spfTimer.at < spfNotBefore) core.deadlines.set(spfTimer, spfNotBefore);
}

/** One is lost: that does not wait for the other. */
export function hurrySpf(core: Core, now: Instant): void {
  core.spfNotBefore = now;
  core.deadlines.cancel(core.spfTimer);
  scheduleSpf(core, now);
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
    backups: core.options.backups ?? false,
  });
  core.spf = result;
  core.staleHosts.clear();
  core.heardFacts.reachability(result.reachable, reportFact(core));
  core.claims.reachability(result.reachable, result.addresses, core.claimSink);
  // What we only stand by for is reached through the fabric as anything else.
  const own = new Set<U32>();
  for (const { id, route } of core.hosts.values()) if (!route.shadow && !route.yields) own.add(id);
  const changes = core.routes.update(result, (network, mask) => mask === HOST_MASK && own.has(network));
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
