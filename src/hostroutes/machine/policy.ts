import type { Address, Mac, Prefix } from '../../model/address.ts';
import {
  addressBytes,
  familyOf,
  ipv4ToNumber,
  prefixAddress,
  prefixContains,
  prefixLength,
} from '../../model/address.ts';
import { roundOf, verdictsOf } from './grid.ts';
import { RANK } from './host.ts';
import type { Binding, Heard, HostPolicy, RefusalReason, Source, StaticHost } from './types.ts';

interface Ipv4Range {
  readonly first: number;
  readonly last: number;
  /** /31 and /32 have neither network nor broadcast address (RFC 3021). */
  readonly pointToPoint: boolean;
}

const REFUSED = 'refused by the new policy: ';

/** The policy, prepared for one look-up per unknown address. */
export class CompiledPolicy {
  readonly policy: HostPolicy;
  readonly statics: ReadonlyMap<Address, StaticHost>;
  readonly damping: NonNullable<HostPolicy['damping']>;
  /** See `roundOf`. */
  readonly round: number;
  /** See `verdictsOf`. */
  readonly verdicts: number;
  /** Indexed by rank. */
  readonly #enabled: readonly boolean[];
  readonly #own: ReadonlySet<Address>;
  readonly #bindings: ReadonlyMap<Address, Binding>;
  readonly #ranges: readonly Ipv4Range[];
  readonly #prefixes6: readonly Prefix[];

  constructor(policy: HostPolicy) {
    this.policy = policy;
    this.damping = policy.damping ?? { moves: 4, window: 10_000, floor: 1_000, ceiling: 60_000 };
    this.round = roundOf(policy.probe.interval);
    this.verdicts = verdictsOf(policy.probe.interval);
    this.statics = new Map(policy.sources.static.map((entry) => [entry.address, entry]));
    this.#own = new Set(policy.ownAddresses);
    this.#bindings = new Map((policy.bindings ?? []).map((binding) => [binding.address, binding]));
    const enabled = [true, true, true, true, true];
    enabled[RANK.bgp] = policy.sources.bgp;
    enabled[RANK.kernel] = policy.sources.kernel;
    enabled[RANK.arp] = policy.sources.arp;
    enabled[RANK.neighbour] = policy.sources.neighbours;
    this.#enabled = enabled;
    this.#prefixes6 = policy.prefixes.filter((prefix) => familyOf(prefix) === 6);
    this.#ranges = policy.prefixes
      .filter((prefix) => familyOf(prefix) === 4)
      .map((prefix) => {
        const first = ipv4ToNumber(prefixAddress(prefix));
        const size = 2 ** (32 - prefixLength(prefix));
        return { first, last: first + size - 1, pointToPoint: size <= 2 };
      });
  }

  /** The host may be alive behind the other switch too (`activeActive`). */
  activeActive({ address, port }: Pick<Heard, 'address' | 'port'>): boolean {
    const { activeActive } = this.policy;
    if (typeof activeActive === 'boolean') return activeActive;
    return activeActive.ports.includes(port) || activeActive.prefixes.some((prefix) => prefixContains(prefix, address));
  }

  get probing(): boolean {
    return this.policy.probe.interval > 0;
  }

  enabled(source: Source): boolean {
    return this.#enabled[RANK[source]]!;
  }

  /** Why this address may never be a host, whoever says so. */
  refuseAddress(address: Address): RefusalReason | undefined {
    if (this.#own.has(address)) return 'own-address';
    return familyOf(address) === 4 ? this.#refuseIpv4(ipv4ToNumber(address)) : this.#refuseIpv6(address);
  }

  refuseMac(mac: Mac): RefusalReason | undefined {
    if (mac === '00:00:00:00:00:00') return 'bad-mac';
    // The group bit is the lowest of the first octet: an odd second hexadecimal digit.
    return Number.parseInt(mac[1]!, 16) & 1 ? 'bad-mac' : undefined;
  }

  refusePlace(heard: Pick<Heard, 'address' | 'port' | 'mac'>): RefusalReason | undefined {
    if (this.statics.size > 0) {
      const entry = this.statics.get(heard.address);
      if (entry && entry.port !== heard.port) return 'static-elsewhere';
      if (entry?.mac && entry.mac !== heard.mac) return 'binding';
    }
    if (this.#bindings.size === 0) return undefined;
    const binding = this.#bindings.get(heard.address);
    if (!binding) return undefined;
    if (binding.ports && !binding.ports.includes(heard.port)) return 'binding';
    return binding.macs && !binding.macs.includes(heard.mac) ? 'binding' : undefined;
  }

  /** Why a host that was taken in under another policy may not stay, in words. */
  refusal(host: Pick<Heard, 'address' | 'port' | 'mac'>): string | undefined {
    const reason = this.refuseAddress(host.address) ?? this.refusePlace(host);
    return reason && `${REFUSED}${reason}`;
  }

  /** Whether this is why a host left: what `refusal` says. */
  isRefusal(reason: string): boolean {
    return reason.startsWith(REFUSED);
  }

  /** The only ports behind which it may be; undefined: any. */
  portsOf(address: Address): readonly string[] | undefined {
    const entry = this.statics.get(address);
    return entry ? [entry.port] : this.#bindings.get(address)?.ports;
  }

  #refuseIpv4(value: number): RefusalReason | undefined {
    // 0.0.0.0/8, loopback, multicast, reserved and limited broadcast (RFC 6890) are no hosts in any prefix.
    const high = value >>> 24;
    if (high === 0 || high === 127 || high >= 224) return 'bad-address';
    for (const range of this.#ranges) {
      if (value < range.first || value > range.last) continue;
      if (range.pointToPoint) return undefined;
      if (value === range.first) return 'network-address';
      return value === range.last ? 'broadcast-address' : undefined;
    }
    return 'outside-prefixes';
  }

  #refuseIpv6(address: Address): RefusalReason | undefined {
    // fe80::/10 and ff00::/8 are never host routes; neither are :: and ::1 (RFC 4291 §2.4).
    if (/^fe[89ab]/.test(address)) return 'link-local';
    if (address.startsWith('ff') || address === '::' || address === '::1') return 'bad-address';
    for (const prefix of this.#prefixes6) {
      if (!prefixContains(prefix, address)) continue;
      // The all-zero interface identifier is the subnet-router anycast address (RFC 4291 §2.6.1; not on /127: RFC 6164).
      if (
        prefixLength(prefix) < 127 &&
        addressBytes(address).toString() === addressBytes(prefixAddress(prefix)).toString()
      )
        return 'network-address';
      return undefined;
    }
    return 'outside-prefixes';
  }
}
