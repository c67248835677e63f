import test from 'ava';
import fc from 'fast-check';
import type { AuthenticationSection } from '../../src/bfd/codec/authentication.ts';
import { type ControlPacket, decodePacket, encodePacket, type PacketError } from '../../src/bfd/codec/packet.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const octets = (least: number, most: number) => fc.uint8Array({ minLength: least, maxLength: most });
const keyId = fc.integer({ min: 0, max: 255 });
const digest = (type: Exclude<AuthenticationSection['type'], 'simple'>, length: number) =>
  fc.record({ type: fc.constant(type), keyId, sequence: u32, digest: octets(length, length) });
const authentication: fc.Arbitrary<AuthenticationSection> = fc.oneof(
  fc.record({ type: fc.constant('simple' as const), keyId, password: octets(1, 16) }),
  digest('md5', 16),
  digest('meticulous-md5', 16),
  digest('sha1', 20),
  digest('meticulous-sha1', 20),
);
const packets: fc.Arbitrary<ControlPacket> = fc
  .record({
    diagnostic: fc.integer({ min: 0, max: 31 }),
    state: fc.constantFrom('AdminDown' as const, 'Down' as const, 'Init' as const, 'Up' as const),
    poll: fc.boolean(),
    final: fc.boolean(),
    controlPlaneIndependent: fc.boolean(),
    demand: fc.boolean(),
    detectMult: fc.integer({ min: 1, max: 255 }),
    myDiscriminator: fc.integer({ min: 1, max: 0xffff_ffff }),
    yourDiscriminator: fc.integer({ min: 1, max: 0xffff_ffff }),
    desiredMinTxInterval: u32,
    requiredMinRxInterval: u32,
    requiredMinEchoRxInterval: u32,
    authentication: fc.option(authentication, { nil: undefined }),
  })
  .map(({ authentication, ...packet }) => (authentication ? { ...packet, authentication } : packet));

test('what is written is read, whatever stands behind it', (t) => {
  fc.assert(
    fc.property(packets, octets(0, 8), (packet, behind) => {
      const bytes = encodePacket(packet);
      t.deepEqual(decodePacket(Uint8Array.from([...bytes, ...behind])), packet);
    }),
  );
});

test('no octets whatever make it throw, and what is read can be written again', (t) => {
  const mutated = fc.tuple(packets, fc.array(fc.tuple(fc.nat(60), keyId), { maxLength: 4 }), fc.nat(60));
  fc.assert(
    fc.property(fc.oneof(octets(0, 64), mutated), (input) => {
      let bytes: Uint8Array;
      if (input instanceof Uint8Array) bytes = input;
      else {
        const [packet, changes, length] = input;
        bytes = encodePacket(packet);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        bytes = bytes.subarray(0, length);
      }
      const packet = decodePacket(bytes);
      if (typeof packet === 'string') return;
      t.deepEqual(decodePacket(encodePacket(packet)), packet);
    }),
    { numRuns: 2_000 },
  );
});

const good = (): Uint8Array =>
  encodePacket({
    diagnostic: 3,
    state: 'Up',
    poll: true,
    final: false,
    controlPlaneIndependent: false,
    demand: false,
    detectMult: 3,
    myDiscriminator: 0x01020304,
    yourDiscriminator: 0x0a0b0c0d,
    desiredMinTxInterval: 100_000,
    requiredMinRxInterval: 50_000,
    requiredMinEchoRxInterval: 0,
  });

test('the octets of RFC 5880 §4.1', (t) => {
  t.is(
    Buffer.from(good()).toString('hex'),
    '23e00318' + '01020304' + '0a0b0c0d' + '000186a0' + '0000c350' + '00000000',
  );
});

const changed = (...changes: [number, number][]): Uint8Array => {
  const bytes = Buffer.concat([good(), Buffer.alloc(32)]);
  for (const [at, value] of changes) bytes[at] = value;
  return bytes;
};

const MISTAKES: readonly [PacketError, Uint8Array][] = [
  ['short', good().subarray(0, 23)],
  ['version', changed([0, 0x43])],
  ['length', changed([3, 23])],
  ['length', changed([3, 57])],
  ['length', changed([1, 0xe4], [3, 25])],
  ['detect-mult-zero', changed([2, 0])],
  ['multipoint', changed([1, 0xe1])],
  ['my-discriminator-zero', changed([4, 0], [5, 0], [6, 0], [7, 0])],
  ['your-discriminator-zero', changed([8, 0], [9, 0], [10, 0], [11, 0])],
  ['authentication-type', changed([1, 0xe4], [3, 28], [24, 9], [25, 4])],
  ['authentication-length', changed([1, 0xe4], [3, 28], [24, 1], [25, 5])],
  ['authentication-length', changed([1, 0xe4], [3, 27], [24, 1], [25, 3])],
  ['authentication-length', changed([1, 0xe4], [3, 44], [24, 1], [25, 20])],
  ['authentication-length', changed([1, 0xe4], [3, 52], [24, 2], [25, 28])],
];

for (const [index, [reason, bytes]] of MISTAKES.entries()) {
  test(`mistake ${index}: ${reason}`, (t) => t.is(decodePacket(bytes), reason));
}

test('a discriminator of ours is not needed to say that one is Down', (t) => {
  const zero: [number, number][] = [8, 9, 10, 11].map((at) => [at, 0]);
  t.like(decodePacket(changed([1, 0x40], ...zero)), { state: 'Down', yourDiscriminator: 0 });
  t.is(decodePacket(changed([1, 0x80], ...zero)), 'your-discriminator-zero');
});
