/**
 * The kernel's projection of the host table: for each host a /32 (/128) onto its port, and its neighbour entry.
 *
 * The neighbour entry goes with the route so that the first packet of a host that has just moved here waits for no
 * address resolution. It is NUD_REACHABLE (we have just heard the host), with NTF_EXT_LEARNED: the kernel then never
 * collects it as garbage, but goes on checking it when it is used (REACHABLE, STALE, DELAY, PROBE, and FAILED when the
 * host no longer answers), takes a new MAC over from the host's own ARP, and drops it when the port loses its carrier.
 * A permanent entry would do none of the three; it is one only while somebody takes it again and again (see
 * neighbour-guard.ts).
 *
 * The route has metric 1: an operator's own static route (metric 0) wins, a route that another daemon learned from the
 * fabric for the same address (metric 20 and more; for IPv6 the kernel's default is 1024) loses.
 *
 * The kernel removes the routes of an interface that is set down without telling, and refuses new ones for it
 * (ENETDOWN); both are mended when the port comes up again, if the host is still ours then, and when the notifications
 * of it were lost.
 *
 * A deletion that the kernel refuses though there is something to delete (ENOBUFS, ENOMEM) leaves what nobody wants any
 * more; then all that the kernel has of ours is compared with what is wanted, until it is right.
 */
import { type BatchResult, type Neighbour, NTF, NUD, type Request, type Route, RTN, requests } from 'rtnetlink-ts';
import { type Address, type Prefix, parseAddress } from '../model/address.ts';
import type { Clock, Timer } from '../model/clock.ts';
import type { Announcer, HostDelta, HostRoute, WireReport } from '../model/hosts.ts';
import { isUp, type PortChange } from '../model/ports.ts';
import { neighbourId, neighbourOf, neighboursOf, removeNeighbours } from './host-neighbours.ts';
import { type HostRouteOptions, HostSlots } from './host-slots.ts';
import {
  type Counters,
  countRefusals,
  hostAddress,
  isLeftOver,
  type PortTable,
  type ReconcileReport,
  Restoring,
  type RouteSocket,
  sendPaced,
} from './installing.ts';
import { NeighbourGuard } from './neighbour-guard.ts';
import type { NeighbourEvent } from './neighbours.ts';
import { UNREACHABLE_METRIC, unreachables } from './unreachable.ts';

export type { HostRouteOptions } from './host-slots.ts';

const RETRY = 1000;
/** To compare costs a reading of the tables; but what was left there leads packets astray for as long. */
const LONGEST_RETRY = 2_000;

export class HostRouteInstaller implements Announcer {
  readonly name = 'kernel';
  readonly #rtnetlink: RouteSocket;
  readonly #links: PortTable;
  readonly #clock: Clock;
  readonly #slots: HostSlots;
  readonly #hosts = new Map<Address, HostRoute>();
  readonly #counters: Counters = {};
  readonly #unsubscribe: () => void;
  readonly #restoring: Restoring;
  /** Announced in a batch of which an addition was refused. */
  readonly #unsure = new Set<Address>();
  #timer: Timer | undefined;
  #mendTimer: Timer | undefined;
  #mendAfter = RETRY;
  #closed = false;
  #answered: Promise<unknown> = Promise.resolve();
  readonly #guard: NeighbourGuard;

  constructor(rtnetlink: RouteSocket, links: PortTable, clock: Clock, options: HostRouteOptions = {}) {
    this.#rtnetlink = rtnetlink;
    this.#links = links;
    this.#clock = clock;
    this.#slots = new HostSlots(links, options);
    this.#unsubscribe = links.afterChange((change) => this.#portChanged(change));
    this.#restoring = new Restoring(links, clock, this.#counters, () => this.#restore());
    this.#guard = new NeighbourGuard(clock, (addresses) => this.#writeNeighbours(addresses));
  }

  /** Everything is in the kernel when this returns; refusals are counted when its answers have been read. */
  apply(delta: HostDelta): WireReport {
    const batch: Request[] = [];
    for (const address of delta.withdrawn) {
      const host = this.#hosts.get(address);
      if (!host) continue;
      this.#hosts.delete(address);
      this.#guard.placed(host, undefined);
      batch.push(requests.deleteRoute(this.#slots.slotOf(host)));
      if (!this.#slots.apart) batch.push(requests.deleteNeighbour(neighbourOf(host)));
    }
    for (const host of delta.announced) {
      const before = this.#hosts.get(host.address);
      this.#hosts.set(host.address, host);
      if (before && before.ifindex === host.ifindex && before.mac === host.mac) {
        if (this.#slots.tableOf(before) === this.#slots.tableOf(host)) continue;
        batch.push(requests.setRoute(this.#slots.routeOf(host)), requests.deleteRoute(this.#slots.slotOf(before)));
        continue;
      }
      if (before) this.#guard.placed(before, host);
      this.#add(batch, host);
      if (before && this.#slots.tableOf(before) !== this.#slots.tableOf(host))
        batch.push(requests.deleteRoute(this.#slots.slotOf(before)));
      if (before && before.ifindex !== host.ifindex && !this.#slots.apart) {
        batch.push(requests.deleteNeighbour(neighbourOf(before)));
      }
    }
    if (batch.length === 0) return { packets: 0 };
    const firstByteAt = this.#clock.now();
    this.#send(batch, delta.announced);
    return { firstByteAt, lastByteAt: this.#clock.now(), packets: batch.length };
  }

  /**
   * To be told of every change in the kernel's neighbour table. The host whose entry somebody has taken: it was written
   * again.
   */
  neighbourChanged(event: NeighbourEvent): HostRoute | undefined {
    const host = this.#slots.apart || this.#closed ? undefined : this.#hosts.get(event.address);
    return host && host.ifindex === event.ifindex && this.#guard.taken(event, host) ? host : undefined;
  }

  /** Resolves when the kernel's answers to everything applied so far are counted. */
  async settled(): Promise<void> {
    await this.#answered;
  }

  /** The host routes with our protocol and table that the kernel holds now (from an earlier run). */
  async adopt(): Promise<{ address: Address; ifindex: number }[]> {
    const routes = await this.#slots.read(this.#rtnetlink);
    return routes.flatMap((route) => {
      const address = hostAddress(route);
      return address ? [{ address, ifindex: route.nextHops[0]!.ifindex! }] : [];
    });
  }

  /**
   * Makes the kernel hold exactly `wanted`; equal routes are not touched. What `apply` brings while this goes on
   * stays in force. What could not be done is tried again, also when this rejects because the tables could not be read.
   */
  async reconcile(wanted: Iterable<HostRoute>): Promise<ReconcileReport> {
    const hosts = [...wanted];
    this.#hosts.clear();
    for (const host of hosts) this.#hosts.set(host.address, host);
    return this.#mend();
  }

  async #mend(): Promise<ReconcileReport> {
    try {
      const report = await this.#compare();
      if (report.failed > 0) this.#mendLater();
      else this.#mendAfter = RETRY;
      return report;
    } catch (error) {
      this.#mendLater();
      throw error;
    }
  }

  #mendLater(): void {
    if (this.#closed || this.#mendTimer) return;
    this.#mendTimer = this.#clock.schedule(this.#clock.now() + this.#mendAfter, () => {
      this.#mendTimer = undefined;
      this.#mendAfter = Math.min(2 * this.#mendAfter, LONGEST_RETRY);
      this.#mend().catch(() => {
        this.#counters.unread = (this.#counters.unread ?? 0) + 1;
      });
    });
  }

  async #compare(): Promise<ReconcileReport> {
    const routes = await this.#slots.read(this.#rtnetlink);
    const neighbours = await this.#readNeighbours();
    const { present, stale } = this.#slots.sort(routes, this.#hosts);
    const missing = this.#missing(present, neighbours);
    const stillStale = (route: Route) => {
      const address = hostAddress(route);
      const host = address && this.#hosts.get(address);
      return !host || host.ifindex !== route.nextHops[0]!.ifindex || !this.#slots.isSlotOf(host, route);
    };
    // Missing ones first: a host that stands on the wrong port is replaced without a gap.
    const failed =
      (await this.#addPaced(missing)) +
      (await sendPaced(
        this.#rtnetlink,
        stale,
        (route) => (stillStale(route) ? [requests.deleteRoute(route)] : []),
        this.#counters,
      ));
    const left = await this.#removeStrayNeighbours(neighbours.values());
    const kept = this.#hosts.size - missing.length;
    return { kept, added: missing.length, removed: stale.length, failed: failed + left };
  }

  /** Only adds: what an earlier life left is not known to be unwanted before `reconcile`. */
  async #restore(): Promise<void> {
    if (this.#closed || this.#hosts.size === 0) return;
    const { present } = this.#slots.sort(await this.#slots.read(this.#rtnetlink), this.#hosts);
    const missing = this.#missing(present, await this.#readNeighbours());
    const writable = missing.filter((host) => isUp(this.#links.portByIndex(host.ifindex)));
    if (!this.#closed && (await this.#addPaced(writable)) > 0) this.#checkLater(writable);
  }

  #missing(present: ReadonlySet<Address>, neighbours: ReadonlyMap<string, Neighbour>): HostRoute[] {
    // An earlier life may have pinned one.
    const inPlace = (host: HostRoute) => {
      const entry = neighbours.get(neighbourId(host));
      return entry !== undefined && (entry.state !== NUD.PERMANENT || this.#guard.isPinned(host.address));
    };
    const complete = (host: HostRoute) => present.has(host.address) && (this.#slots.apart || inPlace(host));
    return [...this.#hosts.values()].filter((host) => !complete(host));
  }

  /** @returns how many requests the kernel refused */
  #addPaced(hosts: readonly HostRoute[]): Promise<number> {
    const requestsFor = ({ address }: HostRoute): Request[] => {
      const host = this.#hosts.get(address);
      return host ? this.#add([], host) : [];
    };
    return sendPaced(this.#rtnetlink, hosts, requestsFor, this.#counters);
  }

  /**
   * One unreachable route for each prefix, so that an address that nobody serves never follows the default route back
   * into the fabric; those of prefixes no longer given are removed. Rejects with NetlinkError when one is refused.
   */
  async ensureUnreachable(prefixes: readonly Prefix[], metric = UNREACHABLE_METRIC): Promise<void> {
    const place = { table: this.#slots.table, protocol: this.#slots.protocol, metric };
    const { wanted, stale } = unreachables(prefixes, place, await this.#slots.read(this.#rtnetlink));
    for (const route of wanted) await this.#rtnetlink.setRoute(route);
    await sendPaced(this.#rtnetlink, stale, (route) => [requests.deleteRoute(route)], this.#counters);
  }

  /** Removes the unreachable routes and, unless `keepHosts`, all host routes and neighbour entries. */
  async leave(options: { keepHosts?: boolean } = {}): Promise<void> {
    this.close();
    const routes = await this.#slots.read(this.#rtnetlink);
    const gone = options.keepHosts ? routes.filter((route) => route.type === RTN.UNREACHABLE) : routes;
    if (!options.keepHosts) this.#hosts.clear();
    await sendPaced(this.#rtnetlink, gone, (route) => [requests.deleteRoute(route)], this.#counters);
    if (!options.keepHosts) await this.#removeStrayNeighbours((await this.#readNeighbours()).values());
  }

  /** The routes stay in the kernel, nothing is mended any more. */
  close(): void {
    this.#unsubscribe();
    this.#restoring.close();
    this.#guard.close();
    this.#timer?.cancel();
    this.#mendTimer?.cancel();
    this.#unsure.clear();
    this.#closed = true;
  }

  /** What the kernel refused, by `RTM_* CODE`: ENETDOWN and ESRCH are usual around a port that goes down. */
  counters(): Readonly<Record<string, number>> {
    return { ...this.#counters, ...(this.#slots.apart ? {} : this.#guard.counters()), hosts: this.#hosts.size };
  }

  #portChanged({ before, after }: PortChange): void {
    if (!after || !isUp(after) || isUp(before)) return;
    this.#addAgain([...this.#hosts.values()].filter(({ ifindex }) => ifindex === after.ifindex));
  }

  #addAgain(hosts: readonly HostRoute[]): void {
    const batch: Request[] = [];
    for (const host of hosts) this.#add(batch, host);
    if (batch.length > 0) this.#send(batch, hosts);
  }

  #send(batch: readonly Request[], announced: readonly HostRoute[]): void {
    const result = this.#rtnetlink.sendNow(batch).then((answer: BatchResult) => {
      countRefusals(this.#counters, answer);
      // What was to be added may be missing, what was to be deleted may still be there.
      if (answer.refused.some(({ refusal }) => refusal.request.startsWith('RTM_NEW'))) this.#checkLater(announced);
      if (answer.refused.some(({ refusal }) => isLeftOver(refusal))) this.#mendLater();
    });
    this.#answered = Promise.all([this.#answered, result]);
  }

  /** A port that is down is waited for; whatever else the kernel refused (no memory, say) is tried once more a second. */
  #checkLater(hosts: readonly HostRoute[]): void {
    if (this.#closed) return;
    for (const { address } of hosts) this.#unsure.add(address);
    this.#timer ??= this.#clock.schedule(this.#clock.now() + RETRY, () => {
      this.#timer = undefined;
      // As they are wanted now: meanwhile the claim may have settled, or the host moved.
      const wanted = [...this.#unsure].flatMap((address) => this.#hosts.get(address) ?? []);
      const again = wanted.filter((host) => isUp(this.#links.portByIndex(host.ifindex)));
      this.#unsure.clear();
      this.#addAgain(again);
    });
  }

  #add(batch: Request[], host: HostRoute): Request[] {
    batch.push(requests.setRoute(this.#slots.routeOf(host)));
    if (!this.#slots.apart) batch.push(this.#neighbourFor(host));
    return batch;
  }

  #neighbourFor(host: HostRoute): Request {
    const state = this.#guard.stateFor(host.address);
    const heard = { linkAddress: host.mac, state, flags: NTF.EXT_LEARNED, protocol: this.#slots.protocol };
    return requests.setNeighbour({ ...neighbourOf(host), ...heard });
  }

  #writeNeighbours(addresses: readonly Address[]): void {
    const hosts = addresses.flatMap((address) => this.#hosts.get(address) ?? []);
    if (hosts.length > 0)
      this.#send(
        hosts.map((host) => this.#neighbourFor(host)),
        hosts,
      );
  }

  async #readNeighbours(): Promise<Map<string, Neighbour>> {
    return this.#slots.apart ? new Map() : neighboursOf(this.#rtnetlink, this.#slots.protocol);
  }

  /** @returns how many the kernel refused to remove */
  #removeStrayNeighbours(neighbours: Iterable<Neighbour>): Promise<number> {
    const stray = (each: Neighbour) =>
      this.#hosts.get(parseAddress(each.destination ?? '') as Address)?.ifindex !== each.ifindex;
    return removeNeighbours(this.#rtnetlink, [...neighbours].filter(stray), this.#counters);
  }
}
