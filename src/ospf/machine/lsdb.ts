/**
 * The link state database: which instance of each LSA counts, how old it is, and when it goes (RFC 2328 §12.2, §13.2,
 * §14). An entry keeps its identity over all instances of its LSA, so that retransmission lists and host records point
 * to it directly and the withdrawal of a thousand hosts looks nothing up by key.
 */
import { LSRefreshTime, type Lsa, LsaType, lsaAge, lsaKeyText, MaxAge, Options } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import {
  type Area,
  type Core,
  count,
  type Database,
  type Interface,
  type LsdbEntry,
  MinLSArrivalMs,
  type Neighbor,
  type Offered,
} from './core.ts';
import { deadline } from './deadlines.ts';

/** More LSAs than this are refused (RFC 1765 describes the problem; ours is to stay alive). */
const MaxEntries = 200_000;
/** Removed LSAs that are remembered. */
const MaxDeparted = 65_536;

/** The age now, seconds, at most MaxAge (§12.2.1). */
export function currentAge(entry: LsdbEntry, now: Instant): number {
  const age = lsaAge(entry.lsa.header);
  return age >= MaxAge ? MaxAge : Math.min(MaxAge, age + Math.floor((now - entry.installedAt) / 1000));
}

export const isMaxAge = (entry: LsdbEntry): boolean => lsaAge(entry.lsa.header) >= MaxAge;

/** The database an LSA type lives in at an interface; undefined: not flooded there at all (§13 (2), (3), RFC 3101). */
export function databaseFor(core: Core, iface: Interface, type: number): Database | undefined {
  switch (type) {
    case LsaType.Router:
    case LsaType.Network:
    case LsaType.SummaryNetwork:
    case LsaType.SummaryAsbr:
    case LsaType.OpaqueArea:
      return iface.area.database;
    case LsaType.AsExternal:
    case LsaType.OpaqueAs:
      return iface.area.nssa ? undefined : core.external;
    case LsaType.Nssa:
      return iface.area.nssa ? iface.area.database : undefined;
    case LsaType.OpaqueLink:
      return iface.database;
    default:
      return undefined;
  }
}

export const isOpaque = (type: number): boolean =>
  type === LsaType.OpaqueLink || type === LsaType.OpaqueArea || type === LsaType.OpaqueAs;

/** Options of an area's hellos and LSAs (§A.2, RFC 3101 §2.1). */
export function areaOptions(area: Area): number {
  return area.nssa ? Options.NP : Options.E;
}

/**
 * §13.2: makes `lsa` the instance that counts. undefined: the database is full.
 */
export function install(
  core: Core,
  database: Database,
  lsa: Lsa,
  now: Instant,
  flooded: boolean,
): LsdbEntry | undefined {
  const key = lsaKeyText(lsa.header);
  const found = database.entries.get(key);
  if (found) {
    replace(core, found, lsa, now, flooded);
    return found;
  }
  if (core.size >= MaxEntries) {
    count(core, 'drop.lsdb-full');
    return undefined;
  }
  const entry: LsdbEntry = {
    key,
    database,
    lsa,
    installedAt: now,
    flooded,
    early: 0,
    self: lsa.header.advertisingRouter === core.routerId,
    inherited: false,
    live: true,
    contests: 0,
    contestedAt: Number.NEGATIVE_INFINITY,
    pending: 0,
    sentBackAt: Number.NEGATIVE_INFINITY,
    timer: deadline((at) => core.lsaTimer(entry, at)),
  };
  database.entries.set(key, entry);
  core.size++;
  if (core.departed.size > 0) recall(core, entry);
  afterInstall(core, entry, now);
  core.databaseChanged(entry, undefined, lsa, now);
  return entry;
}

export function replace(core: Core, entry: LsdbEntry, lsa: Lsa, now: Instant, flooded: boolean): void {
  const before = entry.lsa;
  entry.lsa = lsa;
  entry.installedAt = now;
  entry.flooded = flooded;
  afterInstall(core, entry, now);
  if (contentsChanged(before, lsa)) core.databaseChanged(entry, before, lsa, now);
}

function afterInstall(core: Core, entry: LsdbEntry, now: Instant): void {
  core.touched?.add(entry);
  const age = lsaAge(entry.lsa.header);
  if (age >= MaxAge) {
    core.maxAged.add(entry);
    core.deadlines.cancel(entry.timer);
    return;
  }
  core.maxAged.delete(entry);
  // §12.4: refreshed every LSRefreshTime; the spread keeps a thousand of them from falling together for ever. One of an
  // earlier life may be that old already: it waits until it is known whether it is still wanted.
  const life = entry.self
    ? Math.max(30 + core.options.random() * 60, LSRefreshTime - age - core.options.random() * 300)
    : MaxAge - age;
  core.deadlines.set(entry.timer, now + life * 1000);
}

/** §13.2: whether routes, or anything else that is computed from the contents, must follow. */
function contentsChanged(before: Lsa, after: Lsa): boolean {
  if (before.header.options !== after.header.options) return true;
  if (lsaAge(before.header) >= MaxAge !== lsaAge(after.header) >= MaxAge) return true;
  if (before.raw.length !== after.raw.length) return true;
  for (let index = 20; index < before.raw.length; index++) if (before.raw[index] !== after.raw[index]) return true;
  return false;
}

/** §14: a MaxAge LSA goes when nobody still has to acknowledge it and no neighbour is in the midst of an exchange. */
export function removeIfDone(core: Core, entry: LsdbEntry, now: Instant): boolean {
  if (!isMaxAge(entry) || entry.pending > 0 || core.exchanging > 0) return false;
  drop(core, entry, now);
  return true;
}

export function sweepMaxAged(core: Core, now: Instant): void {
  if (core.exchanging > 0) return;
  for (const entry of core.maxAged) removeIfDone(core, entry, now);
}

/** Takes the LSA out without flushing it: it is done with, or its scope is gone. */
export function drop(core: Core, entry: LsdbEntry, now: Instant): void {
  core.deadlines.cancel(entry.timer);
  core.maxAged.delete(entry);
  if (!entry.live) return;
  entry.live = false;
  core.touched?.add(entry);
  entry.database.entries.delete(entry.key);
  core.size--;
  remember(core, entry, now);
  core.databaseChanged(entry, entry.lsa, undefined, now);
  const wrapped = core.wrapping.get(entry);
  if (wrapped) {
    core.wrapping.delete(entry);
    wrapped(now);
  }
}

function recall(core: Core, entry: LsdbEntry): void {
  const key = scopedKey(entry.database, entry.key);
  const departed = core.departed.get(key);
  if (!departed) return;
  core.departed.delete(key);
  for (const [neighbor, offered] of departed.offered) {
    if (neighbor.state !== 'Down') neighbor.offered.set(entry, offered);
  }
}

/**
 * What outlives the entry: the sequence number of an LSA of ours, and which neighbours were sent an instance within the
 * last MinLSArrival, for they would drop one that follows now.
 */
function remember(core: Core, entry: LsdbEntry, now: Instant): void {
  const offered: [Neighbor, Offered][] = [];
  for (const iface of core.interfaces.values()) {
    for (const neighbor of iface.neighbors.values()) {
      const last = neighbor.offered.get(entry);
      if (!last) continue;
      neighbor.offered.delete(entry);
      if (now - last.sentAt < MinLSArrivalMs) offered.push([neighbor, last]);
    }
  }
  if (!entry.self && offered.length === 0) return;
  const key = scopedKey(entry.database, entry.key);
  const sequence = entry.self && !core.wrapping.has(entry) ? entry.lsa.header.sequence : undefined;
  core.departed.delete(key);
  core.departed.set(key, { sequence, offered });
  if (core.departed.size > MaxDeparted) core.departed.delete(core.departed.keys().next().value!);
}

export function scopedKey(database: Database, key: string): string {
  return `${database.scope.kind} ${database.scope.name} ${key}`;
}

export function newDatabase(kind: Database['scope']['kind'], name: string): Database {
  return { scope: { kind, name }, entries: new Map() };
}
