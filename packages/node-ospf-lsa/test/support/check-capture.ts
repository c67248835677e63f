import type { ExecutionContext } from 'ava';
import type { Authentication } from '../../src/index.ts';
import { encodeLsa, encodePacket, lsaChecksumValid, trailerLength } from '../../src/index.ts';
import { decodeCapture, lsasOf } from './describe.ts';

/**
 * The promises about real packets: all decode, no LSA is rejected, every LSA checksum verifies, and both the packets
 * and the LSAs, encoded again from their values, give the bytes that came.
 */
export function checkCapture(t: ExecutionContext, pcap: Uint8Array, authentication: Authentication): void {
  const seen = decodeCapture(pcap, authentication);
  t.true(seen.length > 10, `only ${seen.length} packets`);
  for (const { packet, bytes } of seen) {
    if (packet.type === 4) t.deepEqual(packet.rejected, []);
    const again = encodePacket(packet, authentication);
    const length = ((bytes[2]! << 8) | bytes[3]!) + trailerLength(authentication);
    t.deepEqual(hex(again), hex(bytes.subarray(0, length)));
  }
  const lsas = lsasOf(seen);
  t.true(lsas.length > 0);
  for (const { header, body, raw } of lsas) {
    t.true(lsaChecksumValid(raw));
    t.deepEqual(encodeLsa(header, body), { header, body, raw });
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
