/**
 * The common frame of netlink: a 16-byte header, a fixed structure, then attributes (type, length, value, aligned to 4).
 *
 * Numbers stand in host byte order; the machines this runs on (x86-64, arm64) are little-endian. What comes from the
 * socket is never trusted: every read is checked against the end of its attribute, the first mistake marks the cursor,
 * and the decoders return `Malformed` instead of a value. Nothing here throws on bad bytes.
 */
import { addressText, linkAddressText } from './text.ts';

export const HEADER_LENGTH = 16;
const NLA_TYPE_MASK = 0x3fff;
export const NLA_F_NESTED = 0x8000;

export type MalformedReason =
  | 'short message'
  | 'bad message length'
  | 'short attribute'
  | 'bad attribute length'
  | 'wrong address length'
  | 'unsupported family'
  | 'missing attribute'
  | 'wrong message type';

/** The typed error of the decoders. */
export class Malformed {
  readonly reason: MalformedReason;
  constructor(reason: MalformedReason) {
    this.reason = reason;
  }
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly pid: number;
  readonly bytes: Buffer;
  /** Where the payload starts and ends in `bytes`. */
  readonly start: number;
  readonly end: number;
}

/** Visits the messages of one datagram in order; what comes after a bad length can't be found any more. */
export function forEachMessage(bytes: Buffer, visit: (message: Message) => void): Malformed | undefined {
  let position = 0;
  while (position < bytes.length) {
    if (bytes.length - position < HEADER_LENGTH) return new Malformed('short message');
    const length = bytes.readUInt32LE(position);
    if (length < HEADER_LENGTH || length > bytes.length - position) return new Malformed('bad message length');
    visit({
      type: bytes.readUInt16LE(position + 4),
      flags: bytes.readUInt16LE(position + 6),
      sequence: bytes.readUInt32LE(position + 8),
      pid: bytes.readUInt32LE(position + 12),
      bytes,
      start: position + HEADER_LENGTH,
      end: position + length,
    });
    position += (length + 3) & ~3;
  }
  return undefined;
}

/** Walks attributes. A read of the wrong size marks the cursor as malformed and gives a neutral value. */
export class AttributeCursor {
  type = 0;
  malformed: Malformed | undefined;
  readonly #bytes: Buffer;
  readonly #limit: number;
  #next: number;
  #start = 0;
  #end = 0;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#next = start;
    this.#limit = end;
    if (start > end) this.fail('short message');
  }

  next(): boolean {
    if (this.malformed || this.#next >= this.#limit) return false;
    if (this.#limit - this.#next < 4) return this.fail('short attribute');
    const length = this.#bytes.readUInt16LE(this.#next);
    if (length < 4 || length > this.#limit - this.#next) return this.fail('bad attribute length');
    this.type = this.#bytes.readUInt16LE(this.#next + 2) & NLA_TYPE_MASK;
    this.#start = this.#next + 4;
    this.#end = this.#next + length;
    this.#next += (length + 3) & ~3;
    return true;
  }

  fail(reason: MalformedReason): false {
    this.malformed ??= new Malformed(reason);
    return false;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  u8(): number {
    return this.#has(1) ? this.#bytes[this.#start]! : 0;
  }

  u16(): number {
    return this.#has(2) ? this.#bytes.readUInt16LE(this.#start) : 0;
  }

  u32(): number {
    return this.#has(4) ? this.#bytes.readUInt32LE(this.#start) : 0;
  }

  /** Without the terminating zero octet. */
  text(): string {
    let end = this.#end;
    while (end > this.#start && this.#bytes[end - 1] === 0) end--;
    return this.#bytes.toString('utf8', this.#start, end);
  }

  /** IPv4 or IPv6 by its length; `octets` demands one of them. */
  address(octets?: number): string {
    const length = this.length;
    if ((length !== 4 && length !== 16) || (octets !== undefined && octets !== length)) {
      this.fail('wrong address length');
      return '';
    }
    return addressText(this.#bytes, this.#start, length);
  }

  /** An address inside a value that has other fields too; the caller has checked the bounds. */
  addressAt(offset: number, octets: 4 | 16): string {
    return addressText(this.#bytes, this.#start + offset, octets);
  }

  linkAddress(): string {
    return linkAddressText(this.#bytes, this.#start, this.#end);
  }

  /** A copy, so that it outlives the receive buffer. */
  copy(): Uint8Array {
    return Uint8Array.from(this.#bytes.subarray(this.#start, this.#end));
  }

  nested(skip = 0): AttributeCursor {
    return new AttributeCursor(this.#bytes, this.#start + skip, this.#end);
  }

  /** Takes over the mistake of a nested cursor. */
  adopt(nested: AttributeCursor): void {
    this.malformed ??= nested.malformed;
  }

  /** Where the value lies, for structures that are no attributes. */
  get range(): { bytes: Buffer; start: number; end: number } {
    return { bytes: this.#bytes, start: this.#start, end: this.#end };
  }

  #has(octets: number): boolean {
    return this.#end - this.#start >= octets || this.fail('short attribute');
  }
}

/** Writes messages one behind the other into one growing buffer, ready to be sent as one datagram. */
export class MessageWriter {
  #bytes: Buffer;
  #length = 0;
  #message = 0;
  #last = 0;
  readonly #port: number;

  /** @param port who sends (nlmsg_pid); 0: the kernel knows by the socket */
  constructor(capacity = 4096, port = 0) {
    this.#bytes = Buffer.allocUnsafe(capacity);
    this.#port = port;
  }

  get length(): number {
    return this.#length;
  }

  reset(): void {
    this.#length = 0;
  }

  /** Nothing of what was written stays in memory. */
  wipe(): void {
    this.#bytes.fill(0);
  }

  /** A view that the next `begin` may overwrite after `reset`. */
  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  begin(type: number, flags: number, sequence: number): void {
    this.#message = this.#length;
    const at = this.#extend(HEADER_LENGTH);
    this.#bytes.writeUInt16LE(type, at + 4);
    this.#bytes.writeUInt16LE(flags, at + 6);
    this.#bytes.writeUInt32LE(sequence, at + 8);
    this.#bytes.writeUInt32LE(this.#port, at + 12);
  }

  end(): void {
    this.#bytes.writeUInt32LE(this.#length - this.#message, this.#message);
    this.#last = this.#message;
  }

  /** Adds flags to the last message that was ended. */
  addFlags(flags: number): void {
    const at = this.#last + 6;
    this.#bytes.writeUInt16LE(this.#bytes.readUInt16LE(at) | flags, at);
  }

  /** Of the last message that was ended. */
  get sequence(): number {
    return this.#bytes.readUInt32LE(this.#last + 8);
  }

  /** Forgets the message that `begin` opened. */
  abandon(): void {
    this.#length = this.#message;
  }

  u8(value: number): void {
    const at = this.#extend(1);
    this.#bytes[at] = value;
  }

  u16(value: number): void {
    const at = this.#extend(2);
    this.#bytes.writeUInt16LE(value, at);
  }

  u32(value: number): void {
    const at = this.#extend(4);
    this.#bytes.writeUInt32LE(value >>> 0, at);
  }

  /** Of a structure that is laid out already. */
  octets(value: Uint8Array): void {
    const at = this.#extend(value.length);
    this.#bytes.set(value, at);
  }

  attributeU8(type: number, value: number): void {
    const at = this.#attribute(type, 1);
    this.#bytes[at] = value;
  }

  attributeU16(type: number, value: number): void {
    const at = this.#attribute(type, 2);
    this.#bytes.writeUInt16LE(value, at);
  }

  attributeU32(type: number, value: number): void {
    const at = this.#attribute(type, 4);
    this.#bytes.writeUInt32LE(value >>> 0, at);
  }

  attributeBytes(type: number, value: Uint8Array): void {
    const at = this.#attribute(type, value.length);
    this.#bytes.set(value, at);
  }

  /** Zero terminated. */
  attributeText(type: number, value: string): void {
    const octets = Buffer.byteLength(value);
    const at = this.#attribute(type, octets + 1);
    this.#bytes.write(value, at);
    this.#bytes[at + octets] = 0;
  }

  /** Opens a nested attribute; `nestEnd` with the returned position closes it. */
  nest(type: number, marked = true): number {
    const at = this.#extend(4);
    this.#bytes.writeUInt16LE(marked ? type | NLA_F_NESTED : type, at + 2);
    return at;
  }

  nestEnd(at: number): void {
    this.#bytes.writeUInt16LE(this.#length - at, at);
  }

  #attribute(type: number, octets: number): number {
    const at = this.#extend((4 + octets + 3) & ~3);
    this.#bytes.writeUInt16LE(4 + octets, at);
    this.#bytes.writeUInt16LE(type, at + 2);
    for (let pad = at + 4 + octets; pad < this.#length; pad++) this.#bytes[pad] = 0;
    return at + 4;
  }

  #extend(octets: number): number {
    const at = this.#length;
    this.#length += octets;
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#length, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    return at;
  }
}

/** Just the attributes that `write` makes, e.g. for `IFLA_INFO_DATA`. */
export function attributeBytes(write: (writer: MessageWriter) => void): Uint8Array {
  const writer = new MessageWriter(256);
  write(writer);
  return Uint8Array.from(writer.bytes());
}
