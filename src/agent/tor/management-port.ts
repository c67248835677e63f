import {
  type Loaded,
  type LoginPort,
  managementProblems,
  type PortLinkGroup,
  type Problem,
  portsAtRisk,
  type TorConfig,
} from '../../config/index.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { TcpSession } from '../../netlink/index.ts';
import type { EventLog } from '../events.ts';

/** Ports that are spared because of a login are looked after this often (ms): with the login ends the sparing. */
const LOOK = 10_000;

export interface ManagementPortOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventLog;
  /** Who is logged in; absent where that can't be known. */
  readonly logins: ((also: readonly TcpSession[]) => Promise<readonly LoginPort[]>) | undefined;
  groups(): readonly PortLinkGroup[];
  /** Ports that no group may shut now. */
  spare(ports: readonly string[]): void;
}

/**
 * The port that somebody is logged in through is not shut by surprise. A change that would put it at risk is refused,
 * and names the way out. At the start there is nobody to refuse to, and a switch without failover would be worse than
 * one that spares a port: the groups work, only this port they leave open, loudly, until the login is over.
 */
export class ManagementPort {
  readonly #options: ManagementPortOptions;
  /** Port -> peer. */
  #spared = new Map<string, string>();
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: ManagementPortOptions) {
    this.#options = options;
  }

  /** To be awaited before the groups start. */
  async atStart(): Promise<void> {
    await this.#look(this.#options.groups());
  }

  /** What speaks against a configuration; nothing when the same was at risk before. */
  async problems(loaded: Loaded, before: TorConfig, also: readonly TcpSession[]): Promise<Problem[]> {
    return managementProblems(loaded, await this.#logins(also), before);
  }

  /** Of ports that are about to be shut by hand, those that a login comes by. */
  async through(ports: readonly string[], also: readonly TcpSession[]): Promise<LoginPort[]> {
    const wanted = new Set(ports);
    return (await this.#logins(also)).filter(({ port }) => wanted.has(port));
  }

  /** The groups are others now, and a change that was forced or allowed takes a port out of the sparing. */
  reloaded(): void {
    if (this.#spared.size === 0) return;
    const peers = [...this.#spared].map(([port, peer]) => ({ port, peer }));
    this.#spare(portsAtRisk(this.#options.groups(), peers));
  }

  warnings(): string[] {
    return [...this.#spared].map(
      ([port, peer]) =>
        `${port} is not shut with its group while somebody is logged in from ${peer} through it (allowManagementPort)`,
    );
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  async #logins(also: readonly TcpSession[] = []): Promise<readonly LoginPort[]> {
    try {
      return (await this.#options.logins?.(also)) ?? [];
    } catch (error) {
      // Not to know who is logged in must not keep a switch from starting, nor an operator from changing it.
      this.#options.log.warn({ err: error }, 'who is logged in can not be read');
      return [];
    }
  }

  /** Only what is among `groups` or spared already is spared: later logins change nothing. */
  async #look(groups: readonly PortLinkGroup[]): Promise<void> {
    const logins = await this.#logins();
    if (this.#closed) return;
    this.#spare(portsAtRisk(groups, logins));
    if (this.#spared.size === 0) return;
    const { clock } = this.#options;
    this.#timer = clock.schedule(clock.now() + LOOK, () => {
      this.#look(this.#options.groups().map((group) => onlyWith(group, this.#spared)));
    });
  }

  #spare(risks: readonly LoginPort[]): void {
    const { events, spare } = this.#options;
    const now = new Map(risks.map(({ port, peer }) => [port, peer]));
    for (const [port, peer] of now) {
      if (this.#spared.has(port)) continue;
      events.record({
        type: 'portlink.spared',
        severity: 'warning',
        message: `${port} will not be shut: somebody is logged in from ${peer} through it`,
        fields: { port, peer },
      });
    }
    for (const port of this.#spared.keys()) {
      if (now.has(port)) continue;
      events.record({ type: 'portlink.unspared', message: `${port} is shut with its group again`, fields: { port } });
    }
    const changed = [...now.keys()].join() !== [...this.#spared.keys()].join();
    this.#spared = now;
    if (changed) spare([...now.keys()]);
  }
}

const onlyWith = (group: PortLinkGroup, ports: ReadonlyMap<string, string>): PortLinkGroup => ({
  ...group,
  downlinks: group.downlinks.filter((port) => ports.has(port)),
  uplinks: group.uplinks.filter((port) => ports.has(port)),
});
