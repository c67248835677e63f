/**
 * LSAs of ours that we did not make: what an earlier life of this router left in the network, or what another router
 * with our id puts there (RFC 2328 §13.4).
 */
import { type Lsa, LsaType, lsaAge, lsaWithAge, MaxAge, MinLSInterval, RouterLinkType } from 'node-ospf-lsa';
import { familyOf, ipv4FromNumber, prefixContains } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import { isFactId } from '../codec/facts.ts';
import { type Area, type Core, count, type Database, type LsdbEntry } from './core.ts';
import { flood } from './flooding.ts';
import { HOST_MASK } from './hosts.ts';
import { install, isMaxAge, removeIfDone } from './lsdb.ts';
import { flush, originate } from './origination.ts';
import { originateRouterLsa } from './topology.ts';

/** Answers to foreign instances of one LSA of ours per MinLSInterval; a restart needs one. */
const MaxContests = 3;

/**
 * §13.4: an instance of an LSA of ours that is newer than ours, left from before a restart. What we want is originated
 * anew with a higher number, what we do not is flushed; but until the host table has settled, a host that is not there
 * may merely not have been heard yet (nor a port's fact said yet), and its LSA is kept as it came.
 */
export function selfOriginated(
  core: Core,
  database: Database,
  entry: LsdbEntry | undefined,
  received: Lsa,
  now: Instant,
): 'superseded' | 'keep' | 'refuse' {
  if (entry && !entry.inherited && !isMaxAge(entry)) {
    if (isContested(core, entry, now)) return 'refuse';
    renumber(core, entry, received, now);
    return 'superseded';
  }
  if (core.restarting && isTopology(entry) && lsaAge(received.header) < MaxAge) return 'keep';
  const grace = !core.settled && !core.leaving && lsaAge(received.header) < MaxAge && mayBeWanted(core, received);
  if (grace && (!entry || entry.inherited)) return 'keep';
  const flushed = install(core, database, lsaWithAge(received, MaxAge), now, false);
  if (flushed) {
    flushed.inherited = false;
    flood(core, flushed, now);
    removeIfDone(core, flushed, now);
  }
  return 'superseded';
}

/**
 * Two routers with one router id answer each other's LSAs for ever. Here MinLSInterval has its place: what comes too
 * often is not answered, nor acknowledged, until the interval is over.
 */
function isContested(core: Core, entry: LsdbEntry, now: Instant): boolean {
  if (now - entry.contestedAt >= MinLSInterval * 1000) {
    entry.contestedAt = now;
    entry.contests = 0;
  }
  entry.contests++;
  if (entry.contests <= MaxContests) return false;
  count(core, 'drop.contested-lsa');
  if (entry.contests === MaxContests + 1) {
    const fields = { type: entry.lsa.header.type, linkStateId: ipv4FromNumber(entry.lsa.header.linkStateId) };
    const message = 'somebody else originates LSAs of ours: is the router id used twice?';
    core.effects.push({ kind: 'log', level: 'warn', fields, message });
  }
  return true;
}

/** Ours stands: adopt the number and go one above it. The contents are ours of now. */
function renumber(core: Core, entry: LsdbEntry, received: Lsa, now: Instant): void {
  const { header, body } = entry.lsa;
  entry.lsa = { ...entry.lsa, header: { ...header, sequence: received.header.sequence } };
  const area = [...core.areas.values()].find((each) => each.database === entry.database);
  if (header.type === LsaType.Router && area) {
    inheritStubs(core, area, received);
    originateRouterLsa(core, area, now);
  } else originate(core, entry.database, header.type, header.linkStateId, header.options, body, now, entry);
}

/** What a restarting router leaves as it is (RFC 3623 §2.2). */
function isTopology(entry: LsdbEntry | undefined): boolean {
  const type = entry?.lsa.header.type;
  return type === LsaType.Router || type === LsaType.Network;
}

function mayBeWanted(core: Core, lsa: Lsa): boolean {
  return mayBeHost(core, lsa) || (lsa.body.kind === 'opaque' && isFactId(lsa.header.linkStateId));
}

function mayBeHost(core: Core, lsa: Lsa): boolean {
  const { as } = core.options.announce;
  return (
    as !== 'stub-link' &&
    lsa.header.type === (as === 'nssa' ? LsaType.Nssa : LsaType.AsExternal) &&
    lsa.body.kind === 'external' &&
    lsa.body.mask === HOST_MASK
  );
}

export function inheritStubs(core: Core, area: Area, received: Lsa): void {
  if (core.settled || core.options.announce.as !== 'stub-link' || received.body.kind !== 'router') return;
  for (const link of received.body.links) {
    if (link.type !== RouterLinkType.Stub || link.linkData !== HOST_MASK) continue;
    const address = ipv4FromNumber(link.linkId);
    if (!core.options.prefixes.some((prefix) => familyOf(prefix) === 4 && prefixContains(prefix, address))) continue;
    if (!core.hosts.has(address)) area.inheritedStubs.set(link.linkId, link.metric);
  }
}

/** The host table is complete, or has had its time: what it does not back goes. */
export function settle(core: Core, now: Instant): void {
  core.settled = true;
  core.deadlines.cancel(core.settleTimer);
  for (const database of [core.external, ...Array.from(core.areas.values(), (area) => area.database)]) {
    for (const entry of database.entries.values()) {
      if (entry.inherited && !(core.restarting && isTopology(entry))) flush(core, entry, now);
    }
  }
  for (const area of core.areas.values()) {
    if (area.inheritedStubs.size === 0) continue;
    area.inheritedStubs.clear();
    area.routerLsaDirty = true;
    area.routerLsaUrgent = true;
  }
}
