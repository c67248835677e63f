/**
 * Announced hosts, in a kernel table of their own, for a routing daemon on the box to announce (FRR, BIRD).
 *
 * The table is a wire: what stands there is announced, what is taken out is withdrawn, in the turn of the event. A host
 * stands there as a /32 (/128) onto its port, and nothing is forwarded by it. How strongly it is claimed is its metric,
 * `metric` - level, as in OSPF: the daemon's filter makes of it what its protocol decides by.
 *
 * A change leaves no gap: another port is a replacement, another level is an addition before a deletion, since a daemon
 * that saw the route go would say so, and BIRD's OSPF then waits five seconds before it says anything else. But what
 * zebra (8.4) imports from a table it forgets when the route is replaced, and when any other of the prefix goes: for it
 * (`reader: 'zebra'`) a change is a deletion and then an addition, which it both reads before it announces anything.
 *
 * What anybody else takes out, what the kernel takes out by itself when a port is set down, and what it refused, is
 * found by comparing the table with what is wanted, a moment later and then ever more seldom while it does not hold.
 */
import { AF, type BatchResult, makeRoute, type Request, type Route, RTN, requests } from 'rtnetlink-ts';
import { type Address, hostPrefix, type Prefix, parseAddress, prefixAddress, prefixLength } from '../model/address.ts';
import type { Clock, Timer } from '../model/clock.ts';
import type { Announcer, HostDelta, HostRoute, WireReport } from '../model/hosts.ts';
import { isUp } from '../model/ports.ts';
import {
  type Counters,
  countRefusals,
  type PortTable,
  type ReconcileReport,
  Restoring,
  type RouteSocket,
  readRoutes,
  sendPaced,
} from './installing.ts';
import type { RouteWatch } from './route-watch.ts';

export interface HandoffOptions {
  readonly table: number;
  /** Default 201. */
  readonly protocol?: number;
  /** Default `bird`: whoever follows the kernel's notifications. */
  readonly reader?: 'bird' | 'zebra';
  /** Of a claim of level 0; default HANDOFF_METRIC. */
  readonly metric?: number;
}

export const HANDOFF_METRIC = 20;

const FIRST_LOOK = 100;
const LONGEST_LOOK = 10_000;

interface Place {
  readonly ifindex: number;
  readonly metric: number;
}

export class HandoffTable implements Announcer {
  readonly name = 'handoff';
  readonly #rtnetlink: RouteSocket;
  readonly #links: PortTable;
  readonly #clock: Clock;
  readonly #table: number;
  readonly #protocol: number;
  readonly #metric: number;
  readonly #renews: boolean;
  readonly #wanted = new Map<Address, Place>();
  /** What the kernel holds, as far as we know. */
  readonly #present = new Map<Address, Place>();
  /** Written while the table was being read. */
  #written: Set<Address> | undefined;
  /** What an earlier life left, and nobody has claimed since, is unwanted. */
  #settled = false;
  readonly #counters: Counters = {};
  readonly #unsubscribe: (() => void)[];
  readonly #restoring: Restoring;
  #timer: Timer | undefined;
  #look = FIRST_LOOK;
  #closed = false;
  #answered: Promise<unknown> = Promise.resolve();

  constructor(rtnetlink: RouteSocket, links: PortTable, clock: Clock, options: HandoffOptions) {
    this.#rtnetlink = rtnetlink;
    this.#links = links;
    this.#clock = clock;
    this.#table = options.table;
    this.#protocol = options.protocol ?? 201;
    this.#metric = options.metric ?? HANDOFF_METRIC;
    this.#renews = options.reader === 'zebra';
    this.#unsubscribe = [
      links.afterChange(({ before, after }) => {
        // A port that is set down takes its routes along, and the kernel says nothing of it.
        if (isUp(before) !== isUp(after)) this.#lookLater();
      }),
    ];
    this.#restoring = new Restoring(links, clock, this.#counters, async () => {
      await this.#compare();
    });
  }

  /** What others take out is put back at once. */
  follow(watch: RouteWatch): void {
    this.#unsubscribe.push(watch.onRoute(({ before, after }) => this.#told(before, after)));
  }

  /** Everything is in the kernel when this returns; refusals are counted when its answers have been read. */
  apply(delta: HostDelta): WireReport {
    const batch: Request[] = [];
    for (const address of delta.withdrawn) {
      this.#wanted.delete(address);
      this.#take(batch, address);
    }
    for (const host of delta.announced) {
      this.#wanted.set(host.address, this.#placeOf(host));
      this.#put(batch, host.address);
    }
    if (batch.length === 0) return { packets: 0 };
    const firstByteAt = this.#clock.now();
    this.#send(batch);
    return { firstByteAt, lastByteAt: this.#clock.now(), packets: batch.length };
  }

  /** Resolves when the kernel's answers to everything applied so far are counted. */
  async settled(): Promise<void> {
    await this.#answered;
  }

  /** Reads what an earlier life left there; it stays until `reconcile`. */
  async adopt(): Promise<Address[]> {
    for (const [address, places] of await this.#read()) this.#present.set(address, places[0]!);
    return [...this.#present.keys()];
  }

  /** Makes the table hold exactly `wanted`; equal routes are not touched. */
  async reconcile(wanted: Iterable<HostRoute>): Promise<ReconcileReport> {
    const hosts = [...wanted];
    this.#wanted.clear();
    for (const host of hosts) this.#wanted.set(host.address, this.#placeOf(host));
    this.#settled = true;
    try {
      return await this.#compare();
    } catch (error) {
      this.#lookLater();
      throw error;
    }
  }

  /** Removes all of ours, and mends nothing any more. */
  async leave(): Promise<void> {
    this.close();
    this.#wanted.clear();
    this.#settled = true;
    await this.#compare();
  }

  /** The routes stay in the kernel. */
  close(): void {
    this.#closed = true;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#restoring.close();
    this.#timer?.cancel();
  }

  /** What the kernel refused, by `RTM_* CODE`, and what had to be mended. */
  counters(): Readonly<Record<string, number>> {
    return { ...this.#counters, hosts: this.#wanted.size };
  }

  #placeOf({ ifindex, level }: HostRoute): Place {
    return { ifindex, metric: this.#metric - level };
  }

  #take(batch: Request[], address: Address): void {
    const place = this.#present.get(address);
    if (!place) return;
    this.#present.delete(address);
    this.#written?.add(address);
    batch.push(requests.deleteRoute(this.#routeOf(address, place, true)));
  }

  #put(batch: Request[], address: Address): void {
    const place = this.#wanted.get(address);
    const present = this.#present.get(address);
    if (!place || (present && samePlace(place, present))) return;
    if (this.#renews) this.#take(batch, address);
    this.#present.set(address, place);
    this.#written?.add(address);
    batch.push(requests.setRoute(this.#routeOf(address, place, false), this.#renews ? 'create' : 'replace'));
    if (!this.#renews && present && present.metric !== place.metric) {
      batch.push(requests.deleteRoute(this.#routeOf(address, present, true)));
    }
  }

  #send(batch: readonly Request[]): void {
    const result = this.#rtnetlink.sendNow(batch).then((answer: BatchResult) => {
      countRefusals(this.#counters, answer);
      if (answer.refused.length > 0) this.#lookLater();
    });
    this.#answered = Promise.all([this.#answered, result]);
  }

  /** A deletion names no next hop: it is found by its metric wherever it leads. */
  #routeOf(address: Address, place: Place, slot: boolean): Route {
    const route = makeRoute({
      destination: hostPrefix(address),
      table: this.#table,
      protocol: this.#protocol,
      metric: place.metric,
      nextHops: [{ ifindex: place.ifindex }],
    });
    return slot ? { ...route, nextHops: [] } : route;
  }

  #told(before: Route | undefined, after: Route | undefined): void {
    const route = (after ?? before)!;
    if (route.table !== this.#table || route.protocol !== this.#protocol) return;
    const address = hostAddress(route);
    const place = address && this.#present.get(address);
    // Ours is gone by another hand: our own deletions have left `present` already.
    if (!after && place && place.metric === route.metric && this.#wanted.has(address)) this.#lookLater();
  }

  #lookLater(): void {
    if (this.#closed || this.#timer) return;
    this.#timer = this.#clock.schedule(this.#clock.now() + this.#look, () => {
      this.#timer = undefined;
      this.#compare().then(
        ({ added, removed, failed }) => {
          if (failed > 0) this.#lookLater();
          // Somebody may be at work there who does not give in.
          this.#look = added + removed + failed > 0 ? Math.min(2 * this.#look, LONGEST_LOOK) : FIRST_LOOK;
        },
        () => {
          this.#counters.unread = (this.#counters.unread ?? 0) + 1;
          this.#lookLater();
        },
      );
    });
  }

  async #compare(): Promise<ReconcileReport> {
    const written = new Set<Address>();
    this.#written = written;
    const found = await this.#read().finally(() => {
      this.#written = undefined;
    });
    const extra: Route[] = [];
    for (const [address, places] of found) {
      const wanted = this.#wanted.get(address);
      const right = places.find((place) => wanted && samePlace(place, wanted));
      if (written.has(address)) continue;
      const kept = right ?? places[0]!;
      this.#present.set(address, kept);
      for (const place of places) if (place !== kept) extra.push(this.#routeOf(address, place, true));
    }
    for (const address of this.#present.keys()) {
      if (!found.has(address) && !written.has(address)) this.#present.delete(address);
    }
    const stale = this.#settled ? [...this.#present.keys()].filter((address) => !this.#wanted.has(address)) : [];
    const missing = [...this.#wanted].filter(([address, place]) => {
      const present = this.#present.get(address);
      return !(present && samePlace(place, present)) && isUp(this.#links.portByIndex(place.ifindex));
    });
    const failed =
      (await this.#paced(missing, ([address]) => this.#batch((batch) => this.#put(batch, address)))) +
      (await this.#paced(stale, (address) =>
        this.#batch((batch) => {
          if (!this.#wanted.has(address)) this.#take(batch, address);
        }),
      )) +
      (await this.#paced(extra, (route) => [requests.deleteRoute(route)]));
    if (missing.length > 0) this.#counters.mended = (this.#counters.mended ?? 0) + missing.length;
    return {
      kept: this.#wanted.size - missing.length,
      added: missing.length,
      removed: stale.length + extra.length,
      failed,
    };
  }

  #batch(fill: (batch: Request[]) => void): Request[] {
    const batch: Request[] = [];
    fill(batch);
    return batch;
  }

  #paced<T>(items: readonly T[], requestsFor: (item: T) => readonly Request[]): Promise<number> {
    return sendPaced(this.#rtnetlink, items, requestsFor, this.#counters);
  }

  async #read(): Promise<Map<Address, Place[]>> {
    const found = new Map<Address, Place[]>();
    for (const route of await readRoutes(this.#rtnetlink, { table: this.#table, protocol: this.#protocol })) {
      const address = hostAddress(route);
      if (!address) continue;
      const place = { ifindex: route.nextHops[0]?.ifindex ?? 0, metric: route.metric ?? 0 };
      found.set(address, [...(found.get(address) ?? []), place]);
    }
    return found;
  }
}

const samePlace = (one: Place, other: Place): boolean => one.ifindex === other.ifindex && one.metric === other.metric;

function hostAddress(route: Route): Address | undefined {
  const bits = route.family === AF.INET ? 32 : 128;
  const prefix = route.destination as Prefix;
  return route.type === RTN.UNICAST && prefixLength(prefix) === bits ? parseAddress(prefixAddress(prefix)) : undefined;
}
