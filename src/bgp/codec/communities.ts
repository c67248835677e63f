import type { LargeCommunity } from './messages.ts';

/** RFC 8326 §5. */
export const GRACEFUL_SHUTDOWN = 0xffff0000;

const WELL_KNOWN: Record<string, number> = {
  'graceful-shutdown': GRACEFUL_SHUTDOWN,
  blackhole: 0xffff029a,
  'no-export': 0xffffff01,
  'no-advertise': 0xffffff02,
  'no-export-subconfed': 0xffffff03,
};
const NAME_OF = new Map(Object.entries(WELL_KNOWN).map(([name, value]) => [value, name]));

export interface CommunitySet {
  readonly standard: readonly number[];
  readonly large: readonly LargeCommunity[];
}

/** @throws RangeError with the offending text. Sorted and without repetition, as RFC 8092 §3 asks of senders. */
export function parseCommunities(texts: readonly string[]): CommunitySet {
  const standard = new Set<number>();
  const large = new Map<string, LargeCommunity>();
  for (const text of texts) {
    const known = WELL_KNOWN[text.toLowerCase()];
    const parts = text.split(':');
    const limit = parts.length === 2 ? 0xffff : 0xffffffff;
    const numbers = parts.map((part) => (/^\d{1,10}$/.test(part) ? Number(part) : Number.NaN));
    if (known !== undefined) standard.add(known);
    else if (numbers.some((number) => !(number <= limit))) throw new RangeError(`not a community: ${text}`);
    else if (numbers.length === 2) standard.add(((numbers[0]! << 16) | numbers[1]!) >>> 0);
    else if (numbers.length === 3) large.set(numbers.join(':'), [numbers[0]!, numbers[1]!, numbers[2]!]);
    else throw new RangeError(`not a community: ${text}`);
  }
  return {
    standard: [...standard].sort((a, b) => a - b),
    large: [...large.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]),
  };
}

export function formatCommunities(standard: readonly number[] = [], large: readonly LargeCommunity[] = []): string[] {
  return [
    ...standard.map((value) => NAME_OF.get(value) ?? `${value >>> 16}:${value & 0xffff}`),
    ...large.map((value) => value.join(':')),
  ];
}
