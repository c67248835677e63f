/**
 * Who the peer is in this life of ours: salts, challenge and counters of the control packets (docs/encryption.md, "Rules of
 * acceptance").
 *
 * Invariants
 * - A salt is adopted only with the answer to a challenge that we drew for this peer: a recording never becomes the peer.
 * - Our counter never repeats in the life of our salt, the peer's is only ever taken upwards.
 */
import type { ControlPacket, Trust } from '../codec/control.ts';
import { INSTANCE_LENGTH, SALT_LENGTH } from '../codec/derivation.ts';

const CHALLENGE_LENGTH = 8;
const AFTER_RESTART = 1000n;

export type Random = (octets: number) => Uint8Array;

/** How a control packet stands to what we know. */
export type Standing =
  /** The adopted life goes on. */
  | 'current'
  /** The peer has begun anew, and has answered our challenge. */
  | 'adopted'
  /** Not authenticated, but it answers our challenge: nobody off the path can have made it. */
  | 'answered'
  /** Another life, or nothing authenticates it: to be asked. */
  | 'unproved'
  | 'replayed';

export interface PeerLife {
  readonly salt: Uint8Array;
  readonly instance: Uint8Array;
}

export const sameOctets = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;

export class Association {
  readonly salt: Uint8Array;
  readonly #random: Random;
  #life: PeerLife | undefined;
  #counter = 0n;
  #heard = 0n;
  #known = false;
  #challenge: Uint8Array | undefined;
  /** The last who answered without a common key. */
  #stranger: { readonly salt: Uint8Array; readonly counter: bigint } | undefined;

  constructor(salt: Uint8Array, random: Random) {
    this.salt = salt;
    this.#random = random;
  }

  get life(): PeerLife | undefined {
    return this.#life;
  }

  get heard(): bigint {
    return this.#heard;
  }

  /** We have adopted the peer and it has adopted us: keys can be used for sending. */
  get ready(): boolean {
    return this.#life !== undefined && this.#known;
  }

  nextCounter(): bigint {
    this.#counter += 1n;
    return this.#counter;
  }

  /** One at a time, until it is answered. */
  challenge(): Uint8Array {
    this.#challenge ??= this.#random(CHALLENGE_LENGTH);
    return this.#challenge;
  }

  receive(packet: ControlPacket, trust: Exclude<Trust, 'forged'>): Standing {
    const answered = sameOctets(packet.response, this.#challenge);
    if (trust === 'unauthenticated') return this.#unauthenticated(packet, answered);
    if (this.#isLife(packet)) {
      if (packet.counter <= this.#heard) return 'replayed';
      if (answered) this.#challenge = undefined;
      this.#take(packet);
      return 'current';
    }
    if (!answered) return 'unproved';
    this.#challenge = undefined;
    this.#life = { salt: packet.salt, instance: packet.instance };
    this.#take(packet);
    return 'adopted';
  }

  /** What was said before the versions met may arrive after it: the counter tells, of the adopted life or of its own. */
  #unauthenticated(packet: ControlPacket, answered: boolean): Standing {
    const { salt, counter } = packet;
    if (this.#isLife(packet) && counter <= this.#heard) return 'replayed';
    if (!answered) return 'unproved';
    if (sameOctets(this.#stranger?.salt, salt) && counter <= this.#stranger!.counter) return 'replayed';
    this.#stranger = { salt, counter };
    this.#challenge = undefined;
    return 'answered';
  }

  #isLife({ salt, instance }: PeerLife): boolean {
    return sameOctets(salt, this.#life?.salt) && sameOctets(instance, this.#life?.instance);
  }

  #take(packet: ControlPacket): void {
    this.#heard = packet.counter;
    this.#known = sameOctets(packet.peerSalt, this.salt);
  }

  /** @param bytes 57 octets of `memo` */
  static restore(bytes: Uint8Array, random: Random): Association {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const association = new Association(Uint8Array.from(bytes.subarray(0, SALT_LENGTH)), random);
    // Packets may have left after the memo was written.
    association.#counter = view.readBigUInt64BE(16) + AFTER_RESTART;
    association.#heard = view.readBigUInt64BE(24);
    association.#known = (view[32]! & 1) !== 0;
    if ((view[32]! & 2) !== 0) {
      association.#life = {
        salt: Uint8Array.from(bytes.subarray(33, 33 + SALT_LENGTH)),
        instance: Uint8Array.from(bytes.subarray(49, 49 + INSTANCE_LENGTH)),
      };
    }
    return association;
  }

  memo(): Uint8Array {
    const bytes = Buffer.alloc(57);
    bytes.set(this.salt, 0);
    bytes.writeBigUInt64BE(this.#counter, 16);
    bytes.writeBigUInt64BE(this.#heard, 24);
    bytes[32] = (this.#known ? 1 : 0) | (this.#life ? 2 : 0);
    if (this.#life) {
      bytes.set(this.#life.salt, 33);
      bytes.set(this.#life.instance, 49);
    }
    return bytes;
  }
}
