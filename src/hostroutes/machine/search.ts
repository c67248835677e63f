import type { Address, Mac } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import { Deadlines, type Sleeper } from './deadlines.ts';

/** Doubling from the probe timeout, this many probes stay below half a minute. */
const TRIES = 7;

const NOWHERE = { line: undefined, nextInLine: undefined, previousInLine: undefined };

export interface Search extends Sleeper {
  readonly address: Address;
  readonly mac: Mac | undefined;
  readonly port: string;
  readonly vlan: number | undefined;
  /** A static host is looked for as long as it is configured. */
  readonly endless: boolean;
  tries: number;
}

/**
 * Addresses that we have reason to look for and don't yet believe: static hosts, hosts that were behind a port which
 * came back, neighbours that the kernel has not heard lately. Nothing of them is announced; an answer is evidence like
 * any other and makes them hosts.
 */
export class Searches {
  readonly #byAddress = new Map<Address, Search>();
  readonly #deadlines = new Deadlines<Search>();

  get size(): number {
    return this.#byAddress.size;
  }

  has(address: Address): boolean {
    return this.#byAddress.has(address);
  }

  nextDeadline(): Instant {
    return this.#deadlines.first()?.wakeAt ?? Number.POSITIVE_INFINITY;
  }

  /** Starts over if it is already searched for. false: there are `limit` searches. */
  start(
    address: Address,
    mac: Mac | undefined,
    port: string,
    at: Instant,
    options: { endless?: boolean; limit: number; vlan?: number | undefined },
  ): boolean {
    const known = this.#byAddress.get(address);
    if (known?.endless && !options.endless) {
      known.tries = 0;
      this.#deadlines.set(known, at);
      return true;
    }
    if (known) this.#deadlines.delete(known);
    else if (this.#byAddress.size >= options.limit) return false;
    const { vlan, endless = false } = options;
    const search: Search = { address, mac, port, vlan, endless, tries: 0, wakeAt: at, ...NOWHERE };
    this.#byAddress.set(address, search);
    this.#deadlines.set(search, at);
    return true;
  }

  /** The address was heard. An endless search goes on, in case the host leaves again. */
  found(address: Address): void {
    if (this.#byAddress.get(address)?.endless === false) this.stop(address);
  }

  stop(address: Address): void {
    const search = this.#byAddress.get(address);
    if (!search) return;
    this.#deadlines.delete(search);
    this.#byAddress.delete(address);
  }

  /** The first that is due at `now`, without moving on. */
  due(now: Instant): Search | undefined {
    const first = this.#deadlines.first();
    return first && first.wakeAt <= now ? first : undefined;
  }

  /** One probe of `search` was sent. */
  advance(search: Search, now: Instant, timeout: number, ceiling: number): void {
    search.tries++;
    if (!search.endless && search.tries >= TRIES) this.stop(search.address);
    else this.#deadlines.set(search, now + Math.min(timeout * 2 ** Math.min(search.tries, 16), ceiling));
  }

  /** There is nothing to ask for now: the host is there, or its port can't be used. */
  rest(search: Search, now: Instant, ceiling: number): void {
    search.tries = 0;
    if (search.endless) this.#deadlines.set(search, now + ceiling);
    else this.stop(search.address);
  }
}
