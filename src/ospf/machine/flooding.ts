/** The flooding procedure, RFC 2328 §13: what arrives in updates, requests and acknowledgements, and what goes out. */
import {
  compareInstances,
  type LinkStateAckPacket,
  type LinkStateRequestPacket,
  type LinkStateUpdatePacket,
  type Lsa,
  type LsaHeader,
  lsaAge,
  lsaKeyText,
  lsaWithAge,
  MaxAge,
  MaxSequenceNumber,
  Options,
} from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import {
  AllDRouters,
  AllSPFRouters,
  atLeast,
  type Core,
  count,
  type Database,
  type Interface,
  type LsdbEntry,
  type Neighbor,
} from './core.ts';
import { isSet } from './deadlines.ts';
import { noteAuthor, noteCopy } from './hearsay.ts';
import { currentAge, databaseFor, install, isMaxAge, isOpaque, removeIfDone } from './lsdb.ts';
import { offeredNow, release, track, wireForm } from './retransmission.ts';

/** Less than any RxmtInterval, long enough to gather the acknowledgements of a burst (§13.5). */
const DelayedAck = 100;

/** What `inheritance.ts` makes of an LSA of ours that somebody else still has (§13.4). */
export type SelfOriginated = (
  core: Core,
  database: Database,
  entry: LsdbEntry | undefined,
  received: Lsa,
  now: Instant,
) => 'superseded' | 'keep' | 'refuse';

export function receiveUpdate(
  core: Core,
  neighbor: Neighbor,
  packet: LinkStateUpdatePacket,
  now: Instant,
  selfOriginated: SelfOriginated,
): void {
  if (!atLeast(neighbor.state, 'Exchange')) {
    count(core, 'drop.update-before-exchange');
    return;
  }
  for (const error of packet.rejected ?? []) count(core, `drop.lsa-${error.reason}`);
  const directAcks: LsaHeader[] = [];
  for (const lsa of packet.lsas) {
    if (!receiveLsa(core, neighbor, lsa, now, directAcks, selfOriginated)) break;
  }
  if (directAcks.length > 0) sendAcks(core, neighbor.interface, directAcks, ackDestination(neighbor));
  requestsAnswered(core, neighbor, now);
}

/** False when the rest of the packet must be dropped. */
function receiveLsa(
  core: Core,
  neighbor: Neighbor,
  lsa: Lsa,
  now: Instant,
  directAcks: LsaHeader[],
  selfOriginated: SelfOriginated,
): boolean {
  const iface = neighbor.interface;
  const { header } = lsa;
  const database = databaseFor(core, iface, header.type);
  if (!database) {
    count(core, 'drop.lsa-type');
    return true;
  }
  const key = lsaKeyText(header);
  const entry = database.entries.get(key);
  const age = lsaAge(header);
  // §13 (4): nobody here holds it, so there is nothing to flush.
  if (!entry && age >= MaxAge && core.exchanging === 0) {
    directAcks.push(header);
    return true;
  }
  const order = entry ? compareInstances(header, { ...entry.lsa.header, age: currentAge(entry, now) }) : 1;
  if (order > 0) {
    if (entry && !arrivesInTime(core, entry, now)) {
      count(core, 'drop.min-ls-arrival');
      return true;
    }
    acceptNewer(core, neighbor, entry, lsa, now, selfOriginated);
    return true;
  }
  // §13 (6): it asked for less than it was promised; the exchange was inconsistent.
  if (neighbor.requests.has(key)) {
    core.neighborEvent(neighbor, 'BadLSReq', now);
    return false;
  }
  if (order === 0) {
    noteCopy(neighbor, entry!);
    // §13 (7): an implied acknowledgement, or a duplicate that wants one.
    if (neighbor.retransmit.has(entry!)) {
      release(core, neighbor, entry!, now);
      if (iface.state === 'Backup' && neighbor.address === iface.designatedRouter) delayAck(core, iface, header, now);
    } else directAcks.push(header);
    return true;
  }
  sendBack(core, neighbor, entry!, now);
  return true;
}

/**
 * §13 (5a). A few early instances may be let through: a gateway that originates without MinLSInterval tells of two
 * neighbours that come up within a second in two instances, and who drops the second one does not know the second
 * neighbour until the gateway retransmits, seconds later.
 */
function arrivesInTime(core: Core, entry: LsdbEntry, now: Instant): boolean {
  if (!entry.flooded || now - entry.installedAt >= core.minLsArrival) {
    entry.early = 0;
    return true;
  }
  return entry.early++ < core.earlyArrivals;
}

/** §13 (5). */
function acceptNewer(
  core: Core,
  neighbor: Neighbor,
  entry: LsdbEntry | undefined,
  lsa: Lsa,
  now: Instant,
  selfOriginated: SelfOriginated,
): void {
  const iface = neighbor.interface;
  const database = databaseFor(core, iface, lsa.header.type)!;
  if (
    lsa.header.advertisingRouter === core.routerId &&
    selfOriginated(core, database, entry, lsa, now) === 'superseded'
  ) {
    // §13.4: our own newer instance, or the flush, is what is flooded in its place. It is acknowledged as any other.
    delayAck(core, iface, lsa.header, now);
    return;
  }
  if (entry) {
    // §13 (5c).
    for (const other of core.interfaces.values()) {
      for (const each of other.neighbors.values()) release(core, each, entry, now);
    }
  }
  // An answer to our request is not flooding: what the neighbour floods right after Full must not meet MinLSArrival.
  const flooded = !neighbor.requests.has(lsaKeyText(lsa.header));
  const installed = install(core, database, lsa, now, flooded);
  if (!installed) return;
  if (installed.self) installed.inherited = true;
  else noteAuthor(core, neighbor, installed, now);
  const floodedBack = flood(core, installed, now, neighbor);
  // §13.5, table 19.
  if (!floodedBack && (iface.state !== 'Backup' || neighbor.address === iface.designatedRouter)) {
    delayAck(core, iface, lsa.header, now);
  }
  removeIfDone(core, installed, now);
}

/** §13 (8): the neighbour is behind; tell it, unless that was just done. */
function sendBack(core: Core, neighbor: Neighbor, entry: LsdbEntry, now: Instant): void {
  if (isMaxAge(entry) && entry.lsa.header.sequence === MaxSequenceNumber) return;
  if (now - entry.sentBackAt < core.minLsArrival) return;
  entry.sentBackAt = now;
  offeredNow(neighbor, entry, now);
  core.effects.push({
    kind: 'update',
    interface: neighbor.interface.name,
    to: neighborAddress(neighbor),
    lsas: [wireForm(entry, now)],
  });
}

/**
 * §13.3: puts the current instance on the flood queue of every interface in its scope and on the retransmission list
 * of every neighbour that needs it. Answers whether it goes back out of the interface it came from. `sent`: the bytes
 * are on the wire already.
 */
export function flood(core: Core, entry: LsdbEntry, now: Instant, from?: Neighbor, sent = false): boolean {
  let back = false;
  const { type } = entry.lsa.header;
  const opaque = isOpaque(type);
  for (const iface of core.interfaces.values()) {
    if (iface.state === 'Down' || databaseFor(core, iface, type) !== entry.database) continue;
    let wanted = false;
    for (const neighbor of iface.neighbors.values()) {
      if (floodTo(core, neighbor, entry, opaque, from, now)) wanted = true;
    }
    if (!wanted) continue;
    if (from?.interface === iface) {
      // (3), (4): the Designated Router has told the network already, or will.
      if (from.address === iface.designatedRouter || from.address === iface.backupDesignatedRouter) continue;
      if (iface.state === 'Backup') continue;
      back = true;
    }
    if (!sent) iface.floodQueue.add(entry);
  }
  return back;
}

/** §13.3 (1). */
function floodTo(
  core: Core,
  neighbor: Neighbor,
  entry: LsdbEntry,
  opaque: boolean,
  from: Neighbor | undefined,
  now: Instant,
): boolean {
  if (!atLeast(neighbor.state, 'Exchange')) return false;
  if (opaque && (neighbor.options & Options.O) === 0) return false;
  if (neighbor.requests.size > 0) {
    const requested = neighbor.requests.get(entry.key);
    if (requested) {
      const order = compareInstances({ ...entry.lsa.header, age: currentAge(entry, now) }, requested);
      if (order < 0) return false;
      neighbor.requests.delete(entry.key);
      neighbor.outstanding.delete(entry.key);
      // Somebody else has brought it: nothing that comes from the neighbour itself would end Loading. This flood goes first.
      if (neighbor.state === 'Loading' && neighbor.outstanding.size === 0) core.deadlines.set(neighbor.lsrTimer, now);
      if (order === 0) return false;
    }
  }
  if (neighbor === from) return false;
  track(core, neighbor, entry, now);
  return true;
}

/** Sends what the event has put on the flood queues, each interface's LSAs together. */
export function drainFloods(core: Core, now: Instant): void {
  for (const iface of core.interfaces.values()) {
    if (iface.floodQueue.size === 0) continue;
    const lsas: Uint8Array[] = [];
    for (const entry of iface.floodQueue) lsas.push(wireForm(entry, now));
    iface.floodQueue.clear();
    if (iface.link) core.effects.push({ kind: 'update', interface: iface.name, to: floodDestination(iface), lsas });
  }
}

/** §13.3 (5), §8.1. */
export function floodDestination(iface: Interface): number {
  return iface.state === 'DR Other' || iface.state === 'Waiting' ? AllDRouters : AllSPFRouters;
}

function neighborAddress(neighbor: Neighbor): number {
  return neighbor.interface.network === 'point-to-point' ? AllSPFRouters : neighbor.address;
}

/** The neighbour's LSAs have come: ask for the next, or be done with Loading (§10.9). */
function requestsAnswered(core: Core, neighbor: Neighbor, now: Instant): void {
  if (neighbor.state !== 'Loading') return;
  if (neighbor.requests.size === 0) core.neighborEvent(neighbor, 'LoadingDone', now);
  else if (neighbor.outstanding.size === 0) core.deadlines.set(neighbor.lsrTimer, now);
}

export function receiveRequest(core: Core, neighbor: Neighbor, packet: LinkStateRequestPacket, now: Instant): void {
  if (!atLeast(neighbor.state, 'Exchange')) {
    count(core, 'drop.request-before-exchange');
    return;
  }
  const lsas: Uint8Array[] = [];
  for (const key of packet.requests) {
    const database = databaseFor(core, neighbor.interface, key.type);
    const entry = database?.entries.get(lsaKeyText(key));
    if (!entry) {
      core.neighborEvent(neighbor, 'BadLSReq', now);
      return;
    }
    offeredNow(neighbor, entry, now);
    lsas.push(wireForm(entry, now));
  }
  if (lsas.length === 0) return;
  core.effects.push({ kind: 'update', interface: neighbor.interface.name, to: neighborAddress(neighbor), lsas });
}

export function receiveAck(core: Core, neighbor: Neighbor, packet: LinkStateAckPacket, now: Instant): void {
  if (!atLeast(neighbor.state, 'Exchange')) {
    count(core, 'drop.ack-before-exchange');
    return;
  }
  for (const header of packet.headers) {
    const entry = databaseFor(core, neighbor.interface, header.type)?.entries.get(lsaKeyText(header));
    if (!entry || !neighbor.retransmit.has(entry)) continue;
    // Of an earlier instance: of no use (§13.7); what is on the list goes on being sent.
    if (compareInstances(header, { ...entry.lsa.header, age: currentAge(entry, now) }) !== 0) continue;
    release(core, neighbor, entry, now);
  }
}

function delayAck(core: Core, iface: Interface, header: LsaHeader, now: Instant): void {
  iface.delayedAcks.push(header);
  if (iface.delayedAcks.length >= acksPerPacket(iface)) sendDelayedAcks(core, iface);
  else if (!isSet(iface.ackTimer)) core.deadlines.set(iface.ackTimer, now + DelayedAck);
}

export function sendDelayedAcks(core: Core, iface: Interface): void {
  core.deadlines.cancel(iface.ackTimer);
  const headers = iface.delayedAcks;
  iface.delayedAcks = [];
  if (headers.length > 0) sendAcks(core, iface, headers, floodDestination(iface));
}

function sendAcks(core: Core, iface: Interface, headers: readonly LsaHeader[], to: number): void {
  if (!iface.link) return;
  const room = acksPerPacket(iface);
  for (let from = 0; from < headers.length; from += room) {
    core.effects.push({
      kind: 'send',
      interface: iface.name,
      to,
      packet: {
        type: 5,
        routerId: core.routerId,
        areaId: iface.area.id,
        headers: headers.slice(from, from + room),
      },
    });
  }
}

function ackDestination(neighbor: Neighbor): number {
  return neighborAddress(neighbor);
}

function acksPerPacket(iface: Interface): number {
  return Math.max(1, Math.floor(((iface.link?.mtu ?? 1500) - 20 - 24 - 64) / 20));
}

/** §14: a MaxAge instance of what the database holds, flooded so that everybody forgets it. */
export function ageOut(core: Core, entry: LsdbEntry, now: Instant): void {
  if (isMaxAge(entry)) return;
  install(core, entry.database, lsaWithAge(entry.lsa, MaxAge), now, false);
  flood(core, entry, now);
  removeIfDone(core, entry, now);
}
