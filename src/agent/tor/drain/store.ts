import { z } from 'zod';
import type { Log } from '../../../model/log.ts';
import type { MemoryStore } from '../../memory-store.ts';
import type { DrainMemory } from './types.ts';

const file = z.object({
  version: z.literal(1),
  phase: z.enum(['none', 'draining', 'drained', 'partial', 'undraining']),
  since: z.number(),
  lowered: z.boolean(),
  ports: z.array(
    z.object({
      port: z.string(),
      state: z.enum(['waiting', 'moving', 'shut', 'returning', 'open', 'kept']),
      reason: z.string(),
    }),
  ),
});

/** Says what is to be remembered of a drain, once for each change. */
export class DrainStore {
  readonly #store: MemoryStore | undefined;
  readonly #log: Log;
  #last: string | undefined;

  constructor(options: { readonly store: MemoryStore | undefined; readonly log: Log }) {
    this.#store = options.store;
    this.#log = options.log;
  }

  /** undefined: there is nothing, or nothing that can be used (the log says why). */
  load(): DrainMemory | undefined {
    try {
      this.#last = this.#store?.read();
      return this.#last === undefined ? undefined : file.parse(JSON.parse(this.#last));
    } catch (error) {
      this.#log.error({ err: error }, 'what is known of a drain can not be used; its ports are opened');
      return undefined;
    }
  }

  save(memory: DrainMemory): void {
    const idle = memory.phase === 'none' && this.#last === undefined;
    const text = JSON.stringify({ version: 1, ...memory });
    if (idle || text === this.#last) return;
    try {
      this.#store?.write(text);
      this.#last = text;
    } catch (error) {
      this.#log.error({ err: error }, 'the drain is not remembered: after a restart of the agent its ports may open');
    }
  }
}
