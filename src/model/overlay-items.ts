import type { Address, Prefix } from './address.ts';
import { familyOf, ipv4ToNumber, prefixAddress, prefixContains, prefixLength } from './address.ts';
import type {
  OverlayInstance,
  OverlayNetwork,
  OverlayRemote,
  OverlayService,
  OverlaySnat,
  PolicyRule,
} from './overlay.ts';

/** The kinds of things in an overlay, their limits, and the words for what does not fit. */

/** Why something does not fit; the words are the operator's. */
export interface OverlayFault {
  readonly reason: 'exists' | 'missing' | 'in-use' | 'unknown-network' | 'unfit' | 'limit';
  /** The key of the item, as the file names it. */
  readonly key: string;
  /** The place in the list under `key`. */
  readonly at?: number;
  /** Continues `KEY: `; without full stop. */
  readonly message: string;
  readonly remedy: string;
}

export interface OverlayItems {
  readonly network: OverlayNetwork;
  readonly instance: OverlayInstance;
  readonly remote: OverlayRemote;
  readonly service: OverlayService;
  readonly rule: PolicyRule;
  readonly snat: OverlaySnat;
}

export type OverlayKind = keyof OverlayItems;

/** An item refers only to kinds before its own. */
export const OVERLAY_KINDS = ['network', 'instance', 'remote', 'service', 'rule', 'snat'] as const;

/** How many of each; of prefixes and backends in one item. */
export const OVERLAY_LIMITS = {
  network: 4_000,
  instance: 100_000,
  remote: 20_000,
  service: 10_000,
  rule: 20_000,
  snat: 10_000,
  addresses: 100_000,
  backends: 256,
} as const;

/** By what an item is known among its kind. */
export function overlayKey<K extends OverlayKind>(kind: K, item: OverlayItems[K]): string {
  if (kind === 'remote') {
    const { network, host } = item as OverlayRemote;
    return `${network}/${host}`;
  }
  if (kind === 'snat') {
    const { network, to } = item as OverlaySnat;
    return `${network}/${to}`;
  }
  return (item as { readonly name: string }).name;
}

export const unfit = (key: string, message: string, remedy: string): OverlayFault => ({
  reason: 'unfit',
  key,
  message,
  remedy,
});

export function insideSubnet(key: string, address: Address, subnet: Prefix): OverlayFault[] {
  if (!prefixContains(subnet, address)) {
    return [unfit(key, `${address} is outside the network's subnet ${subnet}`, 'Correct the address or the subnet.')];
  }
  const length = prefixLength(subnet);
  // RFC 3021: two addresses, and both are hosts. IPv6 has no broadcast.
  if (familyOf(subnet) === 6 || length > 30) return [];
  const first = ipv4ToNumber(prefixAddress(subnet));
  const last = first + 2 ** (32 - length) - 1;
  const number = ipv4ToNumber(address);
  if (number !== first && number !== last) return [];
  const what = number === first ? "the subnet's own" : "the subnet's broadcast address";
  return [unfit(key, `${address} is ${what}`, 'Choose another address.')];
}

export const within = (outer: Prefix, inner: Prefix): boolean =>
  prefixLength(inner) >= prefixLength(outer) && prefixContains(outer, prefixAddress(inner));
