/**
 * Breaks things and mends them, as they break:
 *
 * - `server-link`: the cable A2-C4. Both ends lose carrier, no port is shut by anybody.
 * - `nic-down`: C4's NIC is shut; the switch sees carrier loss.
 * - `uplink`: the cable A0-G.
 * - `tor-death`: A's processes stop, then all its cables lose carrier at once (a box without power sends no TCP FIN and
 *   no last hello), then the processes are gone. Its way back is a boot: an empty kernel, new processes.
 * - `agent-kill`: SIGKILL to what runs on A; the kernel and the links go on.
 */
import type { CaseName } from './cases.ts';
import { monotonic } from './monotonic.ts';
import { LinkSetter } from './netlink.ts';
import { gone, type ProcessRecord, run, signal } from './processes.ts';
import { batch } from './topology/build.ts';
import { CABLES, cableAt, namespaceOf, SERVERS, type ServerName, type TorName } from './topology/plan.ts';

const VICTIM: TorName = 'A';

/** What a fault needs to know of the ToR that stands. */
export interface Victim {
  processes(): readonly ProcessRecord[];
  /** Starts the ToR's programs anew. `afterBoot`: the box has just come up. Resolves when they run. */
  start(afterBoot: boolean): Promise<void>;
}

export class Faults {
  readonly #lab: string;
  readonly #wires: LinkSetter;
  readonly #servers = new Map<ServerName, LinkSetter>();
  readonly #refused: string[] = [];

  constructor(lab: string) {
    this.#lab = lab;
    this.#wires = this.#setter('wires');
    for (const { name } of SERVERS) this.#servers.set(name, this.#setter(name));
  }

  /** Changes that the kernel refused; a fault that didn't happen must not be measured. */
  takeRefusals(): string[] {
    return this.#refused.splice(0);
  }

  /** @returns when the fault began, ms of CLOCK_MONOTONIC */
  async inject(name: CaseName, victim: Victim): Promise<number> {
    const processes = victim.processes();
    const at = monotonic();
    switch (name) {
      case 'server-link':
        this.#cables(['A2'], false);
        break;
      case 'nic-down':
        this.#nic('C4', 'A2', false);
        this.#cables(['A2'], false);
        break;
      case 'uplink':
        this.#cables(['A0'], false);
        break;
      case 'tor-death':
        for (const record of processes) signal(record, 'SIGSTOP');
        this.#cables(ALL_PORTS, false);
        for (const record of processes) signal(record, 'SIGKILL');
        await forgetKernelState(this.#lab);
        break;
      case 'agent-kill':
        for (const record of processes) signal(record, 'SIGKILL');
        break;
    }
    return at;
  }

  /** @returns when the repair began */
  async mend(name: CaseName, victim: Victim): Promise<number> {
    let at = monotonic();
    switch (name) {
      case 'server-link':
        this.#cables(['A2'], true);
        break;
      case 'nic-down':
        // The NIC before its light: the kernel tells carrier at once only of a device that is up (linkwatch).
        this.#nic('C4', 'A2', true);
        this.#cables(['A2'], true);
        break;
      case 'uplink':
        this.#cables(['A0'], true);
        break;
      case 'tor-death':
        await allGone(victim.processes());
        await bootPorts(this.#lab);
        at = monotonic();
        await victim.start(true);
        this.#cables(ALL_PORTS, true);
        break;
      case 'agent-kill':
        await allGone(victim.processes());
        at = monotonic();
        await victim.start(false);
        break;
    }
    return at;
  }

  close(): void {
    this.#wires.close();
    for (const setter of this.#servers.values()) setter.close();
  }

  #setter(node: ServerName | 'wires'): LinkSetter {
    return new LinkSetter(namespaceOf(this.#lab, node), (errno) =>
      this.#refused.push(`link in ${node}: errno ${errno}`),
    );
  }

  #cables(ports: readonly string[], up: boolean): void {
    this.#wires.apply(ports.flatMap((port) => cableAt(port).wires.map(({ ifindex }) => ({ ifindex, up }))));
  }

  #nic(server: ServerName, port: string, up: boolean): void {
    this.#servers.get(server)!.apply([{ ifindex: cableAt(port).far.ifindex, up }]);
  }
}

const ALL_PORTS = CABLES.filter(({ near }) => near.node === VICTIM).map(({ near }) => near.port);

async function allGone(processes: readonly ProcessRecord[]): Promise<void> {
  if (!(await gone(processes, 5000))) throw new Error('killed processes are still there');
}

/** What a kernel forgets when its box loses power: neighbours and learnt routes go with the ports. */
async function forgetKernelState(lab: string): Promise<void> {
  const namespace = namespaceOf(lab, VICTIM);
  await batch(
    namespace,
    ALL_PORTS.map((port) => `link set ${port} down`),
  );
  await run(['ip', '-n', namespace, 'nexthop', 'flush']);
  await run(['ip', '-n', namespace, 'route', 'flush', 'table', 'main']);
}

/** The ports are configured while their cables are still dark: a transceiver is the last to come up. */
async function bootPorts(lab: string): Promise<void> {
  await batch(
    namespaceOf(lab, VICTIM),
    ALL_PORTS.map((port) => `link set ${port} up`),
  );
}
