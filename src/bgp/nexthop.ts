import type { Address, Family, Prefix } from '../model/address.ts';
import { addressBytes, familyOf, makePrefix, prefixContains } from '../model/address.ts';
import type { NextHop } from '../model/hosts.ts';
import type { LinkState, Port } from '../model/ports.ts';
import { isUp } from '../model/ports.ts';

/** On a link of ours, and how; an address of ours; or neither. */
export type Resolution = NextHop | 'ours' | 'elsewhere';

/** A neighbour may send as many next hops as routes; those beyond are looked up each time. */
const REMEMBERED = 4096;

/**
 * What the box's links say of a next hop or a neighbour. Answers are remembered, as routes have few next hops; `refresh`,
 * after each link change, says which of them changed, so that a port that leads to no next hop costs no decision.
 */
export class NextHops {
  readonly #links: LinkState;
  readonly #resolved = new Map<Address, Resolution>();

  constructor(links: LinkState) {
    this.#links = links;
  }

  resolve(address: Address): Resolution {
    const known = this.#resolved.get(address);
    if (known) return known;
    const found = this.#find(address);
    if (this.#resolved.size < REMEMBERED) this.#resolved.set(address, found);
    return found;
  }

  /** Answers which next hops may have changed; undefined: none. */
  refresh(): ((nextHop: Address) => boolean) | undefined {
    const changed = new Set<Address>();
    for (const [address, before] of this.#resolved) {
      const after = this.#find(address);
      if (same(before, after)) continue;
      changed.add(address);
      this.#resolved.set(address, after);
    }
    const full = this.#resolved.size >= REMEMBERED;
    if (changed.size === 0 && !full) return undefined;
    return (nextHop) => changed.has(nextHop) || !this.#resolved.has(nextHop);
  }

  isOurs(address: Address): boolean {
    return this.resolve(address) === 'ours';
  }

  #find(address: Address): Resolution {
    if (this.portOf(address)) return 'ours';
    for (const port of this.#links.ports()) {
      if (isUp(port) && onLink(port, address)) return { via: address, interface: port.name };
    }
    return 'elsewhere';
  }

  /** The port that has `address` itself. */
  portOf(address: Address): Port | undefined {
    for (const port of this.#links.ports()) {
      if (port.addresses.some((own) => own.address === address)) return port;
    }
    return undefined;
  }

  /** Up or not. */
  portTowards(address: Address): Port | undefined {
    for (const port of this.#links.ports()) if (onLink(port, address)) return port;
    return undefined;
  }

  /** What we give as next hop on a session with this local address: itself, and its port's address of the other family. */
  ours(local: Address): Partial<Record<Family, Address>> {
    const family = familyOf(local);
    const hops: Partial<Record<Family, Address>> = { [family]: local };
    const other = this.portOf(local)?.addresses.find(
      (own) => familyOf(own.address) !== family && !own.address.startsWith('fe80:'),
    );
    if (other) hops[family === 4 ? 6 : 4] = other.address;
    return hops;
  }
}

interface Led {
  readonly nextHop: Address;
  readonly linkLocal: Address | undefined;
  readonly peer: { readonly address: Address };
}

/** How a received route is followed, or why it can't be; `port` is the one that its session is on. */
export function wayTo(
  route: Led,
  nextHops: NextHops,
  port: string | undefined,
): NextHop | { readonly rejected: 'next-hop-self' | 'next-hop-unreachable' } {
  // Every port has fe80::/64: such a next hop is on the link that the session is on.
  if (route.nextHop.startsWith('fe80:')) {
    return port ? { via: route.nextHop, interface: port } : { rejected: 'next-hop-unreachable' };
  }
  const answer = nextHops.resolve(route.nextHop);
  if (answer === 'ours') return { rejected: 'next-hop-self' };
  if (answer !== 'elsewhere') return answer;
  // RFC 2545 §3: an external neighbour's link-local address, when the global one is on no link of ours.
  if (route.linkLocal && port) return { via: route.linkLocal, interface: port };
  if (route.nextHop === route.peer.address) return { via: route.nextHop };
  return { rejected: 'next-hop-unreachable' };
}

/** Whether `address` is in one of the port's subnets (and isn't the port's own). */
export function onLink(port: Port, address: Address): boolean {
  return port.addresses.some(
    (own) =>
      familyOf(own.address) === familyOf(address) &&
      own.address !== address &&
      prefixContains(subnetOf(own.address, own.prefixLength), address),
  );
}

const subnetOf = (address: Address, length: number): Prefix => makePrefix(addressBytes(address), length);

function same(a: Resolution, b: Resolution): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  return a.via === b.via && a.interface === b.interface;
}
