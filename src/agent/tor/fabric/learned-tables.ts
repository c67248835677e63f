import type { Clock, Instant, Timer } from '../../../model/clock.ts';
import type { LearnedRoute } from '../../../model/hosts.ts';
import type { Log } from '../../../model/log.ts';
import type { LearnedRouteInstaller } from '../../../netlink/index.ts';
import { LearnedTable } from './learned-table.ts';
import type { Protocol } from './types.ts';

/**
 * Routes that an earlier life learned stay in the kernel until their protocol has heard the gateway again (RFC 4724 §4.1),
 * at most this long (ms), looked at this often.
 */
const INHERITED_WAIT = 30_000;
const INHERITED_LOOK = 500;

export interface LearnedTablesOptions {
  readonly protocols: readonly Protocol[];
  readonly clock: Clock;
  readonly log: Log;
  /** Makes the installer of one protocol's learned routes. */
  readonly installer: (protocol: Protocol) => LearnedRouteInstaller;
  /** Routes have arrived in the kernel, or are not wanted any more. */
  onChange(): void;
}

/** What the protocols have learned of the fabric, in this life and in the one before. */
export class LearnedTables {
  readonly #options: LearnedTablesOptions;
  readonly #tables = new Map<Protocol, LearnedTable>();
  readonly #inherited = new Map<Protocol, Timer>();
  #closed = false;

  constructor(options: LearnedTablesOptions) {
    this.#options = options;
    for (const protocol of options.protocols)
      this.#tables.set(protocol, new LearnedTable(options.installer(protocol), () => options.onChange()));
  }

  protocols(): Iterable<Protocol> {
    return this.#tables.keys();
  }

  all(): Iterable<LearnedTable> {
    return this.#tables.values();
  }

  /** Of a protocol that is configured. */
  of(protocol: Protocol): LearnedTable {
    return this.#tables.get(protocol)!;
  }

  update(protocol: Protocol, changes: readonly LearnedRoute[]): void {
    this.of(protocol).update(changes);
  }

  /** What an earlier life of ours left goes, as soon as the protocol is `heard`. */
  async reconcile(heard: (protocol: Protocol) => boolean): Promise<void> {
    const until = this.#options.clock.now() + INHERITED_WAIT;
    for (const protocol of this.#tables.keys()) await this.#reconcile(protocol, heard, until);
  }

  /** Nothing is looked at any more; routes stay as they are. */
  rest(): void {
    this.#closed = true;
    for (const timer of this.#inherited.values()) timer.cancel();
  }

  /** Takes our routes out of the kernel. */
  async leave(): Promise<void> {
    for (const { installer } of this.#tables.values()) {
      await installer.leave();
      installer.close();
    }
  }

  counters(): Record<string, Record<string, number>> {
    const counters: Record<string, Record<string, number>> = {};
    for (const [protocol, table] of this.#tables) counters[`${protocol}.routes`] = { ...table.installer.counters() };
    return counters;
  }

  async #reconcile(protocol: Protocol, heard: (protocol: Protocol) => boolean, until: Instant): Promise<void> {
    const { clock, log } = this.#options;
    const lookAgain = () =>
      this.#inherited.set(
        protocol,
        clock.schedule(clock.now() + INHERITED_LOOK, () => this.#reconcile(protocol, heard, until)),
      );
    if (clock.now() < until && !heard(protocol)) {
      lookAgain();
      return;
    }
    const table = this.of(protocol);
    try {
      await table.installer.reconcile(table.routes());
    } catch (error) {
      // The kernel's table could not be read. A default route of an earlier life must not outlive it for that.
      log.warn({ err: error }, `routes learned by ${protocol} are not reconciled yet`);
      if (!this.#closed) lookAgain();
    }
  }
}
