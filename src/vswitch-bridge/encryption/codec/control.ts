/** Control packets: hello, notification, version (docs/encryption.md, "Control"). */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Address } from '../../../model/address.ts';
import { wideAddress } from './derivation.ts';
import { type KeyId, MOST_VERSIONS, sameKey } from './identity.ts';
import { CONTROL_SPI, RANGE } from './spi.ts';

const FIXED = 84;
const ENTRY = 8;
const TAG = 16;

/** In the order of the wire, from 1. */
const KINDS = ['hello', 'notification', 'version'] as const;
export type ControlKind = (typeof KINDS)[number];

/** In the order of the wire. */
const STATES = ['valid', 'invalid-notify', 'invalid'] as const;
export type PeerState = (typeof STATES)[number];

const FLAG = { off: 1, reply: 2 } as const;

export interface ControlPacket {
  readonly kind: ControlKind;
  /** Turn encryption off towards me. */
  readonly off: boolean;
  /** An answer is asked for. */
  readonly reply: boolean;
  /** The sender's state towards the receiver. */
  readonly state: PeerState;
  readonly counter: bigint;
  /** 8 octets. */
  readonly instance: Uint8Array;
  /** 16 octets. */
  readonly salt: Uint8Array;
  /** 16 octets; undefined: the sender has adopted none. */
  readonly peerSalt: Uint8Array | undefined;
  /** 8 octets. */
  readonly challenge: Uint8Array | undefined;
  readonly response: Uint8Array | undefined;
  /** Highest counter accepted from the receiver; 0: none. */
  readonly heard: bigint;
  /** The newest first, at most 16. */
  readonly held: readonly KeyId[];
}

export type ControlError = 'truncated' | 'unknown-form' | 'malformed';

/** A version held with the key that authenticates under it. */
export interface ControlKey {
  readonly id: KeyId;
  readonly control: Uint8Array;
}

/** One tag for each key, in the order of `packet.held`. @throws TypeError when `keys` are not those */
export function encodeControl(packet: ControlPacket, keys: readonly ControlKey[], from: Address, to: Address): Buffer {
  const { held } = packet;
  if (keys.length !== held.length || !held.every((id, index) => sameKey(id, keys[index]!.id))) {
    throw new TypeError('the keys are not those that the packet lists');
  }
  const signed = FIXED + held.length * ENTRY;
  const bytes = Buffer.alloc(signed + held.length * TAG);
  bytes.writeUInt32BE(CONTROL_SPI, 0);
  bytes.writeUInt32BE(Number(packet.counter & 0xffffffffn), 4);
  bytes.writeBigUInt64BE(packet.counter, 8);
  bytes[16] = KINDS.indexOf(packet.kind) + 1;
  bytes[17] = (packet.off ? FLAG.off : 0) | (packet.reply ? FLAG.reply : 0) | (STATES.indexOf(packet.state) << 2);
  bytes[18] = held.length;
  bytes.set(packet.instance, 20);
  bytes.set(packet.salt, 28);
  if (packet.peerSalt) bytes.set(packet.peerSalt, 44);
  if (packet.challenge) bytes.set(packet.challenge, 60);
  if (packet.response) bytes.set(packet.response, 68);
  bytes.writeBigUInt64BE(packet.heard, 76);
  held.forEach(({ version, fingerprint }, index) => {
    bytes[FIXED + index * ENTRY] = version;
    bytes.writeUInt32BE(fingerprint, FIXED + index * ENTRY + 4);
  });
  keys.forEach(({ control }, index) => {
    bytes.set(tagOf(bytes.subarray(0, signed), control, from, to), signed + index * TAG);
  });
  return bytes;
}

export function decodeControl(bytes: Uint8Array): ControlPacket | { readonly error: ControlError } {
  if (bytes.length < FIXED) return { error: 'truncated' };
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.readUInt32BE(0) !== CONTROL_SPI) {
    return { error: view[0]! >>> 4 === RANGE.control ? 'unknown-form' : 'malformed' };
  }
  const counter = view.readBigUInt64BE(8);
  const kind = KINDS[view[16]! - 1];
  const flags = view[17]!;
  const state = STATES[(flags >>> 2) & 3];
  const count = view[18]!;
  if (!kind || !state || flags >>> 4 !== 0 || view[19] !== 0 || count > MOST_VERSIONS) return { error: 'malformed' };
  if (counter === 0n || Number(counter & 0xffffffffn) !== view.readUInt32BE(4)) return { error: 'malformed' };
  const length = FIXED + count * (ENTRY + TAG);
  if (bytes.length < length) return { error: 'truncated' };
  if (bytes.length > length) return { error: 'malformed' };
  const held: KeyId[] = [];
  for (let at = FIXED; at < FIXED + count * ENTRY; at += ENTRY) {
    const id = { version: view[at]!, fingerprint: view.readUInt32BE(at + 4) };
    if (id.version === 0 || view.readUIntBE(at + 1, 3) !== 0 || held.some((other) => other.version === id.version)) {
      return { error: 'malformed' };
    }
    held.push(id);
  }
  return {
    kind,
    off: (flags & FLAG.off) !== 0,
    reply: (flags & FLAG.reply) !== 0,
    state,
    counter,
    instance: slice(view, 20, 8),
    salt: slice(view, 28, 16),
    peerSalt: unlessZero(slice(view, 44, 16)),
    challenge: unlessZero(slice(view, 60, 8)),
    response: unlessZero(slice(view, 68, 8)),
    heard: view.readBigUInt64BE(76),
    held,
  };
}

/** `forged`: it claims a version that we hold, and its tag is wrong. */
export type Trust = 'authenticated' | 'unauthenticated' | 'forged';

/** Judges by every version that both hold. `bytes` is what `packet` was decoded from. */
export function judgeControl(
  bytes: Uint8Array,
  packet: ControlPacket,
  keys: readonly ControlKey[],
  from: Address,
  to: Address,
): Trust {
  const signed = FIXED + packet.held.length * ENTRY;
  let trust: Trust = 'unauthenticated';
  for (const [index, id] of packet.held.entries()) {
    const key = keys.find((candidate) => sameKey(candidate.id, id));
    if (!key) continue;
    const at = signed + index * TAG;
    const tag = tagOf(bytes.subarray(0, signed), key.control, from, to);
    if (!timingSafeEqual(tag, bytes.subarray(at, at + TAG))) return 'forged';
    trust = 'authenticated';
  }
  return trust;
}

function tagOf(signed: Uint8Array, control: Uint8Array, from: Address, to: Address): Buffer {
  const hmac = createHmac('sha256', control);
  return hmac.update(wideAddress(from)).update(wideAddress(to)).update(signed).digest().subarray(0, TAG);
}

const slice = (bytes: Buffer, at: number, length: number) => Uint8Array.from(bytes.subarray(at, at + length));
const unlessZero = (bytes: Uint8Array) => (bytes.every((octet) => octet === 0) ? undefined : bytes);
