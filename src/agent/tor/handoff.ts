/**
 * What passes through the kernel's tables between us and other programs of the box: hosts that we hand to a routing
 * daemon (`kernel.handoffTable`), what that daemon learns of the fabric, hosts that we are told of by a table
 * (`hostRoutes.sources.kernel`), and default routes that somebody else has put there.
 */
import type { TorConfig } from '../../config/index.ts';
import type { HostRoutes } from '../../hostroutes/index.ts';
import { type Address, type Family, prefixContains } from '../../model/address.ts';
import type { Clock } from '../../model/clock.ts';
import type { ForeignClaim, HostRoute } from '../../model/hosts.ts';
import type { Log } from '../../model/log.ts';
import type { PortChange } from '../../model/ports.ts';
import type { Belonging, HandoffTable, RouteWatch } from '../../netlink/index.ts';
import type { Outside } from './fabric/types.ts';
import { ForeignDefaults } from './foreign-defaults.ts';
import { KernelHosts } from './kernel-hosts.ts';
import { OutsideRoutes } from './outside-routes.ts';
import { FABRIC_TABLE, type SwitchKernel } from './surroundings.ts';
import { withoutShadows } from './without-shadows.ts';

export interface HandoffOptions {
  readonly config: () => TorConfig;
  readonly kernel: SwitchKernel;
  readonly hosts: HostRoutes;
  readonly clock: Clock;
  readonly log: Log;
  onForeignClaim(claim: ForeignClaim): void;
  onFabricChange(): void;
  onError(what: string, error: Error): void;
}

/**
 * zebra takes every route of the main table that isn't its own for one of administrative distance 0, better than any
 * that it imports from another table. The top octet of the metric is the distance, so with 254 there it imports ours.
 * That is for IPv4: of IPv6 zebra (8.4) imports no tables.
 */
const BEHIND_IMPORTED = 254 * 2 ** 24 + 1;

export function hostMetric({
  kernel,
}: {
  readonly kernel: Pick<TorConfig['kernel'], 'handoffTable' | 'handoffReader'>;
}): Readonly<Record<Family, number>> {
  const zebra = kernel.handoffTable !== null && kernel.handoffReader === 'zebra';
  return { 4: zebra ? BEHIND_IMPORTED : 1, 6: 1 };
}

export class Handoff {
  readonly #options: HandoffOptions;
  readonly #table: HandoffTable | undefined;
  readonly #kernelHosts: KernelHosts;
  readonly #defaults: ForeignDefaults;
  /** The tables are chosen at the start, whatever a reload says. */
  readonly #began: TorConfig;
  #watch: Promise<RouteWatch> | undefined;
  #routes: OutsideRoutes | undefined;

  constructor(options: HandoffOptions) {
    const { config, kernel, hosts, clock, log } = options;
    this.#options = options;
    this.#began = config();
    const { handoffTable, handoffReader, protocol } = config().kernel;
    if (handoffTable !== null) {
      this.#table = kernel.handoffTable?.({ table: handoffTable, protocol, reader: handoffReader });
    }
    this.#kernelHosts = new KernelHosts({
      watch: () => this.#openWatch(),
      hosts,
      links: kernel,
      clock,
      log,
      limit: () => config().hostRoutes.policy.limits.total,
      concerns: (address) => config().hostRoutes.policy.prefixes.some((prefix) => prefixContains(prefix, address)),
    });
    this.#defaults = new ForeignDefaults({
      watch: () => this.#openWatch(),
      links: kernel,
      clock,
      log,
      own: ownProtocols(protocol),
      onChange: options.onFabricChange,
    });
  }

  /** For the fabric; undefined: nothing is handed over. */
  outside(): Outside | undefined {
    if (!this.#table) return undefined;
    return {
      // A daemon that reads a table can't be told that some of what is there is worse than the rest.
      announcer: withoutShadows(this.#table),
      readiness: () => this.#routes?.readiness() ?? { ready: false, reason: 'handoff: not started yet' },
      defaultRoute: (port) => this.#routes?.defaultRoute(port) === true,
    };
  }

  /** Somebody else's default route through this port is in the kernel. */
  defaultRoute(port: string): boolean {
    return this.#defaults.through(port);
  }

  /** What an earlier life left in the table stays until `settle`. */
  async start(): Promise<void> {
    await this.#configureDefaults();
    if (!this.#table) return;
    const { config, kernel, clock, log, onForeignClaim, onFabricChange } = this.#options;
    const { protocol } = config().kernel;
    const watch = await this.#openWatch();
    this.#table.follow(watch);
    await this.#table.adopt();
    this.#routes = new OutsideRoutes({
      watch,
      links: kernel,
      clock,
      log,
      prefixes: () => config().hostRoutes.policy.prefixes,
      downlinks: () => config().hostRoutes.policy.ports,
      uplinks: () => [...new Set(config().portLink.flatMap(({ uplinks }) => uplinks))],
      own: ownProtocols(protocol),
      onForeignClaim,
      onChange: onFabricChange,
    });
  }

  /** To be called at the start, when the host table runs, and whenever the configuration has changed. */
  configure(): void {
    const { config, onError } = this.#options;
    void this.#configureDefaults();
    this.#kernelHosts
      .configure(config().hostRoutes.kernel?.table)
      .catch((error: Error) => onError('the table of hostRoutes.sources.kernel was not read', error));
  }

  linkChanged(change: PortChange): void {
    this.#routes?.linkChanged(change);
    this.#kernelHosts.linkChanged(change);
    this.#defaults.linkChanged(change);
  }

  hostChanged(address: Address): void {
    this.#kernelHosts.hostChanged(address);
  }

  /** The host table is complete. What an earlier life with another configuration left in the kernel goes, too. */
  settle(announced: readonly HostRoute[]): void {
    this.#options.kernel
      .removeStrays?.(belongings(this.#began, this.#options.config().hostRoutes.kernel?.table))
      .catch((error: Error) => this.#options.onError('routes of an earlier configuration were not removed', error));
    this.#table
      ?.reconcile(announced.filter(({ shadow }) => !shadow))
      .catch((error: Error) => this.#options.onError('the handoff table was not reconciled', error));
  }

  async stop(): Promise<void> {
    this.#kernelHosts.close();
    this.#defaults.close();
    this.#routes?.close();
    await this.#table?.leave();
    // That it failed was told to who asked for it.
    (await this.#watch?.catch(() => undefined))?.close();
  }

  counters(): Record<string, Record<string, number>> {
    const { config } = this.#options;
    return {
      ...(this.#table ? { handoff: { ...this.#table.counters(), ...this.#routes?.counters() } } : {}),
      ...(config().hostRoutes.kernel ? { 'kernel.source': { ...this.#kernelHosts.counters() } } : {}),
    };
  }

  async #configureDefaults(): Promise<void> {
    const { config, kernel, onError } = this.#options;
    const wanted = config().portLink.some(({ upWhen }) => upWhen.includes('default-route'));
    if (!kernel.watchRoutes) return;
    await this.#defaults
      .configure(wanted)
      .catch((error: Error) => onError("default routes of others can't be followed", error));
  }

  #openWatch(): Promise<RouteWatch> {
    const { kernel } = this.#options;
    if (!kernel.watchRoutes) return Promise.reject(new Error("this box's routes can not be watched"));
    if (this.#watch) return this.#watch;
    const watch = kernel.watchRoutes();
    this.#watch = watch;
    // Whoever asks next asks the kernel again.
    watch.catch(() => {
      if (this.#watch === watch) this.#watch = undefined;
    });
    return watch;
  }
}

/** What a switch writes: hosts, what OSPF and BGP learned, shadows, repair. */
const ownProtocols = (protocol: number): ReadonlySet<number> =>
  new Set([0, 1, 2, 3, 4].map((offset) => protocol + offset));

/** The tables in which routes with our protocol numbers are ours to keep, or another's that we read. */
function belongings({ kernel, ospf, bgp, shadow }: TorConfig, read: number | undefined): Belonging[] {
  const { table, handoffTable, protocol } = kernel;
  return [
    {
      protocol,
      tables: [
        table,
        FABRIC_TABLE,
        ...(handoffTable === null ? [] : [handoffTable]),
        ...(read === undefined ? [] : [read]),
      ],
      vrfs: true,
    },
    { protocol: protocol + 1, tables: ospf ? [table] : [] },
    { protocol: protocol + 2, tables: bgp ? [table] : [] },
    { protocol: protocol + 3, tables: shadow.enabled ? [shadow.table] : [] },
  ];
}
