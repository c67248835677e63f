/**
 * What the rows of the neighbour table do to the neighbour: its timers, its lists, the packets of the database exchange
 * that go out (RFC 2328 §10.3 actions, §10.8 sending of DD packets, §10.9 sending of LS requests).
 */
import type { LsaHeader, U32 } from 'node-ospf-lsa';
import { LsaType, lsaKeyText, MaxAge, Options } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import { AllSPFRouters, type Core, type Interface, type Neighbor } from './core.ts';
import { deadline } from './deadlines.ts';
import { areaOptions, currentAge, isMaxAge, isOpaque } from './lsdb.ts';
import type { NeighborAction } from './neighbor.ts';
import { forget, retransmitDue, track } from './retransmission.ts';

export const DD = { I: 0x04, M: 0x02, MS: 0x01 } as const;
/** IP header, OSPF header, DD body; the largest digest, so that authentication never makes the packet too long. */
const DdOverhead = 20 + 24 + 8 + 64;
/** A flush that the neighbour missed while it was away follows the summary closely, not a RxmtInterval later. */
const SoonAfterExchange = 50;
const LsrOverhead = 20 + 24 + 64;

export function newNeighbor(core: Core, iface: Interface, routerId: U32, address: U32, now: Instant): Neighbor {
  const neighbor: Neighbor = {
    interface: iface,
    routerId,
    address,
    state: 'Down',
    since: now,
    priority: 0,
    options: 0,
    designatedRouter: 0,
    backupDesignatedRouter: 0,
    master: false,
    ddSequence: 0,
    lastDd: undefined,
    sentDd: undefined,
    sentMore: false,
    summary: [],
    summaryAt: 0,
    requests: new Map(),
    outstanding: new Set(),
    retransmit: new Map(),
    offered: new Map(),
    cryptoSequence: undefined,
    resumedAt: undefined,
    inactivityTimer: deadline((at) => core.neighborEvent(neighbor, 'InactivityTimer', at)),
    ddTimer: deadline((at) => {
      if (!neighbor.sentDd) return;
      send(core, neighbor, neighbor.sentDd);
      core.deadlines.set(neighbor.ddTimer, at + iface.rxmtInterval);
    }),
    lsrTimer: deadline((at) => sendRequests(core, neighbor, at)),
    rxmtTimer: deadline((at) => retransmitDue(core, neighbor, at)),
  };
  return neighbor;
}

export function act(core: Core, neighbor: Neighbor, action: NeighborAction, now: Instant): void {
  switch (action) {
    case 'none':
      return;
    case 'restart inactivity timer':
      core.deadlines.set(neighbor.inactivityTimer, now + neighbor.interface.deadInterval * 1000);
      return;
    case 'begin negotiation':
      beginNegotiation(core, neighbor, now);
      return;
    case 'restart negotiation':
      clearLists(core, neighbor, now);
      beginNegotiation(core, neighbor, now);
      return;
    case 'begin exchange':
      beginExchange(core, neighbor, now);
      return;
    case 'begin loading':
      core.deadlines.cancel(neighbor.ddTimer);
      if (neighbor.requests.size === 0) core.neighborEvent(neighbor, 'LoadingDone', now);
      else sendRequests(core, neighbor, now);
      return;
    case 'clear lists':
      clearLists(core, neighbor, now);
      return;
    case 'clear all':
      clearLists(core, neighbor, now);
      core.deadlines.cancel(neighbor.inactivityTimer);
      neighbor.offered.clear();
      return;
  }
}

function clearLists(core: Core, neighbor: Neighbor, now: Instant): void {
  for (const timer of [neighbor.ddTimer, neighbor.lsrTimer, neighbor.rxmtTimer]) core.deadlines.cancel(timer);
  neighbor.summary = [];
  neighbor.summaryAt = 0;
  neighbor.requests.clear();
  neighbor.outstanding.clear();
  neighbor.sentDd = undefined;
  neighbor.lastDd = undefined;
  forget(core, neighbor, now);
}

function beginNegotiation(core: Core, neighbor: Neighbor, now: Instant): void {
  // §10.3: a sequence number the neighbour has not seen lately; the first one comes from the injected chance.
  neighbor.ddSequence =
    neighbor.ddSequence === 0 ? 1 + Math.floor(core.options.random() * 0x7fffffff) : (neighbor.ddSequence + 1) >>> 0;
  neighbor.master = true;
  sendDd(core, neighbor, DD.I | DD.M | DD.MS, [], now);
}

/** §10.3, NegotiationDone: list the whole database, except that MaxAge LSAs are retransmitted instead of described. */
function beginExchange(core: Core, neighbor: Neighbor, now: Instant): void {
  const { area, database } = neighbor.interface;
  neighbor.summary = [];
  neighbor.summaryAt = 0;
  const opaque = (neighbor.options & Options.O) !== 0;
  for (const source of area.nssa ? [area.database, database] : [area.database, core.external, database]) {
    for (const entry of source.entries.values()) {
      const type = entry.lsa.header.type;
      if (isOpaque(type) && !opaque) continue;
      if (type === LsaType.OpaqueAs && area.nssa) continue;
      const age = currentAge(entry, now);
      if (isMaxAge(entry)) track(core, neighbor, entry, now, SoonAfterExchange);
      else neighbor.summary.push({ ...entry.lsa.header, age: Math.min(age, MaxAge - 1) });
    }
  }
}

/** The next piece of the summary list, as master or as slave. */
export function sendNextDd(core: Core, neighbor: Neighbor, now: Instant): void {
  const mtu = neighbor.interface.link?.mtu ?? 1500;
  const room = Math.max(1, Math.floor((mtu - DdOverhead) / 20));
  const headers = neighbor.summary.slice(neighbor.summaryAt, neighbor.summaryAt + room);
  neighbor.summaryAt += headers.length;
  neighbor.sentMore = neighbor.summaryAt < neighbor.summary.length;
  sendDd(core, neighbor, (neighbor.sentMore ? DD.M : 0) | (neighbor.master ? DD.MS : 0), headers, now);
}

export function resendDd(core: Core, neighbor: Neighbor): void {
  if (neighbor.sentDd) send(core, neighbor, neighbor.sentDd);
}

function sendDd(core: Core, neighbor: Neighbor, flags: number, headers: LsaHeader[], now: Instant): void {
  const iface = neighbor.interface;
  neighbor.sentDd = {
    type: 2,
    routerId: core.routerId,
    areaId: iface.area.id,
    interfaceMtu: iface.link?.mtu ?? 0,
    options: areaOptions(iface.area) | Options.O,
    flags,
    sequence: neighbor.ddSequence,
    headers,
  };
  send(core, neighbor, neighbor.sentDd);
  // §10.8: the slave only ever answers; in ExStart nobody is slave yet.
  if (neighbor.master) core.deadlines.set(neighbor.ddTimer, now + iface.rxmtInterval);
  else core.deadlines.cancel(neighbor.ddTimer);
}

function sendRequests(core: Core, neighbor: Neighbor, now: Instant): void {
  core.deadlines.cancel(neighbor.lsrTimer);
  neighbor.outstanding.clear();
  if (neighbor.requests.size === 0) {
    if (neighbor.state === 'Loading') core.neighborEvent(neighbor, 'LoadingDone', now);
    return;
  }
  const room = Math.max(1, Math.floor(((neighbor.interface.link?.mtu ?? 1500) - LsrOverhead) / 12));
  const requests: LsaHeader[] = [];
  for (const header of neighbor.requests.values()) {
    requests.push(header);
    neighbor.outstanding.add(lsaKeyText(header));
    if (requests.length >= room) break;
  }
  send(core, neighbor, {
    type: 3,
    routerId: core.routerId,
    areaId: neighbor.interface.area.id,
    requests,
  });
  core.deadlines.set(neighbor.lsrTimer, now + neighbor.interface.rxmtInterval);
}

/** §8.1: point-to-point packets all go to AllSPFRouters; on broadcast the exchange is unicast. */
export function unicast(neighbor: Neighbor): U32 {
  return neighbor.interface.network === 'point-to-point' ? AllSPFRouters : neighbor.address;
}

function send(core: Core, neighbor: Neighbor, packet: NonNullable<Neighbor['sentDd']>): void {
  core.effects.push({ kind: 'send', interface: neighbor.interface.name, to: unicast(neighbor), packet });
}
