/**
 * ESP in UDP: encrypted (RFC 4303, AES-256-GCM of RFC 4106, extended sequence numbers) and with NULL encryption.
 *
 * This is the reference: the worker's native code is held against it. Bytes are the payload of a UDP packet (RFC 3948).
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { Indication, TrafficKey } from '../worker-face.ts';
import { parseSpi, plainSpi } from './spi.ts';
import { decodeInner, encodeInner, type InnerPacket } from './vxlan.ts';

const HEADER = 8;
const IV = 8;
const ICV = 16;
const NEXT_HEADER_UDP = 17;
const AES_KEY = 32;

export type EspError =
  | 'truncated'
  /** Not the SPI range that was asked for. */
  | 'unknown-form'
  | 'forged'
  | 'malformed';

/** `sequence`: 64 bits, never used before under this key. */
export function seal(spi: number, key: TrafficKey, sequence: bigint, packet: InnerPacket): Buffer {
  const plain = withTrailer(encodeInner(packet));
  const head = Buffer.alloc(HEADER + IV);
  head.writeUInt32BE(spi, 0);
  head.writeUInt32BE(Number(sequence & 0xffffffffn), 4);
  head.writeBigUInt64BE(sequence, 8);
  const iv = head.subarray(HEADER);
  const cipher = createCipheriv('aes-256-gcm', key.subarray(0, AES_KEY), Buffer.concat([key.subarray(AES_KEY), iv]));
  cipher.setAAD(additionalData(spi, sequence));
  const body = cipher.update(plain);
  cipher.final();
  return Buffer.concat([head, body, cipher.getAuthTag()]);
}

/** What a receiver reads before it knows the key. */
export function sealedHeader(
  bytes: Uint8Array,
): { readonly spi: number; readonly sequence: bigint } | { readonly error: EspError } {
  if (bytes.length < HEADER + IV + 2 + ICV) return { error: 'truncated' };
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const spi = view.readUInt32BE(0);
  if (parseSpi(spi)?.range !== 'encrypted') return { error: 'unknown-form' };
  const sequence = view.readBigUInt64BE(HEADER);
  if (Number(sequence & 0xffffffffn) !== view.readUInt32BE(4)) return { error: 'malformed' };
  return { spi, sequence };
}

export function open(bytes: Uint8Array, key: TrafficKey): InnerPacket | { readonly error: EspError } {
  const header = sealedHeader(bytes);
  if ('error' in header) return header;
  const iv = bytes.subarray(HEADER, HEADER + IV);
  const decipher = createDecipheriv(
    'aes-256-gcm',
    key.subarray(0, AES_KEY),
    Buffer.concat([key.subarray(AES_KEY), iv]),
    { authTagLength: ICV },
  );
  decipher.setAAD(additionalData(header.spi, header.sequence));
  decipher.setAuthTag(bytes.subarray(bytes.length - ICV));
  const plain = decipher.update(bytes.subarray(HEADER + IV, bytes.length - ICV));
  try {
    decipher.final();
  } catch (error) {
    // The one way in which node:crypto says that the ICV does not fit; it has no code.
    if (error instanceof Error && error.message.includes('unable to authenticate')) return { error: 'forged' };
    throw error;
  }
  return inside(plain);
}

/** Form (b). `sequence`: its low 32 bits travel. */
export function encodePlainEsp(indication: Indication, sequence: bigint, packet: InnerPacket): Buffer {
  const head = Buffer.alloc(HEADER);
  head.writeUInt32BE(plainSpi(indication, indication.off), 0);
  head.writeUInt32BE(Number(sequence & 0xffffffffn), 4);
  return Buffer.concat([head, withTrailer(encodeInner(packet))]);
}

export interface PlainEsp {
  readonly indication: Indication;
  /** Low 32 bits. */
  readonly sequence: number;
  readonly packet: InnerPacket;
}

export function decodePlainEsp(bytes: Uint8Array): PlainEsp | { readonly error: EspError } {
  if (bytes.length < HEADER + 2) return { error: 'truncated' };
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const spi = parseSpi(view.readUInt32BE(0));
  if (spi?.range !== 'plain') return { error: 'unknown-form' };
  const packet = inside(view.subarray(HEADER));
  if ('error' in packet) return packet;
  const { version, fp12, off } = spi;
  return { indication: { version, fp12, off }, sequence: view.readUInt32BE(4), packet };
}

/** RFC 4106 §5. */
function additionalData(spi: number, sequence: bigint): Buffer {
  const data = Buffer.alloc(12);
  data.writeUInt32BE(spi, 0);
  data.writeBigUInt64BE(sequence, 4);
  return data;
}

/** RFC 4303 §2.4: padding 1, 2, 3 ... so that pad length and next header end on a multiple of four. */
function withTrailer(payload: Buffer): Buffer {
  const padding = -(payload.length + 2) & 3;
  const bytes = Buffer.alloc(payload.length + padding + 2);
  bytes.set(payload);
  for (let index = 0; index < padding; index++) bytes[payload.length + index] = index + 1;
  bytes[bytes.length - 2] = padding;
  bytes[bytes.length - 1] = NEXT_HEADER_UDP;
  return bytes;
}

function inside(bytes: Buffer): InnerPacket | { readonly error: EspError } {
  if (bytes.length < 2) return { error: 'truncated' };
  const padding = bytes[bytes.length - 2]!;
  const end = bytes.length - 2 - padding;
  if (end < 0 || bytes[bytes.length - 1] !== NEXT_HEADER_UDP) return { error: 'malformed' };
  for (let index = 0; index < padding; index++) if (bytes[end + index] !== index + 1) return { error: 'malformed' };
  return decodeInner(bytes.subarray(0, end));
}
