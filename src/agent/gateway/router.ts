/**
 * Mode router: what the speakers select goes into the kernel, each route with its backup beside it. A session or an
 * adjacency that is lost moves all that led there at once, before anybody asks what the best routes are now; a lost
 * carrier is the kernel's own affair (src/netlink/backed-routes.ts).
 */
import type { NeighborLoss } from '../../bgp/index.ts';
import type { Source } from '../../gateway/index.ts';
import type { Address } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { LearnedRoute } from '../../model/hosts.ts';
import type { Log } from '../../model/log.ts';
import type { GuardMemory } from '../../netlink/frames/index.ts';
import type { BackedRouteInstaller, BackedRouteOptions, SwitchOver } from '../../netlink/index.ts';
import type { EventLog } from '../events.ts';
import { Calm } from './calm.ts';
import { Deferral } from './deferral.ts';

/** Routes of an earlier life stay until their protocol has heard all neighbours, at most this long (ms), looked at this often. */
const INHERITED_WAIT = 30_000;
const INHERITED_LOOK = 500;
const METRICS: Record<Source, number> = { bgp: 20, ospf: 110 };

export interface RouterOptions {
  readonly sources: readonly Source[];
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventLog;
  /** Kernel protocol number of the first, and table. */
  readonly kernel: { readonly protocol: number; readonly table: number };
  readonly installer: (options: BackedRouteOptions) => BackedRouteInstaller;
  /** Of what is set on the box. */
  readonly memory?: GuardMemory;
  /** All neighbours of a protocol have said what they have to say. */
  heard(source: Source): boolean;
  /** The neighbour with this next hop has. */
  heardFrom(source: Source, via: Address): boolean;
  /** What was left of an earlier life is gone. */
  onReconciled(source: Source): void;
  /** Routes lead elsewhere than they did, and nothing was told of them by the kernel. */
  onMoved(): void;
}

export class Router {
  readonly #options: RouterOptions;
  readonly #installers = new Map<Source, BackedRouteInstaller>();
  readonly #calm = new Map<Source, Calm>();
  readonly #deferrals = new Map<Source, Deferral>();
  readonly #timers = new Map<Source, Timer>();
  /** Next hops by the neighbour whose loss has taken them. */
  readonly #lost = new Map<Address, readonly Address[]>();
  readonly #heard = new Set<Source>();
  #closed = false;

  constructor(options: RouterOptions) {
    this.#options = options;
    const { protocol, table } = options.kernel;
    for (const source of options.sources) {
      const installer = options.installer({
        protocol: protocol + (source === 'ospf' ? 1 : 2),
        table,
        metric: METRICS[source],
        ...(options.memory ? { memory: options.memory } : {}),
        changed: () => options.onMoved(),
      });
      this.#installers.set(source, installer);
      const calm = new Calm(options.clock, (routes) => installer.update(routes));
      this.#calm.set(source, calm);
      const deferral = new Deferral({
        clock: options.clock,
        heard: (via) => options.heardFrom(source, via),
        give: (routes) => calm.update(routes),
      });
      this.#deferrals.set(source, deferral);
    }
  }

  /**
   * Routes of an earlier life lead where they do until their neighbours have been heard, from now on.
   *
   * @returns how many there are
   */
  async inherited(source: Source): Promise<number> {
    const routes = (await this.#installers.get(source)?.adopt()) ?? [];
    if (!this.#closed) this.#deferrals.get(source)?.begin(routes);
    return routes.length;
  }

  /** What is left of an earlier life goes, as soon as the protocols have heard everybody. */
  start(): void {
    const until = this.#options.clock.now() + INHERITED_WAIT;
    for (const source of this.#installers.keys()) this.#reconcile(source, until);
  }

  update(source: Source, changes: readonly LearnedRoute[]): void {
    this.#deferrals.get(source)?.update(changes);
  }

  sessionLost({ neighbor, nextHops, interface: port }: NeighborLoss): void {
    this.#switchOver('bgp', neighbor, nextHops, port);
    this.#deferrals.get('bgp')?.lost([neighbor, ...nextHops]);
  }

  adjacencyLost(neighbor: Address, port: string): void {
    this.#switchOver('ospf', neighbor, [neighbor], port);
  }

  /** The neighbour is back; what it says from now on counts. */
  back(source: Source, neighbor: Address): void {
    // A session of BGP begins with an empty table, but OSPF's database remembers.
    if (source === 'ospf') this.#calm.get(source)?.came(neighbor);
    const nextHops = this.#lost.get(neighbor) ?? [];
    this.#lost.delete(neighbor);
    for (const via of nextHops) this.#installers.get(source)?.restore(via);
  }

  /** Of a next-hop object that a route in the kernel names. */
  hopsOf(id: number): readonly { readonly ifindex: number; readonly via: Address }[] {
    for (const installer of this.#installers.values()) {
      const hops = installer.hopsOf(id);
      if (hops.length > 0) return hops;
    }
    return [];
  }

  counters(): Record<string, Record<string, number>> {
    const counters: Record<string, Record<string, number>> = {};
    for (const [source, installer] of this.#installers) counters[`${source}.routes`] = { ...installer.counters() };
    return counters;
  }

  warnings(): string[] {
    const loud = [...this.#installers.values()].some((installer) => installer.counters().compatMode === 1);
    const remedy = 'sysctl -w net.ipv4.nexthop_compat_mode=0';
    return loud ? [`next hops are replaced slowly, since a setting could not be changed: ${remedy}`] : [];
  }

  /** Routes stay in the kernel. */
  close(): void {
    this.#closed = true;
    for (const each of [...this.#timers.values()]) each.cancel();
    for (const each of [...this.#deferrals.values(), ...this.#calm.values()]) each.close();
    for (const installer of this.#installers.values()) installer.close();
  }

  /** Takes our routes out of the kernel. */
  async leave(): Promise<void> {
    this.#closed = true;
    for (const each of [...this.#timers.values()]) each.cancel();
    for (const each of [...this.#deferrals.values(), ...this.#calm.values()]) each.close();
    await Promise.all([...this.#installers.values()].map((installer) => installer.leave()));
  }

  #switchOver(source: Source, neighbor: Address, nextHops: readonly Address[], port: string | undefined): void {
    const installer = this.#installers.get(source);
    if (!installer || this.#closed) return;
    const { clock } = this.#options;
    const at = clock.now();
    const reports = nextHops.map((via) => installer.switchOver(via, port));
    const done = clock.now();
    this.#lost.set(neighbor, nextHops);
    this.#tell(source, neighbor, reports, at, done);
  }

  #tell(source: Source, neighbor: Address, reports: readonly SwitchOver[], at: Instant, done: Instant): void {
    const sum = (of: (report: SwitchOver) => number) => reports.reduce((total, report) => total + of(report), 0);
    const [routes, messages, refused] = [
      sum((each) => each.routes),
      sum((each) => each.messages),
      sum((each) => each.refused),
    ];
    if (messages === 0) return;
    const took = Math.round((done - at) * 1000);
    // The speaker draws its conclusions in this turn; the log can wait.
    setImmediate(() =>
      this.#options.events.record({
        type: 'gateway.switch-over',
        severity: refused > 0 ? 'warning' : 'info',
        message: `${routes} routes that led to ${neighbor} go by their backups, in ${took} us`,
        at,
        fields: { neighbor, protocol: source, routes, messages, refused, microseconds: took },
      }),
    );
  }

  async #reconcile(source: Source, until: Instant): Promise<void> {
    const { clock, log, heard } = this.#options;
    const lookAgain = () =>
      this.#timers.set(
        source,
        clock.schedule(clock.now() + INHERITED_LOOK, () => this.#reconcile(source, until)),
      );
    if (this.#closed) return;
    const all = heard(source);
    const twice = all && this.#heard.has(source);
    if (all) this.#heard.add(source);
    else this.#heard.delete(source);
    // The second time, for what was heard last has to be made into routes.
    if (clock.now() < until && !twice) {
      lookAgain();
      return;
    }
    try {
      const deferral = this.#deferrals.get(source)!;
      await this.#installers.get(source)!.reconcile(deferral.wanted(this.#calm.get(source)!.wanted()));
      // Some of it may have been selected, and held, while the kernel was written to.
      deferral.end();
      this.#options.onReconciled(source);
    } catch (error) {
      log.warn({ err: error }, `routes learned by ${source} are not reconciled yet`);
      lookAgain();
    }
  }
}
