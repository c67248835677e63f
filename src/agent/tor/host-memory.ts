import { z } from 'zod';
import type { Memory } from '../../hostroutes/index.ts';
import { type Address, parseAddress, parseMac } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { HostDelta, HostRoute } from '../../model/hosts.ts';
import type { Log } from '../../model/log.ts';
import type { MemoryStore } from '../memory-store.ts';

/**
 * Written this long (ms) after a change, and in a table that never rests ever more rarely: ten thousand hosts are a
 * megabyte and some milliseconds of the loop.
 */
const SPACING = 1_000;
const LONGEST_SPACING = 60_000;
/**
 * Not more rarely (ms) than this as long as there are hosts that the file has not, or has elsewhere: who is lost with the
 * power is not expected back, and comes back before the fabric has been told.
 */
const NEWS_SPACING = 2_000;

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
  readonly #store: MemoryStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #read: () => readonly Memory[];
  #earlier: readonly Memory[] = [];
  #timer: Timer | undefined;
  #last = '';
  #due = Number.POSITIVE_INFINITY;
  #spacing = SPACING;
  #savedAt = Number.NEGATIVE_INFINITY;
  /** What is in the file: on which interface who is. */
  #written: ReadonlyMap<Address, string> = new Map();

  constructor(options: { store: MemoryStore; clock: Clock; log: Log; read(): readonly Memory[] }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#read = options.read;
  }

  /** Reads what an earlier run wrote; nothing when there is no file, or one that can't be used (the log says why). */
  load(): void {
    this.#earlier = this.#load();
    this.#written = placesOf(this.#earlier);
  }

  /** Where an earlier run had it, until that is handed over. */
  portOf(address: Address): string | undefined {
    return this.#earlier.find((host) => host.address === address)?.port;
  }

  /** What was loaded, once. */
  handOver(): readonly Memory[] {
    const earlier = this.#earlier;
    this.#earlier = [];
    return earlier;
  }

  changed({ announced }: HostDelta): void {
    const now = this.#clock.now();
    if (!this.#timer) {
      const rested = now - this.#savedAt >= this.#spacing;
      this.#spacing = rested ? SPACING : Math.min(2 * this.#spacing, LONGEST_SPACING);
      this.#arm(now + this.#spacing);
    }
    if (this.#due > now + NEWS_SPACING && announced.some((route) => this.#isNews(route))) this.#arm(now + NEWS_SPACING);
  }

  #isNews({ address, interface: name, shadow }: HostRoute): boolean {
    return !shadow && this.#written.get(address) !== name;
  }

  #arm(due: Instant): void {
    this.#timer?.cancel();
    this.#due = due;
    this.#timer = this.#clock.schedule(due, () => this.save());
  }

  save(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#due = Number.POSITIVE_INFINITY;
    this.#savedAt = this.#clock.now();
    const hosts = this.#read();
    const text = JSON.stringify({ version: 1, hosts });
    if (text === this.#last) return;
    try {
      this.#store.write(text);
      this.#last = text;
      this.#written = placesOf(hosts);
    } catch (error) {
      this.#log.error({ err: error }, 'the memory of hosts was not saved');
    }
  }

  #load(): Memory[] {
    try {
      const text = this.#store.read();
      if (text === undefined) return [];
      const parsed = file.parse(JSON.parse(text));
      return parsed.hosts.flatMap(({ address, mac, returns, ...place }) => {
        const parsedAddress = parseAddress(address);
        const parsedMac = parseMac(mac);
        return parsedAddress && parsedMac ? [{ ...place, address: parsedAddress, mac: parsedMac, returns }] : [];
      });
    } catch (error) {
      this.#log.warn({ err: error }, 'the memory of hosts can not be used; starting without');
      return [];
    }
  }
}

const placesOf = (hosts: readonly Memory[]): ReadonlyMap<Address, string> =>
  new Map(hosts.map(({ address, interface: name }) => [address, name]));
