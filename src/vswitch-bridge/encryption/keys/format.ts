/**
 * A key at rest, in a file or as the value of an etcd key:
 *
 * ```
 * peerless key 1
 * version 3
 * issued 1763760000000
 * key 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
 * ```
 *
 * Read and written as octets: text of JavaScript can't be zeroed.
 */
import { VERSION_KEY_LENGTH } from '../codec/derivation.ts';
import type { IssuedKey } from './ring.ts';

const HEAD = /^peerless key 1\nversion ([1-9]\d{0,2})\nissued (\d{1,15})\nkey $/;
/** Longest head. */
const HEAD_MOST = 64;

export type FormatError = 'no key of ours' | 'version out of range' | 'a key has 64 hexadecimal digits';

/** The caller zeroes `key` and `bytes`. */
export function parseKey(bytes: Uint8Array): IssuedKey | { readonly error: FormatError } {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const marker = view.subarray(0, HEAD_MOST).indexOf('\nkey ');
  const match = HEAD.exec(marker < 0 ? '' : view.toString('latin1', 0, marker + 5));
  if (!match) return { error: 'no key of ours' };
  const version = Number(match[1]);
  if (version > 255) return { error: 'version out of range' };
  const digits = view.subarray(marker + 5);
  const end = digits[digits.length - 1] === 0x0a ? digits.length - 1 : digits.length;
  const key = new Uint8Array(VERSION_KEY_LENGTH);
  if (end !== VERSION_KEY_LENGTH * 2 || !hexadecimal(digits, key)) {
    key.fill(0);
    return { error: 'a key has 64 hexadecimal digits' };
  }
  return { version, issued: Number(match[2]), key };
}

/** The caller zeroes it. */
export function formatKey({ version, issued, key }: IssuedKey): Buffer {
  const head = Buffer.from(`peerless key 1\nversion ${version}\nissued ${issued}\nkey `, 'latin1');
  const bytes = Buffer.alloc(head.length + key.length * 2 + 1);
  bytes.set(head);
  for (const [index, octet] of key.entries()) {
    bytes[head.length + index * 2] = DIGITS.charCodeAt(octet >>> 4);
    bytes[head.length + index * 2 + 1] = DIGITS.charCodeAt(octet & 15);
  }
  bytes[bytes.length - 1] = 0x0a;
  return bytes;
}

const DIGITS = '0123456789abcdef';

function hexadecimal(digits: Uint8Array, key: Uint8Array): boolean {
  for (let index = 0; index < key.length; index++) {
    const high = digit(digits[index * 2]!);
    const low = digit(digits[index * 2 + 1]!);
    if (high < 0 || low < 0) return false;
    key[index] = (high << 4) | low;
  }
  return true;
}

function digit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  if (code >= 0x61 && code <= 0x66) return code - 0x57;
  return -1;
}
