/**
 * The rules in the kernel: two sets, of which one is in use. A change is written into the other; then one write of eight
 * bytes changes over and makes every cached verdict old. What the old set held is removed afterwards, when no packet that
 * was being judged meanwhile can still be reading it.
 */
import type { PolicyRule } from '../../../model/overlay.ts';
import { RATES, RULE_IDS, RULE_MASKS, rate, rule, ruleKey, ruleMask, ruleState } from '../maps/layout.ts';
import { indexKey, readIndex, sumOverCpus, type Tables } from '../maps/tables.ts';
import type { RuleView } from '../types.ts';
import type { CompiledRules } from './compile.ts';

/** ns that may be sent ahead of a rate: a burst of 50 ms. */
const BURST = 50_000_000n;
/** Bits of the fraction in `rate.cost`. */
const COST_SHIFT = 20n;
const PORTION = 2048;

type RuleTables = Pick<Tables, 'rule_state' | 'rule_masks' | 'rules' | 'rates' | 'rate_clock' | 'rule_counts'>;

/** Small numbers for names, from 1; a number that is free again waits as long as it can before it is given anew. */
class Numbers {
  readonly #limit: number;
  readonly #byName = new Map<string, number>();
  readonly #taken = new Set<number>();
  #last = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  of(name: string): number | undefined {
    return this.#byName.get(name);
  }

  /** undefined: all are given. */
  give(name: string): number | undefined {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (this.#taken.size >= this.#limit - 1) return undefined;
    do this.#last = (this.#last % (this.#limit - 1)) + 1;
    while (this.#taken.has(this.#last));
    this.#byName.set(name, this.#last);
    this.#taken.add(this.#last);
    return this.#last;
  }

  keep(names: ReadonlySet<string>): void {
    for (const [name, number] of this.#byName) {
      if (names.has(name)) continue;
      this.#byName.delete(name);
      this.#taken.delete(number);
    }
  }

  names(): IterableIterator<[string, number]> {
    return this.#byName.entries();
  }
}

export class RuleTable {
  readonly #tables: RuleTables;
  readonly #ids = new Numbers(RULE_IDS);
  readonly #rates = new Numbers(RATES);
  #compiled: CompiledRules | undefined;

  constructor(tables: RuleTables) {
    this.#tables = tables;
  }

  get compiled(): CompiledRules | undefined {
    return this.#compiled;
  }

  /** Effective when this returns; @throws SystemCallError, and then the old rules are in force. */
  install(policyRules: readonly PolicyRule[], compiled: CompiledRules): void {
    const { rule_state, rule_masks, rules } = this.#tables;
    const old = readIndex(rule_state, 0, ruleState);
    const set = old.set === 0 ? 1 : 0;
    // Left by a change that failed, or by an agent that did not live to remove it.
    this.#sweep(set);
    const names = new Set(policyRules.map(({ name }) => name));
    this.#ids.keep(names);
    this.#rates.keep(new Set(compiled.rates.keys()));
    this.#number(compiled);
    for (const [index, mask] of compiled.masks.entries()) {
      rule_masks.set(indexKey(set * RULE_MASKS + index), ruleMask.encode(mask));
    }
    for (let from = 0; from < compiled.entries.length; from += PORTION) {
      const portion = compiled.entries.slice(from, from + PORTION);
      const keys = Buffer.alloc(portion.length * ruleKey.size);
      const values = Buffer.alloc(portion.length * rule.size);
      for (const [index, entry] of portion.entries()) {
        const { mask, saddr, daddr, sport, dport, vni, protocol } = entry;
        const key = { saddr, daddr, sport, dport, vni, protocol, set, mask, zero: 0 };
        ruleKey.write(keys, index * ruleKey.size, key);
        rule.write(values, index * rule.size, {
          priority: entry.priority,
          id: this.#idOf(entry.rule),
          verdict: entry.verdict,
          rate_priority: entry.ratePriority,
          rate_id: this.#idOf(entry.rateRule),
          rate: entry.rateRule === undefined ? 0 : (this.#rates.of(entry.rateRule) ?? 0),
        });
      }
      rules.setBatch(keys, values);
    }
    rule_state.set(
      indexKey(0),
      ruleState.encode({
        generation: (old.generation + 1) >>> 0,
        set,
        masks: compiled.masks.length,
        default_verdict: compiled.defaultVerdict,
      }),
    );
    this.#compiled = compiled;
  }

  /** Removes what the set that is not in use still holds. */
  clean(): void {
    const { set } = readIndex(this.#tables.rule_state, 0, ruleState);
    this.#sweep(set === 0 ? 1 : 0);
  }

  nameOf(id: number): string | undefined {
    for (const [name, number] of this.#ids.names()) if (number === id) return name;
    return undefined;
  }

  rateNameOf(index: number): string | undefined {
    for (const [name, number] of this.#rates.names()) if (number === index) return name;
    return undefined;
  }

  views(policyRules: readonly PolicyRule[]): RuleView[] {
    return policyRules.map(({ name }) => {
      const id = this.#ids.of(name);
      const sums = id === undefined ? [0, 0, 0, 0] : sumOverCpus(this.#tables.rule_counts, id);
      const slow = this.#compiled?.slow.get(name);
      return {
        name,
        deniedPackets: sums[0]!,
        deniedBytes: sums[1]!,
        limitedPackets: sums[2]!,
        limitedBytes: sums[3]!,
        ...(slow === undefined ? {} : { slow }),
      };
    });
  }

  #idOf(name: string | undefined): number {
    return name === undefined ? 0 : (this.#ids.of(name) ?? 0);
  }

  #number(compiled: CompiledRules): void {
    const { rate_clock, rates, rule_counts } = this.#tables;
    for (const { rule: decides, rateRule } of compiled.entries) {
      for (const name of [decides, rateRule]) {
        if (name === undefined || this.#ids.of(name) !== undefined) continue;
        const id = this.#ids.give(name);
        // Without a number of its own it is judged like the others, and counted under the policy's default.
        if (id !== undefined) rule_counts.set(indexKey(id), Buffer.alloc(rule_counts.valueBytes));
      }
    }
    for (const [name, bits] of compiled.rates) {
      const known = this.#rates.of(name);
      const index = known ?? this.#rates.give(name);
      if (index === undefined) throw new RangeError(`more than ${RATES - 1} rules with a rate`);
      const cost = ((8_000_000_000n << COST_SHIFT) + BigInt(bits) / 2n) / BigInt(Math.max(1, Math.round(bits)));
      rates.set(indexKey(index), rate.encode({ cost, burst: BURST, rule: this.#idOf(name), zero: 0 }));
      if (known === undefined) rate_clock.set(indexKey(index), Buffer.alloc(8));
    }
  }

  #sweep(set: number): void {
    const { rules } = this.#tables;
    const at = ruleKey.offsets.set;
    const gone: Buffer[] = [];
    for (const { count, keys } of rules.batches(1024)) {
      for (let index = 0; index < count; index += 1) {
        const from = index * ruleKey.size;
        if (keys[from + at] === set) gone.push(Buffer.from(keys.subarray(from, from + ruleKey.size)));
      }
    }
    if (gone.length > 0) rules.deleteBatch(Buffer.concat(gone));
  }
}
