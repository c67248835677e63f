/**
 * What of the configuration may stand in a ruleset. Names of rules, services and networks never do: they become digests.
 * Addresses and interfaces do, and are looked at once more here, whatever looked at them before.
 */
import { createHash } from 'node:crypto';
import {
  type Address,
  addressBytes,
  type Family,
  familyOf,
  formatAddress,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixAddress,
  prefixLength,
} from '../../../../model/address.ts';

/** Letters, digits and a little more: no quote, no blank, and no asterisk, which nft takes for a wildcard. */
const INTERFACE = /^[A-Za-z0-9_.:@+=%~-]{1,15}$/;

export const isUsableInterface = (name: string): boolean => INTERFACE.test(name);

/** @throws TypeError for a name that could be read as something else */
export function interfaceLiteral(name: string): string {
  if (!isUsableInterface(name)) throw new TypeError(`${JSON.stringify(name)} can't stand in a ruleset`);
  return `"${name}"`;
}

/** @throws TypeError */
export function addressLiteral(address: Address): string {
  const parsed = parseAddress(address);
  if (parsed === undefined) throw new TypeError(`not an address: ${JSON.stringify(address)}`);
  return parsed;
}

/** @throws TypeError */
export function prefixLiteral(prefix: Prefix): Prefix {
  const parsed = parsePrefix(prefix);
  if (parsed === undefined) throw new TypeError(`not a prefix: ${JSON.stringify(prefix)}`);
  return parsed;
}

/** Stable, and safe whatever the name holds. */
export const digest = (name: string): string => createHash('sha256').update(name).digest('hex').slice(0, 12);

/** `ip` or `ip6`, as nft calls the families. */
export const ipWord = (family: Family): string => (family === 4 ? 'ip' : 'ip6');

/** The netmask of a prefix length as an address. */
export function maskLiteral(family: Family, length: number): string {
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  for (let bit = 0; bit < length; bit++) bytes[bit >> 3]! |= 0x80 >> (bit & 7);
  return formatAddress(bytes);
}

interface Range<T> {
  first: bigint;
  last: bigint;
  value: T;
}

const toBig = (address: Address): bigint =>
  addressBytes(address).reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n);

function fromBig(family: Family, value: bigint): Address {
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  for (let index = bytes.length - 1, rest = value; index >= 0; index--, rest >>= 8n) bytes[index] = Number(rest & 255n);
  return formatAddress(bytes);
}

/** First and last address as numbers. */
export function rangeOf(prefix: Prefix): { first: bigint; last: bigint } {
  const host = (familyOf(prefix) === 4 ? 32 : 128) - prefixLength(prefix);
  const first = toBig(prefixAddress(prefixLiteral(prefix)));
  return { first, last: first + (1n << BigInt(host)) - 1n };
}

/** Prefixes hold one another or are apart: with this order, what holds another stands before it. */
export const outermostFirst = (a: { first: bigint; last: bigint }, b: { first: bigint; last: bigint }): number =>
  a.first !== b.first ? (a.first < b.first ? -1 : 1) : Number(b.last - a.last > 0n) - Number(b.last - a.last < 0n);

/**
 * Prefixes that may hold one another, as ranges that do not: each address has the value of the longest prefix. nft's
 * interval sets refuse what overlaps. Of equal prefixes the first stands. One family a call.
 */
export function disjointRanges<T>(
  entries: readonly { readonly prefix: Prefix; readonly value: T }[],
): { readonly range: string; readonly value: T }[] {
  if (entries.length === 0) return [];
  const family = familyOf(entries[0]!.prefix);
  const known = new Map<Prefix, Range<T>>();
  for (const { prefix, value } of entries) if (!known.has(prefix)) known.set(prefix, { ...rangeOf(prefix), value });
  const sorted = [...known.values()].sort(outermostFirst);
  const out: Range<T>[] = [];
  const open: Range<T>[] = [];
  let at = 0n;
  const emit = (last: bigint): void => {
    const value = open.at(-1)?.value;
    if (value === undefined || at > last) return;
    const previous = out.at(-1);
    if (previous && previous.value === value && previous.last + 1n === at) previous.last = last;
    else out.push({ first: at, last, value });
    at = last + 1n;
  };
  for (const entry of sorted) {
    while (open.length > 0 && open.at(-1)!.last < entry.first) {
      emit(open.at(-1)!.last);
      open.pop();
    }
    emit(entry.first - 1n);
    at = entry.first;
    open.push(entry);
  }
  while (open.length > 0) {
    emit(open.at(-1)!.last);
    open.pop();
  }
  return out.map(({ first, last, value }) => ({
    range: first === last ? fromBig(family, first) : `${fromBig(family, first)}-${fromBig(family, last)}`,
    value,
  }));
}
