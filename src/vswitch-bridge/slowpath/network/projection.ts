/**
 * Keeps the layout in the kernel equal to the overlay's table.
 *
 * `apply` writes differences; `reconcile` compares all that stands with all that is wanted, so that nothing that is right
 * is touched. What others remove or change shows by the kernel's notifications and is put right after a moment, later
 * each time when it goes on. An instance's device joins its bridge in the turn in which it is heard of. What the kernel
 * refused is shown in `view` and tried again with the next change or repair.
 */
import { type Change, type Link, Rtnetlink, Subscription } from 'rtnetlink-ts';
import { Alarm, type Clock, type Instant } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import type { OverlayChange, OverlayProjection, OverlayState } from '../../../model/overlay.ts';
import { DeviceTable } from './device-table.ts';
import { KeptSettings } from './kept-settings.ts';
import { Layout } from './layout.ts';
import { learnedOf, leftHosts } from './learned.ts';
import { removeLayout } from './leftovers.ts';
import { isOurBridge } from './names.ts';
import {
  type Difference,
  deviceOf,
  difference,
  keyOf,
  type LayoutObject,
  type PortObject,
  sameObject,
} from './objects.ts';
import { type LinkOf, readAddress, readLink, readNeighbour, readRoute, readRule, readStanding } from './read.ts';
import { type SysctlMemory, Sysctls, volatileMemory } from './sysctls.ts';
import { type LayoutView, viewOf } from './view.ts';
import { describeObject, type Problem, Writer } from './writer.ts';

export interface NetworkProjectionOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly state: OverlayState;
  /** Name in /run/netns or absolute path; default: the process's own. */
  readonly netns?: string;
  /** Where settings of the namespace are remembered over the agent's lives. */
  readonly memory?: SysctlMemory;
  /** Octets of the subscription's receive buffer; default 8 MiB. */
  readonly receiveBuffer?: number;
  /** Others had changed these, and it is as it was again: objects in words, settings by name. */
  readonly onMended?: (kind: 'layout' | 'settings', what: readonly string[]) => void;
}

/** Milliseconds until what others changed is put right. */
const REPAIR_DELAY = 100;
/** With one who changes it again and again we don't race: after so many repairs, one in so many milliseconds. */
const REPAIRS = 20;
const REPAIR_PERIOD = 5000;
/** Between two looks at settings, ms. */
const LOOK_PERIOD = 5000;

export class NetworkProjection implements OverlayProjection {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #rtnetlink: Rtnetlink;
  readonly #subscription: Subscription;
  readonly #devices: DeviceTable;
  readonly #layout: Layout;
  readonly #writer: Writer;
  readonly #settings: KeptSettings;
  readonly #repair: Alarm;
  readonly #look: Alarm;
  readonly #onMended: NonNullable<NetworkProjectionOptions['onMended']>;
  readonly #problems = new Map<string, Problem>();
  readonly #counters = { applied: 0, reconciled: 0, written: 0, removed: 0, repairs: 0, joined: 0, refused: 0 };
  /** When the repairs that were made are forgotten: each pushes it on by a period. */
  #repaired: Instant = Number.NEGATIVE_INFINITY;
  #awaitsRepair = false;
  /** Something may stand otherwise than we think. */
  #doubtful = false;
  #queue: Promise<void> = Promise.resolve();
  #closed = false;

  /** Adopts what stands and completes it. Rejects when the kernel can't be read; what it refuses is in `view`. */
  static async open(options: NetworkProjectionOptions): Promise<NetworkProjection> {
    const { clock, log, netns, receiveBuffer = 8 << 20 } = options;
    const rtnetlink = Rtnetlink.open({ netns });
    let subscription: Subscription | undefined;
    try {
      subscription = await Subscription.open({
        kinds: ['link', 'address', 'neighbour', 'fdb', 'route', 'rule'],
        netns,
        now: () => clock.now(),
        receiveBuffer,
        onError: (error) => log.warn({ err: error }, 'the kernel could not be read, it is tried again'),
      });
      const projection = new NetworkProjection(options, rtnetlink, subscription);
      await projection.reconcile();
      // Adopted devices have settings that may have been lost.
      projection.#settings.setDevices();
      projection.#look.set(clock.now() + LOOK_PERIOD);
      return projection;
    } catch (error) {
      subscription?.close();
      rtnetlink.close();
      throw error;
    }
  }

  private constructor(options: NetworkProjectionOptions, rtnetlink: Rtnetlink, subscription: Subscription) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#rtnetlink = rtnetlink;
    this.#subscription = subscription;
    this.#devices = new DeviceTable();
    for (const link of subscription.table('link').values()) this.#devices.store(link);
    this.#layout = new Layout(options.state, { mtuOf: (device) => this.#devices.byName(device)?.mtu });
    const sysctls = new Sysctls(options.netns, options.memory ?? volatileMemory());
    this.#settings = new KeptSettings(sysctls, this.#layout);
    this.#writer = new Writer({
      rtnetlink,
      devices: this.#devices,
      onDevice: (object) => this.#settings.setDevice(object),
    });
    this.#repair = new Alarm(this.#clock, () => this.#repairDue());
    this.#look = new Alarm(this.#clock, () => this.#lookDue());
    this.#onMended = options.onMended ?? (() => undefined);
    subscription.onChange((change) => this.#changed(change));
    subscription.onResync(() => this.#scheduleRepair());
  }

  /** Rejects with an AggregateError that names what the kernel refused; the rest is done. */
  apply(state: OverlayState, changes: readonly OverlayChange[]): Promise<void> {
    return this.#exclusive(async () => {
      this.#counters.applied++;
      const change = this.#layout.apply(state, changes);
      if (changes.some(({ kind }) => kind === 'network' || kind === 'service')) this.#settings.setNamespace();
      // After a refusal, what stands is not what was wanted: look.
      if (this.#doubtful) await this.#compare();
      else await this.#perform(change);
      this.#tellRefusals();
    });
  }

  /** All that stands against all that is wanted. Resolves also when the kernel refused: see `view`. */
  reconcile(): Promise<void> {
    return this.#exclusive(async () => {
      this.#settings.setNamespace();
      await this.#compare();
    });
  }

  view(): LayoutView {
    const problems = [...this.#problems.values()].map(({ object, message }) => `${describeObject(object)}: ${message}`);
    return viewOf(this.#layout, this.#devices, [...problems, ...this.#settings.problems]);
  }

  counters(): Readonly<
    Record<'applied' | 'reconciled' | 'written' | 'removed' | 'repairs' | 'joined' | 'refused', number>
  > {
    return this.#counters;
  }

  /** Leaves everything as it stands: instances go on talking. `purge`: leaves nothing. */
  async close({ purge = false }: { readonly purge?: boolean } = {}): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#repair.set(undefined);
    this.#look.set(undefined);
    await this.#queue;
    if (purge) {
      await removeLayout(this.#rtnetlink);
      for (const problem of this.#settings.putBack()) this.#log.warn({}, problem);
    }
    this.#subscription.close();
    this.#rtnetlink.close();
  }

  #exclusive(work: () => Promise<void>): Promise<void> {
    const result = this.#queue.then(() => (this.#closed ? undefined : work()));
    // Who called is told; who comes after is not concerned.
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** What stood otherwise than it was wanted. */
  async #compare(): Promise<Difference> {
    this.#counters.reconciled++;
    const standing = await readStanding(this.#rtnetlink);
    await this.#writer.removeForeign(standing.foreign);
    this.#problems.clear();
    this.#doubtful = false;
    const change = difference(standing.objects, this.#layout.objects);
    await this.#perform(change);
    return change;
  }

  async #perform(change: Difference): Promise<void> {
    for (const object of change.write) this.#problems.delete(keyOf(object));
    for (const object of change.remove) this.#problems.delete(keyOf(object));
    const problems = await this.#writer.perform(change, (devices) => this.#standingOn(devices));
    this.#counters.written += change.write.length;
    this.#counters.removed += change.remove.length;
    this.#refused(problems);
    // Last: what was refused is known also when the kernel can't be asked what it has learned.
    await this.#forgetLearned(change.remove);
  }

  #refused(problems: readonly Problem[]): void {
    this.#counters.refused += problems.length;
    for (const problem of problems) this.#problems.set(keyOf(problem.object), problem);
    if (problems.length > 0) this.#doubtful = true;
  }

  #tellRefusals(): void {
    if (this.#problems.size === 0) return;
    const errors = [...this.#problems.values()].map(
      ({ object, message }) => new Error(`${describeObject(object)}: ${message}`),
    );
    throw new AggregateError(errors, errors.map(({ message }) => message).join('; '));
  }

  async #forgetLearned(removed: readonly LayoutObject[]): Promise<void> {
    for (const [device, hosts] of leftHosts(removed)) {
      const ifindex = this.#devices.byName(device)?.ifindex;
      if (ifindex === undefined) continue;
      const learned = learnedOf(device, hosts, await this.#rtnetlink.dumpFdb({ ifindex }));
      this.#refused(await this.#writer.perform({ write: [], remove: learned }, () => []));
    }
  }

  *#standingOn(devices: ReadonlySet<string>): Iterable<LayoutObject> {
    for (const object of this.#layout.objects.values()) {
      const device = deviceOf(object);
      const on = (name: string | undefined): boolean => name !== undefined && devices.has(name);
      if (on(device) || ((object.kind === 'port' || object.kind === 'tunnel') && on(object.bridge))) yield object;
    }
  }

  /** What stands on a device of another's comes with that, and is nobody's fault while it is not there. */
  #stands(object: LayoutObject): boolean {
    if (this.#problems.has(keyOf(object))) return false;
    if (object.kind !== 'port' && object.kind !== 'bridge-entry') return true;
    return isOurBridge(this.#devices.byIndex(this.#devices.byName(object.device)?.master ?? 0)?.name ?? '');
  }

  // ------------------------------------------------------------------ what the kernel tells

  readonly #linkOf: LinkOf = (ifindex) => this.#devices.byIndex(ifindex);

  #changed(change: Change): void {
    if (this.#closed) return;
    switch (change.kind) {
      case 'link':
        this.#linkChanged(change);
        break;
      case 'address':
        this.#compareOne(change, (value) => readAddress(value, this.#linkOf));
        break;
      case 'neighbour':
      case 'fdb':
        this.#compareOne(change, (value) => readNeighbour(value, this.#linkOf));
        break;
      case 'route':
        this.#compareOne(change, (value) => readRoute(value, this.#linkOf));
        break;
      case 'rule':
        this.#compareOne(change, readRule);
        break;
    }
  }

  /** What was ours and wanted, and is so no longer. */
  #compareOne<T>(
    { before, after }: { readonly before: T | undefined; readonly after: T | undefined },
    read: (value: T) => LayoutObject | undefined,
  ): void {
    const was = before && read(before);
    const wanted = was && this.#layout.objects.get(keyOf(was));
    if (!wanted) return;
    const now = after && read(after);
    if (!now || !sameObject(now, wanted)) this.#scheduleRepair();
  }

  #linkChanged({ before, after }: Extract<Change, { kind: 'link' }>): void {
    if (after) this.#devices.store(after);
    else if (before) this.#devices.forgetIndex(before.ifindex);
    const { objects, state } = this.#layout;
    for (const name of new Set([before?.name, after?.name])) {
      const wanted = objects.get(`link ${name}`);
      const port = objects.get(`port ${name}`);
      if (name === undefined || (!wanted && !port)) continue;
      // What is told may be older than what we have done since.
      const link = this.#writer.reread(name);
      if (wanted) {
        const now = link && readLink(link, this.#linkOf);
        if (!now || now === 'foreign' || !sameObject(now, wanted)) this.#scheduleRepair();
      }
      if (port?.kind === 'port' && link) this.#portCame(port, link, before?.master);
    }
    const device = (after ?? before)?.name;
    if (before?.mtu !== after?.mtu && (objects.has(`port ${device}`) || device === state.underlay.device)) {
      this.#later(undefined);
    }
  }

  #portCame(port: PortObject, link: Link, masterBefore: number | undefined): void {
    const bridge = this.#devices.byName(port.bridge);
    const wrong = bridge && (link.master !== bridge.ifindex || (port.mtu ?? link.mtu) !== link.mtu);
    if (!wrong && link.master === masterBefore) return;
    const message = wrong ? this.#writer.join(port) : undefined;
    if (message !== undefined) {
      this.#problems.set(keyOf(port), { object: port, message });
      return;
    }
    this.#problems.delete(keyOf(port));
    if (wrong) this.#counters.joined++;
    const entries = [...this.#standingOn(new Set([port.device]))].filter(({ kind }) => kind === 'bridge-entry');
    if (entries.length > 0) this.#later({ write: entries, remove: [] });
  }

  /** undefined: what the facts about devices change. */
  #later(change: Difference | undefined): void {
    this.#exclusive(() => this.#perform(change ?? this.#layout.refresh())).catch((error: unknown) =>
      this.#log.error({ err: error }, 'the layout of a network could not be changed'),
    );
  }

  // ------------------------------------------------------------------ repair

  #scheduleRepair(): void {
    // Not put off by what goes on happening.
    if (this.#closed || this.#awaitsRepair) return;
    this.#awaitsRepair = true;
    this.#repair.set(Math.max(this.#clock.now() + REPAIR_DELAY, this.#repaired - (REPAIRS - 1) * REPAIR_PERIOD));
  }

  #repairDue(): void {
    this.#awaitsRepair = false;
    this.#repaired = Math.max(this.#repaired, this.#clock.now()) + REPAIR_PERIOD;
    this.#counters.repairs++;
    this.#exclusive(async () => {
      const refused = new Set(this.#problems.keys());
      this.#settings.setNamespace();
      const { write, remove } = await this.#compare();
      const mended = [...write, ...remove].filter((object) => !refused.has(keyOf(object)) && this.#stands(object));
      if (mended.length > 0) this.#onMended('layout', [...new Set(mended.map(describeObject))]);
    }).catch((error: unknown) => {
      this.#log.warn({ err: error }, 'the layout of the networks could not be put right, it is tried again');
      this.#scheduleRepair();
    });
  }

  /** Not in the midst of a change of ours. */
  #lookDue(): void {
    this.#exclusive(async () => {
      const mended = this.#settings.look();
      if (mended.length > 0) this.#onMended('settings', mended);
    })
      .catch((error: unknown) => this.#log.warn({ err: error }, 'the settings can not be looked at, it is tried again'))
      .finally(() => {
        if (!this.#closed) this.#look.set(this.#clock.now() + LOOK_PERIOD);
      });
  }
}
