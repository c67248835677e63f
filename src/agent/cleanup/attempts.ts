import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** What could not be read or done, in plain words; the rest is done all the same. */
export class Attempts {
  readonly #problems: string[] = [];

  /** Each once. */
  get problems(): readonly string[] {
    return [...new Set(this.#problems)];
  }

  add(...problems: readonly string[]): void {
    this.#problems.push(...problems);
  }

  /** @returns undefined when it failed */
  async at<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#problems.push((error as Error).message);
      return undefined;
    }
  }

  /** Paths of the files of a directory that are ours; none where there is no directory. */
  files(directory: string, ours: RegExp): string[] {
    try {
      const names = readdirSync(directory).filter((name) => ours.test(name));
      return names.map((name) => join(directory, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#problems.push((error as Error).message);
      return [];
    }
  }
}
