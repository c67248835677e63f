import {
  type ConfigDiff,
  diffConfig,
  formatProblem,
  type HostConfig,
  type Loaded,
  type OverlayFileEdit,
  planOverlayEdit,
  saveConfig,
} from '../../config/index.ts';
import type { Address } from '../../model/address.ts';
import type { Clock, Instant } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { OverlayChange, OverlayNetwork, OverlayState } from '../../model/overlay.ts';
import type { Kernel } from '../../netlink/index.ts';
import { OverlayTable } from '../../vswitch-bridge/overlay/index.ts';
import { EventLog, type NewEvent, WallClock } from '../events.ts';
import { LastReload } from '../last-reload.ts';
import { processCounters } from '../process-counters.ts';
import { adopt, type FindOverlays, type FoundOverlay, type FoundOverlays } from './adoption.ts';
import { flat } from './counters.ts';
import { contentOf, EditRefused, type HostEdit, type Outcome, prepared, took } from './edits.ts';
import { encryptsOf } from './encrypts.ts';
import { Follower } from './follower.ts';
import { InstanceMemory } from './memory.ts';
import { DISPENSABLE, type HostPart, type HostParts, PART_NAMES, PART_TITLES, type PartName } from './part.ts';
import { changeTexts, outcomeTexts } from './words.ts';

export type HostLoaded = Loaded & { readonly config: HostConfig };

export interface HostOptions {
  readonly loaded: HostLoaded;
  readonly clock: Clock;
  readonly log: Log;
  /** Closed by `stop`. */
  readonly kernel: Kernel;
  readonly parts: HostParts;
  /** Used where the configuration asks for it. */
  readonly find: FindOverlays;
}

export interface RunningPart {
  readonly name: PartName;
  readonly part: HostPart;
  readonly follower: Follower;
}

/**
 * The host role: its life, from the start over changes and reloads to the end. The table decides what is in the overlay;
 * the parts follow it, each at its own pace, and what one of them can't do now doesn't hold up the others.
 */
export class Host {
  readonly clock: Clock;
  readonly wall: WallClock;
  readonly events: EventLog;
  readonly lastReload: LastReload;
  readonly kernel: Kernel;
  readonly table: OverlayTable;
  readonly #log: Log;
  readonly #memory: InstanceMemory;
  readonly #startedAt: Instant;
  /** Of the start: another policy needs another. */
  readonly #encrypts: OverlayNetwork['encrypted'];
  readonly #started: HostLoaded;
  #loaded: HostLoaded;
  /** What the file says of that, and is not so yet. */
  #waitsForRestart: readonly string[] = [];
  #loadedAt: Instant;
  #running: RunningPart[] = [];
  #found: FoundOverlays | undefined;
  /** Parts that could not be had: why. */
  readonly #missing = new Map<PartName, string>();
  /** The CNI's instances can't be written down. */
  #unsaved: string | undefined;

  static async start(options: HostOptions): Promise<Host> {
    const host = new Host(options);
    await host.#start(options);
    return host;
  }

  private constructor({ loaded, clock, log, kernel }: HostOptions) {
    this.#started = loaded;
    this.#loaded = loaded;
    this.#log = log;
    this.clock = clock;
    this.kernel = kernel;
    this.#startedAt = clock.now();
    this.#loadedAt = this.#startedAt;
    this.wall = new WallClock(clock);
    this.events = new EventLog(clock, this.wall, log);
    this.lastReload = new LastReload(this.events);
    this.#encrypts = encryptsOf(loaded.config.encryption);
    this.table = new OverlayTable(loaded.config.underlay);
    this.#memory = InstanceMemory.in(loaded.config.stateDirectory);
  }

  get loaded(): HostLoaded {
    return this.#loaded;
  }

  /** What is read at the start alone runs as it was then. */
  get started(): HostLoaded {
    return this.#started;
  }

  get loadedAt(): Instant {
    return this.#loadedAt;
  }

  get uptime(): number {
    return this.clock.now() - this.#startedAt;
  }

  get parts(): readonly RunningPart[] {
    return this.#running;
  }

  get missing(): ReadonlyMap<PartName, string> {
    return this.#missing;
  }

  /** What the operator should know of, in plain words. */
  warnings(): string[] {
    const waiting = this.#waitsForRestart.join('; ');
    return [
      ...this.lastReload.warnings(),
      ...(waiting === '' ? [] : [`the file says what waits for a restart of the agent: ${waiting}`]),
      ...[...this.#missing].map(([name, reason]) => `no ${PART_TITLES[name]}: ${reason}`),
      ...this.#running.flatMap(({ name, follower: { refusal } }) =>
        refusal ? [`${PART_TITLES[name]}: the kernel refused, it is tried again: ${refusal.message}`] : [],
      ),
      ...this.#running.flatMap(({ name, part, follower }) =>
        follower.refusal ? [] : (part.problems?.() ?? []).map((problem) => `${PART_TITLES[name]}: ${problem}`),
      ),
      ...this.#running.flatMap(({ part }) => part.warnings?.() ?? []),
      ...(this.#unsaved === undefined ? [] : [`containers can't be remembered for a restart: ${this.#unsaved}`]),
    ];
  }

  /**
   * All of them, or none: taken by the table, written into the file, then followed by the parts. Resolves when they have
   * followed, or said why not.
   *
   * @throws EditRefused
   */
  async edit(edits: readonly HostEdit[], options: { readonly dryRun: boolean }): Promise<Outcome> {
    const fileEdits = edits.flatMap(({ file }) => file ?? []);
    const planned = fileEdits.length === 0 ? undefined : this.#plan(fileEdits);
    const tableEdits = edits.map(({ edit }) => prepared(edit, this.#encrypts));
    if (options.dryRun) {
      const { changes } = took(this.table.rehearse(tableEdits));
      return { actions: outcomeTexts(tableEdits, changes), refused: [] };
    }
    const { changes, state } = took(
      this.table.edit(tableEdits, () => {
        if (planned) saveConfig(this.#loaded, planned);
      }),
    );
    if (planned) this.#loaded = planned;
    this.#remember(changes, state);
    const actions = outcomeTexts(tableEdits, changes);
    this.#tell(changes, state, actions);
    return { actions, refused: await this.settled() };
  }

  /** Of what a new file says only the difference is carried out. */
  reload(loaded: HostLoaded): ConfigDiff {
    const diff = diffConfig(this.#loaded, loaded);
    this.#waitsForRestart = diffConfig(this.#started, loaded).needsRestart;
    this.#loaded = loaded;
    this.#loadedAt = this.clock.now();
    const { changes, state, dropped } = this.table.replace(contentOf(loaded.config, this.#encrypts));
    for (const { item, faults } of dropped) {
      const name = 'host' in item ? item.host : item.name;
      this.events.record({
        type: 'instance.dropped',
        severity: 'warning',
        message: `${name}, which was not in the configuration, has no place in it any more: ${faults[0]!.message}`,
        fields: { name },
      });
    }
    for (const { part } of this.#running) part.configure?.(loaded.config);
    this.#remember(changes, state);
    this.#tell(changes, state, changeTexts(changes));
    if (diff.changes.length > 0) {
      this.events.record({
        type: 'config.changed',
        message: diff.changes.join('; '),
        fields: { changes: diff.changes },
      });
    }
    return { ...diff, needsRestart: this.#waitsForRestart };
  }

  counters(): Record<string, Record<string, number>> {
    const { networks, instances, remotes, services, policy, snat } = this.table.state;
    const counters: Record<string, Record<string, number>> = {
      overlay: {
        networks: networks.size,
        instances: instances.size,
        remotes: remotes.size,
        services: services.size,
        rules: policy.rules.length,
        snat: snat.length,
      },
      kernel: { ...this.kernel.counters() },
      process: processCounters(),
    };
    for (const { name, part, follower } of this.#running) {
      counters[`host.${name}`] = { ...follower.counters(), ...flat(part.counters?.() ?? {}) };
    }
    return counters;
  }

  /** In the turn of the event loop in which it was seen. */
  underlayChanged(hosts?: readonly Address[]): void {
    for (const { part } of this.#running) part.underlayChanged?.(hosts);
  }

  /** Before counters are shown; what can't be read is shown as it was. */
  async refresh(): Promise<void> {
    await Promise.allSettled(this.#running.map(({ part }) => part.refresh?.()));
  }

  relearn(): void {
    for (const { part } of this.#running) part.relearn?.();
  }

  async stop(): Promise<void> {
    await this.#close(false);
    this.kernel.close();
  }

  async pause(): Promise<void> {
    this.events.record({ type: 'agent.pausing', message: 'the agent ends for a restart; everything goes on' });
    await this.#close(true);
  }

  async #start({ parts, find }: HostOptions): Promise<void> {
    const { config } = this.#loaded;
    this.table.replace(contentOf(config, this.#encrypts));
    for (const item of this.#remembered()) {
      const edited = this.table.edit([{ op: 'add', kind: 'instance', item }]);
      if (!edited.ok) this.#log.warn({ item, faults: edited.faults }, 'a container of before has no place any more');
    }
    if (config.adopt) {
      this.#found = await find((overlay) => this.#adopt(overlay));
      adopt(this.table, this.#found.overlay, this.#log);
    }
    const { state } = this.table;
    for (const name of PART_NAMES) {
      const open = parts[name];
      if (!open) continue;
      const before = this.clock.now();
      const part = await this.#open(name, open);
      this.#log.debug(
        { part: name, ms: Math.round(this.clock.now() - before), asked: part !== undefined },
        'part opened',
      );
      if (part) this.#running.push({ name, part, follower: this.#follower(name, part) });
    }
    this.events.record({
      type: 'agent.started',
      message: `host role started: ${state.instances.size} instances in ${state.networks.size} networks`,
      fields: { underlay: config.underlay.address },
    });
  }

  async #open(name: PartName, open: NonNullable<HostParts[PartName]>): Promise<HostPart | undefined> {
    const context = {
      config: this.#loaded.config,
      kernel: this.kernel,
      clock: this.clock,
      log: this.#log,
      record: (event: NewEvent) => this.events.record(event),
      state: () => this.table.state,
      relearn: () => this.relearn(),
      underlayChanged: (hosts?: readonly Address[]) => this.underlayChanged(hosts),
    };
    try {
      return await open(context);
    } catch (error) {
      if (!DISPENSABLE.has(name)) {
        await this.#close(true);
        throw new Error(`${PART_TITLES[name]}: ${(error as Error).message}`, { cause: error });
      }
      this.#missing.set(name, (error as Error).message);
      this.#log.warn({ err: error }, `no ${PART_TITLES[name]}: everything goes on without`);
      return undefined;
    }
  }

  #follower(name: PartName, part: HostPart): Follower {
    const title = PART_TITLES[name];
    return new Follower({
      projection: part,
      clock: this.clock,
      after: this.#running.map(({ follower }) => follower),
      onRefused: (error) => {
        this.#log.warn({ err: error }, `${title}: the kernel refused, it is tried again`);
        this.events.record({
          type: 'overlay.refused',
          severity: 'error',
          message: `${title}: ${error.message}`,
          fields: { part: name },
        });
      },
      onBack: () =>
        this.events.record({
          type: 'overlay.followed',
          message: `${title}: as the table says`,
          fields: { part: name },
        }),
    });
  }

  /** A container that went while no agent ran took its interface with it; its DEL found nobody to tell. */
  #adopt(overlay: FoundOverlay): void {
    for (const { changes, state } of adopt(this.table, overlay, this.#log)) {
      this.#tell(changes, state, changeTexts(changes));
    }
  }

  #remembered() {
    try {
      const remembered = this.#memory.load();
      const gone = remembered.filter(({ interface: device }) => this.kernel.port(device) === undefined);
      if (gone.length > 0) {
        this.#log.info({ instances: gone.map(({ name }) => name) }, 'containers that went while no agent ran');
      }
      return remembered.filter((instance) => !gone.includes(instance));
    } catch (error) {
      this.#log.warn({ err: error }, 'containers of before are not known');
      return [];
    }
  }

  #plan(edits: readonly OverlayFileEdit[]): HostLoaded {
    const planned = planOverlayEdit(this.#loaded, edits);
    if (!planned.ok) throw new EditRefused('unfit', planned.problems.map(formatProblem).join('\n'));
    const { after } = planned;
    if (after.config.role !== 'host') throw new EditRefused('unfit', 'the role can not change');
    return { ...after, config: after.config };
  }

  #tell(changes: readonly OverlayChange[], state: OverlayState, texts: readonly string[]): void {
    for (const { follower } of this.#running) follower.push(state, changes);
    for (const message of texts) this.events.record({ type: 'overlay.changed', message });
  }

  #remember(changes: readonly OverlayChange[], state: OverlayState): void {
    if (!changes.some((change) => change.kind === 'instance' && change.item.origin === 'cni')) return;
    try {
      this.#memory.save(state.instances.values());
      this.#unsaved = undefined;
    } catch (error) {
      this.#unsaved = (error as Error).message;
      this.#log.warn({ err: error }, "containers can't be remembered for a restart");
    }
  }

  /** When the parts have followed, or said why not: what they said. */
  async settled(): Promise<string[]> {
    await Promise.all(this.#running.map(({ follower }) => follower.settled()));
    return this.#running.flatMap(({ name, follower: { refusal } }) =>
      refusal ? [`${PART_TITLES[name]}: ${refusal.message}`] : [],
    );
  }

  async #close(keep: boolean): Promise<void> {
    this.#found?.close();
    // The other way round: what carries packets past the rules goes before the rules.
    for (const { name, part, follower } of this.#running.toReversed()) {
      try {
        await follower.close();
        await part.close({ keep });
      } catch (error) {
        this.#log.error({ err: error, part: name }, 'could not be left as it should be');
      }
    }
    this.#running = [];
  }
}
