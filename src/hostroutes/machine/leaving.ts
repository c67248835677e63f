import type { Address } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { Book } from './book.ts';
import type { Host } from './host.ts';
import { waitingRoute } from './returning.ts';
import type { CauseKind } from './types.ts';

/**
 * Hosts whose port is about to be shut for planned work: the other way round than a return.
 *
 * They go on being announced, now at level 0, so that whoever hears them next is preferred, while their kernel route
 * leads to the place where packets wait. When the other switch is seen to announce them (the agent knows) they have left,
 * and what waited goes after them. Heard at one of our own ports, they are hosts like any other again.
 *
 * Planned work ends as it began, without loss: so a host of which it is not known yet whether it comes back by itself
 * (`returning.ts`) is expected to, this once.
 */
export class Leaving {
  readonly #book: Book;
  readonly #hosts = new Map<Address, Host>();

  constructor(book: Book) {
    this.#book = book;
  }

  get size(): number {
    return this.#hosts.size;
  }

  /** Nothing is learned on the ports from now on. Where packets can't wait, hosts leave only with the port itself. */
  leave(names: readonly string[], reason: string, now: Instant): void {
    const { returning } = this.#book.rules.policy;
    for (const name of names) {
      const port = this.#book.ports.get(name);
      if (!port?.downlink) continue;
      port.blocked = reason;
      if (!returning) continue;
      const hosts = [...port.hosts];
      this.#book.clear([name], 'leaving', reason, now);
      for (const host of hosts) {
        host.level = 0;
        // Where it is now is where it belongs, unless it has shown otherwise.
        host.returns ??= true;
        host.route = { ...waitingRoute(host, returning.door), ...this.#book.portIndexOf(host) };
        this.#hosts.set(host.address, host);
      }
    }
  }

  /** `turned`: the fabric uses another path already. */
  left(addresses: readonly Address[], turned: boolean): void {
    for (const address of addresses) {
      const host = this.#hosts.get(address);
      if (!host) continue;
      if (turned) this.#end(host, 'left', 'another switch carries it');
      else this.#end(host, 'blocked', 'its port is shut');
    }
  }

  /** The policy is a new one: it holds for them too. */
  reconsider(): void {
    for (const host of this.#hosts.values()) {
      const refusal = this.#book.rules.refusal(host);
      if (refusal) this.#end(host, 'policy', refusal);
    }
  }

  /** It was heard at a port of ours, or is announced as one that is about to be. */
  back(address: Address): void {
    this.#hosts.delete(address);
  }

  /** The ports are no downlinks any more, and their hosts are forgotten. */
  cancel(names: readonly string[]): void {
    this.left(
      [...this.#hosts.values()].filter((host) => names.includes(host.port)).map((host) => host.address),
      false,
    );
  }

  #end(host: Host, kind: CauseKind, reason: string): void {
    this.#hosts.delete(host.address);
    host.route = undefined;
    this.#book.turn.note(host, kind, host.port, reason);
  }
}
