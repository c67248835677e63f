/**
 * Records of remote hosts that have gone for good are taken back: there are PEERS of them, and hosts come and go for years.
 *
 * A record is an index, and others hold that index: ways of connections, keys of rewrite mode. So it goes in steps, some
 * seconds from one to the next: longer than any program runs, or a packet is on its slow way.
 * - Its host is no remote any more, has neither sent nor been sent anything for a while, and no connection that lives names
 *   it: its generation is raised. No way that was learned till now is used again, so no program will send by it.
 * - It is still as silent: now it is `leaving`. Programs neither find nor take such a record, and the generation goes up again.
 * - What was learned of it in that moment ends as the generation is raised once more. Only now another host may have it.
 * What a key stands for says itself which host it is of, and a record is not left while a key of its is valid.
 *
 * Nobody but programs writes a record that is in use, and nobody but this one that is leaving. A host that speaks up while it
 * is being left finds another record with its next packet on the slow path.
 */
import type { Address } from '../../../model/address.ts';
import {
  connection,
  direction,
  EXIT_KINDS,
  exit,
  KEYS_A_PEER,
  PEER_KNOWN_UNTIL,
  PEER_LEAVING,
  PEER_LEFT,
  PEER_VOID_BEFORE,
  PEERS,
  peer,
  restored,
} from '../maps/layout.ts';
import { nanoseconds } from '../maps/numbers.ts';
import { indexKey, raise, type Tables } from '../maps/tables.ts';
import { hostOf, markOf, type PeerRecord, peerRecords } from '../peers.ts';

const SECOND = 1e9;
/** So long nothing must have passed: ten minutes, and longer than any way or key may live. */
const SILENCE = 600 * SECOND;
/** Between two steps. */
const PAUSE = 5 * SECOND;
/** Probing finds a place for nearly everybody up to here; beyond it hosts begin to be left out. */
const CROWDED = (PEERS * 3) / 4;
const CALM = (PEERS * 5) / 8;

type PeerTables = Pick<Tables, 'peers' | 'peer_generation' | 'restored'>;

export interface PeerCounts {
  /** Records in use at the last look, and how many there are. */
  readonly known: number;
  readonly room: number;
  /** Taken back. */
  readonly left: number;
  /** Programs may find no place for another any more. */
  readonly crowded: boolean;
}

export interface PeerUpkeepOptions {
  readonly tables: PeerTables;
  /** ms that a key which was told to another host may be used. */
  readonly lifetime: number;
  /** There is hardly a record left, or there is room again. */
  readonly crowded?: ((crowded: boolean, counts: PeerCounts) => void) | undefined;
}

export class PeerUpkeep {
  readonly #tables: PeerTables;
  readonly #lifetime: number;
  readonly #crowded: PeerUpkeepOptions['crowded'];
  /** undefined: not known yet, and nobody is left. */
  #remotes: ReadonlySet<Address> | undefined;
  /** Before it nobody has seen who was silent: records of earlier programs say nothing of that. */
  #since: number | undefined;
  /** Index → since when nobody sends by it. */
  readonly #silent = new Map<number, { readonly host: Address; readonly since: number }>();
  /** Index → when it was first seen to be leaving. */
  readonly #leaving = new Map<number, number>();
  #known = 0;
  #left = 0;
  #isCrowded = false;

  constructor({ tables, lifetime, crowded }: PeerUpkeepOptions) {
    this.#tables = tables;
    this.#lifetime = lifetime * 1e6;
    this.#crowded = crowded;
  }

  /** Whom this host sends to. */
  follow(remotes: Iterable<Address>): void {
    this.#remotes = new Set(remotes);
  }

  counts(): PeerCounts {
    return { known: this.#known, room: PEERS, left: this.#left, crowded: this.#isCrowded };
  }

  /** Of one sweep, which shows it all connections. @param now ns */
  look(now: number): PeerLook {
    this.#since ??= now;
    const candidates = new Map<number, Address>();
    let known = 0;
    for (const record of peerRecords(this.#tables.peers)) {
      const host = hostOf(record);
      if (host === undefined) {
        if (markOf(record) === PEER_LEAVING) this.#finish(record.index, now);
        continue;
      }
      known += 1;
      if (this.#isSilent(record, host, now)) candidates.set(record.index, host);
    }
    this.#known = known;
    this.#watchRoom();
    return new PeerLook(candidates, (silent, then) => this.#leave(silent, then));
  }

  #isSilent({ bytes, at }: PeerRecord, host: Address, now: number): boolean {
    if (!this.#remotes || this.#remotes.has(host)) return false;
    const { last_sent, last_heard, rewrite } = peer.offsets;
    const last = Math.max(this.#since!, nanoseconds(bytes, at + last_sent), nanoseconds(bytes, at + last_heard));
    if (now - last < Math.max(SILENCE, 2 * this.#lifetime)) return false;
    return nanoseconds(bytes, at + rewrite + PEER_KNOWN_UNTIL * 8) <= now;
  }

  /** One of the silent after the other, each read once more: packets go on while the connections are looked through. */
  *#leave(candidates: ReadonlyMap<number, Address>, now: () => number): Generator<void> {
    for (const index of [...this.#silent.keys()]) if (!candidates.has(index)) this.#silent.delete(index);
    const bytes = Buffer.alloc(peer.size);
    for (const [index, host] of candidates) {
      this.#tables.peers.get(indexKey(index), bytes);
      this.#leaveOne({ index, bytes, at: 0 }, host, now());
      yield;
    }
  }

  #leaveOne(record: PeerRecord, host: Address, now: number): void {
    const { index } = record;
    const before = this.#silent.get(index);
    const again = before?.host === host;
    if (again && now - before.since < PAUSE) return;
    if (hostOf(record) !== host || !this.#isSilent(record, host, now) || this.#hasKeys(index, now)) {
      this.#silent.delete(index);
    } else if (again) {
      this.#mark(index, PEER_LEAVING, now);
      this.#silent.delete(index);
      this.#leaving.set(index, now);
    } else {
      raise(this.#tables.peer_generation, index);
      this.#silent.set(index, { host, since: now });
    }
  }

  #finish(index: number, now: number): void {
    const since = this.#leaving.get(index) ?? now;
    this.#leaving.set(index, since);
    if (now - since < PAUSE) return;
    this.#mark(index, PEER_LEFT, now);
    this.#leaving.delete(index);
    this.#left += 1;
  }

  /** First nobody finds it, then nothing that names it is valid: no way, and no key that its host has told. */
  #mark(index: number, mark: number, now: number): void {
    const { peers, peer_generation } = this.#tables;
    const bytes = Buffer.alloc(peer.size);
    bytes.writeUInt32LE(mark, peer.offsets.address);
    bytes.writeBigUInt64LE(BigInt(Math.ceil(now)), peer.offsets.rewrite + PEER_VOID_BEFORE * 8);
    peers.set(indexKey(index), bytes);
    raise(peer_generation, index);
  }

  /** Of those that this host has told: the other may use them for some time yet. */
  #hasKeys(index: number, now: number): boolean {
    const bytes = Buffer.alloc(restored.size);
    for (let key = 0; key < KEYS_A_PEER; key += 1) {
      if (!this.#tables.restored.get(indexKey(index * KEYS_A_PEER + key), bytes)) continue;
      const told = nanoseconds(bytes, restored.offsets.told);
      if (told !== 0 && now - told < 2 * this.#lifetime) return true;
    }
    return false;
  }

  #watchRoom(): void {
    const crowded = this.#isCrowded ? this.#known > CALM : this.#known >= CROWDED;
    if (crowded === this.#isCrowded) return;
    this.#isCrowded = crowded;
    this.#crowded?.(crowded, this.counts());
  }
}

const TUNNEL = EXIT_KINDS.indexOf('tunnel');
const SIDES = [0, 1].map((side) => connection.offsets.direction + side * direction.size);

/** Who of the silent is named by a connection that lives is not left. */
export class PeerLook {
  readonly #candidates: Map<number, Address>;
  readonly #leave: (candidates: ReadonlyMap<number, Address>, now: () => number) => Generator<void>;

  constructor(
    candidates: Map<number, Address>,
    leave: (candidates: ReadonlyMap<number, Address>, now: () => number) => Generator<void>,
  ) {
    this.#candidates = candidates;
    this.#leave = leave;
  }

  /** @param record bytes that hold a connection that lives, at `at` */
  see(record: Buffer, at: number): void {
    if (this.#candidates.size === 0) return;
    for (const offset of SIDES) {
      const way = at + offset + direction.offsets.exit;
      if (record[way + exit.offsets.kind] === TUNNEL)
        this.#candidates.delete(record.readUInt32LE(way + exit.offsets.target));
    }
  }

  /** All have been shown. One host a step, which may take some milliseconds. @param now ns */
  steps(now: () => number): Generator<void> {
    return this.#leave(this.#candidates, now);
  }
}
