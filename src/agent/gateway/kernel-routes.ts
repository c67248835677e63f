import { AF, type Route, RTN } from 'rtnetlink-ts';
import type { RouteHop } from '../../gateway/index.ts';
import { type Address, type Prefix, parseAddress, prefixAddress, prefixLength } from '../../model/address.ts';
import type { Clock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { isUp, type LinkState, type PortChange } from '../../model/ports.ts';
import type { RouteWatch } from '../../netlink/index.ts';
import { RouteReading } from '../route-reading.ts';

/** Host routes; more only go unnoticed, and are counted. */
const REMEMBERED = 262_144;
/** At the start, when routes change while they are read; what is missing then comes a moment later. */
const READINGS = 5;

export interface KernelRoutesOptions {
  readonly watch: Pick<RouteWatch, 'onRoute' | 'routes'>;
  readonly links: LinkState;
  readonly clock: Clock;
  readonly log: Log;
  readonly table: number;
  /** Where routes over a next-hop object lead, of which the kernel names no more than the id. */
  hopsOf?(id: number): readonly { readonly ifindex: number; readonly via: Address }[];
  /** The way that packets take to an address; none: no host route. */
  onWay(address: Address, nextHops: readonly RouteHop[]): void;
}

/** One host route of several metrics; the kernel takes the least that has a port with a carrier. */
interface Known {
  readonly metric: number;
  /** Of a next-hop object. */
  readonly object: number | undefined;
  hops: readonly { readonly ifindex: number; readonly via: Address | undefined }[];
}

/** The gateway's own host routes in its kernel, whoever wrote them: where its packets go. */
export class KernelRoutes {
  readonly #options: KernelRoutesOptions;
  readonly #routes = new Map<Address, Map<string, Known>>();
  /** By port, so that a port's fall finds them. */
  readonly #through = new Map<number, Set<Address>>();
  readonly #unsubscribe: () => void;
  readonly #reading: RouteReading;
  readonly #counters = { unnoticed: 0, readings: 0 };

  constructor(options: KernelRoutesOptions) {
    this.#options = options;
    const { clock, log } = options;
    const what = "the kernel's routes";
    this.#reading = new RouteReading({
      clock,
      log,
      what,
      read: () => this.#read(),
      take: (routes) => this.#take(routes),
    });
    this.#unsubscribe = options.watch.onRoute(({ before, after }) => {
      this.#reading.noticed();
      if (before) this.#remove(before);
      if (after) this.#add(after);
    });
  }

  /** What is there already. Who is heard before its way is known would look as if packets went elsewhere. */
  async start(): Promise<void> {
    for (let reading = 0; reading < READINGS; reading++) if (await this.#reading.now()) return;
  }

  linkChanged({ before, after }: PortChange): void {
    if (isUp(before) === isUp(after)) return;
    for (const address of this.#through.get((after ?? before)!.ifindex) ?? []) this.#tell(address);
    if (isUp(after)) this.#reading.later();
  }

  /** Objects lead elsewhere: no notification tells of the routes over them. */
  moved(): void {
    const { hopsOf } = this.#options;
    if (!hopsOf) return;
    for (const [address, known] of this.#routes) {
      let changed = false;
      for (const route of known.values()) {
        const hops = route.object === undefined ? route.hops : hopsOf(route.object);
        if (sameHops(hops, route.hops)) continue;
        changed = true;
        // Those of before stay: who is told of once too often is looked at and found as it was.
        this.#passBy(address, hops);
        route.hops = hops;
      }
      if (changed) this.#tell(address);
    }
  }

  counters(): Record<string, number> {
    return { hosts: this.#routes.size, ...this.#counters };
  }

  close(): void {
    this.#unsubscribe();
    this.#reading.close();
  }

  #read(): Promise<readonly Route[]> {
    this.#counters.readings++;
    return this.#options.watch.routes(this.#options.table);
  }

  #take(routes: readonly Route[]): void {
    const present = new Map<Address, Set<string>>();
    for (const route of routes) {
      const address = this.#hostOf(route);
      if (!address) continue;
      const keys = present.get(address) ?? new Set();
      present.set(address, keys.add(keyOf(route)));
    }
    for (const [address, known] of [...this.#routes]) {
      const keys = present.get(address);
      const gone = [...known.keys()].filter((key) => !keys?.has(key));
      for (const key of gone) this.#drop(address, key);
      if (gone.length > 0) this.#tell(address);
    }
    for (const route of routes) this.#add(route);
  }

  #hostOf({ destination, table, type, family }: Route): Address | undefined {
    if (table !== this.#options.table || type !== RTN.UNICAST) return undefined;
    const prefix = destination as Prefix;
    if (prefixLength(prefix) !== (family === AF.INET ? 32 : 128)) return undefined;
    return parseAddress(prefixAddress(prefix));
  }

  #add(route: Route): void {
    const address = this.#hostOf(route);
    if (!address) return;
    let known = this.#routes.get(address);
    if (!known) {
      if (this.#routes.size >= REMEMBERED) {
        this.#counters.unnoticed++;
        return;
      }
      known = new Map();
      this.#routes.set(address, known);
    }
    const object = route.nextHops.length === 0 ? route.nextHopId : undefined;
    const hops =
      object === undefined
        ? route.nextHops.flatMap(({ ifindex, gateway }) =>
            ifindex === undefined ? [] : [{ ifindex, via: gateway === undefined ? undefined : parseAddress(gateway) }],
          )
        : (this.#options.hopsOf?.(object) ?? []);
    known.set(keyOf(route), { metric: route.metric ?? 0, object, hops });
    this.#passBy(address, hops);
    this.#tell(address);
  }

  #passBy(address: Address, hops: Known['hops']): void {
    for (const { ifindex } of hops) {
      const through = this.#through.get(ifindex) ?? new Set();
      this.#through.set(ifindex, through.add(address));
    }
  }

  #remove(route: Route): void {
    const address = this.#hostOf(route);
    if (!address || !this.#drop(address, keyOf(route))) return;
    this.#tell(address);
  }

  #drop(address: Address, key: string): boolean {
    const known = this.#routes.get(address);
    const route = known?.get(key);
    if (!known || !route) return false;
    known.delete(key);
    if (known.size === 0) this.#routes.delete(address);
    for (const { ifindex } of route.hops) {
      const through = this.#through.get(ifindex);
      const other = [...known.values()].some(({ hops }) => hops.some((hop) => hop.ifindex === ifindex));
      if (!other && through?.delete(address) && through.size === 0) this.#through.delete(ifindex);
    }
    return true;
  }

  #tell(address: Address): void {
    const { links, onWay } = this.#options;
    let least = Number.POSITIVE_INFINITY;
    let way: RouteHop[] = [];
    for (const { metric, hops } of this.#routes.get(address)?.values() ?? []) {
      if (metric >= least) continue;
      const alive = hops.flatMap(({ ifindex, via }) => {
        const port = links.portByIndex(ifindex);
        return port && isUp(port) ? [{ port: port.name, via }] : [];
      });
      if (alive.length === 0) continue;
      least = metric;
      way = alive;
    }
    onWay(address, way);
  }
}

const sameHops = (one: Known['hops'], other: Known['hops']): boolean =>
  one.length === other.length &&
  one.every(({ ifindex, via }, index) => ifindex === other[index]!.ifindex && via === other[index]!.via);

const keyOf = ({ metric = 0, tos = 0, protocol }: Route): string => `${metric} ${tos} ${protocol}`;
