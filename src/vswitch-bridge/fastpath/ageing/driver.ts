import { Alarm, type Clock } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import { connection, flowKey, flowValue, sentKey, sentPair } from '../maps/layout.ts';
import { nanoseconds } from '../maps/numbers.ts';
import { indexKey, type Tables } from '../maps/tables.ts';
import type { PeerUpkeep } from './peers.ts';
import { fateOf, Sweep } from './sweep.ts';

/** ms of the event loop that a portion may take before the turn is given back; a packet's turn waits for no more. */
const PORTION = 3;
const BATCH = 256;

type AgedTables = Pick<Tables, 'connections' | 'flows' | 'sent_keys'>;

export interface AgeingCounters {
  readonly sweeps: number;
  /** Keys removed with their connection's end, and keys whose record is another connection's now. */
  readonly expired: number;
  readonly stale: number;
  /** Keys of rewrite mode that were not told again in time. */
  readonly keys: number;
  /** Alive at the last look. */
  readonly connections: number;
  readonly longestPortion: number;
}

/** Looks through all connections every `interval` ms, and removes the keys of those that are over; hosts that have gone, too. */
export class Ageing {
  readonly #tables: AgedTables;
  readonly #clock: Clock;
  readonly #interval: number;
  readonly #log: Log | undefined;
  readonly #peers: PeerUpkeep | undefined;
  readonly #alarm: Alarm;
  #closed = false;
  #running: Promise<void> = Promise.resolve();
  #sweeps = 0;
  #expired = 0;
  #stale = 0;
  #keys = 0;
  #connections = 0;
  #longest = 0;
  #turnBegan = 0;

  constructor(tables: AgedTables, clock: Clock, interval: number, log?: Log, peers?: PeerUpkeep) {
    this.#tables = tables;
    this.#clock = clock;
    this.#interval = interval;
    this.#log = log;
    this.#peers = peers;
    this.#alarm = new Alarm(clock, () => {
      this.#running = this.sweep().catch((error) => {
        this.#log?.warn({ err: error }, 'old connections could not be looked for, it is tried again');
      });
      this.#running.then(() => this.#arm());
    });
    this.#arm();
  }

  counters(): AgeingCounters {
    return {
      sweeps: this.#sweeps,
      expired: this.#expired,
      stale: this.#stale,
      keys: this.#keys,
      connections: this.#connections,
      longestPortion: this.#longest,
    };
  }

  async sweep(): Promise<void> {
    const { connections, flows, sent_keys } = this.#tables;
    this.#turnBegan = this.#clock.now();
    const sweep = new Sweep(connections.maxEntries, this.#clock.now() * 1e6);
    const look = this.#peers?.look(this.#clock.now() * 1e6);
    for (const { count, keys, values } of connections.batches(BATCH)) {
      for (let index = 0; index < count; index += 1) {
        const alive = sweep.see(keys.readUInt32LE(index * 4), values, index * connection.size);
        if (alive) look?.see(values, index * connection.size);
      }
      await this.#breathe();
      if (this.#closed) return;
    }
    for (const _ of look?.steps(() => this.#clock.now() * 1e6) ?? []) {
      await this.#breathe();
      if (this.#closed) return;
    }
    for (const { count, keys, values } of flows.batches(BATCH)) {
      for (let index = 0; index < count; index += 1) {
        const fate = sweep.fateOf(values, index * flowValue.size);
        if (fate !== 'live') this.#remove(keys.subarray(index * flowKey.size, (index + 1) * flowKey.size));
      }
      await this.#breathe();
      if (this.#closed) return;
    }
    for (const { count, keys, values } of sent_keys.batches(BATCH)) {
      for (let index = 0; index < count; index += 1) {
        const key = keys.subarray(index * sentPair.size, (index + 1) * sentPair.size);
        if (this.#isOver(values, index * sentKey.size)) this.#removeKey(key);
      }
      await this.#breathe();
      if (this.#closed) return;
    }
    this.#connections = sweep.live;
    this.#sweeps += 1;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#alarm.set(undefined);
    await this.#running;
  }

  /** Both are read once more: a new connection may have taken the record, or the key, since the look. */
  #remove(key: Buffer): void {
    const { connections, flows } = this.#tables;
    const value = flows.get(key);
    if (!value) return;
    const slot = value.readUInt32LE(flowValue.offsets.record) >>> 1;
    const record = slot < connections.maxEntries ? connections.get(indexKey(slot)) : undefined;
    const fate = record ? fateOf(value, record, this.#clock.now() * 1e6) : 'stale';
    if (fate === 'live' || !flows.delete(key)) return;
    if (fate === 'expired') this.#expired += 1;
    else this.#stale += 1;
  }

  #isOver(value: Buffer, at: number): boolean {
    return nanoseconds(value, at + sentKey.offsets.until) <= this.#clock.now() * 1e6;
  }

  #removeKey(key: Buffer): void {
    const { sent_keys } = this.#tables;
    const value = sent_keys.get(key);
    if (value && this.#isOver(value, 0) && sent_keys.delete(key)) this.#keys += 1;
  }

  #arm(): void {
    if (!this.#closed) this.#alarm.set(this.#clock.now() + this.#interval);
  }

  async #breathe(): Promise<void> {
    const took = this.#clock.now() - this.#turnBegan;
    if (took < PORTION) return;
    this.#longest = Math.max(this.#longest, took);
    await new Promise((resolve) => setImmediate(resolve));
    this.#turnBegan = this.#clock.now();
  }
}
