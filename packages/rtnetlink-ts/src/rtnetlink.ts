/**
 * The typed face: objects are read by dumps and look-ups, changed by requests. Dumps have a connection of their own, so
 * that a request in the midst of a large dump reads its answer and not the rest of the dump.
 */
import { AF, RTEXT_FILTER, RTM, RTM_F } from './codec/constants.ts';
import { decodeInterfaceAddress, type InterfaceAddress } from './codec/interface-address.ts';
import { type BridgePort, decodeCarrier, decodeLink, encodeLink, type Link, type LinkChange } from './codec/link.ts';
import { decodeNeighbour, encodeNeighbourFilter, type Neighbour, type NeighbourEntry } from './codec/neighbour.ts';
import { decodeNextHop, encodeNextHopFilter, type NextHop, type NextHopFilter } from './codec/nexthop.ts';
import { decodeRoute, encodeRoute, encodeRouteFilter, type Route, type RouteFilter } from './codec/route.ts';
import { decodeRule, encodeRuleFilter, type Rule } from './codec/rule.ts';
import { isIpv6 } from './codec/text.ts';
import { type BatchResult, Connection, type Request } from './connection.ts';
import { NetlinkError } from './error.ts';
import { addedCounters, type ReceiveCounters, type SocketOptions } from './receive.ts';
import * as requests from './requests.ts';

export interface NeighbourFilter {
  readonly ifindex?: number;
  readonly master?: number;
  /** AF_INET, AF_INET6; both when absent. */
  readonly family?: number;
}

export interface RouteLookup {
  readonly source?: string;
  readonly oif?: number;
  readonly iif?: number;
  readonly mark?: number;
  /** Give the matching entry of the table, not the resolved path. */
  readonly match?: boolean;
}

/** Links in one send: their answers, some kilobytes of buffer each, are taken by one reading. */
const MAXIMUM_READ = 64;

export class Rtnetlink {
  readonly #connection: Connection;
  readonly #dumps: Connection;

  /** @throws SystemCallError */
  static open(options: SocketOptions = {}): Rtnetlink {
    const connection = Connection.open(options);
    try {
      return new Rtnetlink(connection, Connection.open(options));
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  private constructor(connection: Connection, dumps: Connection) {
    this.#connection = connection;
    this.#dumps = dumps;
  }

  get counters(): Readonly<ReceiveCounters> {
    return addedCounters(this.#connection.counters, this.#dumps.counters);
  }

  unref(): void {
    this.#connection.unref();
    this.#dumps.unref();
  }

  close(): void {
    this.#connection.close();
    this.#dumps.close();
  }

  /** Everything is written, and done by the kernel, when this returns; the promise carries what was refused. */
  sendNow(batch: readonly Request[]): Promise<BatchResult> {
    return this.#connection.sendNow(batch);
  }

  /** As `sendNow`; what was refused is also there at once, for what has to be decided in this turn. */
  sendAndSee(batch: readonly Request[]): BatchResult & { readonly result: Promise<BatchResult> } {
    return this.#connection.sendAndSee(batch);
  }

  /** `sendNow` by the name of what it is. */
  batch(batch: readonly Request[]): Promise<BatchResult> {
    return this.#connection.sendNow(batch);
  }

  /**
   * A large batch in portions, giving way to other events between them: for what is not urgent.
   */
  async batchPaced(batch: readonly Request[], portion = 500): Promise<BatchResult> {
    const refused: BatchResult['refused'][number][] = [];
    for (let start = 0; start < batch.length; start += portion) {
      const result = await this.#connection.sendNow(batch.slice(start, start + portion));
      for (const { index, refusal } of result.refused) refused.push({ index: start + index, refusal });
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { sent: batch.length, refused };
  }

  /** All filters are applied by the kernel. */
  async dumpLinks(filter: { master?: number; kind?: string } = {}): Promise<Link[]> {
    return this.#dumps.dump(linkDump({ ...filter, extendedMask: RTEXT_FILTER.SKIP_STATS }), decodeLink);
  }

  /** One link in the form that AF_BRIDGE gives: bridge-port attributes for each port. */
  async dumpBridgePorts(): Promise<Link[]> {
    return this.#dumps.dump(linkDump({ family: AF.BRIDGE }), decodeLink);
  }

  async dumpAddresses(filter: { ifindex?: number; family?: number } = {}): Promise<InterfaceAddress[]> {
    return this.#dumps.dump(
      {
        type: RTM.GETADDR,
        flags: 0,
        write: (writer) => {
          writer.u32(filter.family ?? AF.UNSPEC);
          writer.u32(filter.ifindex ?? 0);
        },
      },
      decodeInterfaceAddress,
    );
  }

  async dumpNeighbours(filter: NeighbourFilter = {}): Promise<Neighbour[]> {
    return this.#dumps.dump(
      neighbourDump({ family: filter.family ?? AF.UNSPEC, ifindex: filter.ifindex, master: filter.master }),
      decodeNeighbour,
    );
  }

  /** Forwarding databases: of one bridge, of one port, or all. */
  async dumpFdb(filter: { bridge?: number; ifindex?: number } = {}): Promise<Neighbour[]> {
    return this.#dumps.dump(
      neighbourDump({ family: AF.BRIDGE, ifindex: filter.ifindex, master: filter.bridge }),
      decodeNeighbour,
    );
  }

  /** A table that does not exist has no routes. */
  async dumpRoutes(filter: RouteFilter): Promise<Route[]> {
    try {
      return await this.#dumps.dump(
        { type: RTM.GETROUTE, flags: 0, write: (writer) => encodeRouteFilter(writer, filter) },
        decodeRoute,
      );
    } catch (error) {
      if (error instanceof NetlinkError && error.code === 'ENOENT' && filter.table !== undefined) return [];
      throw error;
    }
  }

  async dumpRules(filter: { family: number }): Promise<Rule[]> {
    return this.#dumps.dump(
      { type: RTM.GETRULE, flags: 0, write: (writer) => encodeRuleFilter(writer, filter) },
      decodeRule,
    );
  }

  async dumpNextHops(filter: NextHopFilter = {}): Promise<NextHop[]> {
    return this.#dumps.dump(
      { type: RTM.GETNEXTHOP, flags: 0, write: (writer) => encodeNextHopFilter(writer, filter) },
      decodeNextHop,
    );
  }

  /** undefined when there is none. */
  async getLink(which: { ifindex: number } | { name: string }): Promise<Link | undefined> {
    try {
      return await this.#connection.get(linkGet(which), decodeLink);
    } catch (error) {
      if (error instanceof NetlinkError && error.code === 'ENODEV') return undefined;
      throw error;
    }
  }

  /**
   * As `getLink`, answered in this turn. Reading one link also makes the kernel handle that link's pending carrier
   * event at once (linkwatch_sync_dev, since Linux 6.7), which otherwise is held back up to a second; IFLA_CARRIER in
   * the answer is the present state on every kernel.
   */
  getLinkNow(which: { ifindex: number } | { name: string }): Link | undefined {
    return this.#connection.getNow(linkGet(which), decodeLink);
  }

  /**
   * IFLA_CARRIER of each of these links, as `getLinkNow` would read it (pending carrier events are handled too), for a
   * fraction of its price; undefined where there is no such link.
   */
  carriersNow(ifindexes: readonly number[]): (boolean | undefined)[] {
    const carriers: (boolean | undefined)[] = [];
    for (let start = 0; start < ifindexes.length; start += MAXIMUM_READ) {
      const requests = ifindexes.slice(start, start + MAXIMUM_READ).map((ifindex) => linkGet({ ifindex }));
      carriers.push(...this.#connection.getEachNow(requests, decodeCarrier));
    }
    return carriers;
  }

  /** Which way a packet would go (RTM_GETROUTE). Rejects with NetlinkError (ENETUNREACH ...). */
  async getRoute(destination: string, lookup: RouteLookup = {}): Promise<Route | undefined> {
    return this.#connection.get(routeGet(destination, lookup), decodeRoute);
  }

  /** As `getRoute`, answered in this turn; undefined when there is no way. */
  getRouteNow(destination: string, lookup: RouteLookup = {}): Route | undefined {
    return this.#connection.getNow(routeGet(destination, lookup), decodeRoute);
  }

  setLink(change: LinkChange): Promise<void> {
    return this.#connection.request(requests.setLink(change));
  }

  addLink(link: LinkChange): Promise<void> {
    return this.#connection.request(requests.addLink(link));
  }

  deleteLink(which: { ifindex: number } | { name: string }): Promise<void> {
    return this.#connection.request(requests.deleteLink(which));
  }

  setBridgePort(ifindex: number, port: Readonly<BridgePort>): Promise<void> {
    return this.#connection.request(requests.setBridgePort(ifindex, port));
  }

  addAddress(address: InterfaceAddress, mode?: requests.WriteMode): Promise<void> {
    return this.#connection.request(requests.addAddress(address, mode));
  }

  deleteAddress(address: InterfaceAddress): Promise<void> {
    return this.#connection.request(requests.deleteAddress(address));
  }

  setNeighbour(entry: NeighbourEntry, mode?: requests.WriteMode): Promise<void> {
    return this.#connection.request(requests.setNeighbour(entry, mode));
  }

  deleteNeighbour(entry: NeighbourEntry): Promise<void> {
    return this.#connection.request(requests.deleteNeighbour(entry));
  }

  setRoute(route: Route, mode?: requests.WriteMode): Promise<void> {
    return this.#connection.request(requests.setRoute(route, mode));
  }

  deleteRoute(route: Route): Promise<void> {
    return this.#connection.request(requests.deleteRoute(route));
  }

  addRule(rule: Rule): Promise<void> {
    return this.#connection.request(requests.addRule(rule));
  }

  deleteRule(rule: Rule): Promise<void> {
    return this.#connection.request(requests.deleteRule(rule));
  }

  setNextHop(nextHop: NextHop, mode?: requests.WriteMode): Promise<void> {
    return this.#connection.request(requests.setNextHop(nextHop, mode));
  }

  deleteNextHop(id: number): Promise<void> {
    return this.#connection.request(requests.deleteNextHop(id));
  }
}

const linkDump = (filter: LinkChange): Request => ({
  type: RTM.GETLINK,
  flags: 0,
  write: (writer) => encodeLink(writer, filter),
});

const linkGet = (which: { ifindex: number } | { name: string }): Request =>
  linkDump({ ...which, extendedMask: RTEXT_FILTER.SKIP_STATS });

function routeGet(destination: string, lookup: RouteLookup): Request {
  const family = isIpv6(destination) ? AF.INET6 : AF.INET;
  const length = family === AF.INET ? 32 : 128;
  return {
    type: RTM.GETROUTE,
    flags: 0,
    write: (writer) =>
      encodeRoute(writer, {
        family,
        destination: `${destination}/${length}`,
        ...(lookup.source === undefined ? {} : { source: `${lookup.source}/${length}` }),
        table: 0,
        protocol: 0,
        scope: 0,
        type: 0,
        // IPv6 always tells the table, and refuses to be asked.
        flags: (lookup.match ? RTM_F.FIB_MATCH : 0) | (family === AF.INET ? RTM_F.LOOKUP_TABLE : 0),
        ...(lookup.iif === undefined ? {} : { inputIfindex: lookup.iif }),
        ...(lookup.mark === undefined ? {} : { mark: lookup.mark }),
        nextHops: lookup.oif === undefined ? [] : [{ ifindex: lookup.oif }],
      }),
  };
}

const neighbourDump = (filter: Parameters<typeof encodeNeighbourFilter>[1]): Request => ({
  type: RTM.GETNEIGH,
  flags: 0,
  write: (writer) => encodeNeighbourFilter(writer, filter),
});
