/**
 * What can be seen of the fabric when another daemon speaks to it: the routes that it puts into the kernel.
 *
 * - A host route inside our prefixes through the fabric is a claim of somebody else, as one that our own speakers hear.
 *   Its level is what its metric is below HANDOFF_METRIC, if it is that; a daemon that writes no such metrics claims at 0.
 *   A daemon shows only what it would use, so while it prefers our own route the other's claim is hidden, unless it is
 *   told to show all in a table beside (bird.conf of the examples does).
 * - That it learns a route through the fabric says that its session stands. What was there when the link came up says
 *   nothing: zebra (8.4) leaves routes in the kernel whose link has lost its carrier.
 */
import { AF, type Route, RT_TABLE, RTN, RTPROT } from 'rtnetlink-ts';
import {
  type Address,
  type Prefix,
  parseAddress,
  prefixAddress,
  prefixContains,
  prefixLength,
} from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { ClaimLevel, ForeignClaim } from '../../model/hosts.ts';
import type { Log } from '../../model/log.ts';
import { isUp, type LinkState, type PortChange } from '../../model/ports.ts';
import { HANDOFF_METRIC, type RouteWatch } from '../../netlink/index.ts';
import { RouteReading } from '../route-reading.ts';
import type { Readiness } from './fabric/types.ts';

/** A gateway that tells the daemon nothing counts as ready this long (ms) after an uplink has come up. */
const NO_ROUTES_WAIT = 30_000;
/**
 * After the first route was learned: the gateway may not know its way to us before our daemon's router LSA has left,
 * which an earlier one delays by MinLSInterval (ms; RFC 2328 App. B).
 */
const SETTLE = 5_000;
/** Of others' host routes and learned routes each; more only go unnoticed. */
const REMEMBERED = 100_000;

interface Hop {
  readonly ifindex: number;
  readonly from: Address;
}

interface Known {
  readonly hops: readonly Hop[];
  /** Told since the link came up, or there when we started. */
  readonly fresh: boolean;
  /** Absent: no host of ours. */
  readonly claim?: { readonly address: Address; readonly level: ClaimLevel };
}

export interface OutsideRoutesOptions {
  readonly watch: RouteWatch;
  readonly links: LinkState;
  readonly clock: Clock;
  readonly log: Log;
  readonly prefixes: () => readonly Prefix[];
  readonly downlinks: () => readonly string[];
  readonly uplinks: () => readonly string[];
  /** Protocol numbers by which our own routes are known. */
  readonly own: ReadonlySet<number>;
  onForeignClaim(claim: ForeignClaim): void;
  /** Ask `readiness` and `defaultRoute` again. */
  onChange(): void;
}

export class OutsideRoutes {
  readonly #options: OutsideRoutesOptions;
  readonly #routes = new Map<string, Known>();
  readonly #claimants = new Map<Address, Set<Known>>();
  /** Claims as told: `address from` and the level. */
  readonly #claims = new Map<string, ClaimLevel>();
  readonly #unsubscribe: () => void;
  #upSince: Instant;
  readonly #reading: RouteReading;
  #readiness: Timer | undefined;
  #notice: Timer | undefined;
  #started = false;
  /** Since the uplinks came up. */
  #learnedAt: Instant | undefined;

  constructor(options: OutsideRoutesOptions) {
    this.#options = options;
    this.#upSince = options.clock.now();
    const { clock, log, watch } = options;
    const what = "the kernel's routes";
    this.#reading = new RouteReading({
      ...{ clock, log, what },
      read: () => watch.routes(),
      take: (routes) => this.#take(routes),
    });
    this.#unsubscribe = watch.onRoute(({ before, after }) => {
      this.#reading.noticed();
      if (before) this.#remove(keyOf(before));
      if (after) this.#add(after, true);
    });
    this.#reading.later(0);
    this.#judgeLater();
  }

  linkChanged({ name, before, after }: PortChange): void {
    if (isUp(before) === isUp(after)) return;
    const { ifindex } = (after ?? before)!;
    if (!isUp(after)) {
      for (const [key, { hops }] of [...this.#routes]) {
        if (hops.some((hop) => hop.ifindex === ifindex)) this.#remove(key);
      }
      return;
    }
    this.#reading.later();
    if (!this.#options.uplinks().includes(name)) return;
    this.#upSince = this.#options.clock.now();
    this.#learnedAt = undefined;
    this.#judgeLater();
  }

  readiness(): Readiness {
    const { clock, links, uplinks } = this.#options;
    const up = uplinks().filter((name) => isUp(links.port(name)));
    if (up.length === 0) return { ready: false, reason: 'handoff: no uplink is up' };
    const learned = this.#learnedThrough();
    const now = clock.now();
    if (up.some((name) => learned.has(links.port(name)!.ifindex))) {
      if (this.#learnedAt === undefined) {
        this.#learnedAt = now;
        this.#judgeLater();
      }
      return now - this.#learnedAt >= SETTLE || this.#learnedAt === this.#upSince
        ? { ready: true, reason: 'handoff: the other daemon has learned routes' }
        : { ready: false, reason: 'handoff: the gateway may still be computing its way to us' };
    }
    return now - this.#upSince >= NO_ROUTES_WAIT
      ? { ready: true, reason: 'handoff: the other daemon has learned no routes, and is waited for no longer' }
      : { ready: false, reason: 'handoff: waiting for the other daemon to learn a route' };
  }

  defaultRoute(port: string): boolean {
    const ifindex = this.#options.links.port(port)?.ifindex;
    for (const [key, { hops }] of this.#routes) {
      if (isDefault(key) && hops.some((hop) => hop.ifindex === ifindex)) return true;
    }
    return false;
  }

  counters(): Readonly<Record<string, number>> {
    return { learned: this.#routes.size, claims: this.#claims.size };
  }

  close(): void {
    this.#unsubscribe();
    this.#reading.close();
    this.#readiness?.cancel();
    this.#notice?.cancel();
  }

  /**
   * A default route is told of in its turn: groups may stand on it. For the others one question is enough after all that
   * came together, since it looks at all routes, and a link takes thousands of them along.
   */
  #changed(key: string): void {
    const { clock, onChange } = this.#options;
    if (isDefault(key)) {
      onChange();
      return;
    }
    this.#notice ??= clock.schedule(clock.now(), () => {
      this.#notice = undefined;
      onChange();
    });
  }

  #judgeLater(): void {
    const { clock, onChange } = this.#options;
    this.#readiness?.cancel();
    const at = this.#learnedAt === undefined ? this.#upSince + NO_ROUTES_WAIT : this.#learnedAt + SETTLE;
    this.#readiness = clock.schedule(at, () => {
      this.#readiness = undefined;
      onChange();
      // What had been learned may have gone by now, and no message need ever tell of more.
      const end = this.#upSince + NO_ROUTES_WAIT;
      if (clock.now() < end && !this.readiness().ready) this.#readiness ??= clock.schedule(end, onChange);
    });
  }

  #take(routes: readonly Route[]): void {
    const present = new Set(routes.map(keyOf));
    for (const key of [...this.#routes.keys()]) if (!present.has(key)) this.#remove(key);
    for (const route of routes) this.#add(route, !this.#started);
    this.#started = true;
  }

  #add(route: Route, told: boolean): void {
    const key = keyOf(route);
    const known = this.#knownOf(route, told || this.#routes.get(key)?.fresh === true);
    if (!known) {
      this.#remove(key);
      return;
    }
    const before = this.#routes.get(key);
    if (!before && this.#routes.size >= REMEMBERED) return;
    this.#routes.set(key, known);
    this.#index(before, known);
    if (before) this.#tell(before);
    this.#tell(known);
    if (!known.fresh || before?.fresh) return;
    const first = this.#learnedAt === undefined;
    if (first) {
      this.#learnedAt = this.#started ? this.#options.clock.now() : this.#upSince;
      this.#judgeLater();
    }
    if (first || !known.claim) this.#changed(key);
  }

  #remove(key: string): void {
    const known = this.#routes.get(key);
    if (!known) return;
    this.#routes.delete(key);
    this.#index(known, undefined);
    this.#tell(known);
    if (!known.claim) this.#changed(key);
  }

  /** The claims of a route that came or went, as they are now. */
  #tell({ claim, hops }: Known): void {
    if (!claim) return;
    for (const { from } of hops) {
      const name = `${claim.address} ${from}`;
      const level = this.#strongest(claim.address, from);
      if (this.#claims.get(name) === level) continue;
      if (level === undefined) this.#claims.delete(name);
      else this.#claims.set(name, level);
      this.#options.onForeignClaim({ address: claim.address, level, from });
    }
  }

  /** The same claim may stand in several tables. */
  #strongest(address: Address, from: Address): ClaimLevel | undefined {
    let best: ClaimLevel | undefined;
    for (const { claim, hops } of this.#claimants.get(address) ?? []) {
      if (!claim || !hops.some((hop) => hop.from === from)) continue;
      if (best === undefined || claim.level > best) best = claim.level;
    }
    return best;
  }

  #index(before: Known | undefined, after: Known | undefined): void {
    const left = before?.claim && this.#claimants.get(before.claim.address);
    if (before && left?.delete(before) && left.size === 0) this.#claimants.delete(before.claim!.address);
    if (!after?.claim) return;
    const claimants = this.#claimants.get(after.claim.address);
    if (claimants) claimants.add(after);
    else this.#claimants.set(after.claim.address, new Set([after]));
  }

  #learnedThrough(): Set<number> {
    const through = new Set<number>();
    for (const { hops, fresh } of this.#routes.values())
      if (fresh) for (const { ifindex } of hops) through.add(ifindex);
    return through;
  }

  #knownOf(route: Route, fresh: boolean): Known | undefined {
    const { links, own, prefixes, downlinks } = this.#options;
    const { protocol, table, type } = route;
    if (type !== RTN.UNICAST || table === RT_TABLE.LOCAL || own.has(protocol) || protocol <= RTPROT.STATIC) return;
    const servers = downlinks();
    const hops = route.nextHops.flatMap((hop): Hop[] => {
      const from = parseAddress(hop.gateway ?? '');
      const port = hop.ifindex === undefined ? undefined : links.portByIndex(hop.ifindex);
      return from && port && isUp(port) && !servers.includes(port.name) ? [{ ifindex: port.ifindex, from }] : [];
    });
    if (hops.length === 0) return undefined;
    const bits = route.family === AF.INET ? 32 : 128;
    const prefix = route.destination as Prefix;
    const address = prefixLength(prefix) === bits ? parseAddress(prefixAddress(prefix)) : undefined;
    if (!address || !prefixes().some((each) => prefixContains(each, address))) return { hops, fresh };
    const above = HANDOFF_METRIC - (route.metric ?? 0);
    return { hops, fresh, claim: { address, level: above === 1 || above === 2 ? above : 0 } };
  }
}

const keyOf = (route: Route): string => `${route.table} ${route.destination} ${route.metric ?? 0} ${route.protocol}`;
const isDefault = (key: string): boolean => / (0\.0\.0\.0|::)\/0 /.test(key);
