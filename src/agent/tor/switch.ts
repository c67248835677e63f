import type { Loaded, TorConfig } from '../../config/index.ts';
import { type ConfigDiff, diffConfig } from '../../config/index.ts';
import type { HostRoutes } from '../../hostroutes/index.ts';
import type { Address } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { PortNeighbour } from '../../model/ports.ts';
import type { Bfd } from '../bfd/index.ts';
import type { EventLog, WallClock } from '../events.ts';
import type { Failovers } from '../failovers.ts';
import { LastReload } from '../last-reload.ts';
import { processCounters } from '../process-counters.ts';
import type { Drain } from './drain/index.ts';
import type { Fabric } from './fabric.ts';
import { keepAddressesOf } from './kept-addresses.ts';
import type { ManagementPort } from './management-port.ts';
import { neighbourRoomWarnings } from './neighbour-room.ts';
import type { PortGroups } from './port-groups.ts';
import { openRepair, type Repair } from './repair/index.ts';
import { uplinksOf } from './standing-by.ts';
import type { Room, Surroundings, SwitchKernel } from './surroundings.ts';
import { announcingServers, type Parts, type PartsOptions } from './switch/parts.ts';
import { Way } from './switch/way.ts';

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
 * The switch role: its life, from the start over reloads to the end, and what there is to be said of it. What it is made
 * of is in `switch/parts.ts`, and the order in which the parts hear of an event in `switch/way.ts`.
 */
export class TorSwitch {
  readonly clock: Clock;
  readonly wall: WallClock;
  readonly events: EventLog;
  readonly lastReload: LastReload;
  readonly failovers: Failovers;
  readonly kernel: SwitchKernel;
  readonly hosts: HostRoutes;
  readonly groups: PortGroups;
  readonly fabric: Fabric;
  readonly drain: Drain;
  readonly neighbours: (port: string) => readonly PortNeighbour[];
  readonly management: ManagementPort;
  readonly bfd: Bfd;
  readonly repair: Repair;
  readonly #startedAt: Instant;
  readonly #way: Way;
  readonly #parts: Parts;
  #loaded: Loaded & { readonly config: TorConfig };
  #loadedAt: Instant;
  #settleTimer: Timer | undefined;

  static async start(options: TorSwitchOptions): Promise<TorSwitch> {
    const arrivals: { notice(address: Address): void } = { notice: () => {} };
    const room = await openWaitingRoom(options, (address) => arrivals.notice(address));
    const { loaded, kernel, log } = options;
    const agent = new TorSwitch(options, room, await openRepair(loaded.config, kernel, log));
    arrivals.notice = (address) => {
      agent.#parts.reopening.arrived(address);
      agent.#parts.standingBy?.arrived(address);
    };
    await agent.#start(options.holdAtBoot);
    return agent;
  }

  private constructor(options: TorSwitchOptions, room: Room | undefined, repairPath: PartsOptions['repairPath']) {
    const { loaded, clock, log, kernel, surroundings } = options;
    this.#loaded = loaded;
    this.#startedAt = clock.now();
    this.#loadedAt = this.#startedAt;
    this.neighbours = (port) => options.neighbours?.(port) ?? [];
    const config = (): TorConfig => this.#loaded.config;
    this.#way = new Way({ config, clock, log, kernel, surroundings, room, repairPath, neighbours: this.neighbours });
    const { parts } = this.#way;
    this.#parts = parts;
    this.clock = clock;
    this.kernel = kernel;
    this.wall = parts.wall;
    this.events = parts.events;
    this.lastReload = new LastReload(this.events);
    this.failovers = parts.failovers;
    this.hosts = parts.hosts;
    this.groups = parts.groups;
    this.fabric = parts.fabric;
    this.drain = parts.drain;
    this.management = parts.management;
    this.bfd = parts.bfd;
    this.repair = parts.repair;
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
    return [...this.fabric.announcers().map((announcer) => announcer.name), this.#parts.installer.name];
  }

  /** What the operator should know of, in plain words. */
  warnings(): string[] {
    const missing = this.#way.ports().filter((name) => this.kernel.port(name) === undefined);
    return [
      ...this.lastReload.warnings(),
      ...(missing.length > 0 ? [`there is no interface ${missing.join(', ')}`] : []),
      ...this.#parts.sight.warnings(),
      ...this.groups.warnings(),
      ...this.management.warnings(),
      ...neighbourRoomWarnings(this.hosts.count()),
      ...this.#parts.spoofing.warnings(),
      ...this.hosts.storming().map((port) => `a storm of ARP or ND on ${port}: only its known hosts are listened to`),
      ...this.bfd.warnings(),
      ...this.#standingByWarnings(),
      ...this.#parts.repair.warnings(),
      ...(this.kernel.contestedRules?.() ?? []).map(
        (name) => `another program removes our rules (ip rule) of ${name} again and again`,
      ),
    ];
  }

  counters(): Record<string, Record<string, number>> {
    const { installer, room, standingBy, fabricRules, repair, handoff, nextHops, bfd, sight } = this.#parts;
    return {
      hostroutes: { ...this.hosts.counters() },
      kernel: { ...this.kernel.counters() },
      'kernel.hosts': { ...installer.counters() },
      ...(room ? { 'waiting-room': { ...room.counters() } } : {}),
      ...(fabricRules ? { 'kernel.rules': { ...fabricRules.counters() } } : {}),
      ...(standingBy ? { 'kernel.shadows': { ...standingBy.counters() } } : {}),
      ...repair.counters(),
      ...this.fabric.counters(),
      ...handoff.counters(),
      nexthops: nextHops.counters(),
      bfd: bfd.counters(),
      drain: this.drain.counters(),
      sight: sight.counters(),
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
    const { installer, nextHops, bfd, judge, handoff } = this.#parts;
    this.kernel.watchCarriers(this.#way.ports());
    this.#parts.kept?.follow(keepAddressesOf(config));
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
      this.#way.configureHosts();
      installer
        .ensureUnreachable(config.hostRoutes.policy.prefixes)
        .catch((error: Error) => this.#way.failed('unreachable routes of the prefixes were not changed', error));
    }
    if (diff.portLink.added.length + diff.portLink.removed.length + diff.portLink.changed.length > 0) {
      nextHops.configure(config.portLink);
      this.#parts.standingBy?.configure(uplinksOf(config));
      this.#parts.fabricRules?.configure(uplinksOf(config));
      if (config.shadow.enabled && !diff.hostPolicy) this.#way.configureHosts();
      this.#way.showEndpoint();
      this.groups.configure(config.portLink, judge);
      this.management.reloaded();
    }
    bfd.refresh();
    handoff.configure();
    this.#parts.facts.touch();
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
    const { nextHops, bfd, handoff, memory, projection, installer, standingBy, fabricRules, repair, room } =
      this.#parts;
    this.#settleTimer?.cancel();
    this.#parts.facts.close();
    bfd.leaving();
    nextHops.close();
    this.management.close();
    this.#parts.spoofing.close();
    this.drain.close();
    this.hosts.stop();
    projection.leave();
    await this.fabric.stop();
    bfd.stop();
    await handoff.stop();
    await this.groups.stop();
    memory.save();
    projection.close();
    await installer.leave();
    await standingBy?.leave();
    await fabricRules?.leave();
    await repair.stop();
    this.#parts.kept?.leave();
    await room?.close();
    this.kernel.close();
  }

  /**
   * Ends for a restart or an upgrade: nothing is withdrawn, kernel routes, neighbour entries and ports stay as they are. The
   * process must end when this resolves.
   */
  async pause(): Promise<void> {
    this.#settleTimer?.cancel();
    this.#parts.facts.close();
    this.events.record({ type: 'agent.pausing', message: 'the agent ends for a restart; nothing is withdrawn' });
    this.#parts.projection.finish();
    await this.groups.settled();
    await this.#parts.bfd.pause();
    await this.fabric.pause();
    this.#parts.memory.save();
    this.#parts.standingBy?.close();
    this.#parts.fabricRules?.close();
    this.#parts.repair.close();
    // A port in a storm is the kernel's again: while nobody is here to answer ARP, it must.
    this.hosts.stop();
  }

  /** What an earlier life left of it in the kernel goes, also when nobody is stood by for any more. */
  async #startStandingBy(): Promise<void> {
    const { config } = this.#loaded;
    const { standingBy } = this.#parts;
    try {
      if (standingBy) await standingBy.start(uplinksOf(config));
      else await this.kernel.removeShadows?.(config.kernel.protocol + 3);
    } catch (error) {
      this.#way.failed('rules and routes of shadows are not as they should be yet', error as Error);
    }
  }

  async #start(holdAtBoot: boolean): Promise<void> {
    const { config } = this.#loaded;
    const { installer, handoff, nextHops, bfd, judge, sight, memory } = this.#parts;
    this.kernel.watchCarriers(this.#way.ports());
    this.#parts.kept?.follow(keepAddressesOf(config));
    await installer.ensureUnreachable(config.hostRoutes.policy.prefixes);
    const adopted = await installer.adopt();
    await this.#startStandingBy();
    this.#parts.repair.start();
    await handoff.start();
    this.kernel.onChange((change) => this.#way.portChanged(change));
    nextHops.configure(config.portLink);
    memory.load();
    await this.management.atStart();
    await this.groups.start(holdAtBoot, judge, this.drain.restore());
    this.drain.started();
    this.kernel.onBlind?.(sight.changed);
    this.hosts.remember(memory.handOver());
    this.hosts.start();
    this.#parts.fabricRules?.configure(uplinksOf(config));
    handoff.configure();
    this.#way.showEndpoint();
    this.#parts.facts.start();
    this.fabric.start(adopted.length > 0);
    bfd.start();
    this.#settleTimer = this.clock.schedule(this.clock.now() + SETTLE_AFTER, () => this.#settle());
    this.events.record({
      type: 'agent.started',
      message: `switch role started with ${adopted.length} host routes of an earlier run`,
      fields: { routerId: config.routerId, adopted: adopted.length, holdAtBoot },
    });
  }

  #standingByWarnings(): string[] {
    const { config } = this.#loaded;
    if (!config.shadow.enabled) return [];
    if (this.#parts.standingBy && uplinksOf(config).length === 0)
      return [
        'shadow.enabled, but no group of portLink names an uplink: hosts of the other switch are not stood by for',
      ];
    const inVrf = uplinksOf(config).filter((name) => this.#isInVrf(name));
    if (inVrf.length > 0)
      return [
        `shadow.enabled, but ${inVrf.join(', ')} is in a VRF: what comes from there neither waits nor is repaired`,
      ];
    if (this.#parts.standingBy) return [];
    return [
      'shadow.enabled, but there is no place here for packets to wait: hosts of the other switch are not stood by for',
    ];
  }

  #isInVrf(name: string): boolean {
    const port = this.kernel.port(name);
    return port !== undefined && this.kernel.portByIndex(port.master)?.vrfTable !== undefined;
  }

  #settle(): void {
    const { installer, handoff, projection } = this.#parts;
    // What is compared with the kernel and told as the whole table is all of it.
    projection.finish();
    const ours = this.hosts.announced().filter(({ shadow }) => !shadow);
    this.fabric.settled().catch((error: Error) => this.#way.failed('routes of the fabric were not reconciled', error));
    handoff.settle(ours);
    this.#parts.repair
      .settle(ours)
      .catch((error: Error) => this.#way.failed('routes of what leaves the repair tunnel were not reconciled', error));
    installer.reconcile(ours).then(
      ({ removed, added, kept, failed }) => {
        if (removed + added + failed === 0) return;
        this.events.record({
          type: 'kernel.reconciled',
          message: `kernel host routes: ${kept} kept, ${added} added, ${removed} of an earlier run removed, ${failed} failed`,
        });
      },
      (error: Error) => this.#way.failed('host routes were not reconciled', error),
    );
  }
}

/** Undefined when nobody is ever expected, or when the kernel has no place to wait in: returns then cost what they cost. */
async function openWaitingRoom(
  { loaded, log, kernel }: TorSwitchOptions,
  onArrival: (address: Address) => void,
): Promise<Room | undefined> {
  const { hostRoutes, shadow } = loaded.config;
  if (hostRoutes.returning.mode === 'never' && !shadow.enabled) return undefined;
  try {
    return await kernel.waitingRoom(onArrival);
  } catch (error) {
    log.warn({ err: error }, 'no waiting room for returning hosts: their return costs the convergence of the gateway');
    return undefined;
  }
}
