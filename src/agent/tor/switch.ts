import { join } from 'node:path';
import type { ServerRoute, ServerSettings } from '../../bgp/index.ts';
import type { Loaded, TorConfig } from '../../config/index.ts';
import { type ConfigDiff, diffConfig } from '../../config/index.ts';
import { type HostCause, type HostPolicy, HostRoutes, type Memory } from '../../hostroutes/index.ts';
import type { Address } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { ForeignClaim, HostDelta } from '../../model/hosts.ts';
import type { Log } from '../../model/log.ts';
import { isUp, type PortChange, type PortNeighbour } from '../../model/ports.ts';
import type { HostRouteInstaller } from '../../netlink/index.ts';
import { memoryFile as adjacencyFile } from '../../ospf/index.ts';
import { EventLog, WallClock } from '../events.ts';
import { Failovers } from '../failovers.ts';
import { processCounters } from '../process-counters.ts';
import { Drain } from './drain/index.ts';
import { Fabric } from './fabric.ts';
import { Handoff, hostMetric } from './handoff.ts';
import { hostEvent } from './host-events.ts';
import { HostMemory, memoryFile } from './host-memory.ts';
import { ManagementPort } from './management-port.ts';
import { neighbourRoomWarnings } from './neighbour-room.ts';
import { NextHops } from './next-hops.ts';
import { unsupported } from './not-yet.ts';
import { PortGroups, type UplinkJudge } from './port-groups.ts';
import { Projection } from './projection.ts';
import { Reopening } from './reopening.ts';
import { shutInParts } from './shut-in-parts.ts';
import { Sight } from './sight.ts';
import type { Room, Surroundings, SwitchKernel } from './surroundings.ts';
import { Waiting } from './waiting.ts';

/** After the start, hosts get this long (ms) to be heard before what an earlier run left in kernel and fabric goes. */
const SETTLE_AFTER = 3_000;

export interface TorSwitchOptions {
  readonly loaded: Loaded & { readonly config: TorConfig };
  readonly clock: Clock;
  readonly log: Log;
  /** Closed by `stop`. */
  readonly kernel: SwitchKernel;
  /** Absent in production. */
  readonly surroundings?: Surroundings;
  /** See `PortGroups.start`. */
  readonly holdAtBoot: boolean;
  /** Who says by LLDP that he is at the other end of a port. */
  neighbours?(port: string): readonly PortNeighbour[];
}

/**
 * The switch role, composed: where the domains meet and the only place that knows the order of things.
 *
 * A link event runs through here in one turn: host table (its delta goes to the wire), port-link groups (their
 * withdrawals go to the wire, then the ports are shut in one batch), speakers (sessions over that link fall). The
 * withdrawal is always before everything that costs more than it.
 */
export class TorSwitch {
  readonly clock: Clock;
  readonly wall: WallClock;
  readonly events: EventLog;
  readonly failovers: Failovers;
  readonly kernel: SwitchKernel;
  readonly hosts: HostRoutes;
  readonly groups: PortGroups;
  readonly fabric: Fabric;
  readonly drain: Drain;
  readonly neighbours: (port: string) => readonly PortNeighbour[];
  readonly management: ManagementPort;
  readonly #nextHops: NextHops;
  readonly #judge: UplinkJudge;
  readonly #sight: Sight;
  readonly #handoff: Handoff;
  readonly #projection: Projection;
  readonly #hostRoutes: HostRouteInstaller;
  readonly #startedAt: Instant;
  readonly #room: Room | undefined;
  readonly #reopening: Reopening;
  readonly #memory: HostMemory;
  #loaded: Loaded & { readonly config: TorConfig };
  #loadedAt: Instant;
  #settleTimer: Timer | undefined;
  #upstream: string | undefined;
  #remembered: readonly Memory[] = [];

  static async start(options: TorSwitchOptions): Promise<TorSwitch> {
    const arrivals: { notice(address: Address): void } = { notice: () => {} };
    const room = await openWaitingRoom(options, (address) => arrivals.notice(address));
    const agent = new TorSwitch(options, room);
    arrivals.notice = (address) => agent.#reopening.arrived(address);
    await agent.#start(options.holdAtBoot);
    return agent;
  }

  private constructor(options: TorSwitchOptions, room: Room | undefined) {
    const { loaded, clock, log, kernel } = options;
    const { transport, openPort, openOspfSocket, random, wallClock, portState, hostMemory, hopMemory } =
      options.surroundings ?? {};
    const chance = random === undefined ? {} : { random };
    const { config } = loaded;
    this.#loaded = loaded;
    this.clock = clock;
    this.#startedAt = clock.now();
    this.#loadedAt = this.#startedAt;
    this.wall = new WallClock(clock, wallClock);
    this.events = new EventLog(clock, this.wall, log);
    this.failovers = new Failovers(clock, this.wall);
    this.kernel = kernel;
    this.neighbours = (port) => options.neighbours?.(port) ?? [];
    this.#room = room;
    const { table, protocol } = config.kernel;
    this.#hostRoutes = kernel.hostRoutes({ table, protocol, metric: hostMetric(config) });
    this.hosts = new HostRoutes({
      policy: this.#policy(),
      kernel,
      clock,
      log,
      ...chance,
      ...(openPort === undefined ? {} : { openPort }),
      onDelta: (delta, cause, at) => this.#onDelta(delta, cause, at),
      onEvent: (effect) => {
        this.events.record(hostEvent(effect));
        if (effect.type === 'changed') this.#handoff.hostChanged(effect.address);
      },
    });
    this.groups = new PortGroups({
      groups: config.portLink,
      ports: { setAdmin: (ports, up) => this.#setAdmin(ports, up) },
      links: kernel,
      clock,
      log,
      wall: this.wall,
      events: this.events,
      stateFile: join(config.stateDirectory, 'ports.json'),
      state: portState,
      wallClock,
      neighbours: this.neighbours,
      onBlock: (ports, blocked, reason, at) => {
        const block = (): void => this.hosts.blockPorts(ports, blocked, reason, at);
        if (blocked) this.#projection.beforeShutting(block);
        else block();
      },
      onDrainTrouble: (ports, reason) => this.drain.trouble(ports, reason),
    });
    const onForeignClaim = (claim: ForeignClaim): void => {
      this.hosts.foreignClaim(claim);
      this.drain.claimed(claim);
      if (claim.level === undefined) this.#reopening.unrivalled(claim.address);
    };
    this.#handoff = new Handoff({
      config: () => this.#loaded.config,
      kernel,
      hosts: this.hosts,
      clock,
      log,
      onForeignClaim,
      onFabricChange: () => this.#fabricChanged(),
      onError: (what, error) => this.#failed(what, error),
    });
    const { prefixes } = config.hostRoutes.policy;
    this.fabric = new Fabric({
      clock,
      log,
      links: kernel,
      events: this.events,
      ospf: config.ospf && {
        ...config.ospf,
        ...chance,
        ...(openOspfSocket === undefined ? {} : { openSocket: openOspfSocket }),
        ...adjacencyMemory(config, options.surroundings),
        routerId: config.routerId,
        prefixes,
      },
      bgp: config.bgp && {
        ...config.bgp,
        ...chance,
        ...(transport === undefined ? {} : { transport }),
        routerId: config.routerId,
        prefixes,
        servers: announcingServers(config),
        portOf: (server) => this.hosts.locate(server)?.port,
        onServerRoute: (route) => this.#serverRoute(route),
      },
      installer: (name) =>
        kernel.learnedRoutes({
          protocol: protocol + (name === 'ospf' ? 1 : 2),
          table,
          metric: name === 'ospf' ? 110 : 20,
        }),
      outside: this.#handoff.outside(),
      onForeignClaim,
      onChange: () => this.#fabricChanged(),
    });
    this.management = new ManagementPort({
      clock,
      log,
      events: this.events,
      logins: kernel.logins && ((also) => kernel.logins!(also, (peer) => this.#placeOf(peer))),
      groups: () => this.#loaded.config.portLink,
      spare: (ports) => this.groups.spare(ports),
    });
    this.#sight = new Sight(this.events, (blind, reason) => this.groups.blind(blind, reason));
    this.#nextHops = new NextHops({
      links: kernel,
      clock,
      log,
      store: hopMemory ?? memoryFile(join(config.stateDirectory, 'nexthops.json')),
      openUplink: openPort,
      neighbours: (port) => this.fabric.neighboursOn(port),
      routed: kernel.gatewaysVia && ((ifindex) => kernel.gatewaysVia!(ifindex)),
      events: this.events,
      onVerdict: (port, at, cause) => {
        const judge = (): void => this.groups.judge(this.#judge);
        if (cause === undefined) judge();
        else this.#projection.inTurn(cause, at, port, judge);
      },
      onTurn: (port, ready, at) => this.fabric.silenceChanged(port, !ready, at),
    });
    this.#judge = {
      adjacency: (port) => this.fabric.adjacency(port),
      defaultRoute: (port) => this.fabric.defaultRoute(port),
      nexthop: (port) => this.#nextHops.readiness(port),
      readiness: () => this.fabric.readiness(),
    };
    this.#memory = new HostMemory({
      store: hostMemory ?? memoryFile(join(config.stateDirectory, 'hosts.json')),
      clock,
      log,
      read: () => this.hosts.memory(),
    });
    this.drain = new Drain({
      clock,
      log,
      wall: this.wall,
      events: this.events,
      links: kernel,
      hosts: this.hosts,
      groups: this.groups,
      fabric: this.fabric,
      room,
      config: () => this.#loaded.config,
      surroundings: options.surroundings,
    });
    this.#reopening = new Reopening({
      clock,
      expect: (ports) => this.hosts.expect(ports),
      open: (ports) => kernel.setAdmin(ports, true),
    });
    this.#projection = new Projection({
      clock,
      kernel: new Waiting({ kernel: this.#hostRoutes, room, links: kernel, clock }),
      announcers: this.fabric.announcers(),
      failovers: this.failovers,
      events: this.events,
    });
  }

  get loaded(): Loaded & { readonly config: TorConfig } {
    return this.#loaded;
  }

  /** When the running configuration was read. */
  get loadedAt(): Instant {
    return this.#loadedAt;
  }

  get uptime(): number {
    return this.clock.now() - this.#startedAt;
  }

  announcedBy(): string[] {
    return [...this.fabric.announcers().map((announcer) => announcer.name), this.#hostRoutes.name];
  }

  /** What the operator should know of, in plain words. */
  warnings(): string[] {
    const { config } = this.#loaded;
    const missing = this.#ports().filter((name) => this.kernel.port(name) === undefined);
    return [
      ...(missing.length > 0 ? [`there is no interface ${missing.join(', ')}`] : []),
      ...this.#sight.warnings(),
      ...this.management.warnings(),
      ...neighbourRoomWarnings(this.hosts.count()),
      ...this.hosts.storming().map((port) => `a storm of ARP or ND on ${port}: only its known hosts are listened to`),
      ...this.groups.warnings(),
      ...unsupported(config),
    ];
  }

  counters(): Record<string, Record<string, number>> {
    return {
      hostroutes: { ...this.hosts.counters() },
      kernel: { ...this.kernel.counters() },
      'kernel.hosts': { ...this.#hostRoutes.counters() },
      ...(this.#room ? { 'waiting-room': { ...this.#room.counters() } } : {}),
      ...this.fabric.counters(),
      ...this.#handoff.counters(),
      nexthops: this.#nextHops.counters(),
      drain: this.drain.counters(),
      sight: this.#sight.counters(),
      process: processCounters(),
    };
  }

  /** What `reload` would change. */
  preview(loaded: Loaded): ConfigDiff {
    return diffConfig(this.#loaded, loaded);
  }

  /** Applies what differs; sections that are read at the start only are named in the answer. */
  reload(loaded: Loaded & { readonly config: TorConfig }): ConfigDiff {
    const diff = this.preview(loaded);
    this.#loaded = loaded;
    this.#loadedAt = this.clock.now();
    const { config } = loaded;
    this.kernel.watchCarriers(this.#ports());
    // The speakers first: they would refuse hosts, or claims, inside prefixes that they do not know yet.
    if (config.ospf && (diff.ospf === 'changed' || diff.hostPolicy)) {
      const { prefixes } = config.hostRoutes.policy;
      this.fabric.configureOspf({ ...config.ospf, prefixes });
    }
    if (config.bgp && (diff.bgp === 'changed' || diff.hostPolicy || diff.hostSources)) {
      const { prefixes } = config.hostRoutes.policy;
      this.fabric.configure({ ...config.bgp, prefixes, servers: announcingServers(config) });
    }
    if (diff.hostPolicy) {
      this.hosts.configure(this.#policy());
      this.#hostRoutes
        .ensureUnreachable(config.hostRoutes.policy.prefixes)
        .catch((error: Error) => this.#failed('unreachable routes of the prefixes were not changed', error));
    }
    if (diff.portLink.added.length + diff.portLink.removed.length + diff.portLink.changed.length > 0) {
      this.#nextHops.configure(config.portLink);
      this.groups.configure(config.portLink, this.#judge);
      this.management.reloaded();
    }
    this.#handoff.configure();
    if (diff.changes.length > 0) {
      this.events.record({
        type: 'config.changed',
        message: diff.changes.join('; '),
        fields: { changes: diff.changes },
      });
    }
    return diff;
  }

  /** Withdraws what we announced, then takes our routes out of the kernel; ports stay as they are (`onStop`). */
  async stop(): Promise<void> {
    this.#settleTimer?.cancel();
    this.#nextHops.close();
    this.management.close();
    this.drain.close();
    this.hosts.stop();
    await this.fabric.stop();
    await this.#handoff.stop();
    await this.groups.stop();
    this.#memory.save();
    this.#projection.finish();
    await this.#hostRoutes.leave();
    await this.#room?.close();
    this.kernel.close();
  }

  /**
   * Ends for a restart or an upgrade: nothing is withdrawn, kernel routes, neighbour entries and ports stay as they are. The
   * process must end when this resolves.
   */
  async pause(): Promise<void> {
    this.#settleTimer?.cancel();
    this.events.record({ type: 'agent.pausing', message: 'the agent ends for a restart; nothing is withdrawn' });
    this.#projection.finish();
    await this.groups.settled();
    await this.fabric.pause();
    this.#memory.save();
  }

  async #start(holdAtBoot: boolean): Promise<void> {
    const { config } = this.#loaded;
    this.kernel.watchCarriers(this.#ports());
    await this.#hostRoutes.ensureUnreachable(config.hostRoutes.policy.prefixes);
    const adopted = await this.#hostRoutes.adopt();
    await this.#handoff.start();
    this.kernel.onChange((change) => this.#portChanged(change));
    this.#nextHops.configure(config.portLink);
    this.#remembered = this.#memory.load();
    await this.management.atStart();
    await this.groups.start(holdAtBoot, this.#judge, this.drain.restore());
    this.drain.started();
    this.kernel.onBlind?.(this.#sight.changed);
    this.hosts.remember(this.#remembered);
    this.#remembered = [];
    this.hosts.start();
    this.#handoff.configure();
    this.fabric.start(adopted.length > 0);
    this.#settleTimer = this.clock.schedule(this.clock.now() + SETTLE_AFTER, () => this.#settle());
    this.events.record({
      type: 'agent.started',
      message: `switch role started with ${adopted.length} host routes of an earlier run`,
      fields: { routerId: config.routerId, adopted: adopted.length, holdAtBoot },
    });
  }

  #settle(): void {
    this.fabric.settled().catch((error: Error) => this.#failed('routes of the fabric were not reconciled', error));
    this.#handoff.settle(this.hosts.announced());
    this.#hostRoutes.reconcile(this.hosts.announced()).then(
      ({ removed, added, kept, failed }) => {
        if (removed + added + failed === 0) return;
        this.events.record({
          type: 'kernel.reconciled',
          message: `kernel host routes: ${kept} kept, ${added} added, ${removed} of an earlier run removed, ${failed} failed`,
        });
      },
      (error: Error) => this.#failed('host routes were not reconciled', error),
    );
  }

  /** Of a host whose route is not there: before the hosts have started, where an earlier run had it. */
  #placeOf(address: Address): string | undefined {
    return this.hosts.locate(address)?.port ?? this.#remembered.find((host) => host.address === address)?.port;
  }

  #failed(what: string, error: Error): void {
    this.events.record({ type: 'agent.error', severity: 'error', message: `${what}: ${error.message}` });
  }

  #portChanged(change: PortChange): void {
    const wasUp = isUp(change.before);
    const up = isUp(change.after);
    const { name, at } = change;
    if (wasUp && !up) {
      const lost = change.after === undefined ? 'is gone' : change.after.adminUp ? 'lost carrier' : 'was shut';
      const cause = `${name} ${lost}`;
      this.#projection.inTurn(cause, at, name, () => this.#react(change));
      if (this.#concerns(name))
        this.events.record({ type: 'link.down', severity: 'warning', message: cause, at, fields: { port: name } });
      return;
    }
    this.#react(change);
    if (up && !wasUp && this.#concerns(name)) {
      this.hosts.expect([name], at);
      this.events.record({ type: 'link.up', message: `${name} is up`, at, fields: { port: name } });
    }
    if (addressesDiffer(change)) {
      this.hosts.configure(this.#policy());
    }
  }

  /** The order is the point: hosts of the port first, then the groups, then the sessions over it. */
  #react(change: PortChange): void {
    this.hosts.portChange(change);
    this.groups.portChanged(change);
    this.drain.portChanged(change);
    this.#nextHops.portChanged(change);
    this.fabric.linkChanged(change);
    this.#handoff.linkChanged(change);
  }

  #onDelta(delta: HostDelta, cause: HostCause, at: Instant): void {
    this.#projection.apply(delta, cause, at);
    this.#memory.changed();
  }

  /** What a server says of itself in its own session is evidence like any other, and lives where the server does. */
  #serverRoute({ address, server, port, up }: ServerRoute): void {
    if (!up) {
      this.hosts.retract({ source: 'bgp', address, port });
      return;
    }
    const place = this.hosts.locate(server);
    if (place?.port !== port) return;
    const { mac, interface: name, ifindex } = place;
    this.hosts.report({ source: 'bgp', address, mac, port, interface: name, ifindex });
  }

  #setAdmin(ports: readonly string[], up: boolean): Promise<void> {
    if (up) return this.#reopening.open(ports);
    this.#reopening.shut(ports);
    const answer = shutInParts(this.kernel, ports, () => this.fabric.pump());
    this.#projection.portsShut();
    return answer;
  }

  #fabricChanged(): void {
    this.#nextHops.refresh();
    this.#judgeUplinks();
  }

  /** Sessions or routes changed: verdicts of the uplinks and the gate of make-before-break follow. */
  #judgeUplinks(): void {
    this.groups.judge(this.#judge);
    const { ready, reason } = this.fabric.readiness();
    const text = `${ready ? 'ready' : 'not ready'}: ${reason}`;
    if (text === this.#upstream) return;
    this.#upstream = text;
    this.events.record({ type: 'upstream', severity: 'debug', message: `upstream ${text}`, fields: { ready } });
  }

  #ports(): string[] {
    return [...new Set([...this.#loaded.config.hostRoutes.policy.ports, ...this.groups.ports()])];
  }

  #concerns(name: string): boolean {
    return this.#loaded.config.hostRoutes.policy.ports.includes(name) || this.groups.ports().includes(name);
  }

  #policy(): HostPolicy {
    const { policy, returning } = this.#loaded.config.hostRoutes;
    const ownAddresses = [...this.kernel.ports()].flatMap((port) => port.addresses.map((entry) => entry.address));
    const door = this.#room?.door;
    return { ...policy, ownAddresses, ...(door === undefined ? {} : { returning: { ...returning, door } }) };
  }
}

/** Undefined when nobody is ever expected, or when the kernel has no place to wait in: returns then cost what they cost. */
async function openWaitingRoom(
  { loaded, log, kernel }: TorSwitchOptions,
  onArrival: (address: Address) => void,
): Promise<Room | undefined> {
  if (loaded.config.hostRoutes.returning.mode === 'never') return undefined;
  try {
    return await kernel.waitingRoom(onArrival);
  } catch (error) {
    log.warn({ err: error }, 'no waiting room for returning hosts: their return costs the convergence of the gateway');
    return undefined;
  }
}

/** In a simulation, or a rehearsal, nothing is kept unless it says where. */
function adjacencyMemory({ ospf, stateDirectory }: TorConfig, surroundings: Surroundings | undefined) {
  if (!ospf?.gracefulRestart) return {};
  const { gracePeriod } = ospf.gracefulRestart;
  const memory = surroundings ? surroundings.ospfMemory : adjacencyFile(join(stateDirectory, 'ospf.state'));
  return memory ? { memory, gracePeriod } : {};
}

function announcingServers({ hostRoutes }: TorConfig): ServerSettings | undefined {
  return hostRoutes.bgp && { ...hostRoutes.bgp, maximumPrefixes: hostRoutes.policy.limits.perPort };
}

function addressesDiffer({ before, after }: PortChange): boolean {
  const text = (port: PortChange['after']): string => (port?.addresses ?? []).map((entry) => entry.address).join();
  return text(before) !== text(after);
}
