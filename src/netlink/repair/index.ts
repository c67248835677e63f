/**
 * The repair path: what a switch needs in the kernel so that packets for a server whose link to it has failed reach the
 * server through the other switch, while the gateway still sends them here.
 *
 * - Entrance (`backups.ts`): a backup route for each host that somebody stands by for, into a tunnel to him. It is there
 *   before anything fails; `linkdown.ts` lets the kernel take it without us.
 * - Exit (`exit.ts`): what comes out of a tunnel is looked up among our own hosts, then among those that we stand by
 *   for, and is dropped otherwise.
 * - The device (`device.ts`) is both ends. What an earlier life left of all this is taken over.
 *
 * Everything is known as ours by one protocol number (device and settings by name).
 */
import type { Rtnetlink } from 'rtnetlink-ts';
import type { Address } from '../../model/address.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import type { HostRoute } from '../../model/hosts.ts';
import { isUp, type PortChange } from '../../model/ports.ts';
import type { GuardMemory } from '../frames/index.ts';
import { HostRouteInstaller } from '../host-routes.ts';
import { type PortTable, tableOf } from '../installing.ts';
import type { RuleKeeper } from '../rule-keeper.ts';
import { DOOR } from '../waiting-room.ts';
import { BackupRoutes, type Tunnel } from './backups.ts';
import { openRepairDevice, tunnelCounts } from './device.ts';
import { ExitRules, type ExitTables } from './exit.ts';
import { findRepair, type RepairLeftovers, removeRepair } from './leftovers.ts';
import { IgnoredLinkdown } from './linkdown.ts';

export { REPAIR_ALIAS, REPAIR_PORT, type TunnelCounts } from './device.ts';
export type { Tunnel };
export { findRepair, IgnoredLinkdown, type RepairLeftovers, removeRepair };

export interface RepairOptions {
  readonly device: string;
  /** Of the host routes; backups are in the same. */
  readonly table: number;
  /** Worse than the host routes', better than those of the routes that speakers learn. */
  readonly metric: Readonly<Record<4 | 6, number>>;
  /** Of what is ours here and nobody else's. */
  readonly protocol: number;
  readonly exit: ExitTables;
  /** What the settings of interfaces were before. */
  readonly memory: GuardMemory;
  /** What somebody took away, the device or its rules, could not be made again. */
  onError(error: Error): void;
}

interface Surroundings {
  readonly rtnetlink: Rtnetlink;
  readonly links: PortTable;
  readonly clock: Clock;
  readonly netns: string | undefined;
  /** Of the rules of the exit. */
  readonly keeper?: Pick<RuleKeeper, 'keep' | 'listening'>;
}

const RETRY = 1000;

export class RepairPath {
  /** Our hosts, for what comes out of the tunnel. */
  readonly hosts: HostRouteInstaller;
  /** Hosts of which an earlier life left a backup. */
  readonly adopted: readonly Address[];
  readonly #options: RepairOptions;
  readonly #surroundings: Surroundings;
  readonly #rules: ExitRules;
  readonly #backups: BackupRoutes;
  readonly #linkdown: IgnoredLinkdown;
  readonly #unsubscribe: () => void;
  #retry: Timer | undefined;
  #closed = false;

  /** Rejects when the box can't have it: no vxlan, the device's name or UDP port is taken, no right. */
  static async open(surroundings: Surroundings, options: RepairOptions): Promise<RepairPath> {
    const { rtnetlink, clock, netns } = surroundings;
    const { device: name, protocol, metric, onError } = options;
    const common = { rtnetlink, clock, keeper: surroundings.keeper, onError };
    const rules = new ExitRules({ ...common, device: name, tables: options.exit, protocol });
    try {
      await rules.open();
      const { ifindex } = await openRepairDevice(rtnetlink, name, netns);
      const backups = new BackupRoutes({ rtnetlink, clock, protocol, metric, ifindex });
      return new RepairPath(surroundings, options, rules, backups, await backups.adopt());
    } catch (error) {
      rules.close();
      throw error;
    }
  }

  private constructor(
    surroundings: Surroundings,
    options: RepairOptions,
    rules: ExitRules,
    backups: BackupRoutes,
    adopted: readonly Address[],
  ) {
    const { rtnetlink, links, clock, netns } = surroundings;
    this.#surroundings = surroundings;
    this.#options = options;
    this.#rules = rules;
    this.#backups = backups;
    this.#linkdown = new IgnoredLinkdown(options.memory, netns);
    this.adopted = adopted;
    const { protocol, exit } = options;
    this.hosts = new HostRouteInstaller(rtnetlink, links, clock, { protocol, table: exit.hosts, apart: true });
    this.#unsubscribe = links.afterChange((change) => this.#portChanged(change));
  }

  /** One message for all backups over it. @returns false when there are too many twins */
  setTunnel(twin: string, tunnel: Tunnel): boolean {
    return this.#backups.setTunnel(twin, tunnel);
  }

  /** A backup for this host over the tunnel to `twin`. In the kernel after `flush`. */
  install(host: Pick<HostRoute, 'address' | 'ifindex' | 'interface'>, twin: string): void {
    const { links } = this.#surroundings;
    // Packets wait there, whatever the carrier.
    if (host.interface !== DOOR) this.#linkdown.cover(host.interface, host.ifindex);
    this.#backups.want(host.address, { twin, table: tableOf(links, host.ifindex, this.#options.table) });
  }

  remove(address: Address): void {
    this.#backups.want(address, undefined);
  }

  flush(): void {
    this.#backups.flush();
  }

  /** The kernel has a backup for this host, as far as known. */
  has(address: Address): boolean {
    return this.#backups.has(address);
  }

  counters(): Readonly<Record<string, number>> {
    const { netns } = this.#surroundings;
    const exit = Object.entries(this.hosts.counters()).map(([name, value]) => [`exit.${name}`, value]);
    return {
      ...this.#backups.counters(),
      ...Object.fromEntries(exit),
      ...tunnelCounts(this.#options.device, netns),
      interfaces: this.#linkdown.covered,
    };
  }

  /** Everything goes: the agent stops and withdraws its hosts. */
  async leave(): Promise<void> {
    this.close();
    const { rtnetlink } = this.#surroundings;
    await removeRepair(rtnetlink, await findRepair(rtnetlink, this.#options.protocol));
    this.#linkdown.uncover();
  }

  /** Everything stays in the kernel. */
  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#retry?.cancel();
    this.#rules.close();
    this.#backups.close();
    this.hosts.close();
  }

  /** Who sets the device down, or deletes it, takes all routes over it away without a word. */
  #portChanged({ name, before, after }: PortChange): void {
    if (name !== this.#options.device || this.#closed || isUp(after) || !isUp(before)) return;
    this.#reopen();
  }

  #reopen(): void {
    const { rtnetlink, clock, netns } = this.#surroundings;
    openRepairDevice(rtnetlink, this.#options.device, netns).then(
      ({ ifindex }) => {
        if (!this.#closed) this.#backups.reinstall(ifindex);
      },
      (error: Error) => {
        if (this.#closed) return;
        this.#options.onError(error);
        this.#retry = clock.schedule(clock.now() + RETRY, () => this.#reopen());
      },
    );
  }
}
