/** BIRD and GoBGP in a namespace. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab } from './lab.ts';
import { sh } from './lab.ts';

export class Bird {
  readonly #namespace: string;
  readonly #socket: string;

  constructor(lab: Lab, namespace: string, config: string) {
    this.#namespace = namespace;
    const directory = join(lab.directory, `${namespace}-bird`);
    mkdirSync(directory);
    writeFileSync(join(directory, 'bird.conf'), config);
    this.#socket = join(directory, 'sock');
    lab.spawn(namespace, 'bird', [
      '-c',
      join(directory, 'bird.conf'),
      '-s',
      this.#socket,
      '-P',
      join(directory, 'pid'),
      '-f',
    ]);
  }

  ask(...command: string[]): string {
    try {
      return sh('ip', 'netns', 'exec', this.#namespace, 'birdc', '-s', this.#socket, ...command);
    } catch (error) {
      return String((error as { stderr?: string }).stderr);
    }
  }
}

export class GoBgp {
  readonly #namespace: string;

  constructor(lab: Lab, namespace: string, config: string) {
    this.#namespace = namespace;
    const file = join(lab.directory, `${namespace}-gobgp.toml`);
    writeFileSync(file, config);
    lab.spawn(namespace, 'gobgpd', ['-f', file, '--api-hosts', '127.0.0.1:50051']);
  }

  ask(...command: string[]): string {
    try {
      return sh('ip', 'netns', 'exec', this.#namespace, 'gobgp', ...command);
    } catch (error) {
      return String((error as { stderr?: string }).stderr);
    }
  }
}
