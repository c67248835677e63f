/**
 * The ruleset as a document: tables with sets, chains and counters by name. Two documents can be compared, so that a
 * change of one rule is one element more in the kernel, and what did not change keeps its counters.
 */
import { createHash } from 'node:crypto';

export interface NftSet {
  readonly kind: 'set' | 'map';
  readonly name: string;
  /** Type, flags and `counter`, as nft writes them. A name never stands for two declarations. */
  readonly declaration: string;
  /** Key as nft writes it → what stands behind it (comment, value). */
  readonly elements: ReadonlyMap<string, string>;
}

export interface NftChain {
  readonly name: string;
  /** `type ... hook ... priority ...; policy ...;` of a base chain. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

export interface NftTable {
  readonly family: 'bridge' | 'inet';
  readonly counters: readonly string[];
  readonly sets: ReadonlyMap<string, NftSet>;
  readonly chains: ReadonlyMap<string, NftChain>;
}

export interface Ruleset {
  readonly tables: readonly NftTable[];
}

export const TABLE = 'peerless';
const STAMP = 'stamp_';

/** Puts a table together; adding a name twice is a mistake of ours, not of the configuration. */
export class TableBuilder implements NftTable {
  readonly family: 'bridge' | 'inet';
  readonly counters: string[] = [];
  readonly sets = new Map<string, NftSet & { readonly elements: Map<string, string> }>();
  readonly chains = new Map<string, NftChain>();

  constructor(family: 'bridge' | 'inet') {
    this.family = family;
  }

  counter(name: string): string {
    if (!this.counters.includes(name)) this.counters.push(name);
    return `counter name "${name}"`;
  }

  /** The set of that name, made empty when it is new. */
  set(kind: 'set' | 'map', name: string, declaration: string): Map<string, string> {
    const known = this.sets.get(name);
    if (known) return known.elements;
    const elements = new Map<string, string>();
    this.sets.set(name, { kind, name, declaration, elements });
    return elements;
  }

  /** A set that is made elsewhere, and will not change any more. */
  adopt(set: NftSet): void {
    if (this.sets.has(set.name)) throw new Error(`set ${set.name} twice`);
    this.sets.set(set.name, set as NftSet & { readonly elements: Map<string, string> });
  }

  chain(name: string, rules: readonly string[], hook?: string): void {
    if (this.chains.has(name)) throw new Error(`chain ${name} twice`);
    this.chains.set(name, hook === undefined ? { name, rules } : { name, hook, rules });
  }
}

const stamps = new WeakMap<Ruleset, string>();
const digests = new WeakMap<NftSet['elements'], string>();

/**
 * The name of the empty chain that says which document the kernel holds. Elements that one document has of another (the
 * same map) are read once: a document of ten thousand rules of which none has changed costs next to nothing.
 */
export function stampOf(ruleset: Ruleset): string {
  let stamp = stamps.get(ruleset);
  if (stamp === undefined) {
    const hash = createHash('sha256');
    for (const { family, counters, sets, chains } of ruleset.tables) {
      hash.update(JSON.stringify([family, counters, [...chains.values()]]));
      for (const { kind, name, declaration, elements } of sets.values()) {
        hash.update(JSON.stringify([kind, name, declaration, elementsDigest(elements)]));
      }
    }
    stamp = STAMP + hash.digest('hex').slice(0, 24);
    stamps.set(ruleset, stamp);
  }
  return stamp;
}

function elementsDigest(elements: NftSet['elements']): string {
  let digest = digests.get(elements);
  if (digest === undefined) {
    const hash = createHash('sha256');
    for (const [key, rest] of elements) hash.update(`${key}\0${rest}\n`);
    digest = hash.digest('hex');
    digests.set(elements, digest);
  }
  return digest;
}

/** Takes the place of whatever stood there, in one transaction. */
export function wholeText(ruleset: Ruleset): string {
  return `${deletionText()}${body(ruleset)}add chain inet ${TABLE} ${stampOf(ruleset)}\n`;
}

/** `add` first: deleting what is not there is an error. */
export function deletionText(): string {
  return ['bridge', 'inet'].map((family) => `add table ${family} ${TABLE}\ndelete table ${family} ${TABLE}\n`).join('');
}

/**
 * What makes `to` of `from`, in one transaction; empty when they are equal.
 * @returns undefined when only the whole will do (a hook or a declaration differs)
 */
export function differenceText(from: Ruleset, to: Ruleset): string | undefined {
  const before = stampOf(from);
  const after = stampOf(to);
  if (before === after) return '';
  const out: string[] = [];
  for (const [index, table] of to.tables.entries()) {
    const old = from.tables[index];
    if (old?.family !== table.family) return undefined;
    const lines = tableDifference(old, table);
    if (!lines) return undefined;
    out.push(...lines);
  }
  out.push(`delete chain inet ${TABLE} ${before}`, `add chain inet ${TABLE} ${after}`);
  return `${out.join('\n')}\n`;
}

/** Targets before what jumps to them, and the other way round when they go. */
function tableDifference(old: NftTable, table: NftTable): string[] | undefined {
  const place = `${table.family} ${TABLE}`;
  const declared: string[] = [];
  const flushed: string[] = [];
  const elements: string[] = [];
  const rules: string[] = [];
  const removed: string[] = [];
  for (const name of table.counters) if (!old.counters.includes(name)) declared.push(`add counter ${place} ${name}`);
  for (const set of table.sets.values()) {
    const was = old.sets.get(set.name);
    if (was && (was.declaration !== set.declaration || was.kind !== set.kind)) return undefined;
    if (!was) declared.push(`add ${set.kind} ${place} ${set.name} { ${set.declaration} }`);
    if (was?.elements === set.elements) continue;
    for (const line of elementDifference(place, was?.elements ?? new Map(), set)) elements.push(line);
  }
  for (const chain of table.chains.values()) {
    const was = old.chains.get(chain.name);
    if (was && was.hook !== chain.hook) return undefined;
    if (!was) declared.push(chainDeclaration(place, chain));
    if (was && same(was.rules, chain.rules)) continue;
    if (was) flushed.push(`flush chain ${place} ${chain.name}`);
    for (const rule of chain.rules) rules.push(`add rule ${place} ${chain.name} ${rule}`);
  }
  const goneChains = [...old.chains.values()].filter(({ name }) => !table.chains.has(name));
  for (const { name } of goneChains) flushed.push(`flush chain ${place} ${name}`);
  for (const { kind, name } of old.sets.values()) {
    if (!table.sets.has(name)) removed.push(`delete ${kind} ${place} ${name}`);
  }
  for (const { name } of goneChains) removed.push(`delete chain ${place} ${name}`);
  for (const name of old.counters) if (!table.counters.includes(name)) removed.push(`delete counter ${place} ${name}`);
  return [...declared, ...flushed, ...elements, ...rules, ...removed];
}

function elementDifference(place: string, was: ReadonlyMap<string, string>, set: NftSet): string[] {
  const gone: string[] = [];
  const came: string[] = [];
  for (const [key, rest] of was) if (set.elements.get(key) !== rest) gone.push(key);
  for (const [key, rest] of set.elements) if (was.get(key) !== rest) came.push(key + rest);
  return [
    ...batches(gone).map((some) => `delete element ${place} ${set.name} { ${some} }`),
    ...batches(came).map((some) => `add element ${place} ${set.name} { ${some} }`),
  ];
}

function body(ruleset: Ruleset): string {
  const out: string[] = [];
  for (const table of ruleset.tables) {
    const place = `${table.family} ${TABLE}`;
    out.push(`add table ${place}`);
    for (const name of table.counters) out.push(`add counter ${place} ${name}`);
    for (const { kind, name, declaration } of table.sets.values()) {
      out.push(`add ${kind} ${place} ${name} { ${declaration} }`);
    }
    for (const chain of table.chains.values()) out.push(chainDeclaration(place, chain));
    for (const set of table.sets.values()) out.push(...elementDifference(place, new Map(), set));
    for (const { name, rules } of table.chains.values()) {
      for (const rule of rules) out.push(`add rule ${place} ${name} ${rule}`);
    }
  }
  return `${out.join('\n')}\n`;
}

const chainDeclaration = (place: string, { name, hook }: NftChain): string =>
  `add chain ${place} ${name}${hook === undefined ? '' : ` { ${hook} }`}`;

const same = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === other.length && one.every((rule, index) => rule === other[index]);

/** nft's parser takes long lines ill: a few hundred elements a line. */
function batches(elements: readonly string[]): string[] {
  const out: string[] = [];
  for (let at = 0; at < elements.length; at += 256) out.push(elements.slice(at, at + 256).join(', '));
  return out;
}
