import { addressBytes, type Family, familyOf, type Prefix, prefixAddress, prefixLength } from './address.ts';

/** Who has addresses in common with whom, by name; who has none with anybody is not in it. */
export function overlapping(
  items: Iterable<{ readonly name: string; readonly subnet: Prefix }>,
): Map<string, readonly string[]> {
  const found = new Map<string, string[]>();
  const both = (one: string, other: string): void => {
    found.set(one, [...(found.get(one) ?? []), other]);
    found.set(other, [...(found.get(other) ?? []), one]);
  };
  for (const family of [4, 6] as const) {
    // Of two prefixes with addresses in common one holds the other: sorted, those that hold this one are on the stack.
    const open: Span[] = [];
    for (const span of spansOf(items, family)) {
      while (open.length > 0 && open.at(-1)!.last < span.first) open.pop();
      for (const holder of open) both(holder.name, span.name);
      open.push(span);
    }
  }
  return found;
}

interface Span {
  readonly name: string;
  readonly first: bigint;
  readonly last: bigint;
}

function spansOf(items: Iterable<{ readonly name: string; readonly subnet: Prefix }>, family: Family): Span[] {
  const spans: Span[] = [];
  for (const { name, subnet } of items) {
    if (familyOf(subnet) !== family) continue;
    const bytes = addressBytes(prefixAddress(subnet));
    const first = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    spans.push({ name, first, last: first + (1n << BigInt(bytes.length * 8 - prefixLength(subnet))) - 1n });
  }
  return spans.sort((a, b) => (a.first === b.first ? compare(b.last, a.last) : compare(a.first, b.first)));
}

const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
