/**
 * What is to be done when an agent died and no other will come after it: it went without a word, so ports that it shut
 * are shut, and its routes stand. A stop (SIGTERM) leaves none of this but the ports of groups with `onStop: leave`.
 *
 * What is ours is known as the agent itself would know it: ports by its memory on disk (or, by protodown, by our bit in
 * the kernel), everything else by its mark. Nothing is done of which that can't be said.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Rtnetlink } from 'rtnetlink-ts';
import type { TorConfig } from '../../config/index.ts';
import { systemClock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { clearGuards, type GuardMemory, guardedPorts } from '../../netlink/frames/index.ts';
import {
  findLeftovers,
  IgnoredLinkdown,
  type KernelLeftovers,
  keptAddresses,
  removeLeftovers,
} from '../../netlink/index.ts';
import { StateFile } from '../../portlink/index.ts';
import { guardMemory } from '../memory-store.ts';
import { addressMemory } from '../tor/kept-addresses.ts';
import { openKernel } from '../tor/kernel.ts';
import { repairMemory } from '../tor/repair/index.ts';
import type { SwitchKernel } from '../tor/surroundings.ts';
import { Attempts } from './attempts.ts';

/** Everything of ours that is on the box; what `clean` leaves is what it could not remove. */
export interface Leftovers {
  /** Shut by the agent, and still shut. */
  readonly ports: readonly string[];
  readonly hostRoutes: number;
  readonly unreachable: number;
  readonly learnedRoutes: number;
  /** Rules and routes of what comes from the fabric, for hosts that were stood by for. */
  readonly shadows: number;
  /** Of the repair path: backups, rules, routes of what came out of a tunnel, and the device. */
  readonly repair: number;
  /** Ports whose routes the kernel passes over when their carrier is lost, for the repair path. */
  readonly passedOver: readonly string[];
  /** Ports whose IPv6 addresses the kernel keeps when they are shut. */
  readonly addressesKept: readonly string[];
  readonly neighbours: number;
  readonly waitingRoom: boolean;
  /** Ports that are silenced by a storm that nobody watches any more. */
  readonly silenced: readonly string[];
  /** In the state directory. */
  readonly files: readonly string[];
  /** What could not be read, or was refused, in plain words. */
  readonly problems: readonly string[];
}

const OUR_FILES =
  /^(ports\.json(\.intent|\.damaged)?|(drain|hosts|nexthops|bfd|arp-guard|repair|kept-addresses)\.json|ospf\.state)(\.new)?$/;
/** A SONiC switch whose Redis is gone would be waited for without end (ms). */
const PATIENCE = 10_000;

export class Cleanup {
  readonly #config: TorConfig;
  readonly #rtnetlink: Rtnetlink;
  readonly #kernel: SwitchKernel;
  readonly #guards: GuardMemory;
  readonly #repair: GuardMemory;
  readonly #addresses: GuardMemory;
  readonly #attempts = new Attempts();

  /** Rejects when the kernel, or SONiC's picture of the ports, can't be had. */
  static async open(config: TorConfig, log: Log): Promise<Cleanup> {
    const rtnetlink = Rtnetlink.open();
    try {
      const late = AbortSignal.timeout(PATIENCE);
      const tooLate = new Promise<never>((_, reject) => {
        late.addEventListener('abort', () => reject(new Error("this box's ports could not be read in 10 s")));
      });
      const kernel = await Promise.race([openKernel({ config, clock: systemClock, log }), tooLate]);
      return new Cleanup(config, rtnetlink, kernel);
    } catch (error) {
      rtnetlink.close();
      throw error;
    }
  }

  private constructor(config: TorConfig, rtnetlink: Rtnetlink, kernel: SwitchKernel) {
    this.#config = config;
    this.#rtnetlink = rtnetlink;
    this.#kernel = kernel;
    const onError = ({ message }: Error) => this.#attempts.add(message);
    this.#guards = guardMemory(config.stateDirectory, onError);
    this.#repair = repairMemory(config.stateDirectory, onError);
    this.#addresses = addressMemory(config.stateDirectory, onError);
  }

  async find(): Promise<Leftovers> {
    return this.#told(await this.#inKernel());
  }

  /** `purge`: the files of the state directory too, with what they know of holds, drains and hosts. */
  async clean(purge: boolean): Promise<Leftovers> {
    const before = await this.#inKernel();
    clearGuards(this.#guards, undefined, this.#silenced());
    await this.#attempts.at(() => removeLeftovers(this.#rtnetlink, before));
    new IgnoredLinkdown(this.#repair, undefined).uncover();
    const ports = this.#shut(before);
    if (ports.length > 0) await this.#attempts.at(() => this.#kernel.setAdmin(ports, true));
    keptAddresses(this.#addresses, undefined).uncover();
    const after = await this.#inKernel();
    await this.#attempts.at(() => this.#forgetOpen(after));
    // Without their memory, ports that could not be opened would be anybody's.
    if (purge && this.#shut(after).length === 0) {
      for (const file of this.#files()) await this.#attempts.at(async () => rmSync(file, { force: true }));
    }
    return this.#told(after);
  }

  close(): void {
    this.#kernel.close();
    this.#rtnetlink.close();
  }

  #told(kernel: KernelLeftovers): Leftovers {
    return {
      ports: this.#shut(kernel),
      hostRoutes: kernel.hostRoutes.length,
      unreachable: kernel.unreachable.length,
      learnedRoutes: kernel.learnedRoutes.length,
      shadows: kernel.fabricRules.length + kernel.shadows.rules.length + kernel.shadows.routes.length,
      repair: repairCount(kernel),
      passedOver: this.#repair.ports,
      addressesKept: this.#addresses.ports,
      neighbours: kernel.neighbours.length,
      waitingRoom: kernel.waitingRoom,
      silenced: this.#silenced(),
      files: this.#files(),
      problems: this.#attempts.problems,
    };
  }

  #inKernel(): Promise<KernelLeftovers> {
    const { kernel, hostRoutes, ports } = this.#config;
    return findLeftovers(this.#rtnetlink, {
      protocol: kernel.protocol,
      readTable: hostRoutes.kernel?.table,
      protodownReason: ports.protodownReason,
    });
  }

  /** Remembered, and down; or down by our bit. */
  #shut({ protodown, down }: KernelLeftovers): string[] {
    const { ports, problems } = new StateFile(this.#portsFile).peek();
    this.#attempts.add(...problems);
    const remembered = ports.map(({ port }) => port).filter((name) => this.#isDown(name, down));
    return [...new Set([...remembered, ...protodown])];
  }

  #isDown(name: string, down: readonly string[]): boolean {
    return this.#kernel.isShut?.(name) ?? down.includes(name);
  }

  /** Or who shuts such a port by hand one day would find it opened by the next agent. */
  async #forgetOpen({ down, protodown }: KernelLeftovers): Promise<void> {
    const file = new StateFile(this.#portsFile);
    if (file.peek().ports.length === 0) return;
    const { ports, holds } = file.load();
    const shut = ports.filter(({ port }) => this.#isDown(port, down) || protodown.includes(port));
    await file.save({ ports: shut, holds });
    await file.close();
  }

  get #portsFile(): string {
    return join(this.#config.stateDirectory, 'ports.json');
  }

  #silenced(): string[] {
    return guardedPorts(this.#config.hostRoutes.policy.ports, this.#guards);
  }

  #files(): string[] {
    return this.#attempts.files(this.#config.stateDirectory, OUR_FILES);
  }
}

function repairCount({ repair: { backups, exitRoutes, rules, devices } }: KernelLeftovers): number {
  return backups.routes.length + exitRoutes.length + rules.length + devices.length;
}
