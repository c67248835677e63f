/*
 * What we shut must be known after any crash, or a port stays shut for ever. Two files:
 *
 * - the snapshot: all that is remembered, replaced by write, fsync, rename, fsync of the folder. That takes milliseconds,
 *   so it happens after the failover, asynchronously;
 * - the intent (`<file>.intent`): before a shut is asked of the kernel, one line is appended by one synchronous write(2),
 *   some ten microseconds, without fsync. The page cache outlives the process, so a SIGKILL at any instant after it
 *   leaves no shut port unknown. A power loss before the fsync loses the line and the shut together: after a boot the
 *   ports stand as the system's configuration says.
 *
 * An intent that was not carried out does no harm: at the next start the port is found open and forgotten. The intent is
 * emptied as soon as a snapshot that contains it is on disk. Opening needs none: a port that is still remembered and found
 * open is forgotten too.
 *
 * A disk that can't be written (full, read-only, not there) is no reason to be without failover: the agent starts, the
 * groups act, and whoever has the file says that a crash would leave ports shut and unknown. Each write tries anew.
 */
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { open, rename } from 'node:fs/promises';
import path from 'node:path';

export interface StoredPort {
  readonly port: string;
  readonly group: string;
  readonly side: 'uplink' | 'downlink';
  /** Wall clock, ms since 1970. */
  readonly since: number;
  readonly reason: string;
}

export interface StoredState {
  readonly ports: readonly StoredPort[];
  readonly holds: Readonly<Record<string, 'open' | 'shut'>>;
}

export interface LoadedState extends StoredState {
  /** What could not be read, in plain words. A damaged snapshot is kept beside as `<file>.damaged`. */
  readonly problems: readonly string[];
  /** Nothing can be written now, and why. */
  readonly unwritable?: string | undefined;
}

/** Where the groups' memory is kept; `StateFile` in production. */
export type StateStore = Pick<StateFile, 'load' | 'intend' | 'save' | 'close'>;

const VERSION = 1;

export class StateFile {
  readonly #path: string;
  #intent: number | undefined;
  #closed = false;
  #intents = 0;
  /** The last line has no end: a full disk, or a crash in the midst of it. The next must not become part of it. */
  #torn = false;
  #saving: Promise<void> = Promise.resolve();
  #pending: StoredState | undefined;

  constructor(file: string) {
    this.#path = file;
  }

  /** Never throws: what can't be read is in `problems`. */
  load(): LoadedState {
    const unwritable = attempt(() => this.#openIntent());
    return { ...this.#read(true), unwritable };
  }

  /** As `load`, and nothing is made, moved or opened: for who only looks. */
  peek(): LoadedState {
    return this.#read(false);
  }

  #read(putAside: boolean): LoadedState {
    const problems: string[] = [];
    const ports = new Map<string, StoredPort>();
    let holds: StoredState['holds'] = {};
    if (existsSync(this.#path)) {
      try {
        const stored = JSON.parse(readFileSync(this.#path, 'utf8')) as {
          version?: unknown;
          ports?: unknown;
          holds?: unknown;
        };
        if (stored.version !== VERSION || !Array.isArray(stored.ports))
          throw new Error(`not a version ${VERSION} state`);
        for (const port of stored.ports) {
          if (isStoredPort(port)) ports.set(port.port, port);
          else problems.push(`${this.#path}: an entry without port, group, side, since or reason`);
        }
        holds = readHolds(stored.holds);
      } catch (error) {
        problems.push(`${this.#path}: ${(error as Error).message}`);
        const kept = putAside ? attempt(() => renameSync(this.#path, `${this.#path}.damaged`)) : undefined;
        if (kept !== undefined) problems.push(kept);
      }
    }
    let intents = '';
    const unread = attempt(() => {
      if (existsSync(`${this.#path}.intent`)) intents = readFileSync(`${this.#path}.intent`, 'utf8');
    });
    if (unread !== undefined) problems.push(unread);
    this.#torn = intents !== '' && !intents.endsWith('\n');
    for (const line of intents.split('\n')) {
      if (line === '') continue;
      this.#intents++;
      try {
        const intended: unknown = JSON.parse(line);
        if (!Array.isArray(intended)) throw new Error('not a list');
        for (const port of intended) {
          if (isStoredPort(port)) ports.set(port.port, port);
        }
      } catch (error) {
        problems.push(`${this.#path}.intent: ${(error as Error).message}`); // the line being written at a crash
      }
    }
    return { ports: [...ports.values()], holds, problems };
  }

  /** Before the shut: survives SIGKILL when it returns. @throws on a full or broken disk */
  intend(ports: readonly StoredPort[]): void {
    const intent = this.#openIntent();
    this.#intents++;
    const line = `${this.#torn ? '\n' : ''}${JSON.stringify(ports)}\n`;
    const written = writeSync(intent, line);
    this.#torn = written < Buffer.byteLength(line);
    if (this.#torn) throw new Error('the intent was written in part only: is the disk full?');
  }

  /** Durable when it resolves. Calls while one is under way are merged into one more, with the latest state. */
  save(state: StoredState): Promise<void> {
    const waiting = this.#pending !== undefined;
    this.#pending = state;
    if (!waiting) {
      const run = () => this.#write();
      this.#saving = this.#saving.then(run, run);
    }
    return this.#saving;
  }

  /** Waits for what is being saved. */
  async close(): Promise<void> {
    // Who asked for it to be saved is told of its failure.
    await this.#saving.catch(() => undefined);
    this.#closed = true;
    this.#dropIntent();
  }

  async #write(): Promise<void> {
    const state = this.#pending;
    this.#pending = undefined;
    if (!state) return;
    // Opened here too, where nothing waits for it, when it could not be before.
    const intent = this.#openIntent();
    const intents = this.#intents;
    const fresh = `${this.#path}.new`;
    const file = await open(fresh, 'w', 0o600).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') this.#dropIntent(); // the folder has gone, and the open file with it
      throw error;
    });
    try {
      await file.writeFile(`${JSON.stringify({ version: VERSION, ...state }, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, this.#path);
    const folder = await open(path.dirname(this.#path), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
    // An intent written meanwhile is not in this snapshot; the next one, already asked for, will contain it.
    if (intents === this.#intents) ftruncateSync(intent, 0);
  }

  /** @throws when the folder can't be made or the file can't be opened */
  #openIntent(): number {
    if (this.#intent === undefined) {
      if (this.#closed) throw new Error('the state file is closed');
      mkdirSync(path.dirname(this.#path), { recursive: true });
      this.#intent = openSync(`${this.#path}.intent`, 'a+', 0o600);
    }
    return this.#intent;
  }

  #dropIntent(): void {
    if (this.#intent !== undefined) closeSync(this.#intent);
    this.#intent = undefined;
  }
}

/** Why it was not done; undefined when it was. */
function attempt(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function isStoredPort(value: unknown): value is StoredPort {
  if (typeof value !== 'object' || value === null) return false;
  const { port, group, side, since, reason } = value as Record<string, unknown>;
  return (
    typeof port === 'string' &&
    typeof group === 'string' &&
    (side === 'uplink' || side === 'downlink') &&
    typeof since === 'number' &&
    Number.isFinite(since) &&
    typeof reason === 'string'
  );
}

function readHolds(value: unknown): StoredState['holds'] {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter((pair): pair is [string, 'open' | 'shut'] => pair[1] === 'open' || pair[1] === 'shut'),
  );
}
