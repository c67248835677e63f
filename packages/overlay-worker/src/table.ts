/**
 * The peers of a worker. Commands go over its socket in order, so each takes effect between two packets and none needs to
 * be waited for; what is read (counters, sequence numbers, ages) stands in memory that the worker shares.
 */
import type { Connection } from './connection.ts';
import { EVENT, type Frame, ipv4Bytes, MESSAGE, MODE, u32 } from './protocol.ts';

/** What plain packets tell. `version` 0: the sender has no key; `fp12`: upper 12 bits of its fingerprint. */
export interface Indication {
  readonly version: number;
  readonly fp12: number;
  readonly off: boolean;
}

/** `key`: 32 octets of AES-256 key, 4 of GCM salt. It is copied; the caller zeroes its own. */
export type SendState =
  | { readonly mode: 'encrypt'; readonly spi: number; readonly key: Uint8Array }
  | { readonly mode: 'plain'; readonly indication: Indication }
  | { readonly mode: 'hold' }
  | { readonly mode: 'drop' };

export interface PeerTraffic {
  /** Last 64-bit sequence number used. */
  readonly sequence: bigint;
  /** Packets and octets of inner frames, by how they went or came. */
  readonly sent: { readonly encrypted: bigint; readonly plain: bigint; readonly bytes: bigint };
  readonly received: { readonly encrypted: bigint; readonly plain: bigint; readonly bytes: bigint };
  /** Being held now, and dropped from there so far. */
  readonly held: number;
  readonly holdDropped: bigint;
  /** Packets that went no further, by reason: `no-key`, `forged`, `replayed`, `plain-refused` ... */
  readonly refused: Readonly<Record<string, bigint>>;
  /** Milliseconds since; undefined: never. */
  readonly lastSent: number | undefined;
  /** Since a decrypted packet with inner TCP, and with anything else. */
  readonly lastTcp: number | undefined;
  readonly lastOther: number | undefined;
}

export interface AdoptedPeer<A extends string = string> {
  readonly peer: number;
  readonly address: A;
  readonly memo: Uint8Array;
  /** SPIs of its receive slots. */
  readonly receive: readonly number[];
}

/** Called in the event loop. None may throw. */
export interface WorkerEvents {
  /** Encrypted, no slot with this SPI. */
  unreadable(peer: number, spi: number): void;
  /** First packet decrypted in a slot since it was armed. */
  readable(peer: number, spi: number): void;
  /** A slot's ICV did not fit. */
  forged(peer: number, spi: number): void;
  /** A plain packet, delivered or not. */
  plain(peer: number, indication: Indication): void;
  /** Something is held that was not before. */
  held(peer: number): void;
  control(peer: number, datagram: Uint8Array): void;
}

/** What the worker says of a peer when asked. */
export interface PeerDescription {
  readonly index: number;
  readonly number: number;
  readonly address: string;
  readonly mode: keyof typeof MODE;
  readonly spi: number;
  readonly acceptPlain: boolean;
  /** Hexadecimal. */
  readonly memo: string;
  readonly receive: readonly number[];
  /** VNIs. */
  readonly networks: readonly number[];
}

export interface SharedLayout {
  readonly counters: readonly string[];
  readonly places: number;
  readonly lastNumber: number;
}

interface Entry {
  readonly place: number;
  readonly address: string;
}

/** Of native/worker.h, struct shared: two words, the counters of all; then for each place six words and its counters. */
const FIRST = 2;
const OF_PEER = 6;
const WORD = { number: 0, sequence: 1, held: 2, lastSent: 3, lastTcp: 4, lastOther: 5 } as const;

export class WorkerTable<A extends string = string> {
  /** What an earlier agent has left. */
  readonly adopted: readonly AdoptedPeer<A>[];
  readonly #connection: Connection;
  readonly #layout: SharedLayout;
  readonly #shared: BigUint64Array;
  readonly #entries = new Map<number, Entry>();
  readonly #numbers = new Map<string, number>();
  readonly #free: number[] = [];
  readonly #added: (address: A) => void;
  #lastNumber: number;

  constructor(
    connection: Connection,
    layout: SharedLayout,
    shared: BigUint64Array,
    peers: readonly PeerDescription[],
    added: (address: A) => void,
  ) {
    this.#connection = connection;
    this.#layout = layout;
    this.#shared = shared;
    this.#added = added;
    this.#lastNumber = layout.lastNumber;
    for (const { index, number, address } of peers) this.#remember(number, index, address);
    const used = new Set(peers.map(({ index }) => index));
    for (let place = layout.places - 1; place >= 0; place--) if (!used.has(place)) this.#free.push(place);
    this.adopted = peers.map(({ number, address, memo, receive }) => ({
      peer: number,
      address: address as A,
      memo: Uint8Array.from(Buffer.from(memo, 'hex')),
      receive,
    }));
  }

  /** Sequence number 0, `send` hold, nothing received. @throws RangeError when the table is full, TypeError when the address is there already or not IPv4 */
  add(address: A): number {
    const bytes = ipv4Bytes(address);
    if (this.#numbers.has(address)) throw new TypeError(`${address} is a peer already`);
    const place = this.#free.pop();
    if (place === undefined) throw new RangeError(`more than ${this.#layout.places} peers`);
    const number = ++this.#lastNumber;
    this.#connection.tell('peerAdd', u32(place, number), bytes);
    this.#remember(number, place, address);
    this.#added(address);
    return number;
  }

  /** Its keys are zeroed, what was held is dropped. */
  remove(peer: number): void {
    const entry = this.#entries.get(peer);
    if (!entry) return;
    this.#connection.tell('peerRemove', this.#at(peer));
    this.#entries.delete(peer);
    this.#numbers.delete(entry.address);
    this.#free.push(entry.place);
  }

  setSend(peer: number, state: SendState): void {
    const body = Buffer.alloc(48);
    body.writeUInt32LE(MODE[state.mode], 0);
    if (state.mode === 'encrypt') {
      checkKey(state.key);
      body.writeUInt32LE(state.spi >>> 0, 4);
      body.set(state.key, 12);
    } else if (state.mode === 'plain') {
      const { version, fp12, off } = state.indication;
      body.writeUInt32LE(((9 << 28) | (version << 20) | (fp12 << 8) | (off ? 1 : 0)) >>> 0, 4);
      body.writeUInt32LE(((8 << 24) | (version << 16) | (fp12 << 4) | 8 | (off ? 1 : 0)) >>> 0, 8);
    }
    this.#connection.tell('sendSet', this.#at(peer), body);
    body.fill(0);
  }

  /** A slot with an empty replay window, armed; a slot with the same SPI is replaced. At most 32. */
  addReceive(peer: number, spi: number, key: Uint8Array): void {
    checkKey(key);
    this.#connection.tell('receiveAdd', this.#at(peer), u32(spi), key);
  }

  /** The key is zeroed. */
  removeReceive(peer: number, spi: number): void {
    this.#connection.tell('receiveRemove', this.#at(peer), u32(spi));
  }

  /** The next decrypted packet of the slot raises `readable`. */
  armReceive(peer: number, spi: number): void {
    this.#connection.tell('receiveArm', this.#at(peer), u32(spi));
  }

  setAcceptPlain(peer: number, accept: boolean): void {
    this.#connection.tell('acceptPlain', this.#at(peer), u32(accept ? 1 : 0));
  }

  /** At most 128 octets. */
  setMemo(peer: number, memo: Uint8Array): void {
    this.#connection.tell('memo', this.#at(peer), memo);
  }

  /** From our port to the peer's, as UDP payload. */
  sendControl(peer: number, datagram: Uint8Array): void {
    this.#connection.tell('control', this.#at(peer), datagram);
  }

  traffic(peer: number): PeerTraffic {
    const place = this.#entries.get(peer)?.place;
    const { counters } = this.#layout;
    const start = FIRST + counters.length + (place ?? 0) * (OF_PEER + counters.length);
    // The worker may not have come to it yet, or may have been told to forget it.
    const there = place !== undefined && this.#shared[start + WORD.number] === BigInt(peer);
    const word = (name: keyof typeof WORD) => (there ? this.#shared[start + WORD[name]]! : 0n);
    const values = this.#values(there ? start + OF_PEER : undefined);
    const ago = (name: keyof typeof WORD) => {
      const at = word(name);
      return at === 0n ? undefined : Math.max(0, Number(process.hrtime.bigint() - at) / 1e6);
    };
    const value = (name: string) => values.get(name) ?? 0n;
    return {
      sequence: word('sequence'),
      sent: { encrypted: value('sent_encrypted'), plain: value('sent_plain'), bytes: value('sent_bytes') },
      received: {
        encrypted: value('received_encrypted'),
        plain: value('received_plain'),
        bytes: value('received_bytes'),
      },
      held: Number(word('held')),
      holdDropped: value('drop_hold_full') + value('drop_hold_expired') + value('drop_hold_discarded'),
      refused: refusedOf(values),
      lastSent: ago('lastSent'),
      lastTcp: ago('lastTcp'),
      lastOther: ago('lastOther'),
    };
  }

  /** Of all peers together, and of packets that belong to none. */
  refused(): Readonly<Record<string, bigint>> {
    return refusedOf(this.#values(FIRST));
  }

  /** All counters of the worker as a whole, by the names in native/worker.h. */
  counters(): ReadonlyMap<string, bigint> {
    return this.#values(FIRST);
  }

  /** Its place and number as commands carry them; undefined: not (or no more) a peer. */
  placeOf(address: string): Buffer | undefined {
    const number = this.#numbers.get(address);
    return number === undefined ? undefined : this.#at(number);
  }

  /** Hands an event of the worker on. */
  dispatch({ type, body }: Frame, events: WorkerEvents): void {
    if (type === MESSAGE.packet) {
      const peer = body.readUInt32LE(4);
      if (this.#entries.has(peer)) events.control(peer, Uint8Array.from(body.subarray(8)));
      return;
    }
    if (type !== MESSAGE.event) return;
    const peer = body.readUInt32LE(8);
    const word = body.readUInt32LE(12);
    if (!this.#entries.has(peer)) return;
    switch (body.readUInt16LE(0)) {
      case EVENT.unreadable:
        events.unreadable(peer, word);
        return;
      case EVENT.readable:
        events.readable(peer, word);
        return;
      case EVENT.forged:
        events.forged(peer, word);
        return;
      case EVENT.plain:
        events.plain(peer, { version: (word >>> 20) & 0xff, fp12: (word >>> 8) & 0xfff, off: (word & 1) === 1 });
        return;
      case EVENT.held:
        events.held(peer);
    }
  }

  #remember(number: number, place: number, address: string): void {
    this.#entries.set(number, { place, address });
    this.#numbers.set(address, number);
  }

  #at(peer: number): Buffer {
    const entry = this.#entries.get(peer);
    if (!entry) throw new RangeError(`no peer has the number ${peer}`);
    return u32(entry.place, peer);
  }

  #values(start: number | undefined): Map<string, bigint> {
    const values = new Map<string, bigint>();
    if (start === undefined) return values;
    this.#layout.counters.forEach((name, index) => {
      values.set(name, this.#shared[start + index]!);
    });
    return values;
  }
}

function checkKey(key: Uint8Array): void {
  if (key.length !== 36) throw new TypeError(`a traffic key has 36 octets, not ${key.length}`);
}

const DROP = 'drop_';

function refusedOf(values: ReadonlyMap<string, bigint>): Record<string, bigint> {
  const refused: Record<string, bigint> = {};
  for (const [name, value] of values) {
    if (name.startsWith(DROP) && value > 0n) refused[name.slice(DROP.length).replaceAll('_', '-')] = value;
  }
  return refused;
}
