/**
 * `hostRoutes.sources.kernel`: host routes that somebody else keeps in a kernel table (a container engine, an
 * orchestrator, an operator) are a source of hosts. `ip route add 10.10.10.7/32 dev A3 table 100` says that 10.10.10.7 is
 * behind A3; with `via 10.10.10.2` it is behind that server, and its frames go to the server's MAC.
 *
 * A route names no MAC, and the host table takes nobody without one. So an address that is not known yet is looked for
 * on its port until it answers, as a static host is, and from then on the route vouches for it: it is asked no more,
 * outweighs what is merely heard, and follows the route when that turns to another port.
 */
import { AF, type Route, RTN } from 'rtnetlink-ts';
import type { HostRoutes } from '../../hostroutes/index.ts';
import { type Address, type Prefix, parseAddress, prefixAddress, prefixLength } from '../../model/address.ts';
import type { Clock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { isOpen, type LinkState, type PortChange } from '../../model/ports.ts';
import type { RouteWatch } from '../../netlink/index.ts';
import { RouteReading } from '../route-reading.ts';

interface Place {
  readonly device: string;
  readonly ifindex: number;
  readonly via: Address | undefined;
}

export interface KernelHostsOptions {
  readonly watch: () => Promise<RouteWatch>;
  readonly hosts: Pick<HostRoutes, 'find' | 'locate' | 'report' | 'retract' | 'seek' | 'unseek'>;
  readonly links: LinkState;
  readonly clock: Clock;
  readonly log: Log;
  readonly limit: () => number;
  /** Inside our prefixes. */
  readonly concerns: (address: Address) => boolean;
}

export class KernelHosts {
  readonly #options: KernelHostsOptions;
  readonly #places = new Map<Address, Place>();
  /** Who is behind a server, by the server's address. */
  readonly #behind = new Map<Address, Set<Address>>();
  readonly #count = { unusable: 0, overLimit: 0 };
  #table: number | undefined;
  #watch: RouteWatch | undefined;
  #unsubscribe: (() => void) | undefined;
  #reading: RouteReading | undefined;

  constructor(options: KernelHostsOptions) {
    this.#options = options;
  }

  /** undefined: the source is off. What the former table said goes; the same one is read again, for other prefixes. */
  async configure(table: number | undefined): Promise<void> {
    if (table === this.#table) {
      await this.#reading?.now();
      return;
    }
    this.#table = table;
    for (const address of [...this.#places.keys()]) this.#forget(address);
    if (table === undefined) {
      this.close();
      return;
    }
    this.#watch ??= await this.#options.watch();
    const { clock, log } = this.#options;
    const what = 'the table of hostRoutes.sources.kernel';
    this.#reading ??= new RouteReading({
      ...{ clock, log, what },
      read: () => this.#read(),
      take: (routes) => this.#take(routes),
    });
    this.#unsubscribe ??= this.#watch.onRoute(({ before, after }) => {
      if ((after ?? before)!.table !== this.#table) return;
      this.#reading?.noticed();
      if (before) this.#gone(before, after);
      if (after) this.#came(after);
    });
    await this.#reading.now();
  }

  /** The host table has heard of a host, or lost one. */
  hostChanged(address: Address): void {
    if (this.#places.size === 0) return;
    if (this.#places.has(address)) this.#vouch(address);
    for (const other of this.#behind.get(address) ?? []) this.#vouch(other);
  }

  linkChanged({ before, after }: PortChange): void {
    if (this.#table !== undefined && after && isOpen(after) !== (before !== undefined && isOpen(before))) {
      this.#reading?.later();
    }
  }

  counters(): Readonly<Record<string, number>> {
    return { routes: this.#places.size, ...this.#count };
  }

  close(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#reading?.close();
    this.#reading = undefined;
  }

  async #read(): Promise<readonly Route[] | undefined> {
    const table = this.#table;
    if (table === undefined || !this.#watch) return undefined;
    const routes = await this.#watch.routes(table);
    // Another one was asked for meanwhile, or none.
    return table === this.#table ? routes : undefined;
  }

  #take(routes: readonly Route[]): void {
    const present = new Set(routes.map((route) => hostOf(route)));
    for (const address of [...this.#places.keys()]) {
      if (!present.has(address) || !this.#options.concerns(address)) this.#forget(address);
    }
    for (const route of routes) this.#came(route);
  }

  #came(route: Route): void {
    const address = hostOf(route);
    if (address && !this.#options.concerns(address)) return;
    const [hop, ...more] = route.nextHops;
    const device = hop?.ifindex === undefined ? undefined : this.#options.links.portByIndex(hop.ifindex)?.name;
    if (!address || !hop || !device || more.length > 0) {
      this.#count.unusable++;
      return;
    }
    const known = this.#places.get(address);
    const via = hop.gateway === undefined ? undefined : parseAddress(hop.gateway);
    if (!known && this.#places.size >= this.#options.limit()) {
      this.#count.overLimit++;
      return;
    }
    if (known && (known.device !== device || known.via !== via)) this.#unlist(address, known);
    this.#places.set(address, { device, ifindex: hop.ifindex!, via });
    if (via !== undefined) this.#behind.set(via, (this.#behind.get(via) ?? new Set()).add(address));
    this.#vouch(address);
  }

  /** A route that is replaced by one onto another port is told as gone, and in the same turn as new. */
  #gone(route: Route, after: Route | undefined): void {
    const address = hostOf(route);
    if (!address || (after && hostOf(after) === address)) return;
    const place = this.#places.get(address);
    // A second route of another metric may have taken its place before it went.
    if (!place || place.ifindex !== route.nextHops[0]?.ifindex) return;
    const { clock } = this.#options;
    clock.schedule(clock.now(), () => {
      if (this.#unsubscribe && this.#places.get(address) === place) this.#forget(address);
    });
  }

  #forget(address: Address): void {
    const place = this.#places.get(address)!;
    const { hosts } = this.#options;
    this.#places.delete(address);
    this.#unlist(address, place);
    const port = hosts.find(address)?.port ?? place.device;
    hosts.retract({ source: 'kernel', address, port });
  }

  #unlist(address: Address, { via }: Place): void {
    if (via === undefined) {
      this.#options.hosts.unseek(address);
      return;
    }
    const others = this.#behind.get(via);
    others?.delete(address);
    if (others?.size !== 0) return;
    this.#behind.delete(via);
    this.#options.hosts.unseek(via);
  }

  #vouch(address: Address): void {
    const { device, ifindex, via } = this.#places.get(address)!;
    const { hosts } = this.#options;
    const known = hosts.locate(via ?? address);
    const vouched = hosts.find(address)?.sources.some(({ source }) => source === 'kernel') === true;
    if (!known) hosts.seek(via ?? address, device);
    else if (via !== undefined || known.port === device || known.interface === device) {
      const here = hosts.find(address);
      if (vouched && here?.port === known.port && here.mac === known.mac) return;
      const { mac, port, interface: routedOn, ifindex: index } = known;
      hosts.report({ source: 'kernel', address, mac, port, interface: routedOn, ifindex: index });
    } else hosts.report({ source: 'kernel', address, mac: known.mac, port: device, interface: device, ifindex });
  }
}

function hostOf(route: Route): Address | undefined {
  const bits = route.family === AF.INET ? 32 : 128;
  const prefix = route.destination as Prefix;
  return route.type === RTN.UNICAST && prefixLength(prefix) === bits ? parseAddress(prefixAddress(prefix)) : undefined;
}
