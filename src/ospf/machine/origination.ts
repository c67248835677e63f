/**
 * LSAs of our own: how they are made anew, how they are taken back (RFC 2328 §12.4, §14.1). What they say is in `hosts.ts`,
 * `topology.ts`, `facts.ts` and `default-route.ts`.
 */
import {
  encodeLsa,
  InitialSequenceNumber,
  type Lsa,
  type LsaBody,
  lsaKeyText,
  lsaWithAge,
  MaxAge,
  MaxSequenceNumber,
  type U32,
} from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import type { Core, Database, LsdbEntry } from './core.ts';
import { flood } from './flooding.ts';
import { install, isMaxAge, removeIfDone, replace, scopedKey } from './lsdb.ts';

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
