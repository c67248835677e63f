/**
 * A cursor over received octets. Reading past the end never throws: it gives zeros (or a short slice) and marks the
 * reader `overrun`, which the caller checks once, after a group of reads.
 */
export class Reader {
  readonly bytes: Uint8Array;
  offset: number;
  readonly end: number;
  overrun = false;

  constructor(bytes: Uint8Array, offset = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.offset;
  }

  u8(): number {
    if (this.remaining < 1) return this.#past();
    return this.bytes[this.offset++]!;
  }

  u16(): number {
    if (this.remaining < 2) return this.#past();
    const value = (this.bytes[this.offset]! << 8) | this.bytes[this.offset + 1]!;
    this.offset += 2;
    return value;
  }

  u32(): number {
    if (this.remaining < 4) return this.#past();
    const { bytes, offset } = this;
    this.offset += 4;
    return ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>> 0;
  }

  /** A view, not a copy. */
  take(length: number): Uint8Array {
    if (length > this.remaining) {
      this.#past();
      return this.bytes.subarray(this.end, this.end);
    }
    const taken = this.bytes.subarray(this.offset, this.offset + length);
    this.offset += length;
    return taken;
  }

  #past(): number {
    this.overrun = true;
    this.offset = this.end;
    return 0;
  }
}
