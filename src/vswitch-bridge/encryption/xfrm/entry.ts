/** One peer in the table: what the agent has set, what stands in the kernel, what the kernel was last seen to have counted. */
import { createHash } from 'node:crypto';
import type { Address } from '../../../model/address.ts';
import type { Instant } from '../../../model/clock.ts';
import type { PeerIndex, PeerTraffic, TrafficKey } from '../worker-face.ts';
import type { ListedAssociation } from './codec/association.ts';
import { type Direction, NO_PICTURE, type PeerPicture, type PeerWish } from './projection.ts';

/** What is remembered beside the kernel's SAs, so that the next agent goes on with them. */
export interface RememberedPeer {
  readonly address: Address;
  readonly mark: number;
  /** In hexadecimal digits. */
  readonly memo: string;
  readonly inbound: readonly number[];
  readonly outbound: readonly number[];
  readonly current: number | undefined;
  /** Identities of keys that were sent under, and whose SA is no more. */
  readonly spent: readonly string[];
}

/** Marks of ours: the lower bits count peers. */
const MARKS = 0x7e000000;
/** PeerDriver renews a peer whose key comes back, so that this is a second lock; it does not have to remember for ever. */
const SPENT_MOST = 256;

/** So long the first packet under a key is looked for often, ms. */
const IMPATIENT = 10_000;
/** The same event with the same contents, ms; as the packet worker has it. */
const TELL_AGAIN = 10;

export const markOf = (index: PeerIndex): number => (MARKS | (index & 0xffffff)) >>> 0;

export const identityOf = (key: TrafficKey): string => createHash('sha256').update(key).digest('hex').slice(0, 32);

interface Seen {
  bytes: bigint;
  packets: bigint;
  replayed: number;
  forged: number;
}

const nothing = (): Seen => ({ bytes: 0n, packets: 0n, replayed: 0, forged: 0 });

/** What came of a look at the kernel's numbers. */
export interface Observed {
  readonly readable: readonly number[];
  readonly forged: readonly number[];
}

export class PeerEntry {
  readonly index: PeerIndex;
  readonly address: Address;
  readonly mark: number;
  memo: Uint8Array = new Uint8Array(0);
  readonly receive = new Map<number, string>();
  readonly outbound = new Map<number, string>();
  current: number | undefined;
  installed: PeerPicture | undefined;
  /** The kernel refused: in its words. */
  trouble: string | undefined;
  readonly controls: Uint8Array[] = [];
  readonly refused: Record<string, bigint> = {};
  readonly #keys = new Map<string, Uint8Array>();
  readonly #spent = new Set<string>();
  /** SPI → since when its first packet is waited for. */
  readonly #armed = new Map<number, Instant>();
  /** By direction and SPI. */
  readonly #seen = new Map<string, Seen>();
  readonly #totals = { out: nothing(), in: nothing() };
  #told: { readonly what: string; readonly at: Instant } | undefined;
  #sequence = 0n;
  #lastSent: Instant | undefined;
  #lastReceived: Instant | undefined;

  constructor(index: PeerIndex, address: Address, mark = markOf(index)) {
    this.index = index;
    this.address = address;
    this.mark = mark;
  }

  get wish(): PeerWish {
    const { address, mark, receive, outbound, current } = this;
    return { address, mark, receive, outbound, current };
  }

  /** False: data was sent under this key before, and counting would begin anew (RFC 4106 §2). */
  sendUnder(spi: number, key: TrafficKey): boolean {
    const identity = identityOf(key);
    if (this.#spent.has(identity)) {
      this.count('spent-key');
      this.current = undefined;
      return false;
    }
    const before = this.outbound.get(spi);
    if (before !== undefined && before !== identity) this.spend(before);
    if (before !== identity) this.#keep(identity, key);
    this.outbound.set(spi, identity);
    this.current = spi;
    return true;
  }

  readUnder(spi: number, key: TrafficKey, now: Instant): void {
    const identity = identityOf(key);
    this.receive.set(spi, identity);
    this.#keep(identity, key);
    this.#armed.set(spi, now);
  }

  readNoMore(spi: number): void {
    this.receive.delete(spi);
    this.#armed.delete(spi);
  }

  arm(spi: number, now: Instant): void {
    if (this.receive.has(spi)) this.#armed.set(spi, now);
  }

  /** Who says nothing for so long is not in a hurry. */
  waitsForReadable(now: Instant): boolean {
    for (const since of this.#armed.values()) if (now - since < IMPATIENT) return true;
    return false;
  }

  /** Of an SA that is to be made. */
  keyOf(direction: Direction, spi: number): Uint8Array | undefined {
    const identity = (direction === 'in' ? this.receive : this.outbound).get(spi);
    return identity === undefined ? undefined : this.#keys.get(identity);
  }

  /** What leaves the kernel with this picture is not sent under again; to be remembered before it leaves. */
  retire(picture: PeerPicture): void {
    for (const [spi, identity] of this.outbound) {
      if (picture.outbound.get(spi) === identity) continue;
      this.outbound.delete(spi);
      this.spend(identity);
    }
  }

  /** What stands in the kernel needs no key here. */
  settled(picture: PeerPicture): void {
    this.installed = picture;
    // What is made again under the same SPI counts from the beginning, and what is gone is not asked for.
    const names = namesOf(picture);
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
    this.forgetKeys();
  }

  forgetKeys(): void {
    for (const key of this.#keys.values()) key.fill(0);
    this.#keys.clear();
  }

  spend(identity: string): void {
    this.#spent.add(identity);
    const [oldest] = this.#spent;
    if (this.#spent.size > SPENT_MOST && oldest !== undefined) this.#spent.delete(oldest);
  }

  /** The same again, so soon: it was told already. Whoever floods us is counted, and not more. */
  toldLately(what: string, now: Instant): boolean {
    const lately = this.#told?.what === what && now - this.#told.at < TELL_AGAIN;
    if (!lately) this.#told = { what, at: now };
    return lately;
  }

  count(reason: string, by = 1n): void {
    this.refused[reason] = (this.refused[reason] ?? 0n) + by;
  }

  /** The kernel's numbers of one SA. */
  observe(direction: Direction, sa: ListedAssociation, now: Instant): Observed {
    const { spi, traffic } = sa;
    const name = nameOf(direction, spi);
    const seen = this.#seen.get(name) ?? nothing();
    this.#seen.set(name, { ...traffic });
    const packets = grown(traffic.packets, seen.packets);
    const total = this.#totals[direction];
    total.packets += packets;
    total.bytes += grown(traffic.bytes, seen.bytes);
    if (direction === 'out') {
      if (sa.sequence.sent > this.#sequence) this.#sequence = sa.sequence.sent;
      if (packets > 0n) this.#lastSent = now;
      return { readable: [], forged: [] };
    }
    if (packets > 0n) this.#lastReceived = now;
    const forged = grown(BigInt(traffic.forged), BigInt(seen.forged));
    const replayed = grown(BigInt(traffic.replayed), BigInt(seen.replayed));
    if (forged > 0n) this.count('forged', forged);
    if (replayed > 0n) this.count('replayed', replayed);
    const readable = packets > 0n && this.#armed.delete(spi);
    return { readable: readable ? [spi] : [], forged: forged > 0n ? [spi] : [] };
  }

  traffic(now: Instant): PeerTraffic {
    const since = (at: Instant | undefined) => (at === undefined ? undefined : now - at);
    const { out, in: into } = this.#totals;
    return {
      sequence: this.#sequence,
      sent: { encrypted: out.packets, plain: 0n, bytes: out.bytes },
      received: { encrypted: into.packets, plain: 0n, bytes: into.bytes },
      // Nothing waits in the kernel.
      held: 0,
      holdDropped: 0n,
      refused: { ...this.refused },
      lastSent: since(this.#lastSent),
      // What is inside the kernel does not say: whatever depends on it must not wait (R0.5).
      lastTcp: undefined,
      lastOther: since(this.#lastReceived),
    };
  }

  remembered(picture = this.installed ?? NO_PICTURE): RememberedPeer {
    const { address, mark, memo } = this;
    return {
      address,
      mark,
      memo: Buffer.from(memo).toString('hex'),
      inbound: [...picture.inbound.keys()],
      outbound: [...picture.outbound.keys()],
      current: picture.current,
      spent: [...this.#spent],
    };
  }

  #keep(identity: string, key: TrafficKey): void {
    if (!this.#keys.has(identity)) this.#keys.set(identity, Uint8Array.from(key));
  }
}

const nameOf = (direction: Direction, spi: number): string => `${direction} ${spi}`;

const namesOf = ({ inbound, outbound }: PeerPicture): ReadonlySet<string> =>
  new Set(
    [...inbound.keys()].map((spi) => nameOf('in', spi)).concat([...outbound.keys()].map((spi) => nameOf('out', spi))),
  );

const grown = (now: bigint, before: bigint): bigint => (now > before ? now - before : 0n);
