import type { Address } from '../../../model/address.ts';
import type { Shadow } from '../../../netlink/index.ts';
import type { ShadowKernel } from '../standing-by.ts';

/**
 * A host that has just left us for the other switch is one that we stand by for from then on. But while the gateway still
 * sends its packets here they have to go on through the tunnel, not into the waiting room, and the table of the shadows is
 * looked up before the one with the backups. So such a shadow is kept out of the kernel until the backup has gone.
 */
export class HeldShadows {
  readonly #hasBackup: (address: Address) => boolean;
  readonly #held = new Map<Address, Shadow>();
  #table: ShadowKernel | undefined;

  constructor(hasBackup: (address: Address) => boolean) {
    this.#hasBackup = hasBackup;
  }

  /** What the shadows are put into from now on. */
  before(table: ShadowKernel): ShadowKernel {
    this.#table = table;
    return {
      start: (uplinks) => table.start(uplinks),
      configure: (uplinks) => table.configure(uplinks),
      apply: (gone, come) => table.apply(this.#leaving(gone), this.#passing(come)),
      shed: (address, on) => table.shed(address, on),
      // Who asks wants to know of whom he has to speak when a shadow ends.
      has: (address) => this.#held.has(address) || table.has(address),
      groupOf: (address) => table.groupOf(address),
      isIn: (group, address) => table.isIn(group, address),
      turn: (group, towards) => table.turn(group, towards),
      portDown: (ifindex) => table.portDown(ifindex),
      counters: () => ({ ...table.counters(), held: this.#held.size }),
      leave: () => table.leave(),
      close: () => table.close(),
    };
  }

  /** Its backup has gone. */
  release(addresses: Iterable<Address>): void {
    if (this.#held.size === 0) return;
    const come: Shadow[] = [];
    for (const address of addresses) {
      const shadow = this.#held.get(address);
      if (shadow && this.#held.delete(address)) come.push(shadow);
    }
    if (come.length > 0) this.#table?.apply([], come);
  }

  #leaving(addresses: Iterable<Address>): Address[] {
    const gone = [...addresses];
    for (const address of gone) this.#held.delete(address);
    return gone;
  }

  #passing(shadows: Iterable<Shadow>): Shadow[] {
    return [...shadows].filter((shadow) => {
      if (!this.#hasBackup(shadow.address)) return true;
      this.#held.set(shadow.address, shadow);
      return false;
    });
  }
}
