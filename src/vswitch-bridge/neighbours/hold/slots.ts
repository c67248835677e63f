import type { Address } from '../../../model/address.ts';

/** Where frames wait: for one remote address of a device, or for all that a device floods to. */
export interface Slot {
  readonly index: number;
  readonly remote: Address | undefined;
  readonly local: Address | undefined;
  /** The device, of a slot for its flood list. */
  readonly flood: number | undefined;
  /** Frames that reached us, and those that were lost on their way to us. */
  received: bigint;
  lost: bigint;
  users: number;
  /** `flood`: whether the program was told to send frames here. */
  waits: boolean;
}

/** The places of the program's array, given out and taken back. Slot 0 means "none". */
export class Slots {
  readonly #most: number;
  readonly #byIndex = new Map<number, Slot>();
  readonly #byRemote = new Map<string, Slot>();
  readonly #byAddress = new Map<Address, Set<Slot>>();
  readonly #byDevice = new Map<number, Slot>();
  readonly #free: number[] = [];
  #next = 1;

  constructor(most: number) {
    this.#most = most;
  }

  get(index: number): Slot | undefined {
    return this.#byIndex.get(index);
  }

  ofRemote(remote: Address): Iterable<Slot> {
    return this.#byAddress.get(remote) ?? [];
  }

  ofDevice(ifindex: number): Slot | undefined {
    return this.#byDevice.get(ifindex);
  }

  floods(): Iterable<Slot> {
    return this.#byDevice.values();
  }

  all(): Iterable<Slot> {
    return this.#byIndex.values();
  }

  /** `fresh`: nobody used it yet. Undefined: there is none left. */
  take(remote: Address, local: Address | undefined): { readonly slot: Slot; readonly fresh: boolean } | undefined {
    const key = `${remote} ${local ?? ''}`;
    const known = this.#byRemote.get(key);
    if (known) {
      known.users++;
      return { slot: known, fresh: false };
    }
    const slot = this.#new({ remote, local, flood: undefined });
    if (!slot) return undefined;
    this.#byRemote.set(key, slot);
    const same = this.#byAddress.get(remote);
    if (same) same.add(slot);
    else this.#byAddress.set(remote, new Set([slot]));
    return { slot, fresh: true };
  }

  takeFlood(ifindex: number): Slot | undefined {
    const slot = this.#new({ remote: undefined, local: undefined, flood: ifindex });
    if (slot) this.#byDevice.set(ifindex, slot);
    return slot;
  }

  /** @returns whether nobody uses it any more */
  giveBack(slot: Slot): boolean {
    slot.users--;
    if (slot.users > 0) return false;
    this.#byIndex.delete(slot.index);
    if (slot.flood !== undefined) this.#byDevice.delete(slot.flood);
    if (slot.remote !== undefined) {
      this.#byRemote.delete(`${slot.remote} ${slot.local ?? ''}`);
      const same = this.#byAddress.get(slot.remote)!;
      same.delete(slot);
      if (same.size === 0) this.#byAddress.delete(slot.remote);
    }
    this.#free.push(slot.index);
    return true;
  }

  #new(what: Pick<Slot, 'remote' | 'local' | 'flood'>): Slot | undefined {
    const index = this.#free.shift() ?? (this.#next < this.#most ? this.#next++ : undefined);
    if (index === undefined) return undefined;
    const slot: Slot = { ...what, index, received: 0n, lost: 0n, users: 1, waits: false };
    this.#byIndex.set(index, slot);
    return slot;
  }
}
