/** ESP as the protocol's page has it, by Node's own cryptography: what an attacker, or another implementation, would send. */
import { createCipheriv } from 'node:crypto';

export function innerOf(vni: number, frame: Buffer): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt16BE(50_000, 0);
  head.writeUInt16BE(4789, 2);
  head.writeUInt16BE(16 + frame.length, 4);
  head[8] = 8;
  head.writeUIntBE(vni, 12, 3);
  return Buffer.concat([head, frame]);
}

export function closed(payload: Buffer): Buffer {
  const padding = -(payload.length + 2) & 3;
  return Buffer.concat([payload, Buffer.from([1, 2, 3].slice(0, padding)), Buffer.of(padding, 17)]);
}

export function seal(spi: number, key: Buffer, sequence: bigint, text: Buffer): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt32BE(spi, 0);
  head.writeUInt32BE(Number(sequence & 0xffffffffn), 4);
  head.writeBigUInt64BE(sequence, 8);
  const iv = head.subarray(8);
  const cipher = createCipheriv('aes-256-gcm', key.subarray(0, 32), Buffer.concat([key.subarray(32), iv]));
  cipher.setAAD(Buffer.concat([head.subarray(0, 4), iv]));
  const body = Buffer.concat([cipher.update(text), cipher.final()]);
  return Buffer.concat([head, body, cipher.getAuthTag()]);
}

export function wrap(spi: number, sequence: number, text: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(spi, 0);
  head.writeUInt32BE(sequence, 4);
  return Buffer.concat([head, text]);
}
