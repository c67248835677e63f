/** What the kernel has counted, by rule and by reason: elements of maps and named counters carry the rule's digest. */
import type { PolicyRule } from '../../../model/overlay.ts';
import { list, type NftListing, type NftOptions } from './nft.ts';
import { ruleCounter, TABLE } from './ruleset/index.ts';

export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

export interface Counted {
  /** By the name of the rule: what it has stopped, and what was over its rate. What an `allow` lets through is not told: the fast path carries most of it. */
  readonly rules: ReadonlyMap<string, Count>;
  readonly reasons: ReadonlyMap<string, Count>;
}

const OVER = 'over_';

/** Rejects with NftError. */
export async function readCounted(rules: readonly PolicyRule[], options: NftOptions): Promise<Counted> {
  const listings = await Promise.all(
    ['bridge', 'inet'].map((family) => list(['list', 'table', family, TABLE], options)),
  );
  return countedFrom(
    rules,
    listings.flatMap((listing) => listing ?? []),
  );
}

export function countedFrom(rules: readonly PolicyRule[], listing: NftListing): Counted {
  const byName = new Map<string, Count>();
  const add = (name: string, { packets, bytes }: Count): void => {
    const known = byName.get(name);
    byName.set(name, { packets: (known?.packets ?? 0) + packets, bytes: (known?.bytes ?? 0) + bytes });
  };
  for (const { counter, map } of listing) {
    if (isCount(counter)) add((counter as unknown as { name: string }).name, counter);
    const elements = (map as { elem?: unknown } | undefined)?.elem;
    if (!Array.isArray(elements)) continue;
    for (const entry of elements) {
      const element = (Array.isArray(entry) ? entry[0] : entry)?.elem as { comment?: string; counter?: unknown };
      if (typeof element?.comment === 'string' && isCount(element.counter)) add(element.comment, element.counter);
    }
  }
  const found = new Map<string, Count>();
  for (const rule of rules) {
    const name = ruleCounter(rule);
    const denied = rule.action === 'deny' ? byName.get(name) : undefined;
    const over = byName.get(OVER + name);
    found.set(rule.name, {
      packets: (denied?.packets ?? 0) + (over?.packets ?? 0),
      bytes: (denied?.bytes ?? 0) + (over?.bytes ?? 0),
    });
  }
  const reasons = new Map([...byName].filter(([name]) => !name.startsWith('rule_') && !name.startsWith(OVER)));
  return { rules: found, reasons };
}

const isCount = (value: unknown): value is Count =>
  typeof (value as Count | undefined)?.packets === 'number' && typeof (value as Count).bytes === 'number';
