/** Where the routes of hosts stand in the kernel: in which table, with which metric; and which of those there are ours. */
import { makeRoute, type Route, RTN } from 'rtnetlink-ts';
import { type Address, type Family, familyOf, hostPrefix } from '../model/address.ts';
import type { HostRoute } from '../model/hosts.ts';
import { hostAddress, type PortTable, type RouteSocket, readRoutes, tableOf } from './installing.ts';

export interface HostRouteOptions {
  /** Default 201. */
  readonly protocol?: number;
  /** Default 254 (main). */
  readonly table?: number;
  /** Default 1. */
  readonly metric?: number | Readonly<Record<Family, number>>;
  /** For routes that only what comes from the fabric may take (`HostRoute.yields`); absent: they are like all others. */
  readonly fabricTable?: number;
  /** A second projection for who looks nowhere else: no neighbour entries, and all in `table`, also what is in a VRF. */
  readonly apart?: boolean;
}

export class HostSlots {
  readonly protocol: number;
  readonly table: number;
  readonly apart: boolean;
  readonly #links: PortTable;
  readonly #metric: Readonly<Record<Family, number>>;
  readonly #fabricTable: number | undefined;

  constructor(links: PortTable, options: HostRouteOptions) {
    const { protocol = 201, table = 254, metric = 1, apart = false, fabricTable } = options;
    this.#links = links;
    this.protocol = protocol;
    this.table = table;
    this.apart = apart;
    this.#fabricTable = apart ? undefined : fabricTable;
    this.#metric = typeof metric === 'number' ? { 4: metric, 6: metric } : metric;
  }

  routeOf(host: HostRoute): Route {
    return makeRoute({
      destination: hostPrefix(host.address),
      table: this.tableOf(host),
      protocol: this.protocol,
      metric: this.#metricOf(host.address),
      nextHops: [{ ifindex: host.ifindex }],
    });
  }

  /** For a deletion: where a replacement was refused, the route still leads to where the host was before. */
  slotOf(host: HostRoute): Route {
    return { ...this.routeOf(host), nextHops: [] };
  }

  isSlotOf(host: HostRoute, { metric, table }: Route): boolean {
    return metric === this.#metricOf(host.address) && table === this.tableOf(host);
  }

  /** What comes in by a member of a VRF is looked up there alone. */
  tableOf({ ifindex, yields }: HostRoute): number {
    const table = this.#tableAt(ifindex);
    return yields && table === this.table ? (this.#fabricTable ?? table) : table;
  }

  /** By address those that are as they should be, and those that are not wanted. */
  sort(routes: readonly Route[], hosts: ReadonlyMap<Address, HostRoute>): { present: Set<Address>; stale: Route[] } {
    const present = new Set<Address>();
    const stale: Route[] = [];
    for (const route of routes) {
      if (route.type === RTN.UNREACHABLE) continue;
      const address = hostAddress(route);
      const host = address && hosts.get(address);
      const inPlace = host && this.isSlotOf(host, route);
      if (inPlace && host.ifindex === route.nextHops[0]!.ifindex) present.add(host.address);
      // A replaced route needs no deletion: same prefix, same metric.
      else if (!inPlace) stale.push(route);
    }
    return { present, stale };
  }

  async read(rtnetlink: RouteSocket): Promise<Route[]> {
    const routes = await readRoutes(rtnetlink, { protocol: this.protocol });
    // In other tables (that for another daemon, say) ours are those in the table of their interface's VRF.
    const table = ({ nextHops: [hop] }: Route) => this.#tableAt(hop?.ifindex ?? 0);
    return routes.filter((route) => [this.table, this.#fabricTable, table(route)].includes(route.table));
  }

  #tableAt(ifindex: number): number {
    return this.apart ? this.table : tableOf(this.#links, ifindex, this.table);
  }

  #metricOf(address: Address): number {
    return this.#metric[familyOf(address)];
  }
}
