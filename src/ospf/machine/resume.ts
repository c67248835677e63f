/**
 * Taking up the adjacencies of an earlier life, so that the neighbours do not notice that there was a death.
 *
 * RFC 3623 has the neighbour help: it must be told, and must agree, and most gateways do not by default. This needs no
 * help. A neighbour keeps an adjacency while hellos that list it come within RouterDeadInterval; so the first hello of the
 * new life is sent at once and lists those that the earlier life was adjacent to, and they are taken for Full here as they
 * take us for Full there. The database is the one that the earlier life wrote down before it acknowledged it: what the
 * neighbour has flooded since is still on its retransmission list, and comes. (A request, §10.9, for what it may have flushed
 * meanwhile would make it break the adjacency.)
 *
 * LSAs of ours stand as they were left: what the host table backs again with the same words is left alone, all are sent
 * once more (what the neighbour has, it acknowledges), and those that are not backed are flushed when it has settled, see
 * `inheritance.ts`. Where the neighbour knows better (its hello does not list us, it begins a database exchange) the
 * ordinary adjacency follows, and the database that was not confirmed is forgotten: it might bring back what is gone.
 */
import { LsaType, lsaAge, lsaKeyText, lsaWithAge, MaxAge } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import type { Kept, KeptAdjacency, KeptLsa } from '../codec/memory.ts';
import { newNeighbor } from './conversation.ts';
import {
  type Area,
  type Core,
  count,
  type Database,
  type Interface,
  type Link,
  type LsdbEntry,
  type Neighbor,
} from './core.ts';
import { beginGrace, endGrace } from './grace.ts';
import { sendHello } from './hello.ts';
import { forwardingChanged } from './hosts.ts';
import { inheritStubs, settle } from './inheritance.ts';
import { linkEvent, setInterfaceState } from './links.ts';
import { databaseFor, drop, install, removeIfDone } from './lsdb.ts';
import { originate, sameContents } from './origination.ts';
import { release, track } from './retransmission.ts';
import { scheduleSpf } from './routing.ts';
import { networkChanged, routerChanged } from './topology.ts';

/** After MinLSArrival since whatever the earlier life sent last. */
const SendAgain = 1000;

/** What is worth being written down of an interface; undefined: nothing that a next life could take up. */
export function keepsake(iface: Interface): KeptAdjacency | undefined {
  const { link, state } = iface;
  if (!link || state === 'Down' || state === 'Waiting') return undefined;
  const neighbors = [];
  for (const each of iface.neighbors.values()) {
    if (each.state !== '2-Way' && each.state !== 'Full') continue;
    const { routerId, address, priority, options, designatedRouter, backupDesignatedRouter } = each;
    neighbors.push({
      routerId,
      address,
      state: each.state,
      priority,
      options,
      designatedRouter,
      backupDesignatedRouter,
    });
  }
  if (!neighbors.some((each) => each.state === 'Full')) return undefined;
  return {
    interface: iface.name,
    area: iface.area.id,
    nssa: iface.area.nssa,
    network: iface.network,
    helloInterval: iface.helloInterval,
    deadInterval: iface.deadInterval,
    address: link.address,
    prefixLength: link.prefixLength,
    state,
    designatedRouter: iface.designatedRouter,
    backupDesignatedRouter: iface.backupDesignatedRouter,
    neighbors,
  };
}

/**
 * All interfaces in one event: our router LSA must not say in between that the links that follow are lost.
 */
export function resume(
  core: Core,
  kept: Pick<Kept, 'adjacencies' | 'late' | 'lsas'>,
  links: ReadonlyMap<string, Link>,
  now: Instant,
  graceUntil: Instant,
): void {
  const late: Interface[] = [];
  for (const each of kept.late ?? []) {
    const iface = core.interfaces.get(each.interface);
    const link = links.get(each.interface);
    if (iface && link && fits(iface, link, each)) late.push(iface);
    else count(core, 'resume.not-the-same');
  }
  const resumed = new Map<Interface, KeptAdjacency>();
  for (const each of kept.adjacencies) {
    const iface = core.interfaces.get(each.interface);
    const link = links.get(each.interface);
    if (iface && link && fits(iface, link, each)) resumed.set(iface, each);
    else count(core, 'resume.not-the-same');
  }
  // Hellos first: while the rest is done, a neighbour's patience runs.
  for (const [iface, each] of resumed) beginAgain(core, iface, links.get(iface.name)!, each, now);
  if (resumed.size + late.length > 0) for (const each of kept.lsas) restore(core, each, now);
  if (late.length > 0) beginGrace(core, late, graceUntil);
  for (const iface of resumed.keys()) {
    adjacentAgain(core, iface, now);
    if (graceUntil > 0) endGrace(core, iface, now);
  }
  for (const [name, link] of links) if (!resumed.has(core.interfaces.get(name)!)) linkEvent(core, name, link, now);
  for (const entry of core.maxAged) removeIfDone(core, entry, now);
  // The kernel has forgotten its routes: hosts of the earlier life must not draw traffic until they are heard again.
  if (core.settled) settle(core, now);
}

function fits(iface: Interface, link: Link, kept: KeptAdjacency): boolean {
  return (
    iface.state === 'Down' &&
    iface.area.id === kept.area &&
    iface.area.nssa === kept.nssa &&
    iface.network === kept.network &&
    iface.helloInterval === kept.helloInterval &&
    iface.deadInterval === kept.deadInterval &&
    link.address === kept.address &&
    link.prefixLength === kept.prefixLength
  );
}

function beginAgain(core: Core, iface: Interface, link: Link, kept: KeptAdjacency, now: Instant): void {
  iface.link = link;
  iface.designatedRouter = kept.designatedRouter;
  iface.backupDesignatedRouter = kept.backupDesignatedRouter;
  for (const each of kept.neighbors) {
    const neighbor = newNeighbor(core, iface, each.routerId, each.address, now);
    neighbor.priority = each.priority;
    neighbor.options = each.options;
    neighbor.designatedRouter = each.designatedRouter;
    neighbor.backupDesignatedRouter = each.backupDesignatedRouter;
    neighbor.state = each.state;
    neighbor.resumedAt = now;
    iface.neighbors.set(iface.network === 'broadcast' ? each.address : each.routerId, neighbor);
    core.deadlines.set(neighbor.inactivityTimer, now + iface.deadInterval * 1000);
  }
  setInterfaceState(core, iface, kept.state, now);
  sendHello(core, iface, now);
  core.deadlines.set(iface.helloTimer, now + iface.helloInterval * 1000);
}

function restore(core: Core, { scope, lsa, installedAt }: KeptLsa, now: Instant): void {
  const { header } = lsa;
  const area = scope.kind === 'area' ? core.areas.get(scope.id) : undefined;
  const [anyInterface] = area?.interfaces ?? core.interfaces.values();
  const database = anyInterface && databaseFor(core, anyInterface, header.type);
  if (!database || (area ? database !== area.database : database !== core.external)) return;
  const age = lsaAge(header) >= MaxAge ? MaxAge : lsaAge(header) + Math.max(0, Math.floor((now - installedAt) / 1000));
  const self = header.advertisingRouter === core.routerId;
  if (age >= MaxAge && !self) return;
  const ours = database.entries.get(lsaKeyText(header))?.lsa;
  const entry = install(core, database, lsaWithAge(lsa, Math.min(age, MaxAge)), now, false);
  if (!entry || !self) return;
  if (ours && header.type !== LsaType.Router) {
    // The host table was quicker than we: what it wants goes on from the number of the earlier life.
    if (age >= MaxAge || !sameContents(ours, lsa)) {
      originate(core, database, header.type, header.linkStateId, ours.header.options, ours.body, now, entry);
    }
    return;
  }
  if (age >= MaxAge) return;
  entry.inherited = true;
  if (area) inheritStubs(core, area, lsa);
}

/** What Full means for the rest of the router (`neighborChanged` in `machine.ts`), and that all of ours is sent again. */
function adjacentAgain(core: Core, iface: Interface, now: Instant): void {
  for (const neighbor of iface.neighbors.values()) {
    const { routerId, address, state } = neighbor;
    core.effects.push({
      kind: 'neighbor',
      interface: iface.name,
      routerId,
      address,
      from: 'Down',
      to: state,
      reason: 'resumed',
    });
    if (state !== 'Full') continue;
    count(core, 'resume.adjacencies');
    for (const database of databasesOf(core, iface.area)) {
      for (const entry of database.entries.values()) if (entry.self) track(core, neighbor, entry, now, SendAgain);
    }
  }
  routerChanged(iface.area, true);
  networkChanged(core, iface, now);
  forwardingChanged(core, iface.area, now);
  scheduleSpf(core, now);
}

const databasesOf = (core: Core, area: Area): Database[] =>
  area.nssa ? [area.database] : [area.database, core.external];

/** The neighbour does not know of the adjacency that we took up: what we took for its database goes, see above. */
export function resumptionFailed(core: Core, neighbor: Neighbor, now: Instant): void {
  count(core, 'resume.refused');
  for (const iface of core.interfaces.values()) {
    for (const other of iface.neighbors.values()) {
      if (other !== neighbor && other.state === 'Full') return;
    }
  }
  const databases = [core.external, ...Array.from(core.areas.values(), (area) => area.database)];
  for (const { entries } of databases) {
    for (const entry of [...entries.values()]) if (!entry.self) forgetEntry(core, entry, now);
  }
}

function forgetEntry(core: Core, entry: LsdbEntry, now: Instant): void {
  for (const iface of core.interfaces.values()) {
    iface.floodQueue.delete(entry);
    for (const neighbor of iface.neighbors.values()) release(core, neighbor, entry, now);
  }
  drop(core, entry, now);
}

/** Within a RouterDeadInterval the neighbour has shown what it thinks of it. */
export function isUnproven(neighbor: Neighbor, now: Instant): boolean {
  return neighbor.resumedAt !== undefined && now - neighbor.resumedAt <= neighbor.interface.deadInterval * 1000;
}
