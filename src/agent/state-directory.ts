/**
 * The state directory belongs to one agent at a time. Two that share one would each believe what the other remembers: which
 * ports are shut by us, which neighbours we had. So a running agent holds a lock in it, which the kernel takes away when the
 * process ends, however it ends.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { uptime } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockFile } from 'linux-sockets';
import { type Places, places, STATE_DIRECTORY } from '../config/places.ts';
import type { Log } from '../model/log.ts';

const LOCK = 'lock';
/** An agent that was told to end, or was killed, may need a moment to be gone (ms). */
const PATIENCE = 2_000;
const ASK_AGAIN = 20;

export interface Holder {
  readonly configFile: string;
  readonly pid?: number;
  readonly netns?: string;
}

/** Held by this process until `release`. */
export interface HeldDirectory {
  release(): void;
}

/**
 * A directory that can't be written is no reason to be without failover: then it is held by nobody, and the log says so.
 *
 * @throws Error when another agent has it, and goes on having it
 */
export async function holdDirectory(
  directory: string,
  { configFile }: Pick<Holder, 'configFile'>,
  log: Log,
): Promise<HeldDirectory> {
  const { netns } = places();
  try {
    for (let waited = 0; ; waited += ASK_AGAIN) {
      const fd = tryLock(directory);
      if (fd !== undefined) {
        say(fd, { pid: process.pid, configFile, ...(netns === undefined ? {} : { netns }) });
        return { release: () => closeSync(fd) };
      }
      if (waited >= PATIENCE) break;
      await sleep(ASK_AGAIN);
    }
  } catch (error) {
    log.warn({ err: error, directory }, 'the state directory can not be locked: see that no other agent has it');
    return { release: () => undefined };
  }
  throw new Error(inUse(directory));
}

/** Why `directory` is not ours to work with, in words; undefined: nobody works with it. Makes and changes nothing. */
export function directoryInUse(directory: string): string | undefined {
  const file = join(directory, LOCK);
  if (!existsSync(file)) return undefined;
  const fd = openSync(file, 'r');
  try {
    return lockFile(fd) ? undefined : inUse(directory);
  } finally {
    closeSync(fd);
  }
}

/** @returns the descriptor that holds the lock; undefined: another holds it */
function tryLock(directory: string): number | undefined {
  const file = join(directory, LOCK);
  mkdirSync(directory, { recursive: true });
  for (;;) {
    const fd = openSync(file, 'a+', 0o644);
    let ours = false;
    try {
      if (!lockFile(fd)) return undefined;
      // Removed by `peerless cleanup --purge` meanwhile: what we hold is a file that nobody else would find.
      ours = statSync(file, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino;
      if (ours) return fd;
    } finally {
      if (!ours) closeSync(fd);
    }
  }
}

/** For who is refused; a full disk keeps it from being said and nothing else. */
function say(fd: number, holder: Holder): void {
  try {
    ftruncateSync(fd);
    writeSync(fd, `${JSON.stringify(holder)}\n`);
  } catch {
    // The lock itself is what counts.
  }
}

function inUse(directory: string): string {
  const { pid, configFile, netns } = holderOf(join(directory, LOCK));
  const who = [
    ...(pid === undefined ? [] : [`pid ${pid}`]),
    ...(configFile === undefined ? [] : [configFile]),
    ...(netns === undefined ? [] : [`in network namespace ${netns}`]),
  ];
  const told = who.length === 0 ? '' : ` (${who.join(', ')})`;
  return `another agent${told} works with the state directory ${directory}: stop it, or give this one a stateDirectory of its own`;
}

function holderOf(file: string): Partial<Holder> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Partial<Holder>;
  } catch {
    return {};
  }
}

/** Of one host or switch each, and the first that comes is most likely the one. */
const OF_ONE = new Set(['instance-id', 'drain.json', 'sysctls.json']);

/**
 * Agents in a named network namespace kept their state where all others do, before they had directories of their own. The
 * first start in such a directory takes along what is there, unless it belongs to an agent of the box itself: that has left
 * a lock in it. Nothing is taken away: who else has kept its state there finds it too. What is older than this boot was of
 * namespaces that are no more; an id stays an id.
 *
 * @param base for tests
 */
export function bringState(directory: string, log: Log, own: Places = places(), base = STATE_DIRECTORY): void {
  if (own.netns === undefined || directory !== own.stateDirectory) return;
  if (existsSync(directory) || existsSync(join(base, LOCK)) || !existsSync(base)) return;
  // Beside the directories of the namespaces, since any name there may be one's own.
  const fresh = join(base, `netns-new-${process.pid}`);
  try {
    const first = mkdirSync(dirname(directory), { recursive: true }) !== undefined;
    const booted = Date.now() - uptime() * 1000;
    const isOurs = (name: string): boolean =>
      (first || !OF_ONE.has(name)) && (name === 'instance-id' || statSync(join(base, name)).mtimeMs >= booted);
    const files = readdirSync(base, { withFileTypes: true }).filter((entry) => entry.isFile() && isOurs(entry.name));
    if (files.length === 0) return;
    rmSync(fresh, { recursive: true, force: true });
    try {
      mkdirSync(fresh);
      for (const { name } of files) copyFileSync(join(base, name), join(fresh, name));
      renameSync(fresh, directory);
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
    log.info({ from: base, to: directory }, 'taken over what was remembered before this namespace had a directory');
  } catch (error) {
    log.warn({ err: error, from: base, to: directory }, 'what was remembered before can not be taken over');
  }
}

/** `peerless cleanup --purge`: nobody works with it any more. */
export function forgetLock(directory: string): void {
  rmSync(join(directory, LOCK), { force: true });
}
