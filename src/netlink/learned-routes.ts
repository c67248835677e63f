/**
 * Routes that a speaker selected, in the kernel: one installer for each speaker, told apart by the kernel's protocol
 * number so that each finds its own again after a restart.
 *
 * For every prefix there is what is wanted and what the kernel was last known to have. A change of either makes the
 * prefix dirty, and dirty prefixes are written, the first thousand in the same turn, the rest in the next turns.
 * Only next hops whose port is up are written. When a port goes down, the routes through it lose that next hop at once
 * (or go, so that a worse route takes over) before any speaker has noticed; the kernel itself goes on using a next hop
 * whose carrier is lost, and drops routes of a port that is set down without telling. When the port is back they are
 * written again, and so they are when the notifications of it were lost. What the kernel refuses is tried again when a port or an address changes, and by a timer.
 */
import { makeRoute, type Request, type Route, type RouteNextHop, RTN, RTNH_F, requests } from 'rtnetlink-ts';
import { type Address, familyOf, type Prefix, parseAddress, parsePrefix } from '../model/address.ts';
import type { Clock, Timer } from '../model/clock.ts';
import type { LearnedRoute, NextHop } from '../model/hosts.ts';
import { isUp, onLink, type Port, type PortChange } from '../model/ports.ts';
import { Arrivals } from './arrivals.ts';
import {
  type Counters,
  countRefusals,
  type PortTable,
  type ReconcileReport,
  Restoring,
  RetryPause,
  type RouteSocket,
  readRoutes,
} from './installing.ts';
import { metricOf, type Slot, sameRoute, settle } from './route-slots.ts';

export interface LearnedRouteOptions {
  /** Kernel protocol number (RTPROT_*), own to one speaker: e.g. 202 OSPF, 203 BGP. */
  readonly protocol: number;
  /** Default 254 (main). */
  readonly table?: number;
  /** Used instead of the route's own metric when given. */
  readonly metric?: number;
}

const WRITTEN_PER_TURN = 1000;
/** A neighbour may send as many next hops as routes. */
const REMEMBERED_HOPS = 4096;
interface Entry {
  /** undefined: to be removed. */
  wanted: LearnedRoute | undefined;
  /** As last written; undefined: not there as far as we know. */
  kernel: Route | undefined;
  /** How often it was written. */
  orders: number;
  /** Metrics at which the kernel may hold a route beside it, which it refused to remove or to replace. */
  readonly left: Set<number>;
  /** The kernel has acknowledged all of `wanted`. */
  installed: boolean;
  /** The kernel refused it, or none of its next hops can be used now. */
  waiting: boolean;
}

interface Order {
  readonly entry: Entry;
  readonly prefix: Prefix;
  /** As it is in the kernel afterwards. */
  readonly route: Route | undefined;
  readonly slots: readonly Slot[];
  /** Of `orders`. */
  readonly number: number;
}

export class LearnedRouteInstaller {
  readonly #rtnetlink: RouteSocket;
  readonly #links: PortTable;
  readonly #clock: Clock;
  readonly #options: LearnedRouteOptions;
  readonly #table: number;
  readonly #entries = new Map<Prefix, Entry>();
  readonly #dirty = new Set<Prefix>();
  readonly #arrivals = new Arrivals();
  #onAnswer: () => void = () => undefined;
  /** Wanted, and not installed. */
  #missing = 0;
  /** The port that a next hop without an interface is reached by; forgotten when a port changes. */
  readonly #towards = new Map<Address, string | undefined>();
  /** As the kernel is told of them, by interface and address, and for which state of the port. Forgotten likewise. */
  readonly #hops = new Map<string, { readonly port: Port | undefined; readonly hop: RouteNextHop | undefined }>();
  readonly #counters: Counters = {};
  readonly #unsubscribe: () => void;
  readonly #restoring: Restoring;
  #flushing: NodeJS.Immediate | undefined;
  #retryTimer: Timer | undefined;
  readonly #retry = new RetryPause();
  #closed = false;

  constructor(rtnetlink: RouteSocket, links: PortTable, clock: Clock, options: LearnedRouteOptions) {
    this.#rtnetlink = rtnetlink;
    this.#links = links;
    this.#clock = clock;
    this.#options = options;
    this.#table = options.table ?? 254;
    this.#unsubscribe = links.afterChange((change) => this.#portChanged(change));
    this.#restoring = new Restoring(links, clock, this.#counters, () => this.#restore());
  }

  /** Puts the changes into the kernel, in this turn when they are few; a route without next hops is removed. */
  update(routes: readonly LearnedRoute[]): void {
    for (const route of routes) this.#want(route.prefix, route.nextHops.length > 0 ? route : undefined);
    this.#flush();
  }

  /**
   * Resolves once the kernel has acknowledged `prefix` with its present next hops, also when it is not wanted yet;
   * rejects when it is removed or after `close`.
   */
  installed(prefix: Prefix): Promise<void> {
    if (this.isInstalled(prefix)) return Promise.resolve();
    return this.#arrivals.wait(prefix);
  }

  isInstalled(prefix: Prefix): boolean {
    return this.#entries.get(prefix)?.installed === true;
  }

  /** The kernel has acknowledged all that is wanted. */
  get complete(): boolean {
    return this.#missing === 0;
  }

  /** The listener hears each time that the kernel has answered: what is installed may be other routes than before. */
  onAnswer(listener: () => void): void {
    this.#onAnswer = listener;
  }

  /** What the kernel holds with our protocol and table now. */
  async adopt(): Promise<LearnedRoute[]> {
    return (await this.#read()).map((route) => ({
      prefix: parsePrefix(route.destination)!,
      metric: route.metric ?? 0,
      nextHops: route.nextHops.flatMap((hop) => {
        const via = parseAddress(hop.gateway ?? '');
        const name = hop.ifindex === undefined ? undefined : this.#links.portByIndex(hop.ifindex)?.name;
        return via ? [{ via, ...(name === undefined ? {} : { interface: name }) }] : [];
      }),
    }));
  }

  /** At restart, once the speaker has converged: exactly `wanted` stays; equal routes are not touched. */
  async reconcile(wanted: Iterable<LearnedRoute>): Promise<ReconcileReport> {
    const present = await this.#read();
    // What the speakers have learned while the kernel was read is in it.
    const routes = new Map([...wanted].map((route) => [route.prefix, route]));
    const refusedBefore = this.#refusals();
    let kept = 0;
    let removed = 0;
    for (const route of present) {
      const prefix = parsePrefix(route.destination)!;
      const entry = this.#entry(prefix);
      entry.kernel = route;
      const next = routes.get(prefix);
      if (!next) removed++;
      else if (sameRoute(this.#desired(next), route)) kept++;
    }
    for (const [prefix] of this.#entries) this.#want(prefix, routes.get(prefix));
    for (const route of routes.values()) this.#want(route.prefix, route);
    while (this.#dirty.size > 0) {
      await this.#flush();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { kept, added: routes.size - kept, removed, failed: this.#refusals() - refusedBefore };
  }

  /** Removes all routes. */
  async leave(): Promise<void> {
    await this.reconcile([]);
    this.close();
  }

  /** The routes stay in the kernel. */
  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#restoring.close();
    this.#retryTimer?.cancel();
    clearImmediate(this.#flushing);
    this.#arrivals.close();
  }

  /** What the kernel refused, by `RTM_* CODE`, and how many routes are there and wait. */
  counters(): Readonly<Record<string, number>> {
    let installed = 0;
    for (const entry of this.#entries.values()) if (entry.installed) installed++;
    return { ...this.#counters, installed, waiting: this.#entries.size - installed };
  }

  #refusals(): number {
    return Object.values(this.#counters).reduce((sum, count) => sum + count, 0);
  }

  #entry(prefix: Prefix): Entry {
    let entry = this.#entries.get(prefix);
    if (!entry) {
      entry = { wanted: undefined, kernel: undefined, orders: 0, left: new Set(), installed: false, waiting: false };
      this.#entries.set(prefix, entry);
    }
    return entry;
  }

  #want(prefix: Prefix, route: LearnedRoute | undefined): void {
    if (!route && !this.#entries.has(prefix)) {
      this.#arrivals.gone(prefix);
      return;
    }
    const entry = this.#entry(prefix);
    this.#mark(entry, route, false);
    this.#dirty.add(prefix);
  }

  #mark(entry: Entry, wanted: LearnedRoute | undefined, installed: boolean): void {
    if (entry.wanted && !entry.installed) this.#missing--;
    entry.wanted = wanted;
    entry.installed = installed;
    if (wanted && !installed) this.#missing++;
  }

  /** Writes dirty prefixes; the promise is the kernel's answer to those of this turn. */
  #flush(): Promise<void> {
    const batch: Request[] = [];
    const written: Order[] = [];
    for (const prefix of this.#dirty) {
      if (written.length >= WRITTEN_PER_TURN) break;
      this.#dirty.delete(prefix);
      const entry = this.#entries.get(prefix);
      if (!entry) continue;
      const route = entry.wanted && this.#desired(entry.wanted);
      const slots = this.#write(batch, prefix, entry, route);
      entry.waiting = entry.wanted !== undefined && route === undefined;
      written.push({ entry, prefix, route: entry.kernel, slots, number: ++entry.orders });
    }
    if (this.#dirty.size > 0) {
      this.#flushing ??= setImmediate(() => {
        this.#flushing = undefined;
        this.#flush();
      });
    }
    if (written.length === 0) return Promise.resolve();
    return this.#rtnetlink.sendNow(batch).then((result) => {
      countRefusals(this.#counters, result);
      const refused = new Map(result.refused.map(({ index, refusal }) => [index, refusal]));
      for (const order of written) {
        let failed = false;
        for (const slot of order.slots) failed = !settle(slot, order.entry.left, refused.get(slot.index)) || failed;
        this.#answered(order, failed);
      }
      this.#onAnswer();
    });
  }

  #write(batch: Request[], prefix: Prefix, entry: Entry, route: Route | undefined): readonly Slot[] {
    const before = entry.kernel;
    const slots: Slot[] = [];
    const others = new Set(entry.left);
    if (before) others.add(metricOf(before));
    entry.kernel = undefined;
    if (route) {
      const metric = metricOf(route);
      const isThere = others.delete(metric);
      const isSame = sameRoute(before, route);
      // The same object as before: a refusal of it that is still on its way is one of this order too.
      entry.kernel = isSame ? before : route;
      if (!isSame) {
        slots.push({ index: batch.length, metric, isWrite: true, isThere });
        batch.push(requests.setRoute(route));
      }
    }
    for (const metric of others) {
      slots.push({ index: batch.length, metric, isWrite: false, isThere: true });
      batch.push(requests.deleteRoute(this.#slotAt(prefix, metric)));
    }
    return slots;
  }

  /** For a deletion: the kernel would not find the route by next hops that it has dropped meanwhile. */
  #slotAt(destination: Prefix, metric: number): Route {
    return makeRoute({ destination, table: this.#table, protocol: this.#options.protocol, metric, nextHops: [] });
  }

  #answered({ prefix, entry, route, number }: Order, failed: boolean): void {
    // Overtaken by a later change, which has an answer of its own.
    if (this.#entries.get(prefix) !== entry || entry.kernel !== route || this.#dirty.has(prefix)) return;
    if (!route && entry.orders !== number) return;
    if (failed) {
      entry.kernel = undefined;
      entry.waiting = true;
    } else if (route && entry.wanted) {
      this.#mark(entry, entry.wanted, true);
      this.#arrivals.arrived(prefix);
    } else if (!entry.wanted) {
      if (entry.left.size === 0) this.#entries.delete(prefix);
      this.#arrivals.gone(prefix);
    }
    if (entry.waiting || entry.left.size > 0) this.#retryLater();
    else this.#retry.reset();
  }

  #retryLater(): void {
    if (this.#retryTimer || this.#closed) return;
    const pause = this.#retry.next(this.#unfinished().length);
    this.#retryTimer = this.#clock.schedule(this.#clock.now() + pause, () => {
      this.#retryTimer = undefined;
      this.#retryWaiting();
    });
  }

  #retryWaiting(): void {
    for (const prefix of this.#unfinished()) this.#dirty.add(prefix);
    this.#flush();
  }

  #unfinished(): Prefix[] {
    return [...this.#entries].flatMap(([prefix, entry]) => (entry.waiting || entry.left.size > 0 ? [prefix] : []));
  }

  #portChanged({ name, before, after }: PortChange): void {
    this.#towards.clear();
    this.#hops.clear();
    if (isUp(before) !== isUp(after)) {
      for (const [prefix, entry] of this.#entries) {
        if (entry.waiting || this.#uses(entry, name, (after ?? before)!.ifindex)) {
          // A port that was down has lost its routes, whatever we remember of them.
          if (isUp(after)) entry.kernel = undefined;
          this.#mark(entry, entry.wanted, false);
          this.#dirty.add(prefix);
        }
      }
      this.#flush();
    } else if (before?.addresses !== after?.addresses) this.#retryWaiting();
  }

  /** What the kernel was known to have, and has not, is written again. */
  async #restore(): Promise<void> {
    const known = [...this.#entries].map(([prefix, entry]) => ({ prefix, entry, route: entry.kernel }));
    if (this.#closed || known.length === 0) return;
    const present = new Map<string, Route[]>();
    for (const route of await this.#read()) {
      const prefix = parsePrefix(route.destination)!;
      present.set(prefix, [...(present.get(prefix) ?? []), route]);
    }
    if (this.#closed) return;
    for (const { prefix, entry, route } of known) {
      // What was written while the tables were read may be newer than they are.
      if (!route || !entry.wanted || entry.kernel !== route || this.#entries.get(prefix) !== entry) continue;
      if (present.get(prefix)?.some((each) => sameRoute(each, route))) continue;
      entry.kernel = undefined;
      this.#mark(entry, entry.wanted, false);
      this.#dirty.add(prefix);
    }
    this.#flush();
  }

  #uses(entry: Entry, name: string, ifindex: number): boolean {
    return (
      entry.wanted?.nextHops.some((hop) => (hop.interface ?? this.#portTowards(hop.via)) === name) === true ||
      entry.kernel?.nextHops.some((hop) => hop.ifindex === ifindex) === true
    );
  }

  /** The route with those next hops that can be used now; undefined when there is none. */
  #desired(route: LearnedRoute): Route | undefined {
    const nextHops: RouteNextHop[] = [];
    for (const hop of route.nextHops) {
      const usable = this.#hopOf(hop);
      if (usable) nextHops.push(usable);
    }
    if (nextHops.length === 0) return undefined;
    return makeRoute({
      destination: route.prefix,
      table: this.#table,
      protocol: this.#options.protocol,
      metric: this.#options.metric ?? route.metric,
      nextHops,
    });
  }

  /** Thousands of routes have the same. */
  #hopOf({ via, interface: name = '' }: NextHop): RouteNextHop | undefined {
    const port = this.#links.port(name || (this.#portTowards(via) ?? ''));
    const key = `${name} ${via}`;
    const known = this.#hops.get(key);
    if (known && known.port === port) return known.hop;
    const hop = (port ? isUp(port) : name === '') ? hopThrough(port, via) : undefined;
    if (this.#hops.size < REMEMBERED_HOPS) this.#hops.set(key, { port, hop });
    return hop;
  }

  #portTowards(via: Address): string | undefined {
    if (!this.#towards.has(via)) this.#towards.set(via, this.#links.portTowards(via)?.name);
    return this.#towards.get(via);
  }

  #read(): Promise<Route[]> {
    const filter = { table: this.#table, protocol: this.#options.protocol, type: RTN.UNICAST };
    return readRoutes(this.#rtnetlink, filter);
  }
}

const hopThrough = (port: Port | undefined, via: Address): RouteNextHop => ({
  gateway: via,
  ...(port ? { ifindex: port.ifindex } : {}),
  // A next hop on a link without a subnet of ours (unnumbered) is there because the speaker says so.
  ...(port && !onLink(port, via) && familyOf(via) === 4 ? { flags: RTNH_F.ONLINK } : {}),
});
