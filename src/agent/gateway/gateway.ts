import { type ConfigDiff, diffConfig, type GatewayConfig, type Loaded } from '../../config/index.ts';
import type { Clock, Instant } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { Kernel } from '../../netlink/index.ts';
import { neighborEvent, sessionEvent } from '../control/session-events.ts';
import { EventLog, type NewEvent, WallClock } from '../events.ts';
import { processCounters } from '../process-counters.ts';
import { Speakers } from './speakers.ts';

export type GatewayKernel = Pick<Kernel, 'port' | 'portByIndex' | 'ports' | 'onChange' | 'counters' | 'close'>;

export interface GatewayOptions {
  readonly loaded: Loaded & { readonly config: GatewayConfig };
  readonly clock: Clock;
  readonly log: Log;
  /** Closed by `stop`. */
  readonly kernel: GatewayKernel;
}

/** The gateway role: its life, from the start over reloads to the end. */
export class Gateway {
  readonly clock: Clock;
  readonly wall: WallClock;
  readonly events: EventLog;
  readonly kernel: GatewayKernel;
  readonly speakers: Speakers;
  readonly #startedAt: Instant;
  #loaded: Loaded & { readonly config: GatewayConfig };
  #loadedAt: Instant;

  constructor({ loaded, clock, log, kernel }: GatewayOptions) {
    this.#loaded = loaded;
    this.clock = clock;
    this.kernel = kernel;
    this.#startedAt = clock.now();
    this.#loadedAt = this.#startedAt;
    this.wall = new WallClock(clock);
    this.events = new EventLog(clock, this.wall, log);
    const record = (event: NewEvent | undefined) => event && this.events.record(event);
    this.speakers = new Speakers({
      config: loaded.config,
      clock,
      log,
      links: kernel,
      onSession: (change) => record(sessionEvent(change)),
      onNeighbor: (change) => record(neighborEvent(change)),
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

  start(): void {
    this.kernel.onChange((change) => this.speakers.linkChanged(change));
    this.speakers.start();
    const { routerId, mode } = this.#loaded.config;
    this.events.record({
      type: 'agent.started',
      message: `gateway role started as ${mode}`,
      fields: { routerId, mode },
    });
  }

  reload(loaded: Loaded & { readonly config: GatewayConfig }): ConfigDiff {
    const diff = diffConfig(this.#loaded, loaded);
    this.#loaded = loaded;
    this.#loadedAt = this.clock.now();
    const { ospf, bgp } = loaded.config;
    if (ospf && diff.ospf === 'changed') this.speakers.ospf?.configure({ ...ospf, prefixes: [] });
    if (bgp && diff.bgp === 'changed') this.speakers.bgp?.configure({ ...bgp, prefixes: [] });
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
    return { kernel: { ...this.kernel.counters() }, ...this.speakers.counters(), process: processCounters() };
  }

  async stop(): Promise<void> {
    await this.speakers.stop();
    this.kernel.close();
  }

  async pause(): Promise<void> {
    this.events.record({ type: 'agent.pausing', message: 'the agent ends for a restart; nothing is withdrawn' });
    await this.speakers.pause();
  }
}
