/**
 * Port facts of ours as opaque LSAs: type 11, which floods through the AS, and in NSSAs, where that type does not go
 * (RFC 5250 §3), type 10. Each is one LSA, said anew when its value changes; who changes it twice within MinLSArrival says
 * only what came last, once that second is over, for FRR would drop anything earlier without a word.
 */
import { LsaType, type OpaqueBody, Options } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import type { CarriedFact } from '../../model/port-facts.ts';
import { encodeFactData, factId, fits, nextOpaqueId, opaqueIdOf } from '../codec/facts.ts';
import { type Core, count, type Database, type FactRecord, type LsdbEntry, MinLSArrivalMs } from './core.ts';
import { deadline, isSet } from './deadlines.ts';
import { isMaxAge } from './lsdb.ts';
import { flush, originate } from './origination.ts';
import { routerChanged } from './topology.ts';

/** More than any switch has ports. */
const MaxFacts = 4096;
/** Past MinLSArrival, for the jitter between two arrivals. */
const Margin = 5;

/** What is said from now on; what was said before and is not in it is taken back. */
export function publishFacts(core: Core, facts: readonly CarriedFact[], now: Instant): void {
  const wanted = new Map<string, CarriedFact>();
  for (const fact of facts) {
    if (!fits(fact)) count(core, 'facts.too-long');
    else if (wanted.size >= MaxFacts) count(core, 'facts.too-many');
    else wanted.set(keyText(fact.key), fact);
  }
  const boundary = core.facts.size > 0;
  for (const [text, record] of core.facts) if (!wanted.has(text)) withdraw(core, text, record, now);
  const ids = new Set(Array.from(core.facts.values(), ({ opaqueId }) => opaqueId));
  for (const [text, fact] of wanted) {
    const known = core.facts.get(text);
    if (known) {
      const same = Buffer.compare(known.value, fact.value) === 0;
      known.value = fact.value;
      if (!same) say(core, known, now);
      continue;
    }
    let opaqueId = opaqueIdOf(fact);
    while (ids.has(opaqueId)) opaqueId = nextOpaqueId(opaqueId);
    ids.add(opaqueId);
    const record = newRecord(core, fact, opaqueId);
    core.facts.set(text, record);
    say(core, record, now);
  }
  // The flag of RFC 5250 §5 comes or goes.
  if (boundary !== core.facts.size > 0) for (const area of core.areas.values()) routerChanged(area);
}

function newRecord(core: Core, { key, value }: CarriedFact, opaqueId: number): FactRecord {
  const record: FactRecord = {
    key,
    opaqueId,
    value,
    saidAt: Number.NEGATIVE_INFINITY,
    entries: [],
    timer: deadline((at) => say(core, record, at)),
  };
  return record;
}

/** Newest wins: a record whose time has not come says what it holds when it has. */
function say(core: Core, record: FactRecord, now: Instant): void {
  if (core.leaving || isSet(record.timer)) return;
  const earliest = record.saidAt + MinLSArrivalMs + Margin;
  if (now < earliest) {
    core.deadlines.set(record.timer, earliest);
    return;
  }
  const body: OpaqueBody = { kind: 'opaque', data: encodeFactData(record) };
  const id = factId(record.opaqueId);
  record.entries = record.entries.filter((entry) => entry.live);
  for (const { database, type, options } of places(core)) {
    const known = record.entries.find((entry) => entry.database === database);
    // It went there and back again within the second.
    if (known && !isMaxAge(known) && sameData(known, body)) continue;
    const entry = originate(core, database, type, id, options, body, now, known);
    if (!entry) continue;
    record.saidAt = now;
    if (!known) record.entries.push(entry);
  }
}

/** Areas came or went, or are of another kind. */
export function factPlacesChanged(core: Core, now: Instant): void {
  const databases = new Set(places(core).map(({ database }) => database));
  for (const record of core.facts.values()) {
    for (const entry of record.entries) if (!databases.has(entry.database)) flush(core, entry, now);
    record.entries = record.entries.filter((entry) => databases.has(entry.database));
    say(core, record, now);
  }
}

function withdraw(core: Core, text: string, record: FactRecord, now: Instant): void {
  core.deadlines.cancel(record.timer);
  core.facts.delete(text);
  for (const entry of record.entries) flush(core, entry, now);
}

interface Place {
  readonly database: Database;
  readonly type: number;
  readonly options: number;
}

function places(core: Core): Place[] {
  const found: Place[] = [];
  const areas = [...core.areas.values()];
  if (areas.some(({ nssa }) => !nssa)) {
    found.push({ database: core.external, type: LsaType.OpaqueAs, options: Options.E });
  }
  for (const { nssa, database } of areas) {
    if (nssa) found.push({ database, type: LsaType.OpaqueArea, options: Options.NP });
  }
  return found;
}

const sameData = ({ lsa: { body } }: LsdbEntry, { data }: OpaqueBody): boolean =>
  body.kind === 'opaque' && Buffer.compare(body.data, data) === 0;

const keyText = (key: Uint8Array): string => Buffer.from(key).toString('latin1');
