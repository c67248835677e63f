/**
 * What an agent of a host left that died and will not be started again: the slow path's devices, routes and rules, the
 * ruleset, the fast path's programs, the packet worker, its ports and entries in Open vSwitch, what it set in the namespace. Everything is known by its names and
 * marks, so it is found without the memory of the agent that made it; settings alone need that memory to be put back.
 */
import { rmSync } from 'node:fs';
import { Rtnetlink } from 'rtnetlink-ts';
import type { HostConfig } from '../../config/index.ts';
import { removeFastPath, standsFastPath } from '../../vswitch-bridge/fastpath/index.ts';
import { findOvsLeftovers, removeOvsLeftovers } from '../../vswitch-bridge/neighbours/index.ts';
import { findLayout, removeLayout, Sysctls } from '../../vswitch-bridge/slowpath/network/index.ts';
import { removePolicy, standsPolicy } from '../../vswitch-bridge/slowpath/policy/index.ts';
import { endWorker, endXfrm, standsBackend } from '../host/parts/encryption-backends.ts';
import { settingsMemory } from '../host/parts/network.ts';
import { Attempts } from './attempts.ts';

export interface HostLeftovers {
  /** Bridges and tunnel ports. */
  readonly devices: readonly string[];
  readonly routes: number;
  readonly rules: number;
  /** Of nftables. */
  readonly ruleset: boolean;
  readonly fastPath: boolean;
  /** The packet worker of the encryption, or what the kernel was told in its place. */
  readonly worker: boolean;
  /** Of Open vSwitch: `bridge/port` where packets waited. */
  readonly ovsPorts: readonly string[];
  /** Of Open vSwitch: neighbours without a real MAC. */
  readonly ovsPlaceholders: number;
  /** Settings of the namespace that are not as they were. */
  readonly settings: readonly string[];
  /** In the state directory. */
  readonly files: readonly string[];
  readonly problems: readonly string[];
}

/** Where packets wait for a tunnel neighbour: a pair of devices. */
const doorsOf = async (rtnetlink: Rtnetlink): Promise<string[]> =>
  (await rtnetlink.dumpLinks()).map(({ name }) => name).filter((name) => /^plnbh[01]$/.test(name));

const OUR_FILES = /^(instances|sysctls|policy)\.json(\.new)?$|^instance-id(\.new)?$/;

export class HostCleanup {
  readonly #config: HostConfig;
  readonly #attempts = new Attempts();

  constructor(config: HostConfig) {
    this.#config = config;
  }

  async find(): Promise<HostLeftovers> {
    const layout = await this.#withRtnetlink(findLayout);
    const doors = await this.#withRtnetlink(doorsOf);
    const inOvs = await this.#withOvs(findOvsLeftovers);
    return {
      devices: [...(layout?.devices ?? []), ...(doors ?? [])],
      routes: layout?.routes ?? 0,
      rules: layout?.rules ?? 0,
      ruleset: (await this.#attempts.at(() => standsPolicy())) ?? false,
      fastPath: standsFastPath(),
      worker: standsBackend(this.#config),
      ovsPorts: inOvs?.ports ?? [],
      ovsPlaceholders: inOvs?.placeholders ?? 0,
      settings: Object.keys(settingsMemory(this.#config.stateDirectory).read()),
      files: this.#files(),
      problems: this.#attempts.problems,
    };
  }

  /** `purge`: the files of the state directory too. What carries packets past the rules goes before the rules. */
  async clean(purge: boolean): Promise<HostLeftovers> {
    await this.#withRtnetlink(async (rtnetlink) => {
      const links = await rtnetlink.dumpLinks();
      removeFastPath({ devices: links.map(({ ifindex }) => ifindex) });
    });
    await this.#attempts.at(() => endWorker(this.#config));
    await this.#withRtnetlink(removeLayout);
    // It has kept plain text in: after the tunnels.
    await this.#attempts.at(() => endXfrm(this.#config));
    await this.#withOvs(removeOvsLeftovers);
    await this.#withRtnetlink(async (rtnetlink) => {
      // Of a pair both go with one.
      for (const name of (await doorsOf(rtnetlink)).slice(0, 1)) await rtnetlink.deleteLink({ name });
    });
    await this.#attempts.at(() => removePolicy());
    await this.#attempts.at(async () => {
      const settings = new Sysctls(undefined, settingsMemory(this.#config.stateDirectory));
      this.#attempts.add(...settings.putBack());
    });
    if (purge) for (const file of this.#files()) await this.#attempts.at(async () => rmSync(file, { force: true }));
    return this.find();
  }

  async #withRtnetlink<T>(work: (rtnetlink: Rtnetlink) => Promise<T>): Promise<T | undefined> {
    return this.#attempts.at(async () => {
      const rtnetlink = Rtnetlink.open();
      try {
        return await work(rtnetlink);
      } finally {
        rtnetlink.close();
      }
    });
  }

  /** Nothing where the configuration names no Open vSwitch. */
  async #withOvs<T>(work: (socket: string) => Promise<T>): Promise<T | undefined> {
    const { ovs } = this.#config.neighbours;
    if (ovs === undefined) return undefined;
    return this.#attempts.at(async () => {
      try {
        return await work(ovs.socket);
      } catch (error) {
        throw new Error(`Open vSwitch (${ovs.socket}): ${(error as Error).message}`);
      }
    });
  }

  #files(): string[] {
    return this.#attempts.files(this.#config.stateDirectory, OUR_FILES);
  }
}
