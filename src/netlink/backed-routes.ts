/**
 * Learned routes with their backups, for a gateway: what has to be done when a next hop is lost is in the kernel before.
 *
 * Each route points to a next-hop group (next-hop-objects.ts), and its backup stands beside it as a second route of the
 * same prefix at a worse metric. Three things can happen then:
 *
 * - The port of the next hop loses its carrier. The kernel removes the object and all routes over it by itself, within
 *   150 us, and the second routes serve. We hear of the port and know what is gone; there is nothing to write until the
 *   speaker decides anew or the port is back.
 * - A session or BFD says that a next hop is dead behind a port that is up: `switchOver` replaces each group that has it
 *   by the group's backup, one message for each pair of next hop and backup, however many routes they have. The speaker
 *   makes up its mind afterwards, and its routes are written behind that in portions.
 * - The speaker says something else: every change is one replacement, without a moment in which the prefix has no route.
 *
 * What a refusal leaves is known (orders.ts): it is tried again by a timer and with each port or address that changes.
 * The kernel's tables are read before anything is written, so that routes of an earlier life are known and stay until
 * `reconcile`; they are read again when notifications were lost, since a port that flapped took its routes in silence.
 */
import type { Rtnetlink } from 'rtnetlink-ts';
import type { Address, Prefix } from '../model/address.ts';
import type { Clock, Timer } from '../model/clock.ts';
import type { LearnedRoute } from '../model/hosts.ts';
import { isUp, type PortChange } from '../model/ports.ts';
import { Arrivals } from './arrivals.ts';
import {
  adopt,
  type Entry,
  isAsWanted,
  isThere,
  learnedOf,
  metricOf,
  newEntry,
  type Place,
  trim,
  type Want,
  write,
} from './backed/entry.ts';
import { Failures } from './backed/failures.ts';
import { type Group, type Hop, NextHopObjects } from './backed/next-hop-objects.ts';
import { Orders } from './backed/orders.ts';
import { type Picture, readPicture } from './backed/picture.ts';
import type { BackedRouteOptions, SwitchOver } from './backed/types.ts';
import { type Counters, type PortTable, type ReconcileReport, Restoring, RetryPause } from './installing.ts';

/** What this installer needs of the connection for requests. */
export type ObjectSocket = Pick<Rtnetlink, 'sendAndSee' | 'dumpRoutes' | 'dumpNextHops'>;

const MAIN_TABLE = 254;
const WRITTEN_PER_TURN = 1000;
const READINGS = 5;

export class BackedRouteInstaller {
  readonly #rtnetlink: ObjectSocket;
  readonly #clock: Clock;
  readonly #options: BackedRouteOptions;
  readonly #place: Place;
  readonly #objects: NextHopObjects;
  readonly #entries = new Map<Prefix, Entry>();
  readonly #dirty = new Set<Prefix>();
  readonly #arrivals = new Arrivals();
  readonly #counters: Counters = { dropped: 0, switchOvers: 0, switched: 0, compatMode: 0 };
  readonly #unsubscribe: () => void;
  readonly #restoring: Restoring;
  readonly #failures: Failures;
  /** The first picture of the kernel; nothing is written before. */
  readonly #first = Promise.withResolvers<void>();
  #known = false;
  /** Counts what could make a picture old while it is read. */
  #events = 0;
  #flushing: NodeJS.Immediate | undefined;
  #retryTimer: Timer | undefined;
  readonly #retry = new RetryPause();
  #closed = false;

  constructor(rtnetlink: ObjectSocket, links: PortTable, clock: Clock, options: BackedRouteOptions) {
    this.#rtnetlink = rtnetlink;
    this.#clock = clock;
    this.#options = options;
    this.#place = { protocol: options.protocol, table: options.table ?? MAIN_TABLE };
    this.#objects = new NextHopObjects(links, options.protocol);
    this.#failures = new Failures(this.#objects, clock, () => {
      this.#bringGroupsUp();
      this.#retryWaiting();
    });
    if (options.quiet === false) this.#counters.compatMode = 1;
    this.#unsubscribe = links.afterChange((change) => this.#portChanged(change));
    this.#restoring = new Restoring(links, clock, this.#counters, () => this.#restore());
    this.#restoring.start();
  }

  /** Puts the changes into the kernel, in this turn when they are few; a route without next hops is removed. */
  update(routes: readonly LearnedRoute[]): void {
    for (const route of routes) this.#want(route.prefix, route.nextHops.length > 0 ? route : undefined);
    this.#flush();
  }

  /**
   * `via` can not be reached (by `port`, when given), although the port may be up: all routes of which it is the next hop
   * go by their other next hops or their backup when this returns. Routes that have neither stay as they are. It lasts
   * until `restore`, or until the speaker has had the time to say what it makes of it.
   */
  switchOver(via: Address, port?: string): SwitchOver {
    if (!this.#failures.add(via, port)) return { messages: 0, refused: 0, routes: 0 };
    const report = this.#bringGroupsUp();
    this.#counters.switchOvers!++;
    this.#counters.switched! += report.routes;
    return report;
  }

  /** What `switchOver` said of it is over. */
  restore(via: Address): void {
    this.#failures.forgive(via);
  }

  /**
   * Resolves once the kernel has acknowledged `prefix`, by its next hops or its backup, also when it is not wanted yet;
   * rejects when it is removed or after `close`.
   */
  installed(prefix: Prefix): Promise<void> {
    return this.isInstalled(prefix) ? Promise.resolve() : this.#arrivals.wait(prefix);
  }

  isInstalled(prefix: Prefix): boolean {
    const entry = this.#entries.get(prefix);
    return entry?.wanted !== undefined && !entry.refused && !this.#dirty.has(prefix) && entry.slots.some(isThere);
  }

  /** Where routes over the object lead now, as far as it is ours. */
  hopsOf(id: number): readonly { readonly ifindex: number; readonly via: Address }[] {
    const members = this.#objects.byId(id)?.members ?? [];
    return members.flatMap(({ there, via }) => (there ? [{ ifindex: there.ifindex, via }] : []));
  }

  /** What the kernel holds over objects of ours, as it was read last and written since. */
  async adopt(): Promise<LearnedRoute[]> {
    await this.#first.promise;
    return [...this.#entries.values()].flatMap((entry) => learnedOf(entry) ?? []);
  }

  /** At restart, once the speaker has converged: exactly `wanted` stays; equal routes are not touched. */
  async reconcile(wanted: Iterable<LearnedRoute>): Promise<ReconcileReport> {
    await this.#first.promise;
    await this.#look();
    // Only now: what was updated meanwhile is in it where it is a view of what is wanted.
    const routes = new Map([...wanted].map((route) => [route.prefix, route]));
    const refusedBefore = this.#refusals();
    let kept = 0;
    let removed = 0;
    for (const [prefix, entry] of this.#entries) {
      const next = routes.get(prefix);
      if (next && isAsWanted(entry, this.#wantsOf(next))) kept++;
      else if (!next && entry.slots.some(isThere)) removed++;
      this.#want(prefix, next);
    }
    for (const route of routes.values()) this.#want(route.prefix, route);
    do {
      this.#flush();
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#dirty.size > 0 && !this.#closed);
    return { kept, added: routes.size - kept, removed, failed: this.#refusals() - refusedBefore };
  }

  /** Removes all routes and objects. */
  async leave(): Promise<void> {
    await this.reconcile([]);
    this.close();
    this.#options.left?.();
  }

  /** Routes and objects stay in the kernel. */
  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#restoring.close();
    this.#retryTimer?.cancel();
    this.#failures.close();
    clearImmediate(this.#flushing);
    this.#first.resolve();
    this.#arrivals.close();
  }

  /**
   * What the kernel refused, by `RTM_* CODE`; routes that are there, wait, and have a backup beside them; objects; routes
   * that the kernel dropped with a port (`dropped`), switch-overs and the routes that they moved; `compatMode` 1: replacing
   * an object is slow on this box.
   */
  counters(): Readonly<Record<string, number>> {
    let installed = 0;
    let backed = 0;
    for (const [prefix, entry] of this.#entries) {
      if (!this.isInstalled(prefix)) continue;
      installed++;
      if (entry.slots.filter(isThere).length > 1) backed++;
    }
    const waiting = this.#entries.size - installed;
    return { ...this.#counters, ...this.#objects.sizes, installed, waiting, backed };
  }

  #refusals(): number {
    return Object.entries(this.#counters).reduce(
      (sum, [name, count]) => sum + (name.startsWith('RTM_') ? count : 0),
      0,
    );
  }

  #want(prefix: Prefix, route: LearnedRoute | undefined): void {
    const entry = this.#entries.get(prefix);
    if (entry) {
      entry.wanted = route;
      entry.inherited = false;
    } else if (route) this.#entries.set(prefix, newEntry(prefix, route));
    else {
      this.#arrivals.gone(prefix);
      return;
    }
    this.#dirty.add(prefix);
  }

  #wantsOf(route: LearnedRoute | undefined): readonly Want[] {
    if (!route) return [];
    const metric = metricOf(route.prefix, this.#options.metric ?? route.metric);
    const wants = [{ metric, group: this.#objects.group(route.nextHops, route.backup) }];
    const { backup } = wants[0]!.group;
    if (backup.length > 0) wants.push({ metric: metric + 1, group: this.#objects.group(route.backup!) });
    return wants;
  }

  #flush(): void {
    if (!this.#known || this.#closed) return;
    this.#dropDead();
    const orders = new Orders();
    const written: [Entry, readonly Want[]][] = [];
    const writing = { place: this.#place, objects: this.#objects, orders, onRefused: this.#onRefused };
    for (const prefix of this.#dirty) {
      if (written.length >= WRITTEN_PER_TURN) break;
      this.#dirty.delete(prefix);
      const entry = this.#entries.get(prefix);
      if (!entry || entry.inherited) continue;
      const wants = this.#wantsOf(entry.wanted);
      write(entry, wants, writing);
      written.push([entry, wants]);
    }
    this.#send(orders);
    const removals = new Orders();
    for (const [entry, wants] of written) trim(entry, wants, { ...writing, orders: removals });
    this.#send(removals);
    for (const [entry] of written) this.#settle(entry);
    if (this.#dirty.size > 0) this.#flushSoon();
    else {
      const spare = new Orders();
      this.#objects.collect(spare);
      this.#send(spare);
    }
  }

  #flushSoon(): void {
    this.#flushing ??= setImmediate(() => {
      this.#flushing = undefined;
      this.#flush();
    });
  }

  #send(orders: Orders): number {
    if (orders.length > 0) this.#events++;
    return orders.send(this.#rtnetlink, this.#counters);
  }

  /** The kernel doesn't know a group that it should have: how that came can only be read. */
  readonly #onRefused = (code: string): void => {
    if (UNKNOWN_OBJECT.has(code)) this.#restoring.startLater();
  };

  #settle(entry: Entry): void {
    const { prefix } = entry;
    if (entry.refused) this.#retryLater();
    else this.#retry.reset();
    if (this.isInstalled(prefix)) this.#arrivals.arrived(prefix);
    else if (!entry.wanted && !entry.refused) {
      this.#entries.delete(prefix);
      this.#arrivals.gone(prefix);
    }
  }

  #retryLater(): void {
    if (this.#retryTimer || this.#closed) return;
    const pause = this.#retry.next(this.#unfinished().length);
    this.#retryTimer = this.#clock.schedule(this.#clock.now() + pause, () => {
      this.#retryTimer = undefined;
      this.#objects.tryAgain();
      this.#bringGroupsUp();
      this.#retryWaiting();
    });
  }

  #retryWaiting(): void {
    for (const prefix of this.#unfinished()) this.#dirty.add(prefix);
    this.#flush();
  }

  #unfinished(): Prefix[] {
    return [...this.#entries].flatMap(([prefix, entry]) => (entry.waiting || entry.refused ? [prefix] : []));
  }

  /** Groups that routes use get the members that they should have now. */
  #bringGroupsUp(): SwitchOver {
    this.#dropDead();
    const orders = new Orders();
    const changed: [Group, readonly Hop[]][] = [];
    for (const group of this.#objects.groups()) {
      if (group.routes === 0) continue;
      const { members } = group;
      this.#objects.prepare(group, orders);
      if (group.members !== members) changed.push([group, members]);
    }
    const refused = this.#send(orders);
    if (refused > 0) this.#retryLater();
    if (changed.length > 0) this.#options.changed?.();
    const routes = changed.reduce((sum, [group, before]) => sum + (group.members === before ? 0 : group.routes), 0);
    return { messages: orders.length, refused, routes };
  }

  #dropDead(): void {
    this.#dropped(this.#objects.dropDead());
  }

  #dropped(routes: number): void {
    this.#counters.dropped! += routes;
    if (routes > 0) this.#options.changed?.();
  }

  #portChanged({ before, after }: PortChange): void {
    const turned = isUp(before) !== isUp(after);
    if (!turned && before?.addresses === after?.addresses) return;
    this.#events++;
    this.#objects.portsChanged();
    if (turned) {
      // A port that was down has lost its routes, whatever we remember of them.
      for (const ifindex of new Set([before?.ifindex, after?.ifindex]))
        if (ifindex !== undefined) this.#dropped(this.#objects.drop(ifindex));
      for (const [prefix, entry] of this.#entries) if (!entry.slots.every(isThere)) this.#dirty.add(prefix);
    }
    for (const prefix of this.#unfinished()) this.#dirty.add(prefix);
    if (isUp(after) && this.#known) {
      this.#bringGroupsUp();
      this.#flush();
    } else this.#flushSoon();
  }

  /** Reads the kernel's tables and writes what is missing. */
  async #restore(): Promise<void> {
    await this.#look();
    this.#known = true;
    this.#first.resolve();
    this.#bringGroupsUp();
    this.#flush();
  }

  async #look(): Promise<void> {
    for (let reading = 1; ; reading++) {
      const before = this.#events;
      const picture = await readPicture(this.#rtnetlink, this.#place);
      if (this.#closed) return;
      if (before === this.#events || reading === READINGS) {
        this.#take(picture);
        return;
      }
    }
  }

  #take({ objects, routes, backupOf }: Picture): void {
    this.#objects.adopt(objects, backupOf);
    for (const group of this.#objects.groups()) group.routes = 0;
    for (const [prefix, each] of routes) {
      const entry = this.#entries.get(prefix) ?? newEntry(prefix, undefined);
      this.#entries.set(prefix, entry);
      adopt(entry, each, this.#objects);
    }
    for (const [prefix, entry] of this.#entries) {
      if (!routes.has(prefix)) entry.slots = [];
      if (!entry.inherited && !isAsWanted(entry, this.#wantsOf(entry.wanted))) this.#dirty.add(prefix);
    }
    // Who has read routes over an object before we knew it does not know where they lead.
    this.#options.changed?.();
  }
}

/** Of a route over a group that is not there; over a member that is not there. */
const UNKNOWN_OBJECT: ReadonlySet<string> = new Set(['EINVAL', 'ENOENT']);
