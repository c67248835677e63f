import { join } from 'node:path';
import type { ServerRoute, ServerSettings } from '../../../bgp/index.ts';
import type { TorConfig } from '../../../config/index.ts';
import { type HostCause, type HostPolicy, HostRoutes } from '../../../hostroutes/index.ts';
import type { Address } from '../../../model/address.ts';
import type { Clock, Instant } from '../../../model/clock.ts';
import type { ForeignClaim, ForeignShadow, HostDelta } from '../../../model/hosts.ts';
import type { Log } from '../../../model/log.ts';
import type { PortNeighbour } from '../../../model/ports.ts';
import type { HostRouteInstaller } from '../../../netlink/index.ts';
import { memoryFile as adjacencyFile } from '../../../ospf/index.ts';
import { Bfd } from '../../bfd/index.ts';
import { EventLog, WallClock } from '../../events.ts';
import { Failovers } from '../../failovers.ts';
import { guardMemory, memoryFile } from '../../memory-store.ts';
import { Crowds } from '../crowds.ts';
import { Drain } from '../drain/index.ts';
import { Fabric } from '../fabric.ts';
import { PortFacts } from '../facts.ts';
import { Handoff, hostMetric } from '../handoff.ts';
import { hostEvent } from '../host-events.ts';
import { HostMemory } from '../host-memory.ts';
import { addressMemory } from '../kept-addresses.ts';
import { ManagementPort } from '../management-port.ts';
import { NextHops } from '../next-hops.ts';
import { PortGroups, type UplinkJudge } from '../port-groups.ts';
import { Projection } from '../projection.ts';
import { Reopening } from '../reopening.ts';
import { type openRepair, Repair } from '../repair/index.ts';
import { Sight } from '../sight.ts';
import { Spoofing } from '../spoofing.ts';
import { StandingBy, uplinksOf } from '../standing-by.ts';
import { FABRIC_TABLE, type Room, type Surroundings, type SwitchKernel } from '../surroundings.ts';
import { Waiting } from '../waiting.ts';

export interface PartsOptions {
  /** As it is now. */
  readonly config: () => TorConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly kernel: SwitchKernel;
  readonly surroundings: Surroundings | undefined;
  readonly room: Room | undefined;
  /** See `openRepair`. */
  readonly repairPath: Awaited<ReturnType<typeof openRepair>>;
  readonly neighbours: (port: string) => readonly PortNeighbour[];
}

/** What the parts tell that concerns more than one other part. */
export interface Reactions {
  delta(delta: HostDelta, cause: HostCause, at: Instant): void;
  /** A port-link group wants the hosts of its ports gone, or back. */
  block(ports: readonly string[], blocked: boolean, reason: string, at: Instant): void;
  /** A port-link group shuts or opens ports. */
  setAdmin(ports: readonly string[], up: boolean): Promise<void>;
  foreignClaim(claim: ForeignClaim): void;
  foreignShadow(shadow: ForeignShadow): void;
  serverRoute(route: ServerRoute): void;
  /** Hosts may yield from now on, or no more: what the host table is told of itself has changed. */
  configureHosts(): void;
  /** A session came or went, or routes of the fabric are in the kernel. */
  fabricChanged(): void;
  nextHopVerdict(port: string, at: Instant, cause: string | undefined): void;
  /** What BFD says of some uplink may have changed. */
  bfdVerdict(): void;
  /** BFD has lost a neighbour; `fall` ends the sessions with it. */
  bfdFailure(cause: string, port: string | undefined, at: Instant, fall: () => void): void;
  /** Port of somebody who is logged in. */
  placeOf(address: Address): string | undefined;
  failed(what: string, error: Error): void;
}

/** All that a switch is made of. */
export interface Parts {
  readonly clock: Clock;
  readonly wall: WallClock;
  readonly events: EventLog;
  readonly failovers: Failovers;
  readonly kernel: SwitchKernel;
  readonly room: Room | undefined;
  /** undefined: we stand by for nobody. */
  readonly standingBy: StandingBy | undefined;
  readonly fabricRules: ReturnType<NonNullable<SwitchKernel['fabricRules']>> | undefined;
  readonly repair: Repair;
  /** Of the kernel's routes to our hosts. */
  readonly installer: HostRouteInstaller;
  readonly hosts: HostRoutes;
  readonly groups: PortGroups;
  readonly fabric: Fabric;
  readonly handoff: Handoff;
  readonly nextHops: NextHops;
  readonly bfd: Bfd;
  readonly judge: UplinkJudge;
  readonly drain: Drain;
  readonly management: ManagementPort;
  readonly sight: Sight;
  readonly spoofing: Spoofing;
  readonly memory: HostMemory;
  readonly reopening: Reopening;
  readonly crowds: Crowds;
  readonly facts: PortFacts;
  /** undefined: ports that are shut lose nothing. */
  readonly kept: ReturnType<NonNullable<SwitchKernel['keepAddresses']>> | undefined;
  readonly projection: Projection;
}

/**
 * Makes the parts and ties them: each by the few words that it needs of another, and where the order of several matters,
 * by `tell`. None speaks before all are made.
 */
export function makeParts(options: PartsOptions, tell: Reactions): Parts {
  const { clock, log, kernel, surroundings = {}, room, neighbours } = options;
  const { transport, openPort, openOspfSocket, bfdSockets, random, wallClock } = surroundings;
  const { portState, hostMemory, hopMemory, bfdMemory } = surroundings;
  const chance = random === undefined ? {} : { random };
  const config = options.config();
  const { table, protocol } = config.kernel;
  const { prefixes } = config.hostRoutes.policy;
  const inState = (name: string): string => join(config.stateDirectory, name);

  const noGuards = (error: Error): void =>
    log.error(
      { err: error },
      'settings of ports in a storm are not remembered: after a crash in it arp_accept and proxy_arp stay off',
    );

  const notKept = (error: Error): void =>
    log.error({ err: error }, 'settings of ports are not remembered: after a crash keep_addr_on_down stays on');

  const wall = new WallClock(clock, wallClock);
  const events = new EventLog(clock, wall, log);
  const failovers = new Failovers(clock, wall);
  const installer = kernel.hostRoutes({ table, protocol, metric: hostMetric(config), fabricTable: FABRIC_TABLE });
  const fabricRules = kernel.fabricRules?.({
    ...{ table: FABRIC_TABLE, protocol },
    onReady: () => tell.configureHosts(),
    onStrict: () => tell.configureHosts(),
  });
  const { kernel: repairKernel, trouble } = options.repairPath;
  const repair = new Repair({ config: options.config, kernel: repairKernel, trouble, links: kernel, clock, events });
  const standingBy = standBy(options, repair);
  const hosts = new HostRoutes({
    policy: hostPolicy(config, kernel, room, standingBy, fabricRules),
    kernel,
    clock,
    log,
    ...chance,
    ...(openPort === undefined ? { guards: guardMemory(config.stateDirectory, noGuards) } : { openPort }),
    onDelta: (delta, cause, at) => tell.delta(delta, cause, at),
    onEvent: (effect) => {
      spoofing.heard(effect);
      if (effect.type !== 'spoofed') events.record(hostEvent(effect));
      if (effect.type === 'changed') handoff.hostChanged(effect.address);
    },
  });
  const spoofing = new Spoofing({ neighbours: kernel.neighbours, installer, hosts, clock, events });
  const groups = new PortGroups({
    groups: config.portLink,
    ports: { setAdmin: (ports, up) => tell.setAdmin(ports, up) },
    links: kernel,
    clock,
    log,
    wall,
    events,
    stateFile: inState('ports.json'),
    state: portState,
    wallClock,
    neighbours,
    onBlock: (ports, blocked, reason, at) => tell.block(ports, blocked, reason, at),
    onDrainTrouble: (ports, reason) => drain.trouble(ports, reason),
  });
  const handoff = new Handoff({
    config: options.config,
    kernel,
    hosts,
    clock,
    log,
    onForeignClaim: (claim) => tell.foreignClaim(claim),
    onFabricChange: () => tell.fabricChanged(),
    onError: (what, error) => tell.failed(what, error),
  });
  const fabric = new Fabric({
    clock,
    log,
    links: kernel,
    events,
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
      portOf: (server) => hosts.locate(server)?.port,
      onServerRoute: (route) => tell.serverRoute(route),
    },
    installer: (name) =>
      kernel.learnedRoutes({
        protocol: protocol + (name === 'ospf' ? 1 : 2),
        table,
        metric: name === 'ospf' ? 110 : 20,
      }),
    outside: handoff.outside(),
    foreignDefault: (port) => handoff.defaultRoute(port),
    onForeignClaim: (claim) => tell.foreignClaim(claim),
    onForeignShadow: (shadow) => tell.foreignShadow(shadow),
    onChange: () => tell.fabricChanged(),
  });
  const management = new ManagementPort({
    clock,
    log,
    events,
    logins: kernel.logins && ((also) => kernel.logins!(also, (peer) => tell.placeOf(peer))),
    groups: () => options.config().portLink,
    spare: (ports) => groups.spare(ports),
  });
  const sight = new Sight(events, (blind, reason) => groups.blind(blind, reason));
  const nextHops = new NextHops({
    links: kernel,
    clock,
    log,
    store: hopMemory ?? memoryFile(inState('nexthops.json')),
    openUplink: openPort,
    neighbours: (port) => fabric.neighboursOn(port),
    routed: kernel.gatewaysVia && ((ifindex) => kernel.gatewaysVia!(ifindex)),
    events,
    onVerdict: (port, at, cause) => tell.nextHopVerdict(port, at, cause),
    onTurn: (port, ready, at) => fabric.silenceChanged(port, !ready, at),
  });
  const bfd = new Bfd({
    config: options.config,
    speakers: fabric,
    links: kernel,
    clock,
    wall,
    log,
    events,
    store: bfdMemory ?? memoryFile(inState('bfd.json')),
    sockets: bfdSockets,
    random,
    resetOn: (port) => fabric.resetOn(port),
    onVerdict: () => tell.bfdVerdict(),
    onFailure: (cause, port, at, fall) => tell.bfdFailure(cause, port, at, fall),
    onReturn: (port, at) => fabric.silenceChanged(port, false, at),
  });
  const judge: UplinkJudge = {
    adjacency: (port) => fabric.adjacency(port),
    defaultRoute: (port) => fabric.defaultRoute(port),
    nexthop: (port) => nextHops.readiness(port),
    bfd: (port) => bfd.readiness(port),
    readiness: () => fabric.readiness(),
  };
  const memory = new HostMemory({
    store: hostMemory ?? memoryFile(inState('hosts.json')),
    clock,
    log,
    read: () => hosts.memory(),
  });
  const drain = new Drain({
    clock,
    log,
    wall,
    events,
    links: kernel,
    hosts,
    groups,
    fabric,
    room,
    config: options.config,
    surroundings: options.surroundings,
  });
  const reopening = new Reopening({
    clock,
    expect: (ports) => hosts.expect(ports),
    announcing: () => projection.announcing,
    waitAgain: (ports) => hosts.opening(ports),
    open: async (ports) => {
      hosts.opening(ports);
      await kernel.setAdmin(ports, true);
      hosts.opened(ports);
    },
  });
  const crowds = new Crowds({ from: () => options.config().hostRoutes.returning.bounceFrom, hosts, groups });
  const facts = new PortFacts({
    config: options.config,
    clock,
    wallClock: wallClock ?? Date.now,
    links: kernel,
    groups,
    hosts: () => hosts.announced(),
    neighbours,
    sessionPorts: () => (fabric.bgp?.sessions() ?? []).flatMap(({ interface: name }) => name ?? []),
    publish: (said) => fabric.publishFacts(said),
  });
  const projection = new Projection({
    clock,
    kernel: new Waiting({ kernel: repair.withExit(installer), room, standingBy, links: kernel, clock }),
    announcers: fabric.announcers(),
    failovers,
    events,
    applied: (part) => repair.delta(part),
  });
  const kept = kernel.keepAddresses?.(addressMemory(config.stateDirectory, notKept));
  return {
    clock,
    wall,
    events,
    failovers,
    kernel,
    room,
    standingBy,
    fabricRules,
    repair,
    installer,
    hosts,
    groups,
    fabric,
    handoff,
    nextHops,
    bfd,
    judge,
    drain,
    management,
    sight,
    spoofing,
    memory,
    reopening,
    crowds,
    facts,
    kept,
    projection,
  };
}

/** Only where packets can wait: a gateway that turns to us in vain is worse than one that has nowhere to turn. */
function standBy({ config, clock, kernel, room }: PartsOptions, repair: Repair): StandingBy | undefined {
  const { shadow, kernel: settings } = config();
  if (!shadow.enabled || !room) return undefined;
  const table = kernel.shadowTable?.({ table: shadow.table, protocol: settings.protocol + 3, door: room.door });
  return table && new StandingBy({ table: repair.beforeShadows(table), room, clock, hold: shadow.hold });
}

export function hostPolicy(
  { hostRoutes, shadow, portLink, kernel: { handoffTable } }: TorConfig,
  kernel: SwitchKernel,
  room: Room | undefined,
  standingBy: StandingBy | undefined,
  fabricRules: Parts['fabricRules'],
): HostPolicy {
  const { returning } = hostRoutes;
  // Another daemon that sees our routes in the kernel would take a host's for gone.
  const policy = {
    ...hostRoutes.policy,
    yielding: fabricRules?.ready === true && handoffTable === null && !fabricRules.strict(),
  };
  const ownAddresses = [...kernel.ports()].flatMap((port) => port.addresses.map((entry) => entry.address));
  const door = room?.door;
  if (door === undefined) return { ...policy, ownAddresses };
  const { hold, twin } = shadow;
  // Without an uplink nothing would wait.
  const standing = standingBy &&
    uplinksOf({ portLink }).length > 0 && { shadow: { hold, door, ...(twin === undefined ? {} : { twin }) } };
  return { ...policy, ownAddresses, returning: { ...returning, door }, ...standing };
}

export function announcingServers({ hostRoutes }: TorConfig): ServerSettings | undefined {
  return hostRoutes.bgp && { ...hostRoutes.bgp, maximumPrefixes: hostRoutes.policy.limits.perPort };
}

/** In a simulation, or a rehearsal, nothing is kept unless it says where. */
function adjacencyMemory({ ospf, stateDirectory }: TorConfig, surroundings: Surroundings | undefined) {
  if (!ospf?.gracefulRestart) return {};
  const { gracePeriod } = ospf.gracefulRestart;
  const memory = surroundings ? surroundings.ospfMemory : adjacencyFile(join(stateDirectory, 'ospf.state'));
  return memory ? { memory, gracePeriod } : {};
}
