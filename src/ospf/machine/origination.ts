/**
 * LSAs of our own: what they say, when they are made anew, how they are taken back (RFC 2328 §12.4, §14.1; RFC 3101).
 *
 * Each host is one AS-external LSA (or type 7, or one stub link of the router LSA) with a mask of 32 bits; the subnet
 * it stands in is never announced. A host's LSA is originated and flushed in the turn in which the host table changed:
 * MinLSInterval (5 s, §12.4) is not held back for it. The interval exists to bound the load that an unstable router
 * puts on the area; here the rate is bounded where the cause is, by the damping of the host table, and a withdrawal
 * that waits is traffic into a black hole. What our own router and network LSAs say about topology is paced by
 * MinLSArrival (1 s), faster than which no neighbour would take it.
 */
import {
  encodeLsa,
  InitialSequenceNumber,
  LSInfinity,
  type Lsa,
  type LsaBody,
  LsaType,
  lsaKeyText,
  lsaWithAge,
  MaxAge,
  MaxSequenceNumber,
  Options,
  type RouterLink,
  RouterLinkType,
  type U32,
} from 'node-ospf-lsa';
import { type Address, familyOf, ipv4ToNumber } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { HostDelta, HostRoute } from '../../model/hosts.ts';
import {
  type Area,
  atLeast,
  type Core,
  count,
  type Database,
  type HostRecord,
  type Interface,
  type LsdbEntry,
  MinLSArrivalMs,
  maskOf,
} from './core.ts';
import { isSet } from './deadlines.ts';
import { flood, floodDestination } from './flooding.ts';
import { areaOptions, databaseFor, install, isMaxAge, removeIfDone, replace, scopedKey } from './lsdb.ts';
import { scheduleSpf } from './routing.ts';

export const HOST_MASK = 0xffffffff;
const RouterFlag = { B: 0x01, E: 0x02, V: 0x04 } as const;
/** A router LSA must fit into an IP packet: 65,535 less headers, 12 octets a link. */
const MaxLinks = 5000;
/** RFC 6987 §2. */
const MaxLinkMetric = 0xffff;

/** Makes a new instance and floods it. `known` spares the look-up when the caller holds the entry. */
export function originate(
  core: Core,
  database: Database,
  type: number,
  linkStateId: U32,
  options: number,
  body: LsaBody,
  now: Instant,
  known?: LsdbEntry,
): LsdbEntry | undefined {
  const key = known?.key ?? lsaKeyText({ type, linkStateId, advertisingRouter: core.routerId });
  const entry = known?.live ? known : database.entries.get(key);
  const last = entry?.lsa.header.sequence ?? core.departed.get(scopedKey(database, key))?.sequence;
  // §12.1.6: the number goes on over a flush, for a neighbour may still hold the MaxAge instance.
  const sequence = last === undefined ? InitialSequenceNumber : last + 1;
  if (sequence > MaxSequenceNumber) {
    if (entry) {
      core.wrapping.set(entry, (at) => originate(core, database, type, linkStateId, options, body, at));
      flush(core, entry, now);
      return entry;
    }
    core.departed.delete(scopedKey(database, key));
    return originate(core, database, type, linkStateId, options, body, now);
  }
  const lsa = encodeLsa({ age: 0, options, type, linkStateId, advertisingRouter: core.routerId, sequence }, body);
  if (entry?.inherited && !isMaxAge(entry) && sameContents(entry.lsa, lsa)) {
    // An earlier life has said just this, and it stands: §12.4 gives no reason to say it anew.
    entry.inherited = false;
    return entry;
  }
  const installed = install(core, database, lsa, now, false);
  if (!installed) return undefined;
  installed.inherited = false;
  flood(core, installed, now);
  return installed;
}

/** The same words, whatever their sequence number and age. */
export function sameContents(one: Lsa, other: Lsa): boolean {
  return (
    one.header.options === other.header.options && Buffer.compare(one.raw.subarray(20), other.raw.subarray(20)) === 0
  );
}

/** §14.1, premature ageing: the current instance at MaxAge, at once. */
export function flush(core: Core, entry: LsdbEntry, now: Instant, sent = false): void {
  if (!entry.live || isMaxAge(entry)) return;
  entry.inherited = false;
  replace(core, entry, lsaWithAge(entry.lsa, MaxAge), now, false);
  flood(core, entry, now, undefined, sent);
  removeIfDone(core, entry, now);
}

/** §12.4: LSRefreshTime has passed. */
export function refresh(core: Core, entry: LsdbEntry, now: Instant): void {
  const { type, linkStateId, options } = entry.lsa.header;
  if (entry.inherited) {
    flush(core, entry, now);
    return;
  }
  originate(core, entry.database, type, linkStateId, options, entry.lsa.body, now, entry);
}

// ---- hosts

export function applyHosts(core: Core, delta: HostDelta, now: Instant): void {
  if (delta.withdrawn.length > 0) withdrawHosts(core, delta.withdrawn);
  for (const route of delta.announced) {
    const record = core.hosts.get(route.address);
    if (record) {
      const same = record.route.level === route.level;
      record.route = route;
      if (same) continue;
      announceHost(core, record, now);
    } else if (familyOf(route.address) !== 4) {
      count(core, 'hosts.not-ipv4');
    } else {
      const fresh = { address: route.address, id: ipv4ToNumber(route.address), route, entries: [] };
      core.hosts.set(route.address, fresh);
      announceHost(core, fresh, now);
    }
  }
}

/**
 * The hot path. The bytes come first: the LSAs as they stand, to be sent at MaxAge. What must be remembered of it
 * (database, retransmission lists, timers) is several times the work, and is done by `bookFlushes` once the bytes are
 * on the wire.
 */
function withdrawHosts(core: Core, addresses: readonly Address[]): void {
  const stubs = core.options.announce.as === 'stub-link';
  const entries: LsdbEntry[] = [];
  for (const address of addresses) {
    const record = core.hosts.get(address);
    if (!record) continue;
    if (stubs) {
      core.hosts.delete(address);
      hostStubsChanged(core, record.id);
      continue;
    }
    core.leavers.push(address);
    for (const entry of record.entries) if (entry.live && !isFlushed(entry)) entries.push(entry);
  }
  const [first] = entries;
  if (!first) return;
  for (const iface of core.interfaces.values()) {
    if (!iface.link || !hasListener(iface)) continue;
    const database = databaseFor(core, iface, first.lsa.header.type);
    const lsas: Uint8Array[] = [];
    for (const entry of entries) if (entry.database === database) lsas.push(entry.lsa.raw);
    if (lsas.length === 0) continue;
    core.effects.push({ kind: 'update', interface: iface.name, to: floodDestination(iface), lsas, flush: true });
  }
  for (const entry of entries) core.unbooked.push(entry);
}

/** As `isMaxAge`, out of the octets that are to be sent: with a thousand hosts each object looked at is time. */
function isFlushed({ lsa: { raw } }: LsdbEntry): boolean {
  return (((raw[0]! & 0x7f) << 8) | raw[1]!) >= MaxAge;
}

function hasListener(iface: Interface): boolean {
  for (const neighbor of iface.neighbors.values()) if (atLeast(neighbor.state, 'Exchange')) return true;
  return false;
}

/** Enters what `withdrawHosts` has sent. */
export function bookFlushes(core: Core, now: Instant): void {
  for (const address of core.leavers.splice(0)) core.hosts.delete(address);
  for (const entry of core.unbooked.splice(0)) {
    flush(core, entry, now, true);
    ownershipChanged(core, entry.lsa.header.linkStateId, now);
  }
}

/** Hosts of ours have no learned route: with a claim of somebody else's in the database, one appears or goes. */
function ownershipChanged(core: Core, id: U32, now: Instant): void {
  if (core.claims.has(id)) scheduleSpf(core, now);
}

export function announceHost(core: Core, record: HostRecord, now: Instant): void {
  if (core.leaving) return;
  ownershipChanged(core, record.id, now);
  const { as } = core.options.announce;
  if (as === 'stub-link') {
    hostStubsChanged(core, record.id);
    return;
  }
  if (as === 'external') {
    const body = hostBody(core, record.route, 0);
    const [known] = record.entries;
    const entry = originate(core, core.external, LsaType.AsExternal, record.id, Options.E, body, now, known);
    record.entries = entry ? [entry] : [];
    return;
  }
  record.entries = [];
  for (const area of core.areas.values()) {
    const entry = area.nssa && announceNssaHost(core, area, record, now);
    if (entry) record.entries.push(entry);
  }
}

/**
 * RFC 3101 §2.3: with the P bit, which makes the border translate, a forwarding address inside the area is a must. It is
 * the address of the first interface that is up; without one there is nobody to tell either.
 */
function announceNssaHost(core: Core, area: Area, record: HostRecord, now: Instant): LsdbEntry | undefined {
  const forwarding = area.interfaces.find((iface) => iface.state !== 'Down')?.link?.address;
  if (forwarding === undefined) return undefined;
  const body = hostBody(core, record.route, forwarding);
  return originate(core, area.database, LsaType.Nssa, record.id, Options.NP, body, now);
}

/** Type 7 LSAs name an interface address; when that changes, so do they. */
export function forwardingChanged(core: Core, area: Area, now: Instant): void {
  if (!area.nssa || core.options.announce.as !== 'nssa' || core.leaving) return;
  const forwarding = area.interfaces.find((iface) => iface.state !== 'Down')?.link?.address;
  if (forwarding === undefined) return;
  for (const record of core.hosts.values()) {
    const [entry] = record.entries.filter((each) => each.live && each.database === area.database);
    const body = entry?.lsa.body;
    if (body?.kind === 'external' && body.forwardingAddress === forwarding && !isMaxAge(entry!)) continue;
    const fresh = announceNssaHost(core, area, record, now);
    if (fresh && !record.entries.includes(fresh)) record.entries.push(fresh);
  }
}

function hostBody(core: Core, route: HostRoute, forwardingAddress: U32): LsaBody {
  return {
    kind: 'external',
    mask: HOST_MASK,
    metricType: core.options.announce.metricType,
    metric: hostMetric(core, route),
    forwardingAddress,
    tag: 0,
    tos: [],
  };
}

/**
 * The stronger the claim, the better the metric; 1 at the least, for 0 would tie with nothing below it. While draining it
 * is worse than anybody's: MaxLinkMetric on our links (RFC 6987) says nothing of how far it is from the gateway to us.
 */
function hostMetric(core: Core, route: HostRoute): number {
  const { metric } = core.options.announce;
  if (core.draining) return Math.min(LSInfinity - 1, metric + MaxLinkMetric);
  return Math.max(1, metric - route.level);
}

function hostStubsChanged(core: Core, id: U32): void {
  for (const area of core.areas.values()) {
    area.inheritedStubs.delete(id);
    area.routerLsaDirty = true;
    area.routerLsaUrgent = true;
  }
}

// ---- router and network LSA

export function routerChanged(area: Area, urgent = false): void {
  area.routerLsaDirty = true;
  area.routerLsaUrgent ||= urgent;
}

/** At the end of each event: originates the router LSAs that it changed, or leaves them to their timer. */
export function originateDirty(core: Core, now: Instant): void {
  if (core.restarting) return;
  for (const area of core.areas.values()) {
    if (!area.routerLsaDirty || core.leaving) continue;
    const earliest = area.routerLsaAt + MinLSArrivalMs;
    if (!area.routerLsaUrgent && now < earliest) {
      if (!isSet(area.routerLsaTimer)) core.deadlines.set(area.routerLsaTimer, earliest);
      continue;
    }
    originateRouterLsa(core, area, now);
  }
}

export function originateRouterLsa(core: Core, area: Area, now: Instant): void {
  area.routerLsaDirty = false;
  area.routerLsaUrgent = false;
  area.routerLsaAt = now;
  core.deadlines.cancel(area.routerLsaTimer);
  const links: RouterLink[] = [];
  for (const iface of area.interfaces) interfaceLinks(iface, links, core.draining);
  for (const { network, mask, metric } of core.options.stubNetworks) links.push(stub(network, mask, metric));
  if (core.options.announce.as === 'stub-link') hostLinks(core, area, links);
  const flags = core.options.announce.as === 'stub-link' ? 0 : RouterFlag.E;
  const body: LsaBody = { kind: 'router', flags, links };
  originate(core, area.database, LsaType.Router, core.routerId, areaOptions(area), body, now);
}

/** §12.4.1. */
function interfaceLinks(iface: Interface, links: RouterLink[], draining: boolean): void {
  const { link, cost } = iface;
  if (!link || iface.state === 'Down') return;
  const mask = maskOf(link.prefixLength);
  const network = (link.address & mask) >>> 0;
  const metric = draining ? MaxLinkMetric : cost;
  if (iface.network === 'point-to-point') {
    for (const neighbor of iface.neighbors.values()) {
      if (neighbor.state !== 'Full') continue;
      // §12.4.1.1: an unnumbered interface (its address is a /32 lent by another) is named by its ifindex.
      const linkData = link.prefixLength === 32 ? link.ifindex : link.address;
      links.push({ linkId: neighbor.routerId, linkData, type: RouterLinkType.PointToPoint, metric, tos: [] });
    }
    links.push(stub(network, mask, link.prefixLength === 32 ? 0 : cost));
    return;
  }
  if (isTransit(iface)) {
    const dr = iface.designatedRouter;
    links.push({ linkId: dr, linkData: link.address, type: RouterLinkType.Transit, metric, tos: [] });
  } else {
    links.push(stub(network, mask, cost));
  }
}

/** §12.4.1.2: fully adjacent to the Designated Router, or we are it and fully adjacent to anybody. */
function isTransit(iface: Interface): boolean {
  for (const neighbor of iface.neighbors.values()) {
    if (neighbor.state !== 'Full') continue;
    if (iface.state === 'DR' || (iface.state !== 'Waiting' && neighbor.address === iface.designatedRouter)) return true;
  }
  return false;
}

function hostLinks(core: Core, area: Area, links: RouterLink[]): void {
  for (const record of core.hosts.values()) {
    if (links.length >= MaxLinks) {
      count(core, 'hosts.router-lsa-full');
      return;
    }
    links.push(stub(record.id, HOST_MASK, hostMetric(core, record.route)));
  }
  for (const [id, metric] of area.inheritedStubs) {
    if (links.length < MaxLinks) links.push(stub(id, HOST_MASK, metric));
  }
}

function stub(network: U32, mask: U32, metric: number): RouterLink {
  return { linkId: network, linkData: mask, type: RouterLinkType.Stub, metric: Math.min(metric, 0xffff), tos: [] };
}

/** §12.4.2: originated while we are DR and fully adjacent to somebody, flushed when that ends. */
export function networkChanged(core: Core, iface: Interface, now: Instant): void {
  const { link, area } = iface;
  if (iface.network !== 'broadcast' || !link || core.leaving || core.restarting) return;
  const key = lsaKeyText({ type: LsaType.Network, linkStateId: link.address, advertisingRouter: core.routerId });
  const entry = area.database.entries.get(key);
  const full = Array.from(iface.neighbors.values()).filter((neighbor) => neighbor.state === 'Full');
  if (iface.state !== 'DR' || full.length === 0) {
    if (entry) flush(core, entry, now);
    return;
  }
  const attachedRouters = [core.routerId, ...full.map((neighbor) => neighbor.routerId)].sort((a, b) => a - b);
  const body: LsaBody = { kind: 'network', mask: maskOf(link.prefixLength), attachedRouters };
  if (entry && !isMaxAge(entry) && entry.lsa.body.kind === 'network') {
    const before = entry.lsa.body;
    if (before.mask === body.mask && String(before.attachedRouters) === String(attachedRouters)) {
      entry.inherited = false;
      return;
    }
  }
  originate(core, area.database, LsaType.Network, link.address, areaOptions(area), body, now);
}

/** The interface goes down with its address: the network LSA that was named after it goes too. */
export function flushNetwork(core: Core, iface: Interface, address: U32, now: Instant): void {
  const key = lsaKeyText({ type: LsaType.Network, linkStateId: address, advertisingRouter: core.routerId });
  const entry = iface.area.database.entries.get(key);
  if (entry) flush(core, entry, now);
}

/** Everything of ours, hosts first. */
export function flushAll(core: Core, now: Instant): void {
  core.leaving = true;
  core.hosts.clear();
  core.facts.clear();
  core.wrapping.clear();
  for (const database of [core.external, ...Array.from(core.areas.values(), (area) => area.database)]) {
    for (const entry of database.entries.values()) if (entry.self) flush(core, entry, now);
  }
}
