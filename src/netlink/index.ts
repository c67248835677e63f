/**
 * The kernel, as the agent sees it: ports, neighbours, forwarding databases, and installers of routes.
 *
 * Three sockets, so that none waits behind another: links and addresses (few messages, the hot path of a link event),
 * neighbours and forwarding databases (floods are usual), and requests. Every table is kept by notifications and made
 * right again after an overrun (see rtnetlink-ts); listeners run in the turn in which a notification was read.
 */
import { AF, Rtnetlink, Subscription } from 'rtnetlink-ts';
import { type Address, parseAddress } from '../model/address.ts';
import { type Clock, systemClock } from '../model/clock.ts';
import type { Log } from '../model/log.ts';
import { type LinkState, type Port, type PortChange, type PortDriver, PortError } from '../model/ports.ts';
import { QuietObjects } from './backed/quiet-objects.ts';
import type { BackedRouteOptions } from './backed/types.ts';
import { BackedRouteInstaller } from './backed-routes.ts';
import { CarrierWatch } from './carrier-watch.ts';
import { FabricRules, type FabricRulesOptions } from './fabric-rules.ts';
import { ForwardingDatabase } from './fdb.ts';
import type { GuardMemory } from './frames/index.ts';
import { type HandoffOptions, HandoffTable } from './handoff-table.ts';
import { HostRouteInstaller, type HostRouteOptions } from './host-routes.ts';
import { KeptAddresses } from './kept-addresses.ts';
import { LearnedRouteInstaller, type LearnedRouteOptions } from './learned-routes.ts';
import { Links } from './links.ts';
import { type Login, readLogins, type TcpSession } from './logins.ts';
import { Neighbours } from './neighbours.ts';
import { findRepair, IgnoredLinkdown, type RepairOptions, RepairPath, removeRepair } from './repair/index.ts';
import { RouteWatch } from './route-watch.ts';
import { RuleKeeper } from './rule-keeper.ts';
import { findShadows, removeShadows, ShadowTable, type ShadowTableOptions } from './shadow-table.ts';
import { Shutting, type ShuttingOptions } from './shutting.ts';
import { type Belonging, removeStrays } from './strays.ts';
import { WaitingRoom } from './waiting-room.ts';

export { type BackedLeftovers, findBacked, removeBacked } from './backed/leftovers.ts';
export { QuietObjects } from './backed/quiet-objects.ts';
export type { BackedRouteOptions, SwitchOver } from './backed/types.ts';
export { BackedRouteInstaller, type ObjectSocket } from './backed-routes.ts';
export { FabricRules, type FabricRulesOptions, findFabricRules } from './fabric-rules.ts';
export type { FdbEvent } from './fdb.ts';
export { HANDOFF_METRIC, type HandoffOptions, HandoffTable } from './handoff-table.ts';
export { HostRouteInstaller, type HostRouteOptions } from './host-routes.ts';
export type { PortTable, ReconcileReport, RouteSocket } from './installing.ts';
export { KeptAddresses, keptAddresses } from './kept-addresses.ts';
export { LearnedRouteInstaller, type LearnedRouteOptions } from './learned-routes.ts';
export { findLeftovers, type KernelLeftovers, removeLeftovers } from './leftovers.ts';
export { type Login, sshConnection, type TcpSession } from './logins.ts';
export { type NeighbourEvent, Neighbours } from './neighbours.ts';
export {
  findRepair,
  IgnoredLinkdown,
  REPAIR_ALIAS,
  REPAIR_PORT,
  type RepairLeftovers,
  type RepairOptions,
  RepairPath,
  removeRepair,
  type Tunnel,
} from './repair/index.ts';
export { type RouteEvent, RouteWatch } from './route-watch.ts';
export { type KeptRules, RuleKeeper, type RuleKeeperOptions, type RuleNews } from './rule-keeper.ts';
export {
  findShadows,
  removeShadows,
  type Shadow,
  type ShadowLeftovers,
  ShadowTable,
  type ShadowTableOptions,
} from './shadow-table.ts';
export type { ShutMethod, ShuttingOptions } from './shutting.ts';
export type { Belonging } from './strays.ts';
export { type Door, type Guests, WaitingRoom } from './waiting-room.ts';

export interface KernelOptions {
  /** Name in /run/netns or absolute path; the process itself stays where it is. */
  readonly netns?: string;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Bytes of receive buffer of each subscription socket; default 8 MiB. */
  readonly receiveBuffer?: number;
  /**
   * Milliseconds between readings of the watched carriers while nothing happens; default: read for a second after
   * events only. For boxes where interfaces of other network namespaces come and go (see carrier-watch.ts).
   */
  readonly idleCarrierInterval?: number;
  readonly shutting?: ShuttingOptions;
}

const DEFAULT_RECEIVE_BUFFER = 8 << 20;
const DEFAULT_HOST_PROTOCOL = 201;
const MAIN_TABLE = 254;

interface Parts {
  readonly rtnetlink: Rtnetlink;
  readonly links: Links;
  readonly neighbourhood: Subscription;
  readonly clock: Clock;
  readonly idleCarrierInterval: number | undefined;
  readonly netns: string | undefined;
  readonly shutting: ShuttingOptions | undefined;
  readonly receiveBuffer: number;
  readonly log: Log | undefined;
  readonly onError: (error: unknown) => void;
}

export class Kernel implements LinkState, PortDriver {
  readonly rtnetlink: Rtnetlink;
  readonly neighbours: Neighbours;
  readonly fdb: ForwardingDatabase;
  readonly #links: Links;
  readonly #neighbourhood: Subscription;
  readonly #carriers: CarrierWatch;
  readonly #shutting: Shutting;
  readonly #clock: Clock;
  readonly #netns: string | undefined;
  readonly #receiveBuffer: number;
  readonly #onError: (error: unknown) => void;
  readonly #rules: RuleKeeper;
  readonly #installers: { close(): void }[] = [];
  /** What the kernel refused of them. */
  readonly #strays: Record<string, number> = {};

  /** Sockets opened, groups joined and the first picture read. */
  static async open(options: KernelOptions = {}): Promise<Kernel> {
    const clock = options.clock ?? systemClock;
    const { netns, log, receiveBuffer = DEFAULT_RECEIVE_BUFFER } = options;
    const onError = (error: unknown) => log?.warn({ err: error }, 'the kernel could not be read, it is tried again');
    const rtnetlink = Rtnetlink.open({ netns });
    let links: Links | undefined;
    try {
      links = await Links.open({ netns, clock, receiveBuffer, onError });
      const neighbourhood = await Subscription.open({
        kinds: ['neighbour', 'fdb'],
        netns,
        now: () => clock.now(),
        receiveBuffer,
        onError,
      });
      const { idleCarrierInterval, shutting } = options;
      const rest = { clock, idleCarrierInterval, netns, shutting, receiveBuffer, log, onError };
      return new Kernel({ rtnetlink, links, neighbourhood, ...rest });
    } catch (error) {
      links?.close();
      rtnetlink.close();
      throw error;
    }
  }

  private constructor(parts: Parts) {
    const { rtnetlink, links, neighbourhood, clock, idleCarrierInterval, netns, shutting } = parts;
    this.rtnetlink = rtnetlink;
    this.#links = links;
    this.#neighbourhood = neighbourhood;
    this.#clock = clock;
    this.#netns = netns;
    this.#receiveBuffer = parts.receiveBuffer;
    this.#onError = parts.onError;
    const { log, receiveBuffer, onError } = parts;
    this.#rules = new RuleKeeper({
      ...{ clock, log },
      open: () => Subscription.open({ kinds: ['rule'], netns, now: () => clock.now(), receiveBuffer, onError }),
    });
    this.#shutting = new Shutting(rtnetlink, links, shutting);
    this.neighbours = new Neighbours(neighbourhood, rtnetlink, clock);
    this.fdb = new ForwardingDatabase(neighbourhood, links);
    this.#carriers = new CarrierWatch(links, rtnetlink, clock, idleCarrierInterval);
  }

  port(name: string): Port | undefined {
    return this.#links.port(name);
  }

  portByIndex(ifindex: number): Port | undefined {
    return this.#links.portByIndex(ifindex);
  }

  ports(): Iterable<Port> {
    return this.#links.ports();
  }

  onChange(listener: (change: PortChange) => void): () => void {
    return this.#links.onChange(listener);
  }

  /** Called when the ports are lost from sight (notifications overflowed, the socket failed) and when they are back. */
  onBlind(listener: (blind: boolean, reason: string) => void): () => void {
    return this.#links.onBlind(listener);
  }

  /**
   * By admin state or protodown, see shutting.ts. The kernel has done it when this returns; the promise carries what it said. It rejects with an AggregateError that
   * names each port that is unknown or was refused, after the others were set.
   */
  async setAdmin(ports: readonly string[], up: boolean): Promise<void> {
    const errors: Error[] = [];
    const known: Port[] = [];
    for (const name of ports) {
      const port = this.#links.port(name);
      if (port) known.push(port);
      else errors.push(new PortError(name, 'no such port'));
    }
    errors.push(...(await this.#shutting.set(known, up)));
    if (errors.length > 0) throw new AggregateError(errors, errors.map(({ message }) => message).join('; '));
  }

  /**
   * The ports that matter (uplinks and downlinks): their carriers are re-read after every carrier event, and it is found
   * out how each can be shut. Names may not exist yet.
   */
  watchCarriers(names: Iterable<string>): void {
    const watched = [...names];
    this.#carriers.watch(watched);
    // Only spares a question later: a refusal shows when the port is shut.
    this.#shutting.learn(watched).catch(() => undefined);
  }

  hostRoutes(options: HostRouteOptions = {}): HostRouteInstaller {
    this.neighbours.regardAsOwn(options.protocol ?? DEFAULT_HOST_PROTOCOL);
    const installer = new HostRouteInstaller(this.rtnetlink, this.#links, this.#clock, options);
    this.#installers.push(installer);
    return installer;
  }

  learnedRoutes(options: LearnedRouteOptions): LearnedRouteInstaller {
    const installer = new LearnedRouteInstaller(this.rtnetlink, this.#links, this.#clock, options);
    this.#installers.push(installer);
    return installer;
  }

  /** As `learnedRoutes`, with their backups in the kernel beforehand; changes a setting of the namespace, see quiet-objects.ts. */
  backedRoutes(options: BackedRouteOptions): BackedRouteInstaller {
    const objects = new QuietObjects(this.#netns, options.memory);
    const quiet = objects.set();
    const left = () => objects.putBack();
    const installer = new BackedRouteInstaller(this.rtnetlink, this.#links, this.#clock, { ...options, quiet, left });
    this.#installers.push(installer);
    return installer;
  }

  /**
   * Gateways of the main table's routes through an interface, default routes first, without repetition. The kernel
   * filters, but walks the whole table: nothing for a hot path.
   */
  async gatewaysVia(ifindex: number): Promise<Address[]> {
    const gateways = new Set<Address>();
    const others: Address[] = [];
    for (const family of [AF.INET, AF.INET6]) {
      for (const route of await this.rtnetlink.dumpRoutes({ family, table: MAIN_TABLE, oif: ifindex })) {
        for (const hop of route.nextHops) {
          const gateway = hop.ifindex === ifindex ? parseAddress(hop.gateway ?? '') : undefined;
          if (!gateway) continue;
          if (route.destination.endsWith('/0')) gateways.add(gateway);
          else others.push(gateway);
        }
      }
    }
    for (const gateway of others) gateways.add(gateway);
    return [...gateways];
  }

  handoffTable(options: HandoffOptions): HandoffTable {
    const table = new HandoffTable(this.rtnetlink, this.#links, this.#clock, options);
    this.#installers.push(table);
    return table;
  }

  /** Removes what an earlier life left elsewhere, see strays.ts. @returns how many routes that were */
  removeStrays(belongings: readonly Belonging[]): Promise<number> {
    return removeStrays(this.rtnetlink, this.#links, belongings, this.#strays);
  }

  /** The routes of the box, whoever wrote them. */
  async watchRoutes(): Promise<RouteWatch> {
    const watch = await RouteWatch.open({
      netns: this.#netns,
      clock: this.#clock,
      rtnetlink: this.rtnetlink,
      receiveBuffer: this.#receiveBuffer,
      onError: this.#onError,
    });
    this.#installers.push(watch);
    return watch;
  }

  /** Who is logged in to the box, and by which port; `placeOf`: where a peer without a route is known to be. */
  logins(also: readonly TcpSession[] = [], placeOf?: (peer: Address) => string | undefined): Promise<Login[]> {
    const memberTowards = (bridge: Port, neighbour: Address): Port | undefined => {
      for (const { address, mac } of this.neighbours.all(bridge.ifindex)) {
        if (address === neighbour && mac !== undefined) return this.fdb.portOf(mac, bridge.ifindex);
      }
      return undefined;
    };
    const links = this.#links;
    const neighbourPort = (peer: Address): string | undefined => {
      for (const { address, mac, ifindex } of this.neighbours.all()) {
        const port = address === peer && mac !== undefined ? links.portByIndex(ifindex) : undefined;
        if (port) return (port.kind === 'bridge' ? memberTowards(port, peer) : port)?.name;
      }
      return undefined;
    };
    const place = (peer: Address): string | undefined => placeOf?.(peer) ?? neighbourPort(peer);
    return readLogins({ rtnetlink: this.rtnetlink, links, memberTowards, placeOf: place, netns: this.#netns }, also);
  }

  /** See WaitingRoom.open. */
  waitingRoom(onArrival: (address: Address) => void): Promise<WaitingRoom> {
    const netns = this.#netns === undefined ? {} : { netns: this.#netns };
    return WaitingRoom.open({ rtnetlink: this.rtnetlink, clock: this.#clock, onArrival, ...netns });
  }

  /** See fabric-rules.ts. */
  fabricRules(options: FabricRulesOptions): FabricRules {
    const surroundings = { netns: this.#netns, keeper: this.#rules };
    const rules = new FabricRules(this.rtnetlink, this.#clock, { ...options, ...surroundings });
    this.#installers.push(rules);
    return rules;
  }

  /** What an earlier life that stood by for others has left. */
  async removeShadows(protocol: number): Promise<void> {
    await removeShadows(this.rtnetlink, await findShadows(this.rtnetlink, protocol), this.#strays);
  }

  /** For packets that come from the fabric and are for hosts that are not here yet. */
  shadowTable(options: ShadowTableOptions): ShadowTable {
    const table = new ShadowTable(this.rtnetlink, this.#clock, { ...options, keeper: this.#rules });
    this.#installers.push(table);
    return table;
  }

  /** See RepairPath.open; left to itself by `close`. */
  async repairPath(options: RepairOptions): Promise<RepairPath> {
    const { rtnetlink } = this;
    const path = await RepairPath.open(
      { rtnetlink, links: this.#links, clock: this.#clock, netns: this.#netns, keeper: this.#rules },
      options,
    );
    this.#installers.push(path);
    return path;
  }

  /** See kept-addresses.ts; left to itself by `close`. */
  keepAddresses(memory: GuardMemory): KeptAddresses {
    const kept = new KeptAddresses(this.#links, memory, this.#netns);
    this.#installers.push(kept);
    return kept;
  }

  /** What a life of the agent that had a repair path has left here. */
  async removeRepair(protocol: number, memory: GuardMemory): Promise<void> {
    await removeRepair(this.rtnetlink, await findRepair(this.rtnetlink, protocol));
    new IgnoredLinkdown(memory, this.#netns).uncover();
  }

  /** Of which rules of ours (`ip rule`) another program takes some out again and again. */
  contestedRules(): string[] {
    return this.#rules.contested();
  }

  /** What was lost and made right again, and what could not be read. */
  counters(): Readonly<Record<string, number>> {
    const counters: Record<string, number> = {
      carrierRounds: this.#carriers.counters.rounds,
      carrierFoundLate: this.#carriers.counters.foundLate,
    };
    const sockets = {
      links: this.#links.counters,
      neighbours: this.#neighbourhood.counters,
      requests: this.rtnetlink.counters,
    };
    for (const [name, value] of Object.entries(this.#rules.counters())) counters[`rules.${name}`] = value;
    for (const [name, value] of Object.entries(this.#strays)) counters[`strays.${name}`] = value;
    for (const [name, value] of Object.entries(this.neighbours.refusals)) counters[`weeding.${name}`] = value;
    for (const [socket, { malformed, ...plain }] of Object.entries(sockets)) {
      for (const [name, value] of Object.entries(plain)) counters[`${socket}.${name}`] = value;
      for (const [reason, value] of Object.entries(malformed)) counters[`${socket}.malformed.${reason}`] = value;
    }
    return counters;
  }

  /** Closes the installers and the sockets; routes stay (use `leave` of the installers first). */
  close(): void {
    for (const installer of this.#installers) installer.close();
    this.#rules.close();
    this.#carriers.close();
    this.#links.close();
    this.#neighbourhood.close();
    this.rtnetlink.close();
  }
}
