/** From a version key to what is used: HKDF-SHA256 (RFC 5869) with a purpose of its own for each. */
import { hkdfSync } from 'node:crypto';
import { type Address, addressBytes } from '../../../model/address.ts';
import { type KeyId, shorten } from './identity.ts';
import { encryptedSpi } from './spi.ts';

export const VERSION_KEY_LENGTH = 32;
export const SALT_LENGTH = 16;
export const INSTANCE_LENGTH = 8;
const TRAFFIC_KEY_LENGTH = 36;

const NONE = new Uint8Array(0);

export function fingerprintOf(key: Uint8Array): number {
  return Buffer.from(hkdfSync('sha256', key, NONE, 'peerless fingerprint 1', 4)).readUInt32BE(0);
}

/** Authenticates control packets. */
export function controlKey(key: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, NONE, 'peerless control 1', 32));
}

/** One end of a pair, in one life. */
export interface End {
  readonly address: Address;
  /** 8 octets. */
  readonly instance: Uint8Array;
  /** 16 octets. */
  readonly salt: Uint8Array;
}

/** The key of one direction. `key` is 36 octets and the caller's to zero. */
export function trafficKey(
  key: Uint8Array,
  id: KeyId,
  sender: End,
  receiver: End,
): { readonly spi: number; readonly key: Uint8Array } {
  const identity = Buffer.alloc(5);
  identity[0] = id.version;
  identity.writeUInt32BE(id.fingerprint, 1);
  const info = Buffer.concat([
    Buffer.from('peerless esp 1', 'ascii'),
    identity,
    wideAddress(sender.address),
    wideAddress(receiver.address),
    sender.instance,
    receiver.instance,
  ]);
  const salt = Buffer.concat([sender.salt, receiver.salt]);
  const okm = new Uint8Array(hkdfSync('sha256', key, salt, info, TRAFFIC_KEY_LENGTH + 1));
  const traffic = okm.slice(0, TRAFFIC_KEY_LENGTH);
  const hint = okm[TRAFFIC_KEY_LENGTH]!;
  okm.fill(0);
  return { spi: encryptedSpi(shorten(id), hint), key: traffic };
}

/** 16 octets; IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2). */
export function wideAddress(address: Address): Uint8Array {
  const bytes = addressBytes(address);
  if (bytes.length === 16) return bytes;
  const wide = new Uint8Array(16);
  wide[10] = 0xff;
  wide[11] = 0xff;
  wide.set(bytes, 12);
  return wide;
}
