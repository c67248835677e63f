import { join } from 'node:path';
import { readItem } from '../../config/index.ts';
import type { OverlayInstance } from '../../model/overlay.ts';
import { type MemoryStore, memoryFile } from '../memory-store.ts';

const FORMAT = 1;

/** Containers of the CNI plugin: they are in no configuration, and outlive the agent. */
export class InstanceMemory {
  readonly #store: MemoryStore;

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  static in(stateDirectory: string): InstanceMemory {
    return new InstanceMemory(memoryFile(join(stateDirectory, 'instances.json')));
  }

  /** @throws Error when the file can't be read, or is none of ours */
  load(): OverlayInstance[] {
    const text = this.#store.read();
    if (text === undefined) return [];
    const { format, instances } = JSON.parse(text) as { format?: unknown; instances?: unknown };
    if (format !== FORMAT || !Array.isArray(instances))
      throw new Error('instances.json is not in a format of this build');
    return instances.map((raw) => {
      const read = readItem('instance', raw, 'cni');
      if (!read.ok) throw new Error(`instances.json: ${read.message}`);
      return read.item;
    });
  }

  /** @throws Error when it can't be written */
  save(instances: Iterable<OverlayInstance>): void {
    const kept = [...instances].filter(({ origin }) => origin === 'cni').map(({ origin: _, ...instance }) => instance);
    this.#store.write(`${JSON.stringify({ format: FORMAT, instances: kept })}\n`);
  }
}
