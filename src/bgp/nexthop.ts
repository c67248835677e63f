import type { Address, Family, Prefix } from '../model/address.ts';
import { addressBytes, familyOf, makePrefix, prefixContains } from '../model/address.ts';
import type { NextHop } from '../model/hosts.ts';
import type { LinkState, Port } from '../model/ports.ts';
import { isUp } from '../model/ports.ts';

/** What the box's links say of a next hop or a neighbour. Answers are kept until `forget`, on any link change. */
export class NextHops {
  readonly #links: LinkState;
  readonly #resolved = new Map<Address, NextHop | undefined>();

  constructor(links: LinkState) {
    this.#links = links;
  }

  forget(): void {
    this.#resolved.clear();
  }

  /** The up interface that `address` is directly on, or undefined. */
  resolve(address: Address): NextHop | undefined {
    if (this.#resolved.has(address)) return this.#resolved.get(address);
    let found: NextHop | undefined;
    for (const port of this.#links.ports()) {
      if (isUp(port) && onLink(port, address)) {
        found = { via: address, interface: port.name };
        break;
      }
    }
    // A neighbour may send as many next hops as routes.
    if (this.#resolved.size >= 4096) this.#resolved.clear();
    this.#resolved.set(address, found);
    return found;
  }

  isOurs(address: Address): boolean {
    return this.portOf(address) !== undefined;
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
