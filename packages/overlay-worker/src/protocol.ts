/**
 * What passes the worker's Unix socket, as native/control.h and native/commands.c have it: little-endian frames of length,
 * type, id and body. Addresses are in network order.
 */
import { endianness } from 'node:os';

export const LAYOUT_VERSION = 3;

export const COMMAND = {
  hello: 1,
  settings: 2,
  networkSet: 3,
  networkDelete: 4,
  peerAdd: 5,
  peerRemove: 6,
  sendSet: 7,
  receiveAdd: 8,
  receiveRemove: 9,
  receiveArm: 10,
  acceptPlain: 11,
  memo: 12,
  control: 13,
  memberSet: 14,
  fdbSet: 15,
  fdbList: 16,
  peers: 17,
  stop: 18,
} as const;
export type CommandName = keyof typeof COMMAND;

export const MESSAGE = { result: 0x81, event: 0x82, packet: 0x83 } as const;
export const EVENT = { unreadable: 1, readable: 2, forged: 3, plain: 4, held: 5, networkLost: 6 } as const;
export const MODE = { drop: 0, hold: 1, encrypt: 2, plain: 3 } as const;

const HEADER = 12;
/** The worker closes a connection that sends more in one frame. */
const LONGEST = 16 << 20;

if (endianness() !== 'LE') throw new Error('overlay-worker: little-endian machines only');

export function frame(type: number, id: number, parts: readonly Uint8Array[]): Buffer {
  const head = Buffer.alloc(HEADER);
  head.writeUInt32LE(
    parts.reduce((sum, part) => sum + part.length, HEADER),
    0,
  );
  head.writeUInt16LE(type, 4);
  head.writeUInt32LE(id, 8);
  return Buffer.concat([head, ...parts]);
}

export function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => {
    bytes.writeUInt32LE(value >>> 0, index * 4);
  });
  return bytes;
}

/** A device's name in 16 octets. @throws TypeError when it is too long */
export function deviceName(name: string): Buffer {
  const bytes = Buffer.alloc(16);
  if (Buffer.byteLength(name) > 15) throw new TypeError(`a device's name has at most 15 octets: ${name}`);
  bytes.write(name, 'latin1');
  return bytes;
}

/** @throws TypeError */
export function ipv4Bytes(address: string): Buffer {
  const parts = address.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255)) {
    throw new TypeError(`the worker's underlay is IPv4, this is not: ${address}`);
  }
  return Buffer.from(parts);
}

/** @throws TypeError */
export function macBytes(mac: string): Buffer {
  const bytes = Buffer.from(mac.replaceAll(':', ''), 'hex');
  if (bytes.length !== 6) throw new TypeError(`not a MAC address: ${mac}`);
  return bytes;
}

export interface Frame {
  readonly type: number;
  readonly id: number;
  readonly body: Buffer;
}

/** Cuts a stream into frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** undefined: what came is not this protocol. */
  push(chunk: Buffer): Frame[] | undefined {
    const bytes = this.#rest.length ? Buffer.concat([this.#rest, chunk]) : chunk;
    const frames: Frame[] = [];
    let at = 0;
    while (bytes.length - at >= HEADER) {
      const length = bytes.readUInt32LE(at);
      if (length < HEADER || length > LONGEST) return undefined;
      if (bytes.length - at < length) break;
      frames.push({
        type: bytes.readUInt16LE(at + 4),
        id: bytes.readUInt32LE(at + 8),
        body: bytes.subarray(at + HEADER, at + length),
      });
      at += length;
    }
    this.#rest = bytes.subarray(at);
    return frames;
  }
}
