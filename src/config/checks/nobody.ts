import {
  type Address,
  addressBytes,
  type Prefix,
  parsePrefix,
  prefixAddress,
  prefixContains,
  prefixLength,
} from '../../model/address.ts';

/** RFC 6890, RFC 4291 §2.4: what no host has. The host table refuses it too (hostroutes/machine/policy.ts). */
const NOBODY: readonly (readonly [range: Prefix, what: string])[] = (
  [
    ['0.0.0.0/8', '"this network"'],
    ['127.0.0.0/8', 'loopback'],
    ['224.0.0.0/4', 'multicast'],
    ['240.0.0.0/4', 'reserved'],
    ['::/127', 'unspecified and loopback'],
    ['fe80::/10', 'link-local'],
    ['ff00::/8', 'multicast'],
  ] as const
).map(([range, what]) => [parsePrefix(range)!, what]);

/** What all addresses of `prefix` are, when none of them can be a host's. */
export const nobodyIn = (prefix: Prefix): string | undefined =>
  NOBODY.find(
    ([range]) => prefixLength(range) <= prefixLength(prefix) && prefixContains(range, prefixAddress(prefix)),
  )?.[1];

/** What `address` is in `prefix`, when it is no host's: the first and the last of an IPv4 subnet, IPv6's anycast. */
export function nobodyAt(address: Address, prefix: Prefix): string | undefined {
  const bytes = addressBytes(address);
  const hostBits = bytes.length * 8 - prefixLength(prefix);
  if (hostBits < 2) return undefined;
  if (address === prefixAddress(prefix)) return `the network's own address in ${prefix}`;
  const last = bytes.every((byte, index) => {
    const bits = Math.min(8, Math.max(0, hostBits - (bytes.length - 1 - index) * 8));
    const mask = 2 ** bits - 1;
    return (byte & mask) === mask;
  });
  return last && bytes.length === 4 ? `the broadcast address of ${prefix}` : undefined;
}

/** What a BGP neighbour's address can't be. */
export const nobodyToCall = (address: Address): string | undefined => {
  if (address === '::') return 'unspecified';
  const what = NOBODY.find(([range]) => prefixContains(range, address))?.[1];
  return what === 'multicast' || what === 'reserved' || what === '"this network"' ? what : undefined;
};
