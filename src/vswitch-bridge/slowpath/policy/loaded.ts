/**
 * What the kernel holds of us. The name of one empty chain in it is the digest of the document that was loaded, and the
 * document itself is kept in a file: after a restart the next load is the difference, so that connections, counters and
 * token buckets go on. Without the file, or when somebody has changed the tables, the next load is the whole.
 */
import { readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Log } from '../../../model/log.ts';
import { list, load, NftError, type NftOptions } from './nft.ts';
import { deletionText, differenceText, type Ruleset, stampOf, TABLE, wholeText } from './ruleset/index.ts';

export interface LoadCounters {
  whole: number;
  incremental: number;
  unchanged: number;
  refused: number;
}

export class LoadedRuleset {
  readonly counters: LoadCounters = { whole: 0, incremental: 0, unchanged: 0, refused: 0 };
  readonly #options: NftOptions;
  readonly #file: string | undefined;
  readonly #log: Log;
  #ruleset: Ruleset | undefined;
  /** What stands in the kernel, by name, while nobody knows what it says. */
  #stranger: string | undefined;

  static async open(options: NftOptions & { readonly stateFile?: string | undefined; readonly log: Log }) {
    const loaded = new LoadedRuleset(options, options.stateFile, options.log);
    await loaded.look();
    return loaded;
  }

  private constructor(options: NftOptions, file: string | undefined, log: Log) {
    this.#options = { netns: options.netns };
    this.#file = file;
    this.#log = log;
  }

  /** Asks the kernel which document it holds. Rejects with NftError when it can't be asked. */
  async look(): Promise<void> {
    const stamp = await this.#stamp();
    if (this.#ruleset && stampOf(this.#ruleset) === stamp) return;
    const kept = this.#ruleset ? undefined : this.#kept();
    this.#ruleset = kept && stampOf(kept) === stamp ? kept : undefined;
    this.#stranger = this.#ruleset ? undefined : stamp;
  }

  /** The kernel holds what was loaded last. Rejects with NftError. */
  async stands(): Promise<boolean> {
    return this.#ruleset !== undefined && (await this.#stamp()) === stampOf(this.#ruleset);
  }

  /** Rejects with NftError; then the kernel holds what it held. */
  async change(to: Ruleset): Promise<void> {
    const stamp = stampOf(to);
    if (this.#stranger === stamp) {
      this.#ruleset = to;
      this.#stranger = undefined;
    }
    const difference = this.#ruleset && differenceText(this.#ruleset, to);
    if (difference === '') {
      this.counters.unchanged++;
      return;
    }
    try {
      await this.#load(difference, to);
    } catch (error) {
      this.counters.refused++;
      throw error;
    }
    this.#ruleset = to;
    this.#stranger = undefined;
  }

  async remove(): Promise<void> {
    await load(deletionText(), this.#options);
    this.#ruleset = undefined;
    this.#stranger = undefined;
    if (this.#file !== undefined) await rm(this.#file, { force: true });
  }

  /** For whoever comes after us. */
  async keep(): Promise<void> {
    if (this.#file === undefined || this.#ruleset === undefined) return;
    await mkdir(dirname(this.#file), { recursive: true });
    const temporary = `${this.#file}.new`;
    await writeFile(temporary, toText(this.#ruleset), { mode: 0o600 });
    await rename(temporary, this.#file);
  }

  async #load(difference: string | undefined, to: Ruleset): Promise<void> {
    if (difference !== undefined) {
      try {
        await load(difference, this.#options);
        this.counters.incremental++;
        return;
      } catch (error) {
        // Somebody else may have changed our tables: the whole does not build on them.
        if (!(error instanceof NftError)) throw error;
        this.#log.warn({ said: error.said }, 'nft refused a change of the ruleset; the whole is loaded in its place');
      }
    }
    await load(wholeText(to), this.#options);
    this.counters.whole++;
  }

  async #stamp(): Promise<string | undefined> {
    let stamp: string | undefined;
    let bridge = false;
    for (const { chain } of (await list(['list', 'chains'], this.#options)) ?? []) {
      const { family, table, name } = (chain ?? {}) as { family?: string; table?: string; name?: string };
      if (table !== TABLE) continue;
      if (family === 'bridge') bridge = true;
      else if (name?.startsWith('stamp_')) stamp = name;
    }
    // Both tables or none: half of the rules is nobody's wish.
    return bridge ? stamp : undefined;
  }

  #kept(): Ruleset | undefined {
    if (this.#file === undefined) return undefined;
    try {
      return fromText(readFileSync(this.#file, 'utf8'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.#log.warn({ file: this.#file, reason: (error as Error).message }, 'the last ruleset can not be read');
      }
      return undefined;
    }
  }
}

const toText = (ruleset: Ruleset): string =>
  JSON.stringify(ruleset, (_key, value) => (value instanceof Map ? { map: [...value] } : value));

/** What it holds is trusted no further than its digest, which the kernel must hold too. @throws SyntaxError */
function fromText(text: string): Ruleset {
  const ruleset = JSON.parse(text, (_key, value) =>
    Array.isArray(value?.map) ? new Map(value.map) : value,
  ) as Ruleset;
  if (!Array.isArray(ruleset.tables)) throw new SyntaxError('not a ruleset');
  return ruleset;
}
