import type { Address } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { Book } from './book.ts';
import { type Host, RANK } from './host.ts';
import type { Heard, HostEvent } from './types.ts';
import type { Watch } from './watch.ts';

/**
 * Evidence of a MAC alone. A hypervisor says for a VM that has moved no more than that, and the bridge knows no more of
 * anybody. Nobody is learned by it; a known host goes along with its MAC at once, and is asked where it is.
 */
export class Presence {
  readonly #book: Book;
  readonly #watch: Watch;
  readonly #move: (host: Host, heard: Heard, now: Instant) => void;

  /** `move`: as if the host had been heard at another place, with all that may speak against it. */
  constructor(book: Book, watch: Watch, move: (host: Host, heard: Heard, now: Instant) => void) {
    this.#book = book;
    this.#watch = watch;
    this.#move = move;
  }

  seen(seen: Extract<HostEvent, { type: 'present' }>, now: Instant): void {
    const host = this.#book.hosts.get(seen.address);
    if (host?.mac !== seen.mac) return;
    if (!host.live) {
      if (!this.#book.refusesPlace(seen)) this.#watch.searchFor(seen, now, true);
      return;
    }
    if (host.port === seen.port) return;
    const source = host.heardBy[RANK.arp]! >= 0 ? 'arp' : 'neighbour';
    const { address, mac, port, interface: name, ifindex, vlan } = host;
    const before = { address, mac, port, interface: name, ifindex, ...(vlan === undefined ? {} : { vlan }) };
    this.#move(host, { ...seen, type: 'heard', source }, now);
    if (host.port !== seen.port) return;
    // Who doesn't answer at the new place is taken to be at the old one, and asked there.
    host.elsewhere = { type: 'heard', source, ...before, stale: true };
    host.elsewhereAt = now;
    this.#watch.doubt(host, 'verify', now);
  }

  doubted(address: Address, port: string, now: Instant): void {
    const host = this.#book.hosts.get(address);
    if (!host?.live || host.port !== port || now - host.verifiedAt < this.#book.rules.damping.floor) return;
    this.#watch.doubt(host, 'verify', now);
  }
}
