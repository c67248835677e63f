import type { Loaded, TorConfig } from '../../config/index.ts';
import { systemClock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { ControlServer } from '../control/server.ts';
import { Lldp, Lldpcli, NO_LLDP } from '../lldp/index.ts';
import { rehearse } from '../rehearsal/index.ts';
import type { Role, RoleOptions } from '../role.ts';
import { reload, serveTor } from './control.ts';
import { openKernel } from './kernel.ts';
import type { SwitchKernel } from './surroundings.ts';
import { TorSwitch } from './switch.ts';

/** A switch on the machine as it is: its kernel or SONiC, lldpd, the system's clock. */
export class TorRole implements Role {
  readonly #agent: TorSwitch;
  readonly #lldp: Lldp;
  readonly #log: Log;
  readonly #rehearsal = new AbortController();

  static async start({ loaded, log, holdAtBoot }: RoleOptions<TorConfig>): Promise<TorRole> {
    const kernel = await openKernel({ config: loaded.config, clock: systemClock, log });
    const lldp = openLldp(loaded.config, kernel, log);
    const neighbours = (port: string) => lldp.of(port);
    const agent = await TorSwitch.start({ loaded, clock: systemClock, log, kernel, holdAtBoot, neighbours });
    lldp.start();
    return new TorRole(agent, lldp, log);
  }

  private constructor(agent: TorSwitch, lldp: Lldp, log: Log) {
    this.#agent = agent;
    this.#lldp = lldp;
    this.#log = log;
  }

  get loaded(): Loaded & { readonly config: TorConfig } {
    return this.#agent.loaded;
  }

  get uptime(): number {
    return this.#agent.uptime;
  }

  serve(server: ControlServer): void {
    serveTor(server, this.#agent);
  }

  counters() {
    return this.#agent.counters();
  }

  gauges() {
    return { hosts: this.#agent.hosts.announced().length };
  }

  reload() {
    return reload(this.#agent);
  }

  ready(): void {
    rehearse(this.loaded, this.#log, this.#rehearsal.signal);
  }

  async stop(): Promise<void> {
    this.#rehearsal.abort();
    this.#lldp.stop();
    await this.#agent.stop();
  }

  async pause(): Promise<void> {
    this.#rehearsal.abort();
    await this.#agent.pause();
  }
}

/** Read where SONiC keeps it, or from lldpd; `kernel` tells when a look is due. */
function openLldp({ ports }: TorConfig, kernel: SwitchKernel, log: Log): Lldp {
  const { lldp: socket } = ports;
  const source = kernel.lldp ?? (socket === null ? NO_LLDP : new Lldpcli(socket, systemClock, log));
  const lldp = new Lldp(source, systemClock);
  kernel.onChange((change) => lldp.portChanged(change));
  return lldp;
}
