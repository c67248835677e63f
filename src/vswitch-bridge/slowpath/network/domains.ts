/**
 * Which networks are routed to each other. Addresses of networks that overlap mean two things, so each of those has a
 * routing table of its own and reaches the world outside only; all others share one table.
 */
import { type Address, addressBytes, type Prefix, prefixAddress, prefixLength } from '../../../model/address.ts';
import type { OverlayNetwork, OverlayService } from '../../../model/overlay.ts';

export interface Domains {
  /** Networks by name that overlap none, in the order of their subnets. */
  readonly shared: ReadonlySet<string>;
  /** Of each other: one that it overlaps, which may overlap more. */
  readonly isolated: ReadonlyMap<string, string>;
  /** Gateways and services' addresses that more than one network has: they say nothing of the network they belong to. */
  readonly ambiguous: ReadonlySet<Address>;
}

interface Range {
  readonly name: string;
  readonly first: string;
  readonly last: string;
}

/** Networks without a gateway are routed nowhere, and overlap nobody. */
export function domainsOf(
  networks: Iterable<OverlayNetwork>,
  services: Iterable<Pick<OverlayService, 'network' | 'address'>> = [],
): Domains {
  const ranges: Range[] = [];
  const owners = new Map<Address, string>();
  const ambiguous = new Set<Address>();
  const own = (address: Address, network: string): void => {
    if ((owners.get(address) ?? network) === network) owners.set(address, network);
    else ambiguous.add(address);
  };
  for (const { name, subnet, gateway } of networks) {
    if (gateway === undefined) continue;
    ranges.push({ name, ...rangeOf(subnet) });
    own(gateway, name);
  }
  for (const { network, address } of services) own(address, network);
  ranges.sort((a, b) => compare(a.first, b.first) || compare(b.last, a.last) || compare(a.name, b.name));
  const isolated = new Map<string, string>();
  // Prefixes lie inside each other or apart: whoever starts within the one that reaches farthest lies inside it.
  let farthest: Range | undefined;
  for (const range of ranges) {
    if (farthest && range.first <= farthest.last) {
      isolated.set(range.name, farthest.name);
      if (!isolated.has(farthest.name)) isolated.set(farthest.name, range.name);
    } else farthest = range;
  }
  return {
    shared: new Set(ranges.map(({ name }) => name).filter((name) => !isolated.has(name))),
    isolated,
    ambiguous,
  };
}

export function overlaps(one: Prefix, other: Prefix): boolean {
  const a = rangeOf(one);
  const b = rangeOf(other);
  return a.first <= b.last && b.first <= a.last;
}

/** Hexadecimal text of equal length within a family, and of different first letters between them. */
function rangeOf(subnet: Prefix): { first: string; last: string } {
  const first = addressBytes(prefixAddress(subnet));
  const last = Uint8Array.from(first);
  for (let bit = prefixLength(subnet); bit < last.length * 8; bit++) last[bit >> 3]! |= 0x80 >> (bit & 7);
  const text = (bytes: Uint8Array): string => `${bytes.length}:${Buffer.from(bytes).toString('hex')}`;
  return { first: text(first), last: text(last) };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
