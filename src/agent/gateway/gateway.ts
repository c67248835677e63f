import { type ConfigDiff, diffConfig, type GatewayConfig, type Loaded } from '../../config/index.ts';
import { GatewayMap, mapFile, type Source } from '../../gateway/index.ts';
import type { Clock, Instant } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { NeighborChange } from '../../ospf/index.ts';
import type { Bfd } from '../bfd/index.ts';
import { neighborEvent, sessionEvent } from '../control/session-events.ts';
import { EventLog, type NewEvent, WallClock } from '../events.ts';
import { LastReload } from '../last-reload.ts';
import { routerMemory } from '../memory-store.ts';
import { processCounters } from '../process-counters.ts';
import { KernelRoutes } from './kernel-routes.ts';
import { tellPortChange, tellPorts } from './near-ports.ts';
import { mapEvents } from './news.ts';
import { Router } from './router.ts';
import { Speakers } from './speakers.ts';
import type { GatewayKernel, GatewaySurroundings } from './surroundings.ts';
import { watchBfd } from './way-watch.ts';

export interface GatewayOptions {
  readonly loaded: Loaded & { readonly config: GatewayConfig };
  readonly clock: Clock;
  readonly log: Log;
  /** Closed by `stop`. */
  readonly kernel: GatewayKernel;
  readonly surroundings?: GatewaySurroundings;
}

/**
 * The gateway role: its life, from the start over reloads to the end. Three sources meet in the map: what the speakers
 * hear of the switches, the kernel's routes, and the gateway's own ports.
 */
export class Gateway {
  readonly clock: Clock;
  readonly wall: WallClock;
  readonly events: EventLog;
  readonly lastReload: LastReload;
  readonly kernel: GatewayKernel;
  readonly speakers: Speakers;
  readonly map: GatewayMap;
  readonly bfd: Bfd;
  /** In mode router. */
  readonly router: Router | undefined;
  readonly #log: Log;
  readonly #startedAt: Instant;
  #loaded: Loaded & { readonly config: GatewayConfig };
  #loadedAt: Instant;
  #routes: KernelRoutes | undefined;
  #moving: NodeJS.Immediate | undefined;
  readonly #unsettled: Set<Source>;
  readonly #settled = Promise.withResolvers<void>();

  static async start(options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(options);
    await gateway.#start();
    return gateway;
  }

  private constructor({ loaded, clock, log, kernel, surroundings }: GatewayOptions) {
    this.#loaded = loaded;
    this.#log = log;
    this.clock = clock;
    this.kernel = kernel;
    this.#startedAt = clock.now();
    this.#loadedAt = this.#startedAt;
    const wallClock = surroundings?.wallClock ?? Date.now;
    this.wall = new WallClock(clock, wallClock);
    this.events = new EventLog(clock, this.wall, log);
    this.lastReload = new LastReload(this.events);
    const record = (event: NewEvent | undefined) => event && this.events.record(event);
    const { config } = loaded;
    this.#unsettled = new Set(sourcesOf(config));
    const forgetful = (error: Error) => log.warn({ err: error }, 'what was set on the box is not remembered');
    this.map = new GatewayMap({
      history: config.map.history,
      store: surroundings?.mapStore ?? mapFile(config.map.file),
      clock,
      wallClock,
      log,
      onNews: (news) => mapEvents(news).forEach(record),
    });
    this.speakers = new Speakers({
      config,
      surroundings,
      clock,
      log,
      links: kernel,
      onNeighborLost: (loss) => this.router?.sessionLost(loss),
      onSession: (change) => {
        if (change.to === 'Established') this.router?.back('bgp', change.neighbor);
        record(sessionEvent(change));
      },
      onNeighbor: (change) => {
        this.#adjacencyChanged(change);
        record(neighborEvent(change));
      },
      onHeard: (event) => this.map.handle(event),
      onRoutes: (source, changes) => this.router?.update(source, changes),
    });
    this.router =
      config.mode === 'observer'
        ? undefined
        : new Router({
            sources: sourcesOf(config),
            clock,
            log,
            events: this.events,
            kernel: config.kernel,
            installer: (settings) => kernel.backedRoutes(settings),
            ...(surroundings ? {} : { memory: routerMemory(config.stateDirectory, forgetful) }),
            heard: (source) => this.speakers.heard(source),
            heardFrom: (source, via) => this.speakers.heardFrom(source, via),
            onReconciled: (source) => this.#reconciled(source),
            onMoved: () => this.#moved(),
          });
    this.bfd = watchBfd({
      ...(surroundings ? { store: surroundings.memory } : {}),
      config: () => this.#loaded.config,
      speakers: this.speakers,
      links: kernel,
      clock,
      wall: this.wall,
      log,
      events: this.events,
    });
  }

  get loaded(): Loaded & { readonly config: GatewayConfig } {
    return this.#loaded;
  }

  get loadedAt(): Instant {
    return this.#loadedAt;
  }

  get uptime(): number {
    return this.clock.now() - this.#startedAt;
  }

  /** Of a router: nothing of an earlier life is left that nobody has said again; the most urgent work of a start is done. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** What the operator should know of, in plain words. */
  warnings(): string[] {
    const { unsaved } = this.map;
    const silent = this.map.switches().length === 0 && this.uptime > SILENCE;
    return [
      ...this.lastReload.warnings(),
      ...(this.router?.warnings() ?? []),
      ...this.bfd.warnings(),
      ...(unsaved === undefined ? [] : [`the map can not be written, a restart would forget it: ${unsaved}`]),
      ...(silent ? ['no switch has said anything of its ports: see docs/gateway.md'] : []),
    ];
  }

  reload(loaded: Loaded & { readonly config: GatewayConfig }): ConfigDiff {
    const diff = diffConfig(this.#loaded, loaded);
    const { config } = loaded;
    const offers = this.#loaded.config.defaultOriginate !== config.defaultOriginate;
    this.#loaded = loaded;
    this.#loadedAt = this.clock.now();
    this.speakers.configure(config, { ospf: offers || diff.ospf === 'changed', bgp: offers || diff.bgp === 'changed' });
    this.map.configure(config.map.history);
    this.bfd.refresh();
    if (diff.changes.length > 0) {
      this.events.record({
        type: 'config.changed',
        message: diff.changes.join('; '),
        fields: { changes: diff.changes },
      });
    }
    return diff;
  }

  counters(): Record<string, Record<string, number>> {
    return {
      map: this.map.counters(),
      kernel: { ...this.kernel.counters() },
      ...(this.#routes ? { 'kernel.routes': this.#routes.counters() } : {}),
      ...this.speakers.counters(),
      ...(this.router?.counters() ?? {}),
      bfd: this.bfd.counters(),
      process: processCounters(),
    };
  }

  async stop(): Promise<void> {
    this.bfd.stop();
    await this.#leave(() => this.speakers.stop());
    await this.router?.leave();
    this.kernel.close();
  }

  async pause(): Promise<void> {
    this.events.record({ type: 'agent.pausing', message: 'the agent ends for a restart; nothing is withdrawn' });
    await this.bfd.pause();
    await this.#leave(() => this.speakers.pause());
    this.router?.close();
  }

  /** The map is written first: that nothing is heard any more when we end says nothing of the switches. */
  async #leave(speakers: () => Promise<void>): Promise<void> {
    this.#routes?.close();
    await this.map.close();
    await speakers();
  }

  async #start(): Promise<void> {
    const { routerId, mode, kernel: settings } = this.#loaded.config;
    this.map.load();
    tellPorts(this.map, this.kernel.ports());
    this.#routes = new KernelRoutes({
      watch: await this.kernel.watchRoutes(),
      links: this.kernel,
      clock: this.clock,
      log: this.#log,
      table: settings.table,
      ...(this.router ? { hopsOf: (id) => this.router!.hopsOf(id) } : {}),
      onWay: (address, nextHops) => this.map.handle({ type: 'route', address, nextHops }),
    });
    this.kernel.onChange((change) => {
      this.speakers.linkChanged(change);
      this.bfd.portChanged(change);
      tellPortChange(this.map, change);
      this.#routes?.linkChanged(change);
    });
    await this.#routes.start();
    this.kernel.watchCarriers(this.#ports());
    this.speakers.start(((await this.router?.inherited('bgp')) ?? 0) > 0);
    this.router?.start();
    this.bfd.start();
    this.events.record({
      type: 'agent.started',
      message: `gateway role started as ${mode}`,
      fields: { routerId, mode },
    });
  }

  #reconciled(source: Source): void {
    this.speakers.settled(source);
    this.#unsettled.delete(source);
    if (this.#unsettled.size === 0) this.#settled.resolve();
  }

  /** Towards the switches: the kernel hears of a second lost carrier within a second late, unless somebody looks. */
  *#ports(): Generator<string> {
    for (const port of this.kernel.ports()) if (port.addresses.length > 0 && port.name !== 'lo') yield port.name;
  }

  #adjacencyChanged({ interface: port, address, from, to }: NeighborChange): void {
    if (from === 'Full' && to !== 'Full') this.router?.adjacencyLost(address, port);
    else if (to === 'Full') this.router?.back('ospf', address);
    this.bfd.refresh();
  }

  /** The map follows when what is more urgent is done. */
  #moved(): void {
    this.#moving ??= setImmediate(() => {
      this.#moving = undefined;
      this.#routes?.moved();
    });
  }
}

/** After this (ms) somebody should have said something. */
const SILENCE = 60_000;

const sourcesOf = ({ ospf, bgp }: GatewayConfig): Source[] => [
  ...(ospf ? (['ospf'] as const) : []),
  ...(bgp ? (['bgp'] as const) : []),
];
