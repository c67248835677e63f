/**
 * The transport neighbour table: which MAC the packets of a tunnel go to.
 *
 * A tunnel has a remote address; the route to it leads to a next hop, the remote itself or a gateway; the next hop has a
 * MAC. Many tunnels share a remote, many remotes share a gateway, so each next hop stands here once and goes with the last
 * tunnel that needs it. Entries without a MAC are asked for at each poll, entries with one are asked again, by unicast,
 * before the kernel would call them stale: nobody's first packet finds them missing.
 *
 * Pure: events and the time in, questions and differences out. Differences come in the order in which sinks must get
 * them. A MAC that may be wrong (its link has changed) is taken away in the same call, before anything is asked.
 */
import type { Address, Mac } from '../../../model/address.ts';
import type { Instant } from '../../../model/clock.ts';
import { ATTEMPTS, Neighbour, RETRY, type Timing } from './neighbour.ts';
import type {
  NeighbourChange,
  NeighbourView,
  NextHop,
  TransportEffect,
  TransportEvent,
  TransportOptions,
} from './types.ts';

interface Remote {
  readonly tunnels: Set<string>;
  neighbour: Neighbour | undefined;
}

/** A kernel that drops what we write is not fought. ms */
const REASSERT = 1_000;

export class TransportTable {
  readonly #timing: Timing;
  readonly #remoteOfTunnel = new Map<string, Address>();
  readonly #remotes = new Map<Address, Remote>();
  readonly #neighbours = new Map<string, Neighbour>();
  readonly #down = new Set<number>();
  readonly #reasserted = new Map<Neighbour, Instant>();
  #effects: TransportEffect[] = [];

  constructor(options: TransportOptions) {
    const { proactive, poll, retry = RETRY, attempts = ATTEMPTS } = options;
    this.#timing = { proactive, poll, retry, attempts };
  }

  handle(event: TransportEvent, now: Instant): readonly TransportEffect[] {
    this.#effects = [];
    switch (event.kind) {
      case 'tunnel-added':
        this.#addTunnel(event.tunnel, event.remote);
        break;
      case 'tunnel-removed':
        this.#removeTunnel(event.tunnel);
        break;
      case 'route':
        this.#route(event.remote, event.hop, now);
        break;
      case 'heard': {
        const neighbour = this.#neighbours.get(keyOf(event));
        if (neighbour) this.#heard(neighbour, event.mac, event.confirms, event.weak === true, now);
        break;
      }
      case 'kernel': {
        const neighbour = this.#neighbours.get(keyOf(event));
        if (neighbour) this.#kernel(neighbour, event.mac, now);
        break;
      }
      case 'link':
        this.#link(event.ifindex, event.up, now);
        break;
      case 'demand':
        this.#demand(event.remote, now);
        break;
      case 'time':
        this.#elapsed(now);
        break;
    }
    return this.#effects;
  }

  nextDeadline(): Instant | undefined {
    let next: Instant | undefined;
    for (const { due } of this.#neighbours.values()) if (due !== undefined && !(next! <= due)) next = due;
    return next;
  }

  /** Remote addresses of all tunnels. */
  get remotes(): Iterable<Address> {
    return this.#remotes.keys();
  }

  has(remote: Address): boolean {
    return this.#remotes.has(remote);
  }

  remoteOf(tunnel: string): Address | undefined {
    return this.#remoteOfTunnel.get(tunnel);
  }

  /** One of the remotes that this next hop leads to. */
  remoteVia(hop: NextHop): Address | undefined {
    const [remote] = this.#neighbours.get(keyOf(hop))?.remotes ?? [];
    return remote;
  }

  /** Where packets for `remote` go; undefined: no tunnel has it, or there is no way. */
  neighbourOf(
    remote: Address,
  ): { readonly address: Address; readonly ifindex: number; readonly mac: Mac | undefined } | undefined {
    return this.#remotes.get(remote)?.neighbour;
  }

  /** Interfaces that lead to neighbours. */
  interfaces(): ReadonlySet<number> {
    return new Set([...this.#neighbours.values()].map(({ ifindex }) => ifindex));
  }

  view(now: Instant): readonly NeighbourView[] {
    return [...this.#neighbours.values()].map((neighbour) => ({
      address: neighbour.address,
      ifindex: neighbour.ifindex,
      mac: neighbour.mac,
      state: neighbour.state,
      age: neighbour.confirmedAt === undefined ? undefined : now - neighbour.confirmedAt,
      remotes: [...neighbour.remotes],
      tunnels: [...neighbour.remotes].flatMap((remote) => [...(this.#remotes.get(remote)?.tunnels ?? [])]),
    }));
  }

  /** Nobody knows yet whether the neighbour of `remote` will answer. */
  pending(remote: Address): boolean {
    const neighbour = this.#remotes.get(remote)?.neighbour;
    return (
      neighbour !== undefined && !neighbour.known && (neighbour.state === 'idle' || neighbour.state === 'resolving')
    );
  }

  /** Remote addresses to which no route leads. */
  unroutable(): readonly Address[] {
    return [...this.#remotes].flatMap(([address, { neighbour }]) => (neighbour ? [] : [address]));
  }

  #addTunnel(tunnel: string, address: Address): void {
    const before = this.#remoteOfTunnel.get(tunnel);
    if (before === address) return;
    if (before !== undefined) this.#removeTunnel(tunnel);
    this.#remoteOfTunnel.set(tunnel, address);
    const remote = this.#remotes.get(address);
    if (remote) {
      remote.tunnels.add(tunnel);
      return;
    }
    this.#remotes.set(address, { tunnels: new Set([tunnel]), neighbour: undefined });
    this.#effects.push({ kind: 'route', remote: address });
  }

  #removeTunnel(tunnel: string): void {
    const address = this.#remoteOfTunnel.get(tunnel);
    if (address === undefined) return;
    this.#remoteOfTunnel.delete(tunnel);
    const remote = this.#remotes.get(address)!;
    remote.tunnels.delete(tunnel);
    if (remote.tunnels.size > 0) return;
    this.#detach(address, remote);
    this.#remotes.delete(address);
  }

  #route(address: Address, hop: NextHop | undefined, now: Instant): void {
    const remote = this.#remotes.get(address);
    if (!remote) return;
    const before = remote.neighbour;
    if (before && hop && before.address === hop.address && before.ifindex === hop.ifindex) return;
    this.#detach(address, remote);
    if (!hop) return;
    const key = keyOf(hop);
    let neighbour = this.#neighbours.get(key);
    if (!neighbour) {
      neighbour = new Neighbour(hop.address, hop.ifindex, this.#timing);
      if (this.#down.has(hop.ifindex)) neighbour.state = 'down';
      this.#neighbours.set(key, neighbour);
    }
    neighbour.remotes.add(address);
    remote.neighbour = neighbour;
    const known = neighbour.resolution([address]);
    if (known) this.#change({ op: 'set', why: 'added', reachable: neighbour.state === 'reachable', to: known });
    else if (this.#timing.proactive) this.#begin(neighbour, now);
  }

  #detach(address: Address, remote: Remote): void {
    const { neighbour } = remote;
    if (!neighbour) return;
    remote.neighbour = undefined;
    neighbour.remotes.delete(address);
    const known = neighbour.resolution([address]);
    if (known) this.#change({ op: 'removed', why: 'unused', to: known });
    if (neighbour.remotes.size > 0) return;
    this.#neighbours.delete(keyOf(neighbour));
    this.#reasserted.delete(neighbour);
  }

  #heard(neighbour: Neighbour, mac: Mac, confirms: boolean, weak: boolean, now: Instant): void {
    if (neighbour.state === 'down') return;
    if (weak && neighbour.known && neighbour.mac !== mac) {
      neighbour.doubt(now);
      return;
    }
    const before = neighbour.mac;
    neighbour.mac = mac;
    // Who has just answered needs no other proof because he also asks.
    if (confirms) neighbour.confirm(now);
    else if (before !== mac || neighbour.state === 'failed') neighbour.doubt(now);
    else return;
    const why = before === undefined ? 'added' : before === mac ? 'confirmed' : 'changed';
    this.#change({ op: 'set', why, reachable: confirms, to: neighbour.resolution()! });
  }

  #kernel(neighbour: Neighbour, mac: Mac | undefined, now: Instant): void {
    if (mac !== undefined) {
      if (mac !== neighbour.mac && mac !== neighbour.distrusted) this.#heard(neighbour, mac, false, false, now);
      return;
    }
    const known = neighbour.resolution();
    if (!known) return;
    if (!this.#timing.proactive) {
      this.#change({ op: 'removed', why: 'failed', to: known });
      neighbour.invalidate(true);
      neighbour.distrusted = undefined;
      return;
    }
    const last = this.#reasserted.get(neighbour);
    if (neighbour.state !== 'reachable' || (last !== undefined && now - last < REASSERT)) return;
    this.#reasserted.set(neighbour, now);
    this.#change({ op: 'set', why: 'confirmed', reachable: true, to: known });
  }

  #link(ifindex: number, up: boolean, now: Instant): void {
    if (up) this.#down.delete(ifindex);
    else this.#down.add(ifindex);
    const concerned = [...this.#neighbours.values()].filter((neighbour) => neighbour.ifindex === ifindex);
    // All stale headers go before the first question: what is sent meanwhile must not use them.
    const wanted = concerned.map((neighbour) => {
      const used = neighbour.known || neighbour.state === 'resolving';
      const known = neighbour.invalidate(up);
      if (known) this.#change({ op: 'removed', why: 'invalidated', to: known });
      return used || this.#timing.proactive;
    });
    if (up) for (const [index, neighbour] of concerned.entries()) if (wanted[index]) this.#begin(neighbour, now);
  }

  #demand(address: Address, now: Instant): void {
    const remote = this.#remotes.get(address);
    if (!remote) return;
    const { neighbour } = remote;
    if (!neighbour) {
      this.#effects.push({ kind: 'route', remote: address });
      return;
    }
    const known = neighbour.resolution();
    if (known && neighbour.state === 'reachable') {
      // It waits though its neighbour is known: the data path has lost the entry.
      this.#change({ op: 'set', why: 'confirmed', reachable: true, to: known });
      return;
    }
    if (neighbour.state !== 'resolving') this.#begin(neighbour, now);
  }

  #elapsed(now: Instant): void {
    for (const neighbour of this.#neighbours.values()) {
      if (neighbour.due === undefined || neighbour.due > now) continue;
      const known = neighbour.resolution();
      const { asking, failed } = neighbour.elapsed(now);
      if (failed && known) {
        this.#change({ op: 'removed', why: 'failed', to: known });
        neighbour.mac = undefined;
      }
      if (asking) this.#ask(neighbour, asking.mac);
    }
  }

  #begin(neighbour: Neighbour, now: Instant): void {
    const asking = neighbour.begin(now);
    if (asking) this.#ask(neighbour, asking.mac);
  }

  #ask({ ifindex, address }: Neighbour, mac: Mac | undefined): void {
    this.#effects.push({ kind: 'ask', ifindex, address, mac });
  }

  #change(change: NeighbourChange): void {
    this.#effects.push({ kind: 'changed', change });
  }
}

/** IPv6 link-local addresses are told apart by their link. */
const keyOf = ({ ifindex, address }: NextHop): string => `${ifindex} ${address}`;
