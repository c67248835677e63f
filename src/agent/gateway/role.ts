import type { GatewayConfig, Loaded } from '../../config/index.ts';
import { systemClock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { Kernel } from '../../netlink/index.ts';
import type { ControlServer } from '../control/server.ts';
import { rehearseGateway } from '../rehearsal/index.ts';
import type { Role, RoleOptions } from '../role.ts';
import { mapCounts, reload, serveGateway } from './control.ts';
import { Gateway } from './gateway.ts';

/** A gateway on the machine as it is. */
export class GatewayRole implements Role {
  readonly #agent: Gateway;
  readonly #log: Log;
  readonly #rehearsal = new AbortController();

  static async start({ loaded, log }: RoleOptions<GatewayConfig>): Promise<GatewayRole> {
    const kernel = await Kernel.open({ clock: systemClock, log });
    const agent = await Gateway.start({ loaded, clock: systemClock, log, kernel });
    return new GatewayRole(agent, log);
  }

  private constructor(agent: Gateway, log: Log) {
    this.#agent = agent;
    this.#log = log;
  }

  get loaded(): Loaded & { readonly config: GatewayConfig } {
    return this.#agent.loaded;
  }

  get uptime(): number {
    return this.#agent.uptime;
  }

  serve(server: ControlServer): void {
    serveGateway(server, this.#agent);
  }

  counters() {
    return this.#agent.counters();
  }

  async gauges() {
    const { total, byState } = await mapCounts(this.#agent);
    const lost = this.#agent.map.switches().filter(({ state }) => state === 'lost').length;
    return { map_addresses: total, map_addresses_up: byState.up ?? 0, map_switches_lost: lost };
  }

  reload() {
    return reload(this.#agent);
  }

  /** Who only observes has nothing to rehearse: no packet waits for it. */
  async ready(): Promise<void> {
    if (this.loaded.config.mode !== 'router') return;
    await this.#agent.settled;
    await rehearseGateway(this.loaded, this.#log, this.#rehearsal.signal);
  }

  stop(): Promise<void> {
    this.#rehearsal.abort();
    return this.#agent.stop();
  }

  pause(): Promise<void> {
    this.#rehearsal.abort();
    return this.#agent.pause();
  }
}
