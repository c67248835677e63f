import { closeSync, readFileSync } from 'node:fs';
import { checked, SystemCallError } from './errors.ts';
import { native } from './native.ts';

/** enum bpf_map_type, those in use here. */
export const BPF_MAP = {
  HASH: 1,
  ARRAY: 2,
  PERCPU_HASH: 5,
  PERCPU_ARRAY: 6,
  LRU_HASH: 9,
  LRU_PERCPU_HASH: 10,
  LPM_TRIE: 11,
  RINGBUF: 27,
} as const;

/** For `BpfMap.set`. */
export const BPF_ANY = 0;
export const BPF_NOEXIST = 1;
export const BPF_EXIST = 2;

const COMMAND = {
  lookup: 1,
  update: 2,
  delete: 3,
  next: 4,
  pin: 6,
  get: 7,
  lookupBatch: 24,
  updateBatch: 26,
  deleteBatch: 27,
} as const;

const PER_CPU: readonly number[] = [BPF_MAP.PERCPU_HASH, BPF_MAP.PERCPU_ARRAY, BPF_MAP.LRU_PERCPU_HASH];
const ENOENT = 2;
const ENOSPC = 28;

let cpus: number | undefined;

/** Processors that values of per-CPU maps are kept for: all that could be there, not those that are. */
export function possibleCpus(): number {
  if (cpus === undefined) {
    const ranges = readFileSync('/sys/devices/system/cpu/possible', 'ascii').trim().split(',');
    cpus = Math.max(...ranges.map((range) => Number(range.split('-').at(-1)))) + 1;
  }
  return cpus;
}

/**
 * A map of the kernel by its descriptor. Keys and values are bytes of exactly `keySize` and `valueBytes`; other lengths are
 * a RangeError. Calls of the kernel that fail are SystemCallErrors (`E2BIG`: a hash is full).
 */
export class BpfMap {
  readonly name: string;
  readonly id: number;
  readonly type: number;
  readonly keySize: number;
  /** Of one value. */
  readonly valueSize: number;
  /** What one look-up gives: per-CPU maps hold a value for every possible processor, each rounded up to eight bytes. */
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly #owns: boolean;
  #fd: number;

  /** @param owns whether `close` closes the descriptor (not when it belongs to a BpfObject) */
  constructor(fd: number, owns: boolean) {
    const info = Buffer.alloc(40);
    checked(native.bpfInfo(fd, info), 'bpf', 'map info');
    this.type = info.readUInt32LE(0);
    this.id = info.readUInt32LE(4);
    this.keySize = info.readUInt32LE(8);
    this.valueSize = info.readUInt32LE(12);
    this.maxEntries = info.readUInt32LE(16);
    this.flags = info.readUInt32LE(20);
    const name = info.subarray(24, 40);
    const end = name.indexOf(0);
    this.name = name.toString('latin1', 0, end < 0 ? name.length : end);
    this.valueBytes = PER_CPU.includes(this.type) ? ((this.valueSize + 7) & ~7) * possibleCpus() : this.valueSize;
    this.#fd = fd;
    this.#owns = owns;
  }

  /** @throws SystemCallError, ENOENT when nothing is pinned there */
  static pinned(path: string): BpfMap {
    const fd = checked(native.bpfPath(COMMAND.get, path, 0, 0), 'bpf', `get ${path}`);
    try {
      return new BpfMap(fd, true);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** -1 when closed. */
  get fd(): number {
    return this.#fd;
  }

  get(key: Uint8Array, into: Buffer = Buffer.alloc(this.valueBytes)): Buffer | undefined {
    this.#check(key, this.keySize, 'key');
    this.#check(into, this.valueBytes, 'value');
    const result = native.bpfElement(COMMAND.lookup, this.#fd, key, into, 0);
    if (result === -ENOENT) return undefined;
    checked(result, 'bpf', `look up in ${this.name}`);
    return into;
  }

  set(key: Uint8Array, value: Uint8Array, flags: number = BPF_ANY): void {
    this.#check(key, this.keySize, 'key');
    this.#check(value, this.valueBytes, 'value');
    checked(native.bpfElement(COMMAND.update, this.#fd, key, value, flags), 'bpf', `update ${this.name}`);
  }

  /** Whether it was there. */
  delete(key: Uint8Array): boolean {
    this.#check(key, this.keySize, 'key');
    const result = native.bpfElement(COMMAND.delete, this.#fd, key, undefined, 0);
    if (result === -ENOENT) return false;
    checked(result, 'bpf', `delete from ${this.name}`);
    return true;
  }

  /** The key after `key`; without one, the first. A `key` that is gone begins anew. */
  next(key: Uint8Array | undefined): Buffer | undefined {
    if (key) this.#check(key, this.keySize, 'key');
    const out = Buffer.alloc(this.keySize);
    const result = native.bpfElement(COMMAND.next, this.#fd, key, out, 0);
    if (result === -ENOENT) return undefined;
    checked(result, 'bpf', `walk ${this.name}`);
    return out;
  }

  /**
   * All entries, some hundred at a time: the caller may stop between two batches, and go on in a later turn. What is
   * added or removed meanwhile may be seen or not; nothing that stays is missed in a hash or an array. The buffers are the
   * batch's own until the next one is asked for.
   */
  *batches(size = 256): Generator<BpfBatch> {
    let room = Math.max(1, Math.min(size, this.maxEntries));
    let keys = Buffer.alloc(room * this.keySize);
    let values = Buffer.alloc(room * this.valueBytes);
    let from: Buffer | undefined;
    let next: Buffer = Buffer.alloc(Math.max(4, this.keySize));
    const done = Buffer.alloc(4);
    for (;;) {
      const result = native.bpfBatch(COMMAND.lookupBatch, this.#fd, from, next, keys, values, room, done);
      if (result === -ENOSPC && room < this.maxEntries) {
        // One bucket of a hash is given whole or not at all.
        room = Math.min(room * 2, this.maxEntries);
        keys = Buffer.alloc(room * this.keySize);
        values = Buffer.alloc(room * this.valueBytes);
        continue;
      }
      if (result !== -ENOENT) checked(result, 'bpf', `read ${this.name}`);
      const count = done.readUInt32LE(0);
      if (count > 0) yield { count, keys, values };
      if (result === -ENOENT) return;
      [from, next] = [next, from ?? Buffer.alloc(next.length)];
    }
  }

  /** @throws SystemCallError: those before the one that was refused are written */
  setBatch(keys: Uint8Array, values: Uint8Array): void {
    const count = keys.length / this.keySize;
    this.#check(values, count * this.valueBytes, 'values');
    if (count === 0) return;
    const done = Buffer.alloc(4);
    checked(
      native.bpfBatch(COMMAND.updateBatch, this.#fd, undefined, undefined, keys, values, count, done),
      'bpf',
      `update ${this.name}`,
    );
  }

  /** How many of the keys were there. */
  deleteBatch(keys: Uint8Array): number {
    const total = keys.length / this.keySize;
    if (!Number.isInteger(total)) throw new RangeError(`${this.name}: a key has ${this.keySize} bytes`);
    const done = Buffer.alloc(4);
    let at = 0;
    let gone = 0;
    while (at < total) {
      const rest = keys.subarray(at * this.keySize);
      const result = native.bpfBatch(
        COMMAND.deleteBatch,
        this.#fd,
        undefined,
        undefined,
        rest,
        undefined,
        total - at,
        done,
      );
      if (result < 0 && result !== -ENOENT) checked(result, 'bpf', `delete from ${this.name}`);
      const count = done.readUInt32LE(0);
      gone += count;
      // The kernel stops at a key that is not there.
      at += result < 0 ? count + 1 : count;
      if (result === 0) break;
    }
    return gone;
  }

  /** @throws SystemCallError, EEXIST */
  pin(path: string): void {
    checked(native.bpfPath(COMMAND.pin, path, this.#fd, 0), 'bpf', `pin ${path}`);
  }

  close(): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    if (this.#owns) closeSync(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #check(bytes: Uint8Array, wanted: number, what: string): void {
    if (this.#fd < 0) throw new SystemCallError('bpf', 9, `map ${this.name} is closed`);
    if (bytes.length !== wanted)
      throw new RangeError(`${this.name}: a ${what} of ${wanted} bytes was expected, not of ${bytes.length}`);
  }
}

export interface BpfBatch {
  readonly count: number;
  /** `count` keys, one after the other; what follows them is of no meaning. */
  readonly keys: Buffer;
  /** `count` values, likewise. */
  readonly values: Buffer;
}
