/**
 * Walks over bytes in network order. It never throws and never checks: the parser proves that enough bytes are there
 * before it reads, once for a whole structure.
 */
export class Reader {
  readonly bytes: Uint8Array;
  offset: number;
  readonly end: number;

  constructor(bytes: Uint8Array, offset = 0, end = bytes.length) {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.offset;
  }

  u8(): number {
    return this.bytes[this.offset++]!;
  }

  u16(): number {
    const { bytes, offset } = this;
    this.offset = offset + 2;
    return (bytes[offset]! << 8) | bytes[offset + 1]!;
  }

  u24(): number {
    const { bytes, offset } = this;
    this.offset = offset + 3;
    return (bytes[offset]! << 16) | (bytes[offset + 1]! << 8) | bytes[offset + 2]!;
  }

  i32(): number {
    const { bytes, offset } = this;
    this.offset = offset + 4;
    return (bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!;
  }

  u32(): number {
    return this.i32() >>> 0;
  }

  skip(count: number): void {
    this.offset += count;
  }

  /** A view, not a copy. */
  rest(): Uint8Array {
    const view = this.bytes.subarray(this.offset, this.end);
    this.offset = this.end;
    return view;
  }
}
