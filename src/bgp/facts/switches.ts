import type { Address } from '../../model/address.ts';
import type { HeardFact } from '../../model/port-facts.ts';
import { textOf } from './own.ts';

interface Port {
  readonly key: Uint8Array;
  /** What each session says of it, by the neighbour's address; the latest last. */
  readonly words: Map<Address, Uint8Array>;
  told: Uint8Array | undefined;
}

/**
 * What switches say of their ports, by however many sessions: a switch says the same in each, so a fact is gone when the
 * last of them has taken it back or ended.
 */
export class SwitchFacts {
  /** By BGP Identifier, by the octets of the key. */
  readonly #switches = new Map<Address, Map<string, Port>>();
  readonly #emit: (fact: HeardFact) => void;

  constructor(emit: (fact: HeardFact) => void) {
    this.#emit = emit;
  }

  said(routerId: Address, neighbor: Address, key: Uint8Array, value: Uint8Array): void {
    let ports = this.#switches.get(routerId);
    if (!ports) {
      ports = new Map();
      this.#switches.set(routerId, ports);
    }
    const name = textOf(key);
    let port = ports.get(name);
    if (!port) {
      port = { key, words: new Map(), told: undefined };
      ports.set(name, port);
    }
    port.words.delete(neighbor);
    port.words.set(neighbor, value);
    this.#tell(routerId, port, value);
  }

  gone(routerId: Address, neighbor: Address, key: Uint8Array, reason: string): void {
    const name = textOf(key);
    const ports = this.#switches.get(routerId);
    const port = ports?.get(name);
    if (!ports || !port?.words.delete(neighbor)) return;
    const left = [...port.words.values()].at(-1);
    if (left) {
      if (port.told && Buffer.compare(port.told, left) !== 0) this.#tell(routerId, port, left);
      return;
    }
    ports.delete(name);
    if (ports.size === 0) this.#switches.delete(routerId);
    this.#emit({ routerId, key: port.key, value: undefined, reason });
  }

  #tell(routerId: Address, port: Port, value: Uint8Array): void {
    // In another session the same again is no news.
    if (port.words.size > 1 && port.told && Buffer.compare(port.told, value) === 0) return;
    port.told = value;
    this.#emit({ routerId, key: port.key, value });
  }
}
