const SHORT = 64;

/** Fills a buffer of exactly the size that the serializer computed beforehand; network order. */
export class Writer {
  readonly bytes: Uint8Array;
  offset = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
  }

  u8(value: number): void {
    this.bytes[this.offset++] = value;
  }

  u16(value: number): void {
    const { bytes, offset } = this;
    bytes[offset] = value >>> 8;
    bytes[offset + 1] = value;
    this.offset = offset + 2;
  }

  u24(value: number): void {
    const { bytes, offset } = this;
    bytes[offset] = value >>> 16;
    bytes[offset + 1] = value >>> 8;
    bytes[offset + 2] = value;
    this.offset = offset + 3;
  }

  /** Signed or unsigned. */
  u32(value: number): void {
    const { bytes, offset } = this;
    bytes[offset] = value >>> 24;
    bytes[offset + 1] = value >>> 16;
    bytes[offset + 2] = value >>> 8;
    bytes[offset + 3] = value;
    this.offset = offset + 4;
  }

  raw(data: Uint8Array): void {
    const { bytes, offset } = this;
    const { length } = data;
    // `set` costs more than the copy for the few octets of a host's LSA.
    if (length <= SHORT) for (let index = 0; index < length; index++) bytes[offset + index] = data[index]!;
    else bytes.set(data, offset);
    this.offset = offset + length;
  }
}
