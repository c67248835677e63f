/**
 * The OSPF speaker without sockets and clocks: events and instants go in, effects come out.
 *
 * `handle` takes one event (a packet, a change of a link, a change of the host table, time) to its end: packets are
 * processed by `hello.ts`, `exchange.ts`, `flooding.ts`; the neighbour and interface tables decide transitions; what a
 * transition means for the rest of the router is in this file; then the router LSAs that changed are originated and the
 * flood queues are emptied, each interface's LSAs together. So the flush of a thousand hosts is one pass and one list
 * of LSAs per interface, whatever else the event caused. `complete` follows when the effects have been sent.
 *
 * Invariants: an LSA on a retransmission list is in the database; a neighbour below Exchange has empty lists;
 * `exchanging` counts the neighbours in Exchange and Loading; every effect list ends with the event.
 */
import type { U32 } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import type { NeighborState } from '../face.ts';
import { addInterface } from './areas.ts';
import { Claims } from './claims.ts';
import { act } from './conversation.ts';
import {
  AllDRouters,
  atLeast,
  type Core,
  count,
  type Effect,
  type Interface,
  type MachineOptions,
  MinLSArrivalMs,
  type Neighbor,
  type NeighborEvent,
  type OspfEvent,
} from './core.ts';
import { Deadlines, deadline, isSet } from './deadlines.ts';
import { defaultChanged } from './default-route.ts';
import { receiveDd } from './exchange.ts';
import { publishFacts } from './facts.ts';
import { ageOut, drainFloods, receiveAck, receiveRequest, receiveUpdate } from './flooding.ts';
import { graceEnded, pause, ungranted } from './grace.ts';
import { HeardFacts } from './heard-facts.ts';
import { receiveHello, sendGoodbye } from './hello.ts';
import { announceHost, applyHosts, bookFlushes } from './hosts.ts';
import { selfOriginated, settle } from './inheritance.ts';
import { interfaceEvent, linkEvent } from './links.ts';
import { newDatabase, sweepMaxAged } from './lsdb.ts';
import { neighborTransition } from './neighbor.ts';
import { flushAll, refresh } from './origination.ts';
import { reconfigure } from './reconfigure.ts';
import { isUnproven, resume, resumptionFailed } from './resume.ts';
import { retrySoon } from './retransmission.ts';
import { RouteTable } from './route-table.ts';
import { claimSink, hurrySpf, lsaChanged, postponeSpf, runSpf, scheduleSpf, updateHosts } from './routing.ts';
import { networkChanged, originateDirty, routerChanged } from './topology.ts';

/** How long LSAs from before a restart are kept for hosts that have not been heard yet, after the first Full. */
const SettleTime = 5000;
export class OspfMachine {
  readonly core: Core;

  constructor(options: MachineOptions) {
    this.core = createCore(options);
  }

  handle(event: OspfEvent, now: Instant): readonly Effect[] {
    const core = this.core;
    if (core.leavers.length > 0) bookFlushes(core, now);
    switch (event.kind) {
      case 'hosts':
        applyHosts(core, event.delta, now);
        break;
      case 'packet':
        receivePacket(core, event, now);
        break;
      case 'timer':
        for (let due = core.deadlines.takeDue(now); due; due = core.deadlines.takeDue(now)) due.run(now);
        break;
      case 'resume':
        resume(core, event.kept, event.links, now, event.graceUntil);
        break;
      case 'pause':
        pause(core, event.grace, now);
        break;
      case 'configure':
        reconfigure(core, event.settings, now);
        break;
      case 'link':
        linkEvent(core, event.interface, event.link, now);
        break;
      case 'facts':
        publishFacts(core, event.facts, now);
        break;
      case 'settled':
        settle(core, now);
        break;
      case 'kill':
        for (const neighbor of allNeighbors(core)) {
          if (neighbor.address === event.address) core.neighborEvent(neighbor, 'KillNbr', now, event.reason);
        }
        break;
      case 'send-failed':
        for (const neighbor of core.interfaces.get(event.interface)?.neighbors.values() ?? []) {
          retrySoon(core, neighbor, now);
        }
        break;
      case 'drain':
        core.draining = event.on;
        for (const area of core.areas.values()) routerChanged(area, true);
        for (const record of core.hosts.values()) if (!record.route.shadow) announceHost(core, record, now);
        break;
      case 'leave':
        flushAll(core, now);
        break;
      case 'goodbye':
        for (const iface of core.interfaces.values()) {
          sendGoodbye(core, iface);
          core.interfaceEvent(iface, 'InterfaceDown', now);
        }
        break;
    }
    if (core.defaultDue && !core.leaving) {
      core.defaultDue = false;
      defaultChanged(core, now);
    }
    originateDirty(core, now);
    if (event.kind !== 'hosts') updateHosts(core);
    drainFloods(core, now);
    const effects = core.effects;
    core.effects = [];
    return effects;
  }

  /**
   * To be called once the effects of an event have been sent: the part of the work that needed not come before. With
   * thousands of hosts that takes a while, and `meanwhile` runs now and then in the midst of it.
   */
  complete(now: Instant, meanwhile?: () => void): void {
    if (this.core.leavers.length > 0) bookFlushes(this.core, now, meanwhile);
  }

  nextDeadline(): Instant | undefined {
    return this.core.deadlines.next();
  }

  /** Requests to wait, of a `pause`, that some neighbour has not acknowledged. */
  ungranted(): number {
    return ungranted(this.core);
  }

  /** LSAs that some neighbour has not acknowledged. */
  unacknowledged(): number {
    let sum = 0;
    for (const neighbor of allNeighbors(this.core)) sum += neighbor.retransmit.size;
    return sum;
  }
}

function* allNeighbors(core: Core): Iterable<Neighbor> {
  for (const iface of core.interfaces.values()) yield* iface.neighbors.values();
}

function createCore(options: MachineOptions): Core {
  const core: Core = {
    options,
    routerId: options.routerId,
    minLsArrival: options.minLsArrival ?? MinLSArrivalMs,
    earlyArrivals: options.earlyArrivals ?? 0,
    areas: new Map(),
    interfaces: new Map(),
    external: newDatabase('as', ''),
    deadlines: new Deadlines(),
    claims: new Claims(options.announce, options.prefixes),
    claimSink: claimSink((effect) => core.effects.push(effect)),
    routes: new RouteTable(),
    hosts: new Map(),
    facts: new Map(),
    heardFacts: new HeardFacts(),
    departed: new Map(),
    wrapping: new Map(),
    maxAged: new Set(),
    counters: new Map(),
    exchanging: 0,
    size: 0,
    settled: false,
    restarting: undefined,
    leaving: false,
    defaultSaid: false,
    defaultDue: true,
    draining: false,
    effects: [],
    unbooked: [],
    touched: undefined,
    leavers: [],
    settleTimer: deadline((at) => settle(core, at)),
    spfTimer: deadline((at) => runSpf(core, at)),
    spf: undefined,
    hostExternals: new Map(),
    staleHosts: new Set(),
    // A turn of its own: the event's end does what is due.
    hostsTimer: deadline(() => {}),
    spfAt: Number.NEGATIVE_INFINITY,
    spfHold: 0,
    spfNotBefore: Number.NEGATIVE_INFINITY,
    spfPostponedUntil: Number.NEGATIVE_INFINITY,
    neighborEvent: (neighbor, event, now, reason) => neighborEvent(core, neighbor, event, now, reason ?? event),
    interfaceEvent: (iface, event, now) => interfaceEvent(core, iface, event, now),
    lsaTimer(entry, now) {
      if (entry.self) refresh(core, entry, now);
      else ageOut(core, entry, now);
    },
    databaseChanged(entry, before, after, now) {
      if (entry.self && entry.lsa.body.kind === 'external') return;
      lsaChanged(core, entry, before, after, now);
    },
  };
  for (const each of options.interfaces) addInterface(core, each);
  return core;
}

// ---- packets

/** §8.2, the part of it that needs to know the interface and the neighbour. */
function receivePacket(core: Core, event: Extract<OspfEvent, { kind: 'packet' }>, now: Instant): void {
  const { packet, source } = event;
  const iface = core.interfaces.get(event.interface);
  const refusal = iface ? refusePacket(core, iface, event) : 'unknown-interface';
  if (!iface || refusal) {
    count(core, `drop.${refusal}`);
    return;
  }
  const neighbor = findNeighbor(iface, source, packet.routerId);
  if (packet.cryptoSequence !== undefined && neighbor) {
    // §D.4.3: never lower than the last; equal is allowed, for the number is usually a clock of seconds.
    if (neighbor.cryptoSequence !== undefined && packet.cryptoSequence < neighbor.cryptoSequence) {
      count(core, 'drop.replay');
      return;
    }
  }
  if (packet.type === 1) {
    count(core, 'rx.hello');
    receiveHello(core, iface, source, packet, now);
    const found = findNeighbor(iface, source, packet.routerId);
    if (found) found.cryptoSequence = packet.cryptoSequence ?? found.cryptoSequence;
    return;
  }
  if (!neighbor) {
    count(core, 'drop.no-neighbor');
    return;
  }
  neighbor.cryptoSequence = packet.cryptoSequence ?? neighbor.cryptoSequence;
  switch (packet.type) {
    case 2:
      count(core, 'rx.dd');
      receiveDd(core, neighbor, packet, now);
      return;
    case 3:
      count(core, 'rx.request');
      receiveRequest(core, neighbor, packet, now);
      return;
    case 4:
      count(core, 'rx.update');
      receiveUpdate(core, neighbor, packet, now, selfOriginated);
      return;
    case 5:
      count(core, 'rx.ack');
      receiveAck(core, neighbor, packet, now);
      return;
  }
}

function refusePacket(
  core: Core,
  iface: Interface,
  { packet, source, destination }: Extract<OspfEvent, { kind: 'packet' }>,
): string | undefined {
  const { link } = iface;
  if (!link || iface.state === 'Down') return 'interface-down';
  if (packet.areaId !== iface.area.id) return 'area-mismatch';
  if (packet.routerId === core.routerId) return source === link.address ? 'own-packet' : 'duplicate-router-id';
  if (packet.routerId === 0) return 'zero-router-id';
  if (iface.network === 'broadcast') {
    const mask = link.prefixLength === 0 ? 0 : (0xffffffff << (32 - link.prefixLength)) >>> 0;
    if (((source ^ link.address) & mask) !== 0) return 'foreign-subnet';
  }
  if (destination === AllDRouters && iface.state !== 'DR' && iface.state !== 'Backup') return 'not-designated-router';
  return undefined;
}

function findNeighbor(iface: Interface, source: U32, routerId: U32): Neighbor | undefined {
  const found = iface.neighbors.get(iface.network === 'broadcast' ? source : routerId);
  return found?.routerId === routerId ? found : undefined;
}

// ---- neighbours

function neighborEvent(core: Core, neighbor: Neighbor, event: NeighborEvent, now: Instant, reason: string): void {
  const row = neighborTransition(neighbor.state, event, wantsAdjacency(neighbor));
  if (!row) return;
  const from = neighbor.state;
  if (row.state !== from) {
    neighbor.state = row.state;
    neighbor.since = now;
    core.exchanging += Number(isExchanging(row.state)) - Number(isExchanging(from));
  }
  act(core, neighbor, row.action, now);
  if (row.state !== from) neighborChanged(core, neighbor, from, row.state, reason, now);
}

const isExchanging = (state: NeighborState): boolean => state === 'Exchange' || state === 'Loading';

/** §10.4. */
function wantsAdjacency(neighbor: Neighbor): boolean {
  const iface = neighbor.interface;
  if (iface.network === 'point-to-point') return true;
  if (iface.state === 'DR' || iface.state === 'Backup') return true;
  const { address } = neighbor;
  return iface.state !== 'Waiting' && (address === iface.designatedRouter || address === iface.backupDesignatedRouter);
}

/** What a change of a neighbour's state means for everything but the neighbour. */
function neighborChanged(
  core: Core,
  neighbor: Neighbor,
  from: NeighborState,
  to: NeighborState,
  reason: string,
  now: Instant,
): void {
  const iface = neighbor.interface;
  core.effects.push({
    kind: 'neighbor',
    interface: iface.name,
    routerId: neighbor.routerId,
    address: neighbor.address,
    from,
    to,
    reason,
  });
  if (to === 'Down') {
    for (const [key, each] of iface.neighbors) if (each === neighbor) iface.neighbors.delete(key);
  }
  if ((from === 'Full') !== (to === 'Full')) {
    // Not paced: adjacencies come and go no faster than the exchange lets them.
    routerChanged(iface.area, true);
    networkChanged(core, iface, now);
    // The next hop needs the neighbour, even when no LSA changes.
    if (to === 'Full') {
      postponeSpf(core, now);
      scheduleSpf(core, now);
    } else hurrySpf(core, now);
    if (to === 'Full' && core.restarting) graceEnded(core, iface, now);
    if (to === 'Full' && !core.settled && !isSet(core.settleTimer)) {
      core.deadlines.set(core.settleTimer, now + SettleTime);
    }
  }
  if (from === 'Full' && isUnproven(neighbor, now)) resumptionFailed(core, neighbor, now);
  if (isExchanging(from) && !isExchanging(to)) sweepMaxAged(core, now);
  if (atLeast(from, '2-Way') !== atLeast(to, '2-Way')) core.interfaceEvent(iface, 'NeighborChange', now);
}
