/**
 * LSAs in the name of a neighbour of ours that come by somebody else. Mostly they were merely faster that way. But what
 * the neighbour says otherwise, or takes back, as soon as it has heard of it (RFC 2328 §13.4) were not its words; OSPF
 * has no signatures by which that could be seen before. So it is counted, and told, by whom it came.
 */
import { type Lsa, lsaAge, MaxAge, type U32 } from 'node-ospf-lsa';
import { ipv4FromNumber } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import { type Core, count, type LsdbEntry, type Neighbor } from './core.ts';

/** An answer may wait for MinLSArrival, and be sent again after RxmtInterval (ms). */
const ANSWERED_WITHIN = 8_000;
/** Told once in so long (ms), of whomever. */
const TOLD_EACH = 60_000;

interface Said {
  /** Router id. */
  readonly by: U32;
  readonly at: Instant;
  readonly lsa: Lsa;
}

/** What goes with its LSA, or with the router. */
const said = new WeakMap<LsdbEntry, Said>();
const toldAt = new WeakMap<Core, Instant>();

/** A newer instance, just installed, came from this neighbour. */
export function noteAuthor(core: Core, neighbor: Neighbor, entry: LsdbEntry, now: Instant): void {
  const { lsa } = entry;
  const author = lsa.header.advertisingRouter;
  if (neighbor.routerId !== author) {
    if (isNeighbor(core, author)) said.set(entry, { by: neighbor.routerId, at: now, lsa });
    return;
  }
  const before = said.get(entry);
  if (!before) return;
  said.delete(entry);
  if (now - before.at <= ANSWERED_WITHIN && !sameWords(before.lsa, lsa)) tell(core, before, now);
}

/** This neighbour has sent the instance that we have: its author's own words, which were merely faster another way. */
export function noteCopy(neighbor: Neighbor, entry: LsdbEntry): void {
  if (neighbor.routerId === entry.lsa.header.advertisingRouter) said.delete(entry);
}

function isNeighbor(core: Core, routerId: U32): boolean {
  for (const iface of core.interfaces.values()) {
    for (const neighbor of iface.neighbors.values()) {
      if (neighbor.routerId === routerId && neighbor.state === 'Full') return true;
    }
  }
  return false;
}

/** Apart from age, number and checksum, which differ in every instance. */
function sameWords(one: Lsa, other: Lsa): boolean {
  const gone = (lsa: Lsa): boolean => lsaAge(lsa.header) >= MaxAge;
  return gone(one) === gone(other) && Buffer.compare(one.raw.subarray(HEADER), other.raw.subarray(HEADER)) === 0;
}

const HEADER = 20;

function tell(core: Core, { by, lsa: { header } }: Said, now: Instant): void {
  count(core, 'contested.of-neighbor');
  const before = toldAt.get(core);
  if (before !== undefined && now - before < TOLD_EACH) return;
  toldAt.set(core, now);
  const fields = {
    router: ipv4FromNumber(header.advertisingRouter),
    by: ipv4FromNumber(by),
    type: header.type,
    linkStateId: ipv4FromNumber(header.linkStateId),
  };
  const message = 'an LSA in the name of a neighbour came by another one, and its author took it back: was it forged?';
  core.effects.push({ kind: 'log', level: 'warn', fields, message });
}
