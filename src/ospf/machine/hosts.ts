/**
 * LSAs of our hosts (RFC 2328 §12.4.4; RFC 3101).
 *
 * Each host is one AS-external LSA (or type 7, or one stub link of the router LSA) with a mask of 32 bits; the subnet
 * it stands in is never announced. A host's LSA is originated and flushed in the turn in which the host table changed:
 * MinLSInterval (5 s, §12.4) is not held back for it. The interval exists to bound the load that an unstable router
 * puts on the area; here the rate is bounded where the cause is, by the damping of the host table, and a withdrawal
 * that waits is traffic into a black hole.
 */
import { type LsaBody, LsaType, lsaKeyText, MaxAge, Options, type U32 } from 'node-ospf-lsa';
import { type Address, familyOf, ipv4ToNumber } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { HostDelta, HostRoute } from '../../model/hosts.ts';
import { encodeRouteTag } from '../codec/route-tag.ts';
import { type Area, atLeast, type Core, count, type HostRecord, type Interface, type LsdbEntry } from './core.ts';
import { floodDestination } from './flooding.ts';
import { databaseFor, isMaxAge } from './lsdb.ts';
import { hostMetric } from './metrics.ts';
import { flush, originate } from './origination.ts';
import { ownershipChanged, updateHosts } from './routing.ts';

export const HOST_MASK = 0xffffffff;

export function applyHosts(core: Core, delta: HostDelta, now: Instant): void {
  if (core.options.observer) {
    count(core, 'hosts.observer', delta.announced.length);
    return;
  }
  if (delta.withdrawn.length > 0) withdrawHosts(core, delta.withdrawn);
  const turning: U32[] = [];
  for (const route of delta.announced) {
    const record = core.hosts.get(route.address);
    if (record) {
      const same = sameWords(core, record.route, route);
      // Others' way to it is learned from now on, or no more; nothing goes on the wire for that.
      if (record.route.yields !== route.yields && core.claims.has(record.id)) turning.push(record.id);
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
  if (turning.length === 0) return;
  for (const id of turning) core.staleHosts.add(id);
  updateHosts(core);
}

/**
 * The hot path. The bytes come first: the LSAs as they stand, to be sent at MaxAge. What must be remembered of it
 * (database, retransmission lists, timers) is several times the work, and is done by `bookFlushes` once the bytes are
 * on the wire.
 */
export function withdrawHosts(core: Core, addresses: readonly Address[]): void {
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

/** LSAs that are booked in one go, about a millisecond. */
const BOOKED_AT_ONCE = 256;

/** Enters what `withdrawHosts` has sent; `meanwhile` runs after each few of them. */
export function bookFlushes(core: Core, now: Instant, meanwhile?: () => void): void {
  for (const address of core.leavers.splice(0)) core.hosts.delete(address);
  let booked = 0;
  for (const entry of core.unbooked.splice(0)) {
    flush(core, entry, now, true);
    ownershipChanged(core, entry.lsa.header.linkStateId, now);
    if (++booked % BOOKED_AT_ONCE === 0) meanwhile?.();
  }
}

/** Stub links name no port. */
function sameWords(core: Core, before: HostRoute, after: HostRoute): boolean {
  return (
    metricOf(core, before) === metricOf(core, after) &&
    (core.options.announce.as === 'stub-link' || tagOf(before) === tagOf(after))
  );
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
 * the address of the first interface that is up; without one there is nobody to tell either. What stands in the database
 * goes on then with the address that it has, and goes on being the host's: neighbours hear of it when an interface is back.
 */
function announceNssaHost(core: Core, area: Area, record: HostRecord, now: Instant): LsdbEntry | undefined {
  const forwarding = forwardingOf(area) ?? formerForwarding(core, area, record.id);
  if (forwarding === undefined) return undefined;
  const body = hostBody(core, record.route, forwarding);
  return originate(core, area.database, LsaType.Nssa, record.id, Options.NP, body, now);
}

const forwardingOf = (area: Area): U32 | undefined =>
  area.interfaces.find((iface) => iface.state !== 'Down')?.link?.address;

function formerForwarding(core: Core, area: Area, linkStateId: U32): U32 | undefined {
  const key = lsaKeyText({ type: LsaType.Nssa, linkStateId, advertisingRouter: core.routerId });
  const body = area.database.entries.get(key)?.lsa.body;
  return body?.kind === 'external' ? body.forwardingAddress : undefined;
}

/** Type 7 LSAs name an interface address; when that changes, so do they. */
export function forwardingChanged(core: Core, area: Area, now: Instant): void {
  if (!area.nssa || core.options.announce.as !== 'nssa' || core.leaving) return;
  const forwarding = forwardingOf(area);
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
    metric: metricOf(core, route),
    forwardingAddress,
    tag: tagOf(route),
    tos: [],
  };
}

export const metricOf = (core: Core, route: HostRoute): number =>
  hostMetric(core.options.announce, route, core.draining);

const tagOf = ({ portIndex, ifindex, shadow }: HostRoute): U32 =>
  // A shadow's interface is the waiting room, which is nobody's port.
  encodeRouteTag(shadow ? { portIndex: undefined, shadow } : { portIndex: portIndex ?? ifindex, shadow: false });

function hostStubsChanged(core: Core, id: U32): void {
  for (const area of core.areas.values()) {
    area.inheritedStubs.delete(id);
    area.routerLsaDirty = true;
    area.routerLsaUrgent = true;
  }
}
