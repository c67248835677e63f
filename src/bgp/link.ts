import type { PortChange } from '../model/ports.ts';
import { isUp } from '../model/ports.ts';
import type { NextHops } from './nexthop.ts';
import { onLink } from './nexthop.ts';
import type { Connection } from './transport.ts';
import type { BgpNeighborOptions } from './types.ts';

/** What a change of a port means for a neighbour; undefined: nothing. */
export type LinkNews = 'lost' | 'came' | 'addresses' | undefined;

/** The link that a neighbour is on. One that may be more than a hop away is on none. */
export class NeighborLink {
  readonly #options: () => BgpNeighborOptions;
  /** Of the session, or of the one whose routes are kept. */
  interface: string | undefined;

  constructor(options: () => BgpNeighborOptions) {
    this.#options = options;
  }

  /** The session's, from now on. */
  established(connection: Connection | undefined, nextHops: NextHops): void {
    const { multihop, address } = this.#options();
    const local = connection?.localAddress;
    this.interface = multihop
      ? undefined
      : ((local && nextHops.portOf(local)?.name) ?? nextHops.portTowards(address)?.name);
  }

  judge({ name, before, after }: PortChange, established: boolean): LinkNews {
    if (this.#options().multihop) return undefined;
    const ledBefore = before !== undefined && this.#leads(before);
    const leads = after !== undefined && this.#leads(after);
    const led = this.interface ? this.interface === name : ledBefore;
    // An address that went takes the session with it as the carrier does.
    if (led && isUp(before) && (!isUp(after) || (ledBefore && !leads))) return 'lost';
    if (!established && leads && isUp(after) && !(isUp(before) && ledBefore)) return 'came';
    if (established && this.interface === undefined && leads) {
      // The session was there before its port was: now its addresses are known, and its carrier matters.
      this.interface = name;
      return 'addresses';
    }
    return led ? 'addresses' : undefined;
  }

  /** Whether the neighbour is on this port's link. */
  #leads(port: NonNullable<PortChange['after']>): boolean {
    const { localAddress: local, address } = this.#options();
    if (local && !port.addresses.some((own) => own.address === local)) return false;
    return onLink(port, address);
  }
}
