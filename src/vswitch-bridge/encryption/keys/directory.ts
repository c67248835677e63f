/**
 * Keys in a directory: one file a version, `<version>.key`, written aside and renamed into place, so that a reader sees a whole
 * key or none. Directory and files belong to root or to us, and nobody else can read the files or write the directory.
 */
import { randomBytes } from 'node:crypto';
import { constants, type FSWatcher, type Stats, watch } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../../../model/clock.ts';
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

const NAME = /^([1-9]\d{0,2})\.key$/;
const MOST_OCTETS = 256;

export class KeyDirectory implements KeyStore {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async read(): Promise<KeyListing> {
    const status = await lstat(this.path);
    if (!status.isDirectory()) throw new Error(`${this.path} is not a directory`);
    const open = openness(status, 0o022);
    if (open) throw new Error(`${this.path} ${open}: whoever can write it can choose the keys`);
    const keys: IssuedKey[] = [];
    const problems: KeyProblem[] = [];
    for (const name of await readdir(this.path)) {
      if (!NAME.test(name)) continue;
      const found = await this.#readFile(name);
      if (!found) continue;
      if ('message' in found) problems.push(found);
      else keys.push(found);
    }
    return { keys, problems };
  }

  /** Makes the directory, closed to others. */
  async create(): Promise<void> {
    await mkdir(this.path, { recursive: true, mode: 0o700 });
  }

  async write(key: IssuedKey): Promise<void> {
    const aside = join(this.path, `.${key.version}.${randomBytes(6).toString('hex')}`);
    const bytes = formatKey(key);
    try {
      const file = await open(aside, 'wx', 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(aside, join(this.path, `${key.version}.key`));
      await this.#sync();
    } catch (error) {
      await unlink(aside).catch((left: NodeJS.ErrnoException) => {
        if (left.code !== 'ENOENT') throw left;
      });
      throw error;
    } finally {
      bytes.fill(0);
    }
  }

  async remove(version: number): Promise<boolean> {
    try {
      await unlink(join(this.path, `${version}.key`));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
    await this.#sync();
    return true;
  }

  /** undefined: gone since the directory was listed. */
  async #readFile(name: string): Promise<IssuedKey | KeyProblem | undefined> {
    const where = join(this.path, name);
    let file: FileHandle;
    try {
      file = await open(where, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return code === 'ENOENT' ? undefined : { where, message: `can't be read (${code})` };
    }
    const bytes = Buffer.alloc(MOST_OCTETS);
    try {
      const status = await file.stat();
      if (!status.isFile()) return { where, message: 'is not a plain file' };
      const open = openness(status, 0o077);
      if (open)
        return { where, message: open, remedy: `Close it: chmod 600 ${where}. Others may have read the key: rotate.` };
      const { bytesRead } = await file.read(bytes, 0, MOST_OCTETS, 0);
      const parsed = parseKey(bytes.subarray(0, bytesRead));
      if ('error' in parsed) return { where, message: parsed.error };
      if (`${parsed.version}.key` === name) return parsed;
      parsed.key.fill(0);
      return { where, message: `says that it is version ${parsed.version}` };
    } finally {
      bytes.fill(0);
      await file.close();
    }
  }

  async #sync(): Promise<void> {
    const directory = await open(this.path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}

/** Why it is not closed enough, in words. */
function openness({ uid, mode }: Stats, refused: number): string | undefined {
  const own = process.geteuid?.() ?? 0;
  if (uid !== 0 && uid !== own) return `belongs to user ${uid}`;
  if ((mode & refused) !== 0) return `is open to others (mode ${(mode & 0o777).toString(8).padStart(4, '0')})`;
  return undefined;
}

/** Changes come by inotify; a look now and then finds what it missed, and a directory that is made later. */
const LOOK = 5000;
/** Of several changes one reading. */
const SETTLE = 20;

export class DirectorySource implements KeySource {
  readonly #directory: KeyDirectory;
  readonly #clock: Clock;
  #follower: KeyFollower | undefined;
  #watcher: FSWatcher | undefined;
  #timer: Timer | undefined;
  #reading = false;
  #again = false;

  constructor(path: string, clock: Clock) {
    this.#directory = new KeyDirectory(path);
    this.#clock = clock;
  }

  start(follower: KeyFollower): void {
    this.#follower = follower;
    void this.#look();
  }

  stop(): void {
    this.#follower = undefined;
    this.#timer?.cancel();
    this.#unwatch();
  }

  #soon(wait: number): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.schedule(this.#clock.now() + wait, () => void this.#look());
  }

  async #look(): Promise<void> {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#reading = true;
    this.#watch();
    try {
      const listing = await this.#directory.read();
      this.#follower?.trouble(undefined);
      this.#follower?.listing(listing);
      forgetListing(listing);
    } catch (error) {
      this.#unwatch();
      this.#follower?.trouble((error as Error).message);
    }
    this.#reading = false;
    if (!this.#follower) return;
    this.#soon(this.#again ? SETTLE : LOOK);
    this.#again = false;
  }

  #watch(): void {
    if (this.#watcher) return;
    try {
      this.#watcher = watch(this.#directory.path, { persistent: false }, () => this.#soon(SETTLE));
      this.#watcher.on('error', () => this.#unwatch());
    } catch (error) {
      // Not there yet, or no watches are left: the look now and then does it, and says what is wrong with the directory.
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}
