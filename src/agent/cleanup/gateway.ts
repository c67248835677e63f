/**
 * What a gateway's agent left that died and will not be started again: in mode router the routes that it had learned, with
 * their backups and next-hop objects, and the setting of the namespace that goes with them. An observer leaves its files
 * alone. Everything is known by kernel protocol numbers and ids of our own range; the setting needs the memory of the
 * agent that changed it.
 */
import { existsSync, rmSync } from 'node:fs';
import { Rtnetlink } from 'rtnetlink-ts';
import type { GatewayConfig } from '../../config/index.ts';
import { type BackedLeftovers, findBacked, QuietObjects, removeBacked } from '../../netlink/index.ts';
import { routerMemory } from '../memory-store.ts';
import { Attempts } from './attempts.ts';

export interface GatewayLeftovers {
  readonly routes: number;
  /** Next hops and groups of them. */
  readonly nextHops: number;
  /** Settings of the namespace that are not as they were. */
  readonly settings: readonly string[];
  /** In the state directory, and the map. */
  readonly files: readonly string[];
  /** What could not be read, or was refused, in plain words. */
  readonly problems: readonly string[];
}

const OUR_FILES = /^((bfd|router)\.json|ospf\.state)(\.new)?$/;

export class GatewayCleanup {
  readonly #config: GatewayConfig;
  readonly #attempts = new Attempts();

  constructor(config: GatewayConfig) {
    this.#config = config;
  }

  async find(): Promise<GatewayLeftovers> {
    const kernel = await this.#inKernel((_, found) => Promise.resolve(found));
    const { changed } = this.#quiet();
    return {
      routes: kernel?.routes.length ?? 0,
      nextHops: kernel?.objects.length ?? 0,
      settings: changed === undefined ? [] : [changed],
      files: this.#files(),
      problems: this.#attempts.problems,
    };
  }

  /** `purge`: the files too, with what the map knows of the past. */
  async clean(purge: boolean): Promise<GatewayLeftovers> {
    await this.#inKernel(removeBacked);
    this.#quiet().putBack();
    if (purge) for (const file of this.#files()) await this.#attempts.at(async () => rmSync(file, { force: true }));
    return this.find();
  }

  #inKernel<T>(work: (rtnetlink: Rtnetlink, found: BackedLeftovers) => Promise<T>): Promise<T | undefined> {
    const { protocol } = this.#config.kernel;
    return this.#attempts.at(async () => {
      const rtnetlink = Rtnetlink.open();
      try {
        return await work(rtnetlink, await findBacked(rtnetlink, [protocol + 1, protocol + 2]));
      } finally {
        rtnetlink.close();
      }
    });
  }

  #quiet(): QuietObjects {
    const memory = routerMemory(this.#config.stateDirectory, ({ message }) => this.#attempts.add(message));
    return new QuietObjects(undefined, memory);
  }

  #files(): string[] {
    const { stateDirectory, map } = this.#config;
    const maps = [map.file, `${map.file}.new`].filter((file) => existsSync(file));
    return [...this.#attempts.files(stateDirectory, OUR_FILES), ...maps];
  }
}
