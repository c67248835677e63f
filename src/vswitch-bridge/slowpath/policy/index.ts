/**
 * The slow path's policy: who may talk to whom, virtual services, sources towards the public side, rates. A projection of
 * the overlay's table onto one nftables ruleset, with what keeps that ruleset true: which backends live and how much
 * they have to do.
 *
 * A load is a transaction: the kernel has the old rules or the new ones, never a part. Loads follow one another; what
 * comes while one is under way is one load afterwards. `close({ keep: true })` leaves everything in the kernel, and the
 * next agent goes on from there.
 */
import type { Clock, Timer } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import type { OverlayChange, OverlayProjection, OverlayState } from '../../../model/overlay.ts';
import { ServiceLoads, weigh } from './balance/service-loads.ts';
import { Conntrack, STATUS } from './conntrack/index.ts';
import { type Counted, readCounted } from './counted.ts';
import { departed, NOBODY, type Presence, presenceOf } from './departures.ts';
import { HairpinPorts } from './hairpin-ports.ts';
import { HealthChecks } from './health/index.ts';
import { LoadedRuleset } from './loaded.ts';
import { isOurRun, NftError } from './nft.ts';
import { CLASS, renderRuleset, type ServiceWeights, serviceKey, unusableInterfaces } from './ruleset/index.ts';
import { TableWatch } from './table-watch.ts';

export { missingFeatures } from './features.ts';
export { removePolicy, standsPolicy } from './leftovers.ts';
export { load as loadRuleset, NftError } from './nft.ts';
export { watchForRemoval } from './removed-table.ts';

export interface PolicyOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** A name in /run/netns or a path; absent: where the process is. */
  readonly netns?: string | undefined;
  /** What was loaded last is kept there for the next start, e.g. /run/peerless/policy.json. */
  readonly stateFile?: string | undefined;
  /** Between two counts of connections, for services that give to the least loaded. Default 1 s. */
  readonly countInterval?: number;
  /** UDP port on which hosts take each other's encrypted packets; absent: they send none. */
  readonly espPort?: number | undefined;
  /** Connections of instances or backends that went were ended: what else remembers them must forget them. */
  readonly onDeparture?: () => void;
}

export interface BackendState {
  readonly address: string;
  readonly port: number;
  /** Absent: nobody asks it. */
  readonly healthy?: boolean;
  /** Its share of new connections, 0 to 1. */
  readonly weight: number;
  /** Of clients on this host; absent where nobody counts. */
  readonly connections?: number;
}

const COUNT_INTERVAL = 1000;
/** A count takes at most this part of the time. */
const COUNT_SHARE = 20;
/** A listing is not older than this when it is asked for again. */
const LISTING_AGE = 1000;
/** Another's reload is more than one transaction. */
const CALM = 300;
/** Changes of a moment are kept in the file once. */
const KEEP_DELAY = 2000;

const OURS = { value: CLASS.instance & 0xf000_0000, mask: 0xf000_0000 };

export class PolicyProjection implements OverlayProjection {
  readonly #options: PolicyOptions;
  readonly #loaded: LoadedRuleset;
  readonly #conntrack: Conntrack;
  readonly #health: HealthChecks;
  readonly #hairpins: HairpinPorts;
  #state: OverlayState | undefined;
  /** The state that the kernel holds, with `#weights`. */
  #rendered: OverlayState | undefined;
  #weights: ServiceWeights = new Map();
  #presence: Presence = NOBODY;
  #loads: ServiceLoads | undefined;
  #expected = new Map<string, number>();
  #running: Promise<void> | undefined;
  #waiting: Promise<void> | undefined;
  #counting: Timer | undefined;
  #keeping: Timer | undefined;
  #looking: Timer | undefined;
  #watch: TableWatch | undefined;
  #counted: Counted = { rules: new Map(), reasons: new Map() };
  #countedAt = Number.NEGATIVE_INFINITY;
  #listing: Promise<void> | undefined;
  #refusal: string | undefined;
  #closed = false;

  /** Rejects with NftError when there is no nft, SystemCallError when connections can't be seen. */
  static async open(options: PolicyOptions): Promise<PolicyProjection> {
    const loaded = await LoadedRuleset.open(options);
    const conntrack = Conntrack.open(options);
    try {
      const policy = new PolicyProjection(options, loaded, conntrack, await HairpinPorts.open(options));
      policy.#follow();
      return policy;
    } catch (error) {
      conntrack.close();
      throw error;
    }
  }

  private constructor(options: PolicyOptions, loaded: LoadedRuleset, conntrack: Conntrack, hairpins: HairpinPorts) {
    this.#options = options;
    this.#loaded = loaded;
    this.#conntrack = conntrack;
    this.#hairpins = hairpins;
    this.#health = new HealthChecks({ ...options, changed: () => this.#again('the health of a backend') });
  }

  /** Rejects with NftError; then the kernel holds what it held, and the next call tries again. */
  async apply(state: OverlayState, _changes: readonly OverlayChange[]): Promise<void> {
    this.#state = state;
    this.#health.follow(state);
    this.#hairpins.follow(state);
    this.#planCount();
    await this.#load();
  }

  /** After somebody else may have touched our tables. Rejects with NftError. */
  async reconcile(): Promise<void> {
    await this.#loaded.look();
    this.#rendered = undefined;
    if (this.#state) await this.#load();
  }

  /** By `network/service`. */
  backends(): ReadonlyMap<string, readonly BackendState[]> {
    const result = new Map<string, readonly BackendState[]>();
    for (const service of this.#state?.services.values() ?? []) {
      const weights = this.#weights.get(serviceKey(service)) ?? [];
      const total = weights.reduce((sum, { weight }) => sum + weight, 0);
      const states = weights.map(({ backend, weight }) => {
        const healthy = this.#health.isAlive(service, backend);
        const connections = this.#loads?.of(service, backend);
        return {
          address: backend.address,
          port: backend.port,
          weight: total > 0 ? weight / total : 0,
          ...(healthy === undefined ? {} : { healthy }),
          ...(connections === undefined ? {} : { connections }),
        };
      });
      result.set(serviceKey(service), states);
    }
    return result;
  }

  /** By the name of the rule, as last listed; asking makes the next listing. */
  ruleCounters(): Counted['rules'] {
    void this.refresh().catch(() => undefined);
    return this.#counted.rules;
  }

  /** What no rule of the user's accounts for, loads of the ruleset, probes. */
  counters(): Readonly<Record<string, number>> {
    void this.refresh().catch(() => undefined);
    const { whole, incremental, unchanged, refused } = this.#loaded.counters;
    const { dumps, deleted, interrupted } = this.#conntrack.counters;
    return {
      ...Object.fromEntries([...this.#counted.reasons].map(([reason, { packets }]) => [reason, packets])),
      'loads.whole': whole,
      'loads.incremental': incremental,
      'loads.unchanged': unchanged,
      'loads.refused': refused,
      'conntrack.counts': dumps,
      'conntrack.interrupted': interrupted,
      'conntrack.ended': deleted,
      'health.probes': this.#health.probes,
    };
  }

  /** Reads the kernel's counters, unless that was just done. Rejects with NftError. */
  refresh(): Promise<void> {
    if (this.#listing) return this.#listing;
    const { clock } = this.#options;
    if (this.#closed || clock.now() - this.#countedAt < LISTING_AGE) return Promise.resolve();
    this.#listing = readCounted(this.#state?.policy.rules ?? [], this.#options)
      .then((counted) => {
        this.#counted = counted;
        this.#countedAt = clock.now();
      })
      .finally(() => {
        this.#listing = undefined;
      });
    return this.#listing;
  }

  warnings(): readonly string[] {
    const state = this.#state;
    if (!state) return [];
    const found: string[] = [];
    if (this.#refusal !== undefined) found.push(`nft refused the rules, the old ones stand: ${this.#refusal}`);
    for (const name of unusableInterfaces(state)) {
      found.push(`the interface ${JSON.stringify(name)} has a name that can't stand in a ruleset`);
    }
    for (const [name, backends] of this.backends()) {
      if (backends.length > 0 && backends.every(({ healthy }) => healthy === false)) {
        found.push(`service ${name}: no backend answers; its clients are refused`);
      }
    }
    return found;
  }

  /** `keep`: rules and connections go on for the next agent; otherwise nothing of us is left. Rejects with NftError. */
  async close({ keep }: { readonly keep: boolean }): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#counting?.cancel();
    this.#keeping?.cancel();
    this.#looking?.cancel();
    this.#watch?.close();
    this.#health.close();
    await this.#running?.catch(() => undefined);
    await this.#hairpins.close({ keep });
    this.#conntrack.close();
    if (keep) await this.#loaded.keep();
    else await this.#loaded.remove();
  }

  #follow(): void {
    const { clock, log, netns } = this.#options;
    this.#watch = new TableWatch({
      netns,
      isOurs: isOurRun,
      changed: () => {
        this.#looking ??= clock.schedule(clock.now() + CALM, () => {
          this.#looking = undefined;
          this.#restore().catch((error: unknown) => {
            log.error({ error }, 'the ruleset could not be looked at after another has changed something');
          });
        });
      },
    });
  }

  /** Only what somebody took away as a whole: a table that was changed by hand is the operator's doing. */
  async #restore(): Promise<void> {
    if (this.#closed || !this.#state || this.#running) return;
    if (await this.#loaded.stands()) return;
    this.#options.log.warn({}, 'somebody has removed our ruleset: it is loaded again');
    await this.reconcile();
  }

  /** One load at a time, and one that waits, which takes the newest state. */
  #load(): Promise<void> {
    if (!this.#running) {
      this.#running = this.#loadNow().finally(() => {
        this.#running = undefined;
      });
      return this.#running;
    }
    this.#waiting ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#waiting = undefined;
        return this.#load();
      });
    return this.#waiting;
  }

  async #loadNow(): Promise<void> {
    const state = this.#state;
    if (!state || this.#closed) return;
    const alive: Parameters<typeof weigh>[1]['alive'] = (service, backend) =>
      this.#health.isAlive(service, backend) !== false;
    const weights = weigh(state, { alive, loads: this.#loads, expected: this.#expected }, this.#weights);
    // A count that has changed no share.
    if (state === this.#rendered && [...weights].every(([key, each]) => this.#weights.get(key) === each)) return;
    try {
      await this.#loaded.change(renderRuleset(state, weights, this.#options.espPort));
    } catch (error) {
      this.#refusal = error instanceof NftError ? error.said : String(error);
      this.#rendered = undefined;
      throw error;
    }
    this.#refusal = undefined;
    this.#rendered = state;
    this.#weights = weights;
    this.#planKeep();
    const presence = presenceOf(state, weights);
    const gone = departed(this.#presence, presence);
    this.#presence = presence;
    if (gone) await this.#end(gone);
  }

  /** The ruleset stands by itself: that a connection could not be ended is told, and no reason to refuse it. */
  async #end(gone: Parameters<Conntrack['deleteWhere']>[1]): Promise<void> {
    this.#options.onDeparture?.();
    try {
      await this.#conntrack.deleteWhere({ mark: OURS }, gone);
    } catch (error) {
      this.#options.log.warn({ error }, 'connections of what has gone could not be ended');
    }
  }

  /** For what no caller waits for. */
  #again(why: string): void {
    if (this.#closed) return;
    this.#load().catch((error: unknown) => {
      this.#options.log.error({ error, why }, 'the ruleset could not be changed; the old one stands');
    });
  }

  #planCount(): void {
    const wanted = [...(this.#state?.services.values() ?? [])].some(({ balance }) => balance === 'least-loaded');
    if (!wanted) {
      this.#counting?.cancel();
      this.#counting = undefined;
      this.#loads = undefined;
    } else if (!this.#counting) this.#countAt(this.#options.clock.now());
  }

  #countAt(at: number): void {
    this.#counting = this.#options.clock.schedule(at, () => void this.#count());
  }

  async #count(): Promise<void> {
    const { clock, log, countInterval = COUNT_INTERVAL } = this.#options;
    const state = this.#state;
    if (!state || this.#closed) return;
    const started = clock.now();
    try {
      const loads = new ServiceLoads(state);
      await this.#conntrack.dump({ mark: OURS, status: STATUS.DESTINATION_NAT }, (connection) => loads.add(connection));
      if (this.#closed || !this.#counting) return;
      this.#expect(state, loads);
      this.#loads = loads;
      await this.#load();
    } catch (error) {
      log.warn({ error }, 'connections could not be counted; the shares of backends stay');
    }
    if (this.#closed || !this.#counting) return;
    const now = clock.now();
    this.#countAt(now + Math.max(countInterval, (now - started) * COUNT_SHARE));
  }

  /** As many as came since the last count. */
  #expect(state: OverlayState, loads: ServiceLoads): void {
    const expected = new Map<string, number>();
    for (const service of state.services.values()) {
      const grown = service.backends.map((backend) =>
        Math.max(0, loads.of(service, backend) - (this.#loads?.of(service, backend) ?? 0)),
      );
      expected.set(
        serviceKey(service),
        grown.reduce((sum, each) => sum + each, 0),
      );
    }
    this.#expected = expected;
  }

  #planKeep(): void {
    if (this.#options.stateFile === undefined) return;
    const { clock, log } = this.#options;
    this.#keeping ??= clock.schedule(clock.now() + KEEP_DELAY, () => {
      this.#keeping = undefined;
      this.#loaded.keep().catch((error: unknown) => {
        log.warn({ error }, 'the ruleset could not be kept for the next start; that will load the whole');
      });
    });
  }
}
