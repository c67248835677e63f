import type { Address } from '../model/address.ts';

/** What several neighbours say of one address, of which the best counts. `emit` hears of it when that changes. */
export class Said<T> {
  readonly #said = new Map<Address, Map<Address, T>>();
  readonly #best: (said: Iterable<T>) => T | undefined;
  readonly #emit: (address: Address, after: T | undefined, before: T | undefined) => void;

  /** `best` answers one of those that it is given; undefined only for none. */
  constructor(
    best: (said: Iterable<T>) => T | undefined,
    emit: (address: Address, after: T | undefined, before: T | undefined) => void,
  ) {
    this.#best = best;
    this.#emit = emit;
  }

  /** `neighbor` says this now, or nothing any more. */
  set(neighbor: Address, address: Address, said: T | undefined): void {
    const all = this.#said.get(address);
    if (!all && said === undefined) return;
    const before = all && this.#best(all.values());
    const after = all ?? new Map<Address, T>();
    if (!all) this.#said.set(address, after);
    if (said !== undefined) after.set(neighbor, said);
    else after.delete(neighbor);
    if (after.size === 0) this.#said.delete(address);
    const best = this.#best(after.values());
    if (best !== before) this.#emit(address, best, before);
  }

  addresses(): Iterable<Address> {
    return this.#said.keys();
  }

  neighbors(address: Address): Address[] {
    return [...(this.#said.get(address)?.keys() ?? [])];
  }

  get size(): number {
    return this.#said.size;
  }
}
