/** Grows as needed; network order. */
export class Writer {
  #buffer: Buffer;
  length = 0;

  constructor(capacity = 256) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  u8(value: number): this {
    this.#room(1);
    this.#buffer[this.length++] = value;
    return this;
  }

  u16(value: number): this {
    this.#room(2);
    this.length = this.#buffer.writeUInt16BE(value & 0xffff, this.length);
    return this;
  }

  u32(value: number): this {
    this.#room(4);
    this.length = this.#buffer.writeUInt32BE(value >>> 0, this.length);
    return this;
  }

  put(bytes: Uint8Array): this {
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  /** Overwrites two octets written earlier, for lengths that are known only afterwards. */
  patchU16(offset: number, value: number): void {
    this.#buffer.writeUInt16BE(value, offset);
  }

  done(): Buffer {
    return this.#buffer.subarray(0, this.length);
  }

  #room(octets: number): void {
    if (this.length + octets <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.length + octets));
    grown.set(this.#buffer.subarray(0, this.length));
    this.#buffer = grown;
  }
}
