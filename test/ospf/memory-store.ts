/** A memory of the speaker in RAM, and the things a test needs beside it. */
import type { Log } from '../../src/model/log.ts';
import type { MemoryStore } from '../../src/ospf/index.ts';

export const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} };

export interface RamStore extends MemoryStore {
  bytes: Buffer | undefined;
  /** The disk is full. */
  broken: boolean;
  /** Nothing is removed. */
  stubborn: boolean;
}

export function memoryInRam(boot = 'this boot'): RamStore {
  return {
    boot,
    bytes: undefined,
    broken: false,
    stubborn: false,
    read() {
      return this.bytes && Buffer.from(this.bytes);
    },
    replace(bytes) {
      if (this.broken) throw new Error('ENOSPC');
      this.bytes = Buffer.from(bytes);
    },
    write(bytes, at) {
      if (this.broken) throw new Error('ENOSPC');
      if (!this.bytes || at > this.bytes.length) throw new Error(`written at ${at}`);
      const longer = Buffer.alloc(Math.max(this.bytes.length, at + bytes.length));
      longer.set(this.bytes);
      longer.set(bytes, at);
      this.bytes = longer;
    },
    remove() {
      if (this.stubborn) throw new Error('EIO');
      this.bytes = undefined;
    },
    close() {},
  };
}
