/**
 * Keys in etcd, for a fleet: `<prefix><version>`, each with the text of format.ts as its value. A follower reads the whole prefix, then
 * watches from that revision on; whatever happens (an endpoint that dies, a compaction) it reads anew and watches again. Meanwhile
 * the keys that were read last stay.
 */
import type { Clock, Timer } from '../../../model/clock.ts';
import { type EtcdAccess, EtcdClient, EtcdError } from './etcd-client.ts';
import { formatKey, parseKey } from './format.ts';
import type { IssuedKey } from './ring.ts';
import {
  forgetListing,
  type KeyFollower,
  type KeyListing,
  type KeyProblem,
  type KeySource,
  type KeyStore,
} from './store.ts';

export const ETCD_PREFIX = '/peerless/keys/';

export class EtcdKeys implements KeyStore {
  readonly #endpoints: readonly string[];
  readonly #prefix: string;
  readonly #access: EtcdAccess;

  constructor(endpoints: readonly string[], prefix = ETCD_PREFIX, access: EtcdAccess = {}) {
    this.#endpoints = endpoints;
    this.#prefix = prefix;
    this.#access = access;
  }

  read(): Promise<KeyListing> {
    return this.#each(async (client) => (await readKeys(client, this.#prefix)).listing);
  }

  write(key: IssuedKey): Promise<void> {
    return this.#each(async (client) => {
      const value = formatKey(key);
      try {
        await client.put(`${this.#prefix}${key.version}`, value);
      } finally {
        value.fill(0);
      }
    });
  }

  remove(version: number): Promise<boolean> {
    return this.#each((client) => client.remove(`${this.#prefix}${version}`));
  }

  /** The first endpoint that answers. */
  async #each<T>(run: (client: EtcdClient) => Promise<T>): Promise<T> {
    const failures: string[] = [];
    for (const endpoint of this.#endpoints) {
      try {
        return await run(new EtcdClient(endpoint, this.#access));
      } catch (error) {
        failures.push(`${endpoint}: ${(error as Error).message}`);
      }
    }
    throw new Error(failures.join('; '));
  }
}

/** ms between two attempts: the first, doubling up to the last. */
const RETRY = { first: 100, last: 5000 };
/** A connection that died without a word is found out by asking, ms. */
const LOOK = 30_000;

export class EtcdSource implements KeySource {
  readonly #endpoints: readonly string[];
  readonly #prefix: string;
  readonly #access: EtcdAccess;
  readonly #clock: Clock;
  #follower: KeyFollower | undefined;
  #timer: Timer | undefined;
  #look: Timer | undefined;
  #abort: AbortController | undefined;
  #attempt = 0;
  #wait = RETRY.first;
  #revision = -1n;

  constructor(endpoints: readonly string[], clock: Clock, prefix = ETCD_PREFIX, access: EtcdAccess = {}) {
    this.#endpoints = endpoints;
    this.#clock = clock;
    this.#prefix = prefix;
    this.#access = access;
  }

  start(follower: KeyFollower): void {
    this.#follower = follower;
    void this.#follow();
  }

  stop(): void {
    this.#follower = undefined;
    this.#timer?.cancel();
    this.#look?.cancel();
    this.#abort?.abort();
  }

  /** One connection to one endpoint, from its first answer to its end. */
  async #follow(): Promise<void> {
    const endpoint = this.#endpoints[this.#attempt++ % this.#endpoints.length]!;
    const client = new EtcdClient(endpoint, this.#access);
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    // A store that was made anew counts from the beginning.
    this.#revision = -1n;
    try {
      const since = await this.#read(client, signal);
      this.#follower?.trouble(undefined);
      this.#wait = RETRY.first;
      this.#watchOver(client, signal);
      let reading = Promise.resolve();
      const read = () => {
        // One after the other: a listing must not be overtaken by an older one.
        reading = reading
          .then(async () => void (await this.#read(client, signal)))
          .catch((error: unknown) => this.#abort?.abort(error));
      };
      await client.watch(this.#prefix, since, () => undefined, read, signal);
      await reading;
    } catch (error) {
      // When the watch was given up for another failure, that is the one to tell of.
      const reason = signal.aborted && signal.reason instanceof EtcdError ? signal.reason : (error as Error);
      this.#follower?.trouble(`${endpoint}: ${reason.message}`);
    }
    this.#look?.cancel();
    this.#abort.abort();
    if (!this.#follower) return;
    this.#timer = this.#clock.schedule(this.#clock.now() + this.#wait, () => void this.#follow());
    this.#wait = Math.min(this.#wait * 2, RETRY.last);
  }

  async #read(client: EtcdClient, signal: AbortSignal): Promise<bigint> {
    const { listing, revision } = await readKeys(client, this.#prefix, signal);
    // Of two answers under way at once the older may come last.
    if (revision >= this.#revision) {
      this.#revision = revision;
      this.#follower?.listing(listing);
    }
    forgetListing(listing);
    return revision;
  }

  #watchOver(client: EtcdClient, signal: AbortSignal): void {
    // What answers at last after the end must not end the next connection.
    if (signal.aborted) return;
    this.#look = this.#clock.schedule(this.#clock.now() + LOOK, () => {
      this.#read(client, signal).then(
        () => this.#watchOver(client, signal),
        (error: unknown) => this.#abort?.abort(error),
      );
    });
  }
}

async function readKeys(
  client: EtcdClient,
  prefix: string,
  signal?: AbortSignal,
): Promise<{ readonly listing: KeyListing; readonly revision: bigint }> {
  const { entries, revision } = await client.range(prefix, signal);
  const keys: IssuedKey[] = [];
  const problems: KeyProblem[] = [];
  for (const { key: where, value } of entries) {
    const parsed = parseKey(value);
    value.fill(0);
    if ('error' in parsed) problems.push({ where, message: parsed.error });
    else if (where !== `${prefix}${parsed.version}`) {
      parsed.key.fill(0);
      problems.push({ where, message: `says that it is version ${parsed.version}` });
    } else keys.push(parsed);
  }
  return { listing: { keys, problems }, revision };
}
