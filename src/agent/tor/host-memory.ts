import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { Memory } from '../../hostroutes/index.ts';
import { parseAddress, parseMac } from '../../model/address.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';

/** Written at most this often (ms). A line lost with the power costs one return its head start, nothing else. */
const SPACING = 1_000;

const file = z.object({
  version: z.literal(1),
  hosts: z.array(
    z.object({
      address: z.string(),
      mac: z.string(),
      port: z.string(),
      interface: z.string(),
      ifindex: z.number().int(),
      returns: z.boolean().optional(),
    }),
  ),
});

/** Who was behind which port, kept over a loss of power so that they can be expected back. */
export class HostMemory {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #read: () => readonly Memory[];
  #timer: Timer | undefined;
  #last = '';

  constructor(options: { path: string; clock: Clock; log: Log; read(): readonly Memory[] }) {
    this.#path = options.path;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#read = options.read;
  }

  /** What an earlier run wrote; nothing when there is no file, or one that can't be used (the log says why). */
  load(): Memory[] {
    try {
      const parsed = file.parse(JSON.parse(readFileSync(this.#path, 'utf8')));
      return parsed.hosts.flatMap(({ address, mac, returns, ...place }) => {
        const parsedAddress = parseAddress(address);
        const parsedMac = parseMac(mac);
        return parsedAddress && parsedMac ? [{ ...place, address: parsedAddress, mac: parsedMac, returns }] : [];
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.#log.warn({ err: error, file: this.#path }, 'the memory of hosts can not be used; starting without');
      }
      return [];
    }
  }

  changed(): void {
    this.#timer ??= this.#clock.schedule(this.#clock.now() + SPACING, () => this.save());
  }

  save(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const text = JSON.stringify({ version: 1, hosts: this.#read() });
    if (text === this.#last) return;
    try {
      mkdirSync(dirname(this.#path), { recursive: true });
      writeFileSync(`${this.#path}.new`, text, { mode: 0o600 });
      renameSync(`${this.#path}.new`, this.#path);
      this.#last = text;
    } catch (error) {
      this.#log.error({ err: error, file: this.#path }, 'the memory of hosts was not saved');
    }
  }
}
