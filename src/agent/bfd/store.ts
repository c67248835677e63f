import { z } from 'zod';
import type { RememberedSession, SessionStore } from '../../bfd/index.ts';
import { parseAddress } from '../../model/address.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { MemoryStore } from '../memory-store.ts';

/** Written this long (ms) after a change: a failure has more urgent work. */
const SPACING = 1_000;

const milliseconds = z.number().nonnegative();
const discriminator = z.number().int().min(1).max(0xffff_ffff);
const file = z.object({
  version: z.literal(1),
  sessions: z.array(
    z.object({
      peer: z.string(),
      interface: z.string().optional(),
      sourcePort: z.number().int().min(1024).max(65_535),
      session: z
        .object({
          localDiscriminator: discriminator,
          remoteDiscriminator: discriminator,
          remoteMultiplier: z.number().int().min(1).max(255),
          remoteMinTx: milliseconds,
          remoteMinRx: milliseconds,
        })
        .optional(),
    }),
  ),
});

/** BFD sessions that were Up, kept for the next life of the agent. */
export class BfdStore implements SessionStore {
  readonly #store: MemoryStore;
  readonly #clock: Clock;
  readonly #log: Log;
  #timer: Timer | undefined;
  #unsaved: string | undefined;
  #last: string | undefined;

  constructor(options: { readonly store: MemoryStore; readonly clock: Clock; readonly log: Log }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  load(): readonly RememberedSession[] {
    this.#last = this.#store.read();
    if (this.#last === undefined) return [];
    return file.parse(JSON.parse(this.#last)).sessions.flatMap(({ peer, interface: name, ...rest }) => {
      const address = parseAddress(peer);
      return address ? [{ ...rest, peer: address, interface: name }] : [];
    });
  }

  save(sessions: readonly RememberedSession[]): void {
    const text = JSON.stringify({ version: 1, sessions });
    if (sessions.length === 0 && this.#last === undefined) return;
    this.#unsaved = text;
    this.#timer ??= this.#clock.schedule(this.#clock.now() + SPACING, () => this.flush());
  }

  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const text = this.#unsaved;
    this.#unsaved = undefined;
    if (text === undefined || text === this.#last) return;
    try {
      this.#store.write(text);
      this.#last = text;
    } catch (error) {
      this.#log.error({ err: error }, 'BFD sessions are not remembered: a restart of the agent is noticed');
    }
  }
}
