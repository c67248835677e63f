import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { GuardMemory, type MemoryStore } from '../netlink/frames/index.ts';

export type { MemoryStore };

/** What the ports had before a storm, in the state directory. */
export function guardMemory(stateDirectory: string, onError: (error: Error) => void): GuardMemory {
  return settingsMemory(join(stateDirectory, 'arp-guard.json'), onError);
}

/** What a gateway's router has set in its namespace. */
export function routerMemory(stateDirectory: string, onError: (error: Error) => void): GuardMemory {
  return settingsMemory(join(stateDirectory, 'router.json'), onError);
}

/** Settings of ports, or of all of them, of this boot. */
export function settingsMemory(path: string, onError: (error: Error) => void): GuardMemory {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return new GuardMemory({ store: memoryFile(path), boot, onError });
}

/** `synced`: on the disk when `write` returns, so that it outlives a loss of power too. */
export function memoryFile(path: string, options: { readonly synced?: boolean } = {}): MemoryStore {
  return {
    read() {
      try {
        return readFileSync(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    write(text) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(`${path}.new`, text, { mode: 0o600, flush: options.synced });
      renameSync(`${path}.new`, path);
    },
  };
}
