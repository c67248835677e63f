/** Breaks things and mends them, as they break. What a case does with it stands in `cases/`. */

import type { LinkChange } from 'rtnetlink-ts';
import { monotonic } from './monotonic.ts';
import { LinkSetter } from './netlink.ts';
import { type ProcessRecord, run, signal } from './processes.ts';
import { batch } from './topology/build.ts';
import { CABLES, cableAt, namespaceOf, SERVERS, type ServerName, type TorName } from './topology/plan.ts';

/** What a fault needs to know of the ToR that stands. */
export interface Victim {
  processes(): readonly ProcessRecord[];
  /** Resolves when its killed processes are gone. */
  gone(): Promise<void>;
  /** What else runs on the box, and goes with its power. */
  boxProcesses?(): readonly ProcessRecord[];
  /** Starts the ToR's programs anew. `afterBoot`: the box has just come up. Resolves when they run. */
  start(afterBoot: boolean): Promise<void>;
}

/**
 * What breaks these cables, or mends them. `lasers`: a whole cable is not lit yet, the switch does that
 * (`tor/sonic/lasers.ts`).
 */
export function cableChanges(ports: readonly string[], up: boolean, lasers: boolean): LinkChange[] {
  return ports.map(cableAt).flatMap(({ wires, whole }) => {
    const lit = lasers && up ? [] : wires;
    return [...(lasers ? [whole] : []), ...lit].map(({ ifindex }) => ({ ifindex, up }));
  });
}

/** Every method returns when it began, ms of CLOCK_MONOTONIC. */
export class Faults {
  readonly #lab: string;
  readonly #lasers: boolean;
  readonly #wires: LinkSetter;
  readonly #servers = new Map<ServerName, LinkSetter>();
  readonly #refused: string[] = [];

  /** `lasers`: the lab's switches have some (`--ports sonic`). */
  constructor(lab: string, lasers = false) {
    this.#lab = lab;
    this.#lasers = lasers;
    this.#wires = this.#setter('wires');
    for (const { name } of SERVERS) this.#servers.set(name, this.#setter(name));
  }

  /** Changes that the kernel refused; a fault that didn't happen must not be measured. */
  takeRefusals(): string[] {
    return this.#refused.splice(0);
  }

  /** The cables at these ports of ToRs, broken or whole: both ends lose carrier, or have it. */
  cables(ports: readonly string[], up: boolean): number {
    const at = monotonic();
    this.#wires.apply(cableChanges(ports, up, this.#lasers));
    return at;
  }

  /** The NIC of a server that is cabled to a ToR's port, shut or opened. */
  nic(server: ServerName, port: string, up: boolean): number {
    const at = monotonic();
    this.#servers.get(server)!.apply([{ ifindex: cableAt(port).far.ifindex, up }]);
    return at;
  }

  /** A cable that passes nothing, in either direction, while both ends keep their carrier. */
  async silence(port: string, silent: boolean): Promise<number> {
    const { wires, kind } = cableAt(port);
    const namespace = namespaceOf(this.#lab, 'wires');
    // A server's cable has no filters of its own; those of an uplink come first in `pref` after these.
    const hooks = kind === 'uplink' ? ['ingress'] : ['ingress', 'egress'];
    const lines = wires.flatMap(({ name }) => [
      ...(silent && kind === 'server' ? [`qdisc replace dev ${name} clsact\n`] : []),
      ...hooks.map((hook) =>
        silent
          ? `filter add dev ${name} ${hook} pref 1 protocol all u32 match u32 0 0 action mirred egress redirect dev ${SINK}\n`
          : `filter del dev ${name} ${hook} pref 1\n`,
      ),
    ]);
    if (silent) await makeSink(namespace);
    const at = monotonic();
    await run(['tc', '-n', namespace, '-batch', '-'], lines.join(''));
    return at;
  }

  /** A box without power sends no TCP FIN and no last hello, its ports go dark, and its kernel forgets. */
  async losePower(tor: TorName, victim: Victim): Promise<number> {
    const processes = [...victim.processes(), ...(victim.boxProcesses?.() ?? [])];
    const at = monotonic();
    for (const record of processes) signal(record, 'SIGSTOP');
    this.cables(portsOf(tor), false);
    for (const record of processes) signal(record, 'SIGKILL');
    await forgetKernelState(this.#lab, tor);
    return at;
  }

  /** The box boots: its programs start while the cables are dark, a transceiver is the last to come up. */
  async restorePower(tor: TorName, victim: Victim): Promise<number> {
    await victim.gone();
    await bootPorts(this.#lab, tor);
    const at = monotonic();
    await victim.start(true);
    this.cables(portsOf(tor), true);
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
}

/** A device that stays down: what is led there is gone. (Not every kernel has the action `drop`.) */
const SINK = 'sink';

async function makeSink(namespace: string): Promise<void> {
  const links = JSON.parse(await run(['ip', '-n', namespace, '-j', 'link', 'show'])) as { ifname: string }[];
  if (links.some(({ ifname }) => ifname === SINK)) return;
  await batch(namespace, [`link add ${SINK} index 1911 type veth peer name ${SINK}1 index 1912`]);
}

const portsOf = (tor: TorName): string[] => CABLES.filter(({ near }) => near.node === tor).map(({ near }) => near.port);

/** What a kernel forgets when its box loses power: neighbours and learnt routes go with the ports. */
async function forgetKernelState(lab: string, tor: TorName): Promise<void> {
  const namespace = namespaceOf(lab, tor);
  await batch(
    namespace,
    portsOf(tor).map((port) => `link set ${port} down`),
  );
  await run(['ip', '-n', namespace, 'nexthop', 'flush']);
  await run(['ip', '-n', namespace, 'route', 'flush', 'table', 'main']);
}

async function bootPorts(lab: string, tor: TorName): Promise<void> {
  await batch(
    namespaceOf(lab, tor),
    portsOf(tor).map((port) => `link set ${port} up`),
  );
}
