/**
 * Which keys of connections have outlived them: one look at every connection, then one at every key. Pure; the numbers of the
 * first look are kept in typed arrays, since there may be a million.
 *
 * Records are never written from here: the programs take an expired one for a new connection by themselves, and would race.
 */
import { connection, flowValue } from '../maps/layout.ts';
import { nanoseconds } from '../maps/numbers.ts';

export type KeyFate = 'live' | 'expired' | 'stale';

const EXPIRES = connection.offsets.expires;
const GENERATION = connection.offsets.generation;
const STATE = connection.offsets.state;
const FREE = 0;

export class Sweep {
  readonly #now: number;
  readonly #generations: Uint32Array;
  readonly #alive: Uint8Array;
  #live = 0;

  /** @param now ns */
  constructor(slots: number, now: number) {
    this.#now = now;
    this.#generations = new Uint32Array(slots);
    this.#alive = new Uint8Array(slots);
  }

  /** Connections that have not expired, of those seen so far. */
  get live(): number {
    return this.#live;
  }

  /** Whether it lives. @param record bytes that hold a connection at `at` */
  see(slot: number, record: Buffer, at: number): boolean {
    if (slot >= this.#alive.length) return false;
    this.#generations[slot] = record.readUInt32LE(at + GENERATION);
    const alive = isAlive(record, at, this.#now);
    this.#alive[slot] = alive ? 1 : 0;
    if (alive) this.#live += 1;
    return alive;
  }

  /** @param value bytes that hold a key's value at `at` */
  fateOf(value: Buffer, at: number): KeyFate {
    const slot = value.readUInt32LE(at + flowValue.offsets.record) >>> 1;
    if (slot >= this.#alive.length) return 'stale';
    if (this.#generations[slot] !== value.readUInt32LE(at + flowValue.offsets.generation)) return 'stale';
    return this.#alive[slot] === 1 ? 'live' : 'expired';
  }
}

/** The same of one key and the record that it names. @param now ns */
export function fateOf(value: Buffer, record: Buffer, now: number): KeyFate {
  if (value.readUInt32LE(flowValue.offsets.generation) !== record.readUInt32LE(GENERATION)) return 'stale';
  return isAlive(record, 0, now) ? 'live' : 'expired';
}

function isAlive(record: Buffer, at: number, now: number): boolean {
  return record[at + STATE] !== FREE && nanoseconds(record, at + EXPIRES) > now;
}
