/**
 * Commands without `--socket` look where an agent listens by default. In a network namespace that has a name they find its
 * agent there also when its configuration names another socket: a symbolic link leads to it.
 */
import { existsSync, mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { places } from '../../config/places.ts';
import type { Log } from '../../model/log.ts';
import { answers } from './server.ts';

/** @returns what takes it away again */
export async function pointTo(socket: string, log: Log, own = places()): Promise<() => void> {
  const { netns, socket: usual } = own;
  const nothing = (): void => undefined;
  if (netns === undefined || socket === usual) return nothing;
  // A link of our last life, that was killed or restarted, leads to our own new socket.
  if (leadsTo(usual) !== socket && (await answers(usual))) return nothing;
  try {
    mkdirSync(dirname(usual), { recursive: true, mode: 0o755 });
    removeDangling(dirname(usual));
    rmSync(usual, { force: true });
    symlinkSync(socket, usual);
  } catch (error) {
    log.info({ err: error, usual }, 'commands in this network namespace need --socket');
    return nothing;
  }
  return () => {
    if (leadsTo(usual) === socket) rmSync(usual, { force: true });
  };
}

/** Of agents that were killed, and whose folder has been removed since. */
function removeDangling(folder: string): void {
  for (const name of readdirSync(folder)) {
    const link = join(folder, name);
    if (leadsTo(link) !== undefined && !existsSync(link)) rmSync(link, { force: true });
  }
}

function leadsTo(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}
