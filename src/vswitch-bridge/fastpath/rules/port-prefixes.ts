import type { PortRange } from '../../../model/overlay.ts';

/** Ports that have the bits of `mask` as `value` has them. */
export interface PortPrefix {
  readonly value: number;
  readonly mask: number;
}

export const ANY_PORT: PortPrefix = { value: 0, mask: 0 };

/** The fewest prefixes that cover a range, and nothing else; at most 30. */
export function portPrefixes({ first, last }: PortRange): PortPrefix[] {
  const prefixes: PortPrefix[] = [];
  for (let at = first; at <= last; ) {
    let size = at === 0 ? 65_536 : at & -at;
    while (at + size - 1 > last) size >>= 1;
    prefixes.push({ value: at, mask: 0x10000 - size });
    at += size;
  }
  return prefixes;
}
