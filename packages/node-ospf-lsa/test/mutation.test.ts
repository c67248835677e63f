/** What a hostile or broken sender can put on the wire: the answer is a value or a typed error, never an exception. */
import test from 'ava';
import fc from 'fast-check';
import type { Authentication, DecodeError } from '../src/index.ts';
import { decodeLsa, decodeLsaHeader, decodePacket, encodePacket, packetChecksum } from '../src/index.ts';
import { anyPacket, authentication, lsa, packets } from './support/arbitraries.ts';

const reasons: readonly DecodeError['reason'][] = [
  'truncated',
  'bad-version',
  'bad-type',
  'bad-length',
  'bad-checksum',
  'bad-lsa-checksum',
  'bad-lsa-length',
  'bad-auth',
  'bad-value',
];

/** Octets changed, cut off, put behind; and 16-bit fields set to the values that lengths and counts fear most. */
const damage = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('flip' as const), at: fc.nat(), bits: fc.integer({ min: 1, max: 255 }) }),
    fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
    fc.record({ kind: fc.constant('grow' as const), data: fc.uint8Array({ minLength: 1, maxLength: 50 }) }),
    fc.record({
      kind: fc.constant('word' as const),
      at: fc.nat(),
      value: fc.constantFrom(0, 1, 19, 20, 21, 0x7fff, 0x8000, 0xffff),
    }),
  ),
  { minLength: 1, maxLength: 5 },
);

function apply(bytes: Uint8Array, list: typeof damage extends fc.Arbitrary<infer T> ? T : never): Uint8Array {
  let result = Uint8Array.from(bytes);
  for (const item of list) {
    if (item.kind === 'grow') result = Uint8Array.from(Buffer.concat([result, item.data]));
    else if (item.kind === 'cut') result = result.slice(0, item.at % (result.length + 1));
    else if (result.length >= 2) {
      const at = item.at % (result.length - 1);
      if (item.kind === 'flip') result[at]! ^= item.bits;
      else result.set([item.value >> 8, item.value & 255], at);
    }
  }
  return result;
}

/** Makes the outer shell right again, so that the damage gets past the packet checksum and the length field. */
function reseal(bytes: Uint8Array, fixLength: boolean): Uint8Array {
  if (bytes.length < 24) return bytes;
  const result = Uint8Array.from(bytes);
  result[0] = 2;
  if (fixLength) result.set([result.length >> 8, result.length & 255], 2);
  result.set([0, 0, 0, 0], 12);
  const length = Math.min((result[2]! << 8) | result[3]!, result.length);
  const checksum = packetChecksum(result, length);
  result.set([checksum >> 8, checksum & 255], 12);
  return result;
}

function settled(bytes: Uint8Array, key?: Authentication): boolean {
  const result = decodePacket(bytes, key ? { authentication: key } : {});
  if (!result.ok) return reasons.includes(result.reason) && result.detail.length > 0;
  if (result.value.type !== 4) return true;
  const { lsas, rejected } = result.value;
  const octets = lsas.reduce((sum, { raw }) => sum + raw.length, 0);
  return octets <= bytes.length && rejected!.length <= bytes.length / 20 + 1;
}

for (const [name, packet] of Object.entries(packets)) {
  test(`a damaged ${name} is a value or a typed error`, (t) => {
    fc.assert(
      fc.property(packet, authentication, damage, (sent, key, list) =>
        settled(apply(encodePacket(sent, key), list), key),
      ),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(packet, damage, fc.boolean(), (sent, list, fixLength) =>
        settled(reseal(apply(encodePacket(sent), list), fixLength)),
      ),
      { numRuns: 2000 },
    );
    t.pass();
  });
}

test('random octets are a value or a typed error', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), authentication, (bytes, key) => {
      const inRange = decodeLsaHeader(bytes).ok === bytes.length >= 20;
      const answer = decodeLsa(bytes);
      return settled(bytes) && settled(reseal(bytes, true), key) && inRange && (answer.ok || answer.detail.length > 0);
    }),
    { numRuns: 3000 },
  );
  t.pass();
});

test('a damaged packet never passes a cryptographic key', (t) => {
  fc.assert(
    fc.property(anyPacket, authentication, fc.nat(), fc.integer({ min: 1, max: 255 }), (sent, key, at, bits) => {
      fc.pre(key.type !== 'none' && key.type !== 'simple');
      const bytes = encodePacket(sent, key, 1);
      bytes[at % bytes.length]! ^= bits;
      return !decodePacket(bytes, { authentication: key }).ok;
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

test('one damaged octet of an LSA is always noticed, except in its age', (t) => {
  fc.assert(
    fc.property(lsa, fc.nat(), fc.integer({ min: 1, max: 255 }), ({ raw }, position, bits) => {
      const at = 2 + (position % (raw.length - 2));
      const damaged = Uint8Array.from(raw);
      damaged[at]! ^= bits;
      // 0 and 255 are the same number to Fletcher's sums.
      fc.pre(!(raw[at]! % 255 === 0 && damaged[at]! % 255 === 0));
      return !decodeLsa(damaged).ok;
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test('counts and lengths that lie cost no more than the octets that came', (t) => {
  const update = encodePacket({ routerId: 1, areaId: 0, type: 4, lsas: [] });
  update.set([0xff, 0xff, 0xff, 0xff], 24);
  const result = decodePacket(reseal(update, true));
  if (!result.ok || result.value.type !== 4) return t.fail();
  t.deepEqual(result.value.lsas, []);
  t.deepEqual(
    result.value.rejected!.map(({ reason }) => reason),
    ['truncated'],
  );
});
