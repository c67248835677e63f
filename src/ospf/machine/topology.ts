/**
 * What we say of ourselves and our links: router and network LSAs (RFC 2328 §12.4.1, §12.4.2). They are paced by
 * MinLSArrival (1 s), faster than which no neighbour would take them; hosts as stub links are not held back for it.
 */
import { type LsaBody, LsaType, lsaKeyText, type RouterLink, RouterLinkType, type U32 } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import { type Area, type Core, count, type Interface, MinLSArrivalMs, maskOf } from './core.ts';
import { isSet } from './deadlines.ts';
import { HOST_MASK, metricOf } from './hosts.ts';
import { areaOptions, isMaxAge } from './lsdb.ts';
import { MaxLinkMetric } from './metrics.ts';
import { flush, originate } from './origination.ts';

const RouterFlag = { B: 0x01, E: 0x02, V: 0x04 } as const;
/** A router LSA must fit into an IP packet: 65,535 less headers, 12 octets a link. */
const MaxLinks = 5000;

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
  const lastResort = core.draining || core.options.observer === true;
  for (const iface of area.interfaces) interfaceLinks(iface, links, lastResort);
  for (const { network, mask, metric } of core.options.stubNetworks) links.push(stub(network, mask, metric));
  if (core.options.announce.as === 'stub-link') hostLinks(core, area, links);
  const flags = isBoundary(core) ? RouterFlag.E : 0;
  const body: LsaBody = { kind: 'router', flags, links };
  originate(core, area.database, LsaType.Router, core.routerId, areaOptions(area), body, now);
}

/** §12.4.1: who originates externals says so, and who originates opaque LSAs of the AS does (RFC 5250 §5). */
function isBoundary({ options, facts }: Core): boolean {
  const { announce, observer, originateDefault } = options;
  return (announce.as !== 'stub-link' && !observer) || originateDefault !== undefined || facts.size > 0;
}

/** §12.4.1. */
function interfaceLinks(iface: Interface, links: RouterLink[], lastResort: boolean): void {
  const { link, cost } = iface;
  if (!link || iface.state === 'Down') return;
  const mask = maskOf(link.prefixLength);
  const network = (link.address & mask) >>> 0;
  const metric = lastResort ? MaxLinkMetric : cost;
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
    links.push(stub(record.id, HOST_MASK, metricOf(core, record.route)));
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
