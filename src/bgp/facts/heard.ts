import type { Address } from '../../model/address.ts';
import type { FactsUpdate, UpdateMessage } from '../codec/messages.ts';
import type { Counters } from '../counters.ts';
import { textOf } from './own.ts';
import type { SwitchFacts } from './switches.ts';

/** Ports of one switch; more are not kept. */
const MOST = 4_096;

/**
 * What one neighbour says of its ports in one session. Facts are no forwarding state: they end with the session, also
 * where its routes are kept for a graceful restart, and are said anew in the next.
 */
export class HeardFacts {
  readonly #routerId: Address;
  readonly #neighbor: Address;
  readonly #counters: Counters;
  readonly #switches: SwitchFacts;
  readonly #keys = new Map<string, Uint8Array>();
  #disabled = false;

  constructor(routerId: Address, neighbor: Address, counters: Counters, switches: SwitchFacts) {
    this.#routerId = routerId;
    this.#neighbor = neighbor;
    this.#counters = counters;
    this.#switches = switches;
  }

  get size(): number {
    return this.#keys.size;
  }

  hear({ facts, problems }: UpdateMessage): void {
    if (this.#disabled) {
      if (facts) this.#counters.add('facts_ignored');
      return;
    }
    if (facts) this.#update(facts);
    if (!problems.some(({ treatment }) => treatment === 'afi-safi-disable')) return;
    this.#disabled = true;
    this.end('malformed, and not listened to any more in this session');
  }

  /** Nothing is known of its ports any more. */
  end(reason: string): void {
    const keys = [...this.#keys.values()];
    this.#keys.clear();
    for (const key of keys) this.#switches.gone(this.#routerId, this.#neighbor, key, reason);
  }

  #update({ withdrawn, said, value }: FactsUpdate): void {
    for (const key of withdrawn) {
      const known = this.#keys.delete(textOf(key));
      if (known) this.#switches.gone(this.#routerId, this.#neighbor, key, 'withdrawn');
    }
    for (const key of said) {
      const name = textOf(key);
      if (!this.#keys.has(name) && this.#keys.size >= MOST) {
        this.#counters.add('facts_beyond_the_limit');
        continue;
      }
      this.#keys.set(name, key);
      this.#switches.said(this.#routerId, this.#neighbor, key, value);
    }
  }
}
