import { NetlinkError } from 'rtnetlink-ts';
import type { Address, Mac } from '../../model/address.ts';
import type { HostKernel } from '../options.ts';
import type { Placement } from './placement.ts';

export interface WeedingOptions {
  readonly kernel: HostKernel;
  readonly placement: Placement;
  /** A host of that port, live or awaited there. */
  isKnown(port: string, address: Address): boolean;
}

/**
 * Takes out of the kernel's neighbour table what a storm has put there. The table is one for the whole box and small
 * (1,024 entries by default), and before a storm is noticed it may be full; then the kernel throws out what is not in
 * use and older than five seconds, next hops of idle uplinks among them, and makes no entry any more until the forged
 * ones are as old. What makes new ones meanwhile can be kept out for IPv4 on routed ports only (see arp-guard.ts), so it
 * is done again as long as the storm lasts.
 */
export class Weeding {
  readonly count = { 'neighbours.weeded': 0, 'neighbours.weeding.failed': 0 };
  readonly #options: WeedingOptions;
  /** One at a time on a port: who comes meanwhile has nothing to add. */
  readonly #busy = new Set<string>();

  constructor(options: WeedingOptions) {
    this.#options = options;
  }

  /** The kernel's neighbours behind `port` that are none of its known hosts. Returns before it is done. */
  weed(port: string): void {
    const { kernel, placement } = this.#options;
    const present = kernel.port(port);
    if (!present || !kernel.neighbours.weed || this.#busy.has(port)) return;
    this.#busy.add(port);
    const work = placement.neighbourInterfaces(present).map(({ ifindex }) => this.#weed(port, ifindex));
    Promise.all(work).finally(() => this.#busy.delete(port));
  }

  async #weed(port: string, ifindex: number): Promise<void> {
    const { kernel, placement, isKnown } = this.#options;
    const isStranger = (address: Address, mac: Mac): boolean =>
      // On a bridge, whose neighbours are those of all its ports, the MAC says whose it is.
      placement.downlinkOf(ifindex, mac)?.name === port && !isKnown(port, address);
    try {
      this.count['neighbours.weeded'] += await kernel.neighbours.weed!(ifindex, isStranger);
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      // The next round of the storm tries again.
      this.count['neighbours.weeding.failed']++;
    }
  }
}
