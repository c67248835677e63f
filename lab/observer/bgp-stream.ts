/**
 * Reads BGP messages from TCP segments as a tap sees them, a stream for each direction of a connection. The part of a
 * message that has arrived is told at once, and each part once. Pure.
 */
import { updateSightings } from './bgp-update.ts';
import type { RouteSighting } from './sighting.ts';

const MARKER = 16;
const HEADER = 19;
const UPDATE = 2;
const SYN = 0x02;
const RST = 0x04;
const TCP_HEADER = 20;
/**
 * Octets that are missing for longer than that (ms) have passed the tap unseen. Segments may overtake each other on the
 * way to it, and what the network lost is sent again, before much of what follows it.
 */
const PATIENCE = 1000;

interface Piece {
  readonly sequence: number;
  readonly octets: Buffer;
  readonly at: number;
}

interface Stream {
  /** Sequence number of the octet to be read next; undefined: wherever the next message begins. */
  next: number | undefined;
  /** What has arrived of the message that isn't complete yet. */
  rest: Buffer;
  /** How many sightings of it have been told. */
  told: number;
  /** What has arrived behind a gap, in order. */
  ahead: Piece[];
}

const NOTHING = Buffer.alloc(0);
const WHOLE_MARKER = Buffer.alloc(MARKER, 0xff);

const fromNow = (next?: number): Stream => ({ next, rest: NOTHING, told: 0, ahead: [] });

/** Sequence numbers wrap (RFC 9293 §3.4): how far `to` is behind `from`. */
const distance = (from: number, to: number): number => (to - from) | 0;

/** Where a message begins, -1: nowhere. The octet before it may look like the marker, its length never does. */
function markerIn(octets: Buffer): number {
  let at = octets.indexOf(WHOLE_MARKER);
  while (at >= 0 && octets[at + MARKER] === 0xff) at++;
  return at;
}

export class BgpStreams {
  readonly #streams = new Map<string, Stream>();
  #lost = 0;

  /** How often a stream could not be read on: octets passed unseen, or are no message. */
  get lost(): number {
    return this.#lost;
  }

  /**
   * @param addresses the packet's source and destination
   * @param at when it arrived, in milliseconds
   */
  read(addresses: Buffer, segment: Buffer, at: number): RouteSighting[] {
    if (segment.length < TCP_HEADER) return [];
    const key = addresses.toString('hex') + segment.toString('hex', 0, 4);
    const flags = segment[13]!;
    const sequence = segment.readUInt32BE(4);
    if (flags & (SYN | RST)) {
      // Either way nothing that came before goes on.
      this.#streams.delete(key);
      if (flags & SYN) this.#streams.set(key, fromNow(sequence + 1));
      return [];
    }
    const octets = segment.subarray((segment[12]! >> 4) * 4);
    if (octets.length === 0) return [];
    const stream = this.#streams.get(key) ?? fromNow();
    this.#streams.set(key, stream);
    stream.ahead.push({ sequence, octets, at });
    stream.ahead.sort((one, other) => distance(other.sequence, one.sequence));
    const found = this.#advance(stream);
    while (stream.ahead.some((piece) => at - piece.at > PATIENCE)) {
      this.#lose(stream);
      found.push(...this.#advance(stream));
    }
    return found;
  }

  /** Reads on until the next gap. */
  #advance(stream: Stream): RouteSighting[] {
    const found: RouteSighting[] = [];
    for (let piece = stream.ahead[0]; piece; piece = stream.ahead[0]) {
      const skip = stream.next === undefined ? markerIn(piece.octets) : distance(piece.sequence, stream.next);
      if (skip < 0 && stream.next !== undefined) break;
      stream.ahead.shift();
      if (skip < 0) continue;
      const fresh = piece.octets.subarray(skip);
      stream.next = piece.sequence + skip + fresh.length;
      stream.rest = Buffer.concat([stream.rest, fresh]);
      found.push(...this.#messages(stream));
    }
    return found;
  }

  /** Takes whole messages off `rest`, and tells what is new of the one that begins there. */
  #messages(stream: Stream): RouteSighting[] {
    const found: RouteSighting[] = [];
    while (stream.rest.length >= HEADER) {
      const { rest } = stream;
      const length = rest.readUInt16BE(MARKER);
      if (markerIn(rest) !== 0 || length < HEADER) {
        this.#lose(stream);
        break;
      }
      const seen = rest[MARKER + 2] === UPDATE ? updateSightings(rest.subarray(HEADER, length)) : [];
      found.push(...seen.slice(stream.told));
      stream.told = seen.length;
      if (rest.length < length) break;
      stream.rest = rest.subarray(length);
      stream.told = 0;
    }
    return found;
  }

  #lose(stream: Stream): void {
    this.#lost += 1;
    stream.next = undefined;
    stream.rest = NOTHING;
    stream.told = 0;
  }
}
