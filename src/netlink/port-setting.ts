import { readFileSync, writeFileSync } from 'node:fs';
import { withNetns } from 'linux-sockets';

/** A file below /proc/sys/net; undefined: its interface has gone, or /proc is not ours to use. */
export function readSetting(path: string, netns: string | undefined): string | undefined {
  return attempt(() => readFileSync(path, 'latin1').trim(), netns);
}

export function writeSetting(path: string, value: string, netns: string | undefined): void {
  attempt(() => writeFileSync(path, value), netns);
}

function attempt<T>(work: () => T, netns: string | undefined): T | undefined {
  try {
    return netns === undefined ? work() : withNetns(netns, work);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return undefined;
  }
}
