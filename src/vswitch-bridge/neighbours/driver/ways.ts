/**
 * Where the underlay leads: the route to each remote address, asked of the kernel in the turn in which something changed
 * that it may depend on. Changes of one turn are looked at together, at its end.
 */
import { type Change, type Route, RTN, type Rtnetlink, type Subscription } from 'rtnetlink-ts';
import { type Address, parseAddress, parsePrefix, prefixContains } from '../../../model/address.ts';
import type { NextHop } from '../machine/types.ts';

export interface Way extends NextHop {
  /** Ours, as the route prefers. */
  readonly source: Address | undefined;
}

export class Ways {
  readonly #rtnetlink: Pick<Rtnetlink, 'getRouteNow'>;
  readonly #remotes: () => Iterable<Address>;
  readonly #onWay: (remote: Address, way: Way | undefined) => void;
  readonly #source: Address | undefined;
  readonly #unsubscribe: (() => void)[];
  #dirty = new Set<Address>();
  #all = false;
  #due = false;
  #closed = false;

  constructor(options: {
    readonly subscription: Subscription;
    readonly rtnetlink: Pick<Rtnetlink, 'getRouteNow'>;
    /** Tunnels' own address. */
    readonly source: Address | undefined;
    remotes(): Iterable<Address>;
    onWay(remote: Address, way: Way | undefined): void;
  }) {
    const { subscription } = options;
    this.#rtnetlink = options.rtnetlink;
    this.#source = options.source;
    this.#remotes = () => options.remotes();
    this.#onWay = (remote, way) => options.onWay(remote, way);
    this.#unsubscribe = [
      subscription.onChange((change) => this.#changed(change)),
      subscription.onResync(() => this.lookAtAll()),
    ];
  }

  lookAt(remote: Address): void {
    this.#onWay(remote, this.#way(remote));
  }

  /** At the end of this turn. */
  lookAtAll(): void {
    this.#all = true;
    this.#later();
  }

  close(): void {
    this.#closed = true;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }

  #changed(change: Change): void {
    switch (change.kind) {
      case 'route': {
        const prefix = parsePrefix((change.after ?? change.before)!.destination);
        if (!prefix) return;
        for (const remote of this.#remotes()) if (prefixContains(prefix, remote)) this.#dirty.add(remote);
        if (this.#dirty.size > 0) this.#later();
        break;
      }
      // The kernel takes routes away silently with their link, their address or their next-hop object.
      case 'link':
        if (change.before?.up !== change.after?.up || change.before?.carrier !== change.after?.carrier)
          this.lookAtAll();
        break;
      case 'address':
      case 'rule':
      case 'nexthop':
        this.lookAtAll();
        break;
    }
  }

  #later(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      if (this.#closed) return;
      const remotes = this.#all ? [...this.#remotes()] : [...this.#dirty];
      this.#all = false;
      this.#dirty = new Set();
      for (const remote of remotes) this.lookAt(remote);
    });
  }

  #way(remote: Address): Way | undefined {
    const sameFamily = this.#source?.includes(':') === remote.includes(':');
    // An address that is gone from the box is refused as a source; the way is the same for the neighbour's MAC.
    const route =
      (sameFamily ? this.#rtnetlink.getRouteNow(remote, { source: this.#source! }) : undefined) ??
      this.#rtnetlink.getRouteNow(remote);
    return route && wayOf(route, remote, sameFamily ? this.#source : undefined);
  }
}

function wayOf(route: Route, remote: Address, asked: Address | undefined): Way | undefined {
  // Several next hops of equal cost: the kernel answers with the one that it would take for this pair.
  const [hop] = route.nextHops;
  if (route.type !== RTN.UNICAST || hop?.ifindex === undefined) return undefined;
  const address = hop.gateway === undefined ? remote : parseAddress(hop.gateway);
  if (address === undefined) return undefined;
  return { ifindex: hop.ifindex, address, source: parseAddress(route.preferredSource ?? '') ?? asked };
}
