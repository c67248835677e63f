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
    this.bytes.set(data, this.offset);
    this.offset += data.length;
  }
}
