import type { BgpError } from './errors.ts';
import { bgpError, CODE, HEADER } from './errors.ts';
import { HEADER_LENGTH, MAXIMUM_LENGTH } from './messages.ts';

export interface Frame {
  readonly type: number;
  /** What follows the header; a view into the octets that were pushed. */
  readonly body: Uint8Array;
}

/** RFC 4271 §6.1: least length by type; KEEPALIVE and ROUTE-REFRESH have just one. */
const LEAST: Record<number, number> = { 1: 29, 2: 23, 3: 21, 4: 19, 5: 23 };
const EXACT = new Set([4, 5]);

/**
 * Cuts the octet stream into messages. Holds at most one incomplete message (less than 4,096 octets). After an error
 * the stream is lost, so nothing more comes out.
 */
export class Framer {
  #rest: Uint8Array = new Uint8Array(0);
  #failed = false;

  *push(chunk: Uint8Array): Generator<Frame | BgpError> {
    if (this.#failed) return;
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let offset = 0;
    while (data.length - offset >= HEADER_LENGTH) {
      const error = headerError(data, offset);
      if (error) {
        this.#failed = true;
        this.#rest = new Uint8Array(0);
        yield error;
        return;
      }
      const length = (data[offset + 16]! << 8) | data[offset + 17]!;
      if (data.length - offset < length) break;
      const frame = { type: data[offset + 18]!, body: data.subarray(offset + HEADER_LENGTH, offset + length) };
      offset += length;
      // A consumer that stops in the middle (the session ended) must not see the rest again.
      this.#rest = data.subarray(offset);
      yield frame;
    }
    // A copy: the chunk is the socket's buffer, and a whole one must not be kept for a few octets.
    this.#rest = Uint8Array.from(data.subarray(offset));
  }
}

function headerError(data: Uint8Array, offset: number): BgpError | undefined {
  for (let index = 0; index < 16; index++) {
    if (data[offset + index] !== 0xff) return bgpError(CODE.header, HEADER.notSynchronized, 'header_marker');
  }
  const length = (data[offset + 16]! << 8) | data[offset + 17]!;
  const type = data[offset + 18]!;
  const lengthField = Uint8Array.from(data.subarray(offset + 16, offset + 18));
  if (length < HEADER_LENGTH || length > MAXIMUM_LENGTH) {
    return bgpError(CODE.header, HEADER.badLength, 'header_length', lengthField);
  }
  const least = LEAST[type];
  if (least === undefined) return bgpError(CODE.header, HEADER.badType, 'header_type', Uint8Array.of(type));
  if (EXACT.has(type) ? length !== least : length < least) {
    return bgpError(CODE.header, HEADER.badLength, 'header_length', lengthField);
  }
  return undefined;
}
