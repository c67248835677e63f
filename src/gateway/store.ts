import { readFileSync } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { VERSION } from './machine/memory.ts';

/** Where a map is kept. */
export interface MapStore {
  /** What was written last; undefined: nothing yet. @throws when it can't be read, or is not a map */
  read(): readonly unknown[] | undefined;
  /** All or nothing. `values` is drawn from as it is written; the loop has its turns in between. */
  write(values: Iterable<unknown>): Promise<void>;
}

/** Octets that are put together in one turn. */
const PIECE = 64 * 1024;

/** A JSON array, a value a line, the first of them the version; readable with jq. */
export function mapFile(path: string): MapStore {
  return {
    read() {
      let text: string;
      try {
        text = readFileSync(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
      const values: unknown = JSON.parse(text);
      if (!Array.isArray(values)) throw new Error(`${path} is not a map`);
      const [header, ...rest] = values as [{ version?: unknown } | undefined, ...unknown[]];
      if (header?.version !== VERSION) throw new Error(`${path} is of another version`);
      return rest;
    },
    async write(values) {
      await mkdir(dirname(path), { recursive: true });
      const file = await open(`${path}.new`, 'w', 0o600);
      try {
        let piece = `[${JSON.stringify({ version: VERSION })}`;
        for (const value of values) {
          piece += `,\n${JSON.stringify(value)}`;
          if (piece.length < PIECE) continue;
          await file.write(piece);
          piece = '';
        }
        await file.write(`${piece}]\n`);
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(`${path}.new`, path);
      const directory = await open(dirname(path), 'r');
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    },
  };
}
