import type { Address, Mac } from '../../model/address.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import type { HostDelta, HostRoute } from '../../model/hosts.ts';
import type { LinkState } from '../../model/ports.ts';
import type { HostRouteInstaller } from '../../netlink/index.ts';
import type { StandingBy } from './standing-by.ts';
import type { Room } from './surroundings.ts';

/** After its announcement was withdrawn the fabric goes on sending for a while (ms); until then packets still wait. */
const LINGER = 300;
/** As above, of a host that the fabric reaches another way already: our kernel has to learn that way, no more (ms). */
const LINGER_TURNED = 30;

/**
 * The kernel's projection of the host table, with a waiting room: a host that is expected back has its route lead there,
 * and what waited follows it when it is heard (or goes back to the fabric when it stayed away). A host that we only stand
 * by for has none of these routes: what there is of it is kept by `StandingBy`, until it is heard.
 */
export class Waiting {
  readonly #kernel: Pick<HostRouteInstaller, 'apply' | 'settled'>;
  readonly #room: Room | undefined;
  readonly #standingBy: StandingBy | undefined;
  readonly #links: LinkState;
  readonly #clock: Clock;
  readonly #expected = new Set<Address>();
  /** Who is left to linger, and with whom: those of one delta go together. */
  readonly #leaving = new Map<Address, readonly Address[]>();
  readonly #lingering = new Set<Timer>();

  constructor(options: {
    kernel: Pick<HostRouteInstaller, 'apply' | 'settled'>;
    room: Room | undefined;
    standingBy?: StandingBy | undefined;
    links: LinkState;
    clock: Clock;
  }) {
    this.#kernel = options.kernel;
    this.#room = options.room;
    this.#standingBy = options.standingBy;
    this.#links = options.links;
    this.#clock = options.clock;
  }

  settled(): Promise<void> {
    return this.#kernel.settled();
  }

  /** `turned`: the fabric does not use these routes any more. */
  apply(delta: HostDelta, turned = false): void {
    const standingBy = this.#standingBy;
    if (!standingBy) {
      this.#apply(delta, turned);
      return;
    }
    standingBy.come(delta.announced);
    const shadows = delta.announced.filter((route) => route.shadow);
    const announced = shadows.length === 0 ? delta.announced : delta.announced.filter((route) => !route.shadow);
    const withdrawn =
      shadows.length === 0 ? delta.withdrawn : [...delta.withdrawn, ...shadows.map(({ address }) => address)];
    this.#apply({ withdrawn, announced }, turned, () => {
      const taken = announced.map(({ address }) => address);
      standingBy.apply(delta.withdrawn, taken, shadows);
    });
  }

  /** `between`: when the routes to the hosts stand, and before what came meanwhile is delivered. */
  #apply(delta: HostDelta, turned: boolean, between?: () => void): void {
    const room = this.#room;
    if (!room) {
      this.#kernel.apply(delta);
      return;
    }
    const arriving = delta.announced.filter((route) => this.#arrives(room, route));
    // Before the route turns to the port, so that what waited stays ahead of what comes now; after it, for what came between.
    const sourceMac = (route: HostRoute): Mac => this.#sourceMac(route);
    room.deliver(arriving, sourceMac);
    const lingering =
      this.#expected.size === 0 ? [] : delta.withdrawn.filter((address) => this.#expected.delete(address));
    const left = new Set(lingering);
    const withdrawn = left.size === 0 ? delta.withdrawn : delta.withdrawn.filter((address) => !left.has(address));
    if (lingering.length > 0) this.#linger(room, lingering, turned);
    this.#kernel.apply({ withdrawn, announced: delta.announced });
    between?.();
    room.deliver(arriving, sourceMac);
  }

  /** Whether the route leads to a host for which packets waited; keeps the books of who is expected. */
  #arrives(room: Room, route: HostRoute): boolean {
    const left = this.#leaving.delete(route.address);
    if (route.ifindex === room.door.ifindex) {
      this.#expected.add(route.address);
      return false;
    }
    const waited = this.#standingBy?.has(route.address) === true;
    return this.#expected.delete(route.address) || left || waited;
  }

  #linger(room: Room, addresses: readonly Address[], turned: boolean): void {
    for (const address of addresses) this.#leaving.set(address, addresses);
    const timer = this.#clock.schedule(this.#clock.now() + (turned ? LINGER_TURNED : LINGER), () => {
      this.#lingering.delete(timer);
      // Not those that have come, or were expected once more, meanwhile.
      const withdrawn = addresses.filter((address) => this.#leaving.get(address) === addresses);
      if (withdrawn.length === 0) return;
      for (const address of withdrawn) this.#leaving.delete(address);
      this.#kernel.apply({ withdrawn, announced: [] });
      room.forward(withdrawn);
    });
    this.#lingering.add(timer);
  }

  /** The room is about to be closed: nobody lingers any more. */
  close(): void {
    for (const timer of this.#lingering) timer.cancel();
    this.#lingering.clear();
  }

  #sourceMac(route: HostRoute): Mac {
    return this.#links.portByIndex(route.ifindex)?.mac ?? route.mac;
  }
}
