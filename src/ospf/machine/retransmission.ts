/**
 * Link state retransmission lists (RFC 2328 §13.6), with a model of the neighbour's MinLSArrival.
 *
 * A neighbour discards, silently and without acknowledging, an instance that arrives within MinLSArrival (1 s) of the
 * one it holds (§13 (5a)). A host that is withdrawn 0.3 s after it was announced would so stay until RxmtInterval
 * (5 s). Therefore each (neighbour, LSA) remembers when the neighbour installed an instance of ours, as far as we can
 * tell, and an instance that comes too early is sent at once all the same (the neighbour may not hold the predecessor,
 * or may be configured to take it) and once more just after the second is over.
 *
 * The model simulates the neighbour's rule on what we sent: an instance is taken when a second has passed since the
 * last one taken. If a packet was lost the model errs to the late side, never by more than that second. A
 * retransmission that replaced a lost packet, or a neighbour that had forgotten a flushed LSA already, can make it err
 * to the early side; against that, further resends are timed from the last transmission of any earlier instance.
 * Acknowledgements correct the model.
 */
import { lsaAge, MaxAge, withAge } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import {
  AllSPFRouters,
  type Core,
  count,
  type LsdbEntry,
  MinLSArrivalMs,
  type Neighbor,
  type Offered,
  type Retransmission,
} from './core.ts';
import { isSet } from './deadlines.ts';
import { currentAge, removeIfDone } from './lsdb.ts';

/** Past the second, for the jitter between the two arrivals; and again, for a neighbour that was slow to read. */
const Margins = [5, 100, 500] as const;
/** An instance that follows the last one within so much may still have come too early for a neighbour that was slow. */
const Doubtful = MinLSArrivalMs + 100;
/** Retransmissions that fall due this close together share their packets. */
const Slack = 2;

/** The current instance of `entry` is being sent to `neighbor`, and wants an acknowledgement. */
export function track(core: Core, neighbor: Neighbor, entry: LsdbEntry, now: Instant, dueIn?: number): void {
  let due = now + (dueIn ?? neighbor.interface.rxmtInterval);
  let again: Instant[] | undefined;
  let believed = true;
  const offered = neighbor.offered.get(entry);
  if (!offered) neighbor.offered.set(entry, { acceptedAt: now, sentAt: now });
  else {
    believed = now - offered.acceptedAt >= MinLSArrivalMs;
    if (now - offered.sentAt < Doubtful) {
      again = earlyResends(offered, now).filter((at) => at < due);
      due = again.shift() ?? due;
    }
    if (believed) offered.acceptedAt = now;
    offered.sentAt = now;
  }
  if (!neighbor.retransmit.has(entry)) entry.pending++;
  neighbor.retransmit.set(entry, { firstSentAt: now, due, again, believed });
  wake(core, neighbor, due);
}

/** The ends of the MinLSArrivals that the neighbour may be in: since what it took, and since what was last sent. */
function earlyResends({ acceptedAt, sentAt }: Offered, now: Instant): Instant[] {
  const times: Instant[] = [];
  for (const start of acceptedAt === sentAt ? [sentAt] : [acceptedAt, sentAt]) {
    for (const margin of Margins) {
      const at = start + MinLSArrivalMs + margin;
      if (at > now) times.push(at);
    }
  }
  return times.sort((a, b) => a - b);
}

function wake(core: Core, neighbor: Neighbor, due: Instant): void {
  if (!isSet(neighbor.rxmtTimer) || due < neighbor.rxmtTimer.at) core.deadlines.set(neighbor.rxmtTimer, due);
}

/** An LSA was sent outside flooding (in answer to a request): the neighbour now has this instance. */
export function offeredNow(neighbor: Neighbor, entry: LsdbEntry, now: Instant): void {
  const offered = neighbor.offered.get(entry);
  if (!offered) neighbor.offered.set(entry, { acceptedAt: now, sentAt: now });
  else {
    if (now - offered.acceptedAt >= MinLSArrivalMs) offered.acceptedAt = now;
    offered.sentAt = now;
  }
}

/** Takes the LSA off the list: acknowledged, or replaced by what the neighbour sent itself. */
export function release(core: Core, neighbor: Neighbor, entry: LsdbEntry, now: Instant): boolean {
  const item = neighbor.retransmit.get(entry);
  if (!item) return false;
  neighbor.retransmit.delete(entry);
  entry.pending--;
  if (!item.believed) {
    const offered = neighbor.offered.get(entry);
    if (offered) offered.acceptedAt = Math.max(offered.acceptedAt, item.firstSentAt);
  }
  if (neighbor.retransmit.size === 0) core.deadlines.cancel(neighbor.rxmtTimer);
  removeIfDone(core, entry, now);
  return true;
}

/** The adjacency is gone, and the list with it. */
export function forget(core: Core, neighbor: Neighbor, now: Instant): void {
  const entries = [...neighbor.retransmit.keys()];
  neighbor.retransmit.clear();
  for (const entry of entries) {
    entry.pending--;
    removeIfDone(core, entry, now);
  }
}

/** RxmtInterval, or the end of a MinLSArrival, is over for something on the list. */
export function retransmitDue(core: Core, neighbor: Neighbor, now: Instant): void {
  const iface = neighbor.interface;
  const lsas: Uint8Array[] = [];
  let next = Number.POSITIVE_INFINITY;
  for (const [entry, item] of neighbor.retransmit) {
    if (item.due <= now + Slack) {
      lsas.push(wireForm(entry, now));
      item.due = nextEarly(item, now) ?? now + iface.rxmtInterval;
      const offered = neighbor.offered.get(entry);
      if (offered) {
        if (!item.believed && now - offered.acceptedAt >= MinLSArrivalMs) {
          offered.acceptedAt = now;
          item.believed = true;
        }
        offered.sentAt = now;
      }
    }
    if (item.due < next) next = item.due;
  }
  if (lsas.length > 0) {
    count(core, 'tx.retransmissions', lsas.length);
    const to = iface.network === 'point-to-point' ? AllSPFRouters : neighbor.address;
    core.effects.push({ kind: 'update', interface: iface.name, to, lsas });
  }
  if (next < Number.POSITIVE_INFINITY) core.deadlines.set(neighbor.rxmtTimer, next);
}

function nextEarly(item: Retransmission, now: Instant): Instant | undefined {
  while (item.again) {
    const at = item.again.shift();
    if (at === undefined) item.again = undefined;
    else if (at > now + Slack) return at;
  }
  return undefined;
}

/** The kernel refused an update on this interface: ask again soon instead of after RxmtInterval. */
export function retrySoon(core: Core, neighbor: Neighbor, now: Instant): void {
  const soon = now + 50;
  for (const item of neighbor.retransmit.values()) {
    if (item.due > soon && item.firstSentAt >= now - 50) item.due = soon;
  }
  if (neighbor.retransmit.size > 0) wake(core, neighbor, soon);
}

/** The instance as it goes out now, with its age of now; InfTransDelay is added when it is copied into the packet. */
export function wireForm(entry: LsdbEntry, now: Instant): Uint8Array {
  const age = currentAge(entry, now);
  const stated = lsaAge(entry.lsa.header);
  return age === stated || stated >= MaxAge ? entry.lsa.raw : withAge(entry.lsa.raw, age);
}
