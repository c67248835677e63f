/** Brings one host's key store to another, as a fleet's distribution does: every file whole, old ones taken away last. */
import { copyFileSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const isKey = (name: string): boolean => name.endsWith('.key');

export function mirrorKeys(from: string, to: string): void {
  mkdirSync(to, { recursive: true, mode: 0o700 });
  const wanted = readdirSync(from).filter(isKey);
  for (const name of wanted) {
    const unfinished = join(to, `.${name}.new`);
    copyFileSync(join(from, name), unfinished);
    renameSync(unfinished, join(to, name));
  }
  for (const name of readdirSync(to)) if (isKey(name) && !wanted.includes(name)) rmSync(join(to, name));
}
