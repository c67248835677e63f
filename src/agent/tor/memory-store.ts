import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** A text that outlives the process. */
export interface MemoryStore {
  /** undefined: there is none yet. @throws when it can't be read */
  read(): string | undefined;
  /** All or nothing. @throws when it can't be written */
  write(text: string): void;
}

export function memoryFile(path: string): MemoryStore {
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
      writeFileSync(`${path}.new`, text, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
  };
}
