import { randomBytes } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import * as byThePage from '../../../packages/overlay-worker/test/esp.ts';
import type { Address } from '../../../src/model/address.ts';
import {
  type ControlPacket,
  decodeControl,
  encodeControl,
  judgeControl,
} from '../../../src/vswitch-bridge/encryption/codec/control.ts';
import {
  controlKey,
  type End,
  fingerprintOf,
  trafficKey,
} from '../../../src/vswitch-bridge/encryption/codec/derivation.ts';
import {
  decodePlainEsp,
  encodePlainEsp,
  open,
  seal,
  sealedHeader,
} from '../../../src/vswitch-bridge/encryption/codec/esp.ts';
import type { KeyId } from '../../../src/vswitch-bridge/encryption/codec/identity.ts';
import { ReplayWindow } from '../../../src/vswitch-bridge/encryption/codec/replay-window.ts';
import { encryptedSpi, parseSpi, plainSpi } from '../../../src/vswitch-bridge/encryption/codec/spi.ts';
import { decodeVxlan, encodeVxlan } from '../../../src/vswitch-bridge/encryption/codec/vxlan.ts';

const A = '10.20.1.1' as Address;
const B = '10.20.1.2' as Address;

const octets = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const shortId = fc.record({ version: fc.integer({ min: 0, max: 255 }), fp12: fc.integer({ min: 0, max: 4095 }) });
const indication = fc.record({
  version: fc.integer({ min: 0, max: 255 }),
  fp12: fc.integer({ min: 0, max: 4095 }),
  off: fc.boolean(),
});
const inner = fc.record({
  vni: fc.integer({ min: 0, max: 0xffffff }),
  sourcePort: fc.integer({ min: 0, max: 65535 }),
  frame: fc.uint8Array({ maxLength: 200 }).map((bytes) => Uint8Array.from(bytes)),
});
const sequence = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });

const held = fc.uniqueArray(fc.integer({ min: 1, max: 255 }), { maxLength: 16 }).chain((versions) =>
  fc.tuple(...versions.map(() => octets(32))).map((keys) =>
    versions.map((version, index) => {
      const key = keys[index]!;
      return { id: { version, fingerprint: fingerprintOf(key) } as KeyId, control: controlKey(key) };
    }),
  ),
);
const nonzero = (length: number) => octets(length).filter((bytes) => bytes.some((octet) => octet !== 0));
const control = fc.record({
  kind: fc.constantFrom('hello', 'notification', 'version'),
  off: fc.boolean(),
  reply: fc.boolean(),
  state: fc.constantFrom('valid', 'invalid-notify', 'invalid'),
  counter: sequence,
  instance: octets(8),
  salt: octets(16),
  peerSalt: fc.option(nonzero(16), { nil: undefined }),
  challenge: fc.option(nonzero(8), { nil: undefined }),
  response: fc.option(nonzero(8), { nil: undefined }),
  heard: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
}) as fc.Arbitrary<Omit<ControlPacket, 'held'>>;

test('R0.2 the SPI tells range, version, fingerprint and life', (t) => {
  fc.assert(
    fc.property(shortId, fc.integer({ min: 0, max: 255 }), fc.boolean(), (id, hint, off) => {
      t.deepEqual(parseSpi(encryptedSpi(id, hint)), { range: 'encrypted', ...id, hint });
      t.deepEqual(parseSpi(plainSpi(id, off)), { range: 'plain', ...id, off });
    }),
  );
  t.is(encryptedSpi({ version: 3, fp12: 0xabc }, 0x5e), 0x803abc5e);
  t.is(plainSpi({ version: 255, fp12: 0 }, true), 0x9ff00001);
  for (const spi of [0, 1, 0x70000000, 0xa0000002, 0xb0000001, 0xffffffff]) t.is(parseSpi(spi), undefined);
});

test('R0.2 an encrypted packet comes back as it was sent, and under no other key, header or sequence number', (t) => {
  fc.assert(
    fc.property(shortId, octets(36), sequence, inner, fc.nat(), (id, key, number, packet, where) => {
      const bytes = seal(encryptedSpi(id, 7), key, number, packet);
      t.is((bytes.length - 32) % 4, 0);
      t.deepEqual(sealedHeader(bytes), { spi: encryptedSpi(id, 7), sequence: number });
      const back = open(bytes, key);
      t.false('error' in back);
      if ('error' in back) return;
      t.deepEqual({ ...back, frame: Uint8Array.from(back.frame) }, { ...packet, frame: packet.frame });
      const mutated = Buffer.from(bytes);
      mutated[where % bytes.length]! ^= 1 << (where % 8);
      t.true('error' in open(mutated, key));
      const other = Uint8Array.from(key);
      other[where % 36]! ^= 0x10;
      t.deepEqual(open(bytes, other), { error: 'forged' });
      t.true('error' in open(bytes.subarray(0, where % bytes.length), key));
    }),
    { numRuns: 300 },
  );
});

test("the reference makes the octets that the worker's tests make by the page alone", (t) => {
  fc.assert(
    fc.property(shortId, octets(36), sequence, inner, (id, key, number, packet) => {
      const spi = encryptedSpi(id, 0x5e);
      const written = byThePage.closed(byThePage.innerOf(packet.vni, Buffer.from(packet.frame)));
      const ours = seal(spi, key, number, { ...packet, sourcePort: 50_000 });
      t.deepEqual(ours, byThePage.seal(spi, Buffer.from(key), number, written));
      const plain = encodePlainEsp({ ...id, off: true }, number, { ...packet, sourcePort: 50_000 });
      t.deepEqual(plain, byThePage.wrap(plainSpi(id, true), Number(number & 0xffffffffn), written));
    }),
  );
});

test('R0.2 R0.7 plain packets carry version and indication in both forms', (t) => {
  fc.assert(
    fc.property(indication, sequence, inner, fc.nat(), (said, number, packet, where) => {
      const esp = encodePlainEsp(said, number, packet);
      const back = decodePlainEsp(esp);
      t.false('error' in back);
      if (!('error' in back)) {
        t.deepEqual(back.indication, said);
        t.is(back.sequence, Number(number & 0xffffffffn));
        t.deepEqual(Uint8Array.from(back.packet.frame), packet.frame);
      }
      t.true('error' in decodePlainEsp(esp.subarray(0, where % esp.length)));
      const vxlan = decodeVxlan(encodeVxlan(packet.vni, packet.frame, said));
      t.false('error' in vxlan);
      if (!('error' in vxlan)) t.deepEqual({ vni: vxlan.vni, said: vxlan.indication }, { vni: packet.vni, said });
      const ordinary = decodeVxlan(encodeVxlan(packet.vni, packet.frame, undefined));
      t.false('error' in ordinary || ordinary.indication !== undefined);
    }),
    { numRuns: 300 },
  );
  t.deepEqual(
    encodeVxlan(0x64, Uint8Array.of(0xee), { version: 6, fp12: 0xabc, off: true }),
    Buffer.from('0806abc900006400ee', 'hex'),
  );
});

test('any octets are decoded or refused with a reason, never an exception', (t) => {
  const reasons = new Set<string>();
  const note = (result: object) => {
    if ('error' in result) reasons.add(String(result.error));
  };
  const key = randomBytes(36);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.constantFrom('80000000', '90000000', 'a0000001', 'a0000002', '08000000', ''),
      (bytes, prefix) => {
        const packet = Buffer.concat([Buffer.from(prefix, 'hex'), bytes]);
        for (const result of [open(packet, key), decodePlainEsp(packet), decodeControl(packet), decodeVxlan(packet)]) {
          note(result);
        }
      },
    ),
    { numRuns: 2000 },
  );
  for (const reason of ['truncated', 'malformed', 'unknown-form']) t.true(reasons.has(reason), reason);
});

test('R0.5 control packets: round trip, authentication by any common version, nothing altered is believed', (t) => {
  fc.assert(
    fc.property(control, held, fc.nat(), (fields, keys, where) => {
      const packet: ControlPacket = { ...fields, held: keys.map(({ id }) => id) };
      const bytes = encodeControl(packet, keys, A, B);
      const back = decodeControl(bytes);
      t.deepEqual(back, packet);
      t.is(judgeControl(bytes, packet, keys, A, B), keys.length ? 'authenticated' : 'unauthenticated');
      t.is(judgeControl(bytes, packet, [], A, B), 'unauthenticated');
      if (keys.length === 0) return;
      const one = [keys[where % keys.length]!];
      t.is(judgeControl(bytes, packet, one, A, B), 'authenticated');
      t.is(judgeControl(bytes, packet, one, B, A), 'forged', 'turned round');
      const mutated = Buffer.from(bytes);
      mutated[where % bytes.length]! ^= 1 << (where % 8);
      const read = decodeControl(mutated);
      t.true('error' in read || judgeControl(mutated, read, keys, A, B) !== 'authenticated');
      t.true('error' in decodeControl(bytes.subarray(0, where % bytes.length)));
      t.deepEqual(decodeControl(Buffer.concat([bytes, Buffer.alloc(1)])), { error: 'malformed' });
    }),
    { numRuns: 500 },
  );
});

test('a version listed twice, version 0, counter 0 and more than sixteen are malformed', (t) => {
  const key = new Uint8Array(32).fill(7);
  const id = { version: 1, fingerprint: fingerprintOf(key) };
  const keys = [{ id, control: controlKey(key) }];
  const packet: ControlPacket = {
    kind: 'hello',
    off: false,
    reply: true,
    state: 'valid',
    counter: 1n,
    instance: new Uint8Array(8),
    salt: new Uint8Array(16).fill(1),
    peerSalt: undefined,
    challenge: undefined,
    response: undefined,
    heard: 0n,
    held: [id],
  };
  const bytes = encodeControl(packet, keys, A, B);
  t.throws(() => encodeControl({ ...packet, held: [] }, keys, A, B), { instanceOf: TypeError });
  const twice = encodeControl({ ...packet, held: [id, id] }, [keys[0]!, keys[0]!], A, B);
  t.deepEqual(decodeControl(twice), { error: 'malformed' });
  for (const [offset, value] of [
    [16, 0],
    [16, 4],
    [17, 0x0c],
    [17, 0x10],
    [18, 17],
    [19, 1],
    [84, 0],
    [85, 1],
    [15, 0],
  ] as const) {
    const changed = Buffer.from(bytes);
    changed[offset] = value;
    if (offset === 15) changed.fill(0, 4, 16);
    t.deepEqual(decodeControl(changed), { error: 'malformed' }, `octet ${offset} = ${value}`);
  }
  t.deepEqual(decodeControl(Buffer.concat([Buffer.from('a0000002', 'hex'), bytes.subarray(4)])), {
    error: 'unknown-form',
  });
});

test('R0.1 traffic keys differ by key, version, direction, address, instance and by either salt', (t) => {
  const key = new Uint8Array(32).fill(1);
  const id = { version: 1, fingerprint: fingerprintOf(key) };
  const a: End = { address: A, instance: new Uint8Array(8).fill(1), salt: new Uint8Array(16).fill(3) };
  const b: End = { address: B, instance: new Uint8Array(8).fill(2), salt: new Uint8Array(16).fill(4) };
  const other = new Uint8Array(32).fill(2);
  const all = [
    trafficKey(key, id, a, b),
    trafficKey(key, id, b, a),
    trafficKey(key, { ...id, version: 2 }, a, b),
    trafficKey(other, { version: 1, fingerprint: fingerprintOf(other) }, a, b),
    trafficKey(key, id, { ...a, salt: new Uint8Array(16).fill(5) }, b),
    trafficKey(key, id, a, { ...b, salt: new Uint8Array(16).fill(5) }),
    trafficKey(key, id, { ...a, instance: new Uint8Array(8) }, b),
    trafficKey(key, id, a, { ...b, address: 'fd00::2' as Address }),
  ];
  t.is(new Set(all.map((derived) => Buffer.from(derived.key).toString('hex'))).size, all.length);
  t.deepEqual(trafficKey(key, id, a, b), all[0]);
  t.is(all[0]!.spi >>> 8, 0x800000 | (1 << 12) | (id.fingerprint >>> 20));
});

test('the replay window takes each sequence number once, whatever the order, and none that is too old', (t) => {
  fc.assert(
    fc.property(fc.array(fc.bigInt({ min: 0n, max: 4000n }), { maxLength: 300 }), (numbers) => {
      const window = new ReplayWindow();
      const taken = new Set<bigint>();
      let highest = 0n;
      for (const number of numbers) {
        const fresh = number > 0n && !taken.has(number) && (number > highest || highest - number < 1024n);
        if (window.fresh(number) !== fresh) return false;
        if (!fresh) continue;
        window.accept(number);
        taken.add(number);
        if (number > highest) highest = number;
      }
      return true;
    }),
    { numRuns: 1000 },
  );
  const late = new ReplayWindow();
  late.accept(2n ** 64n - 1n);
  t.false(late.fresh(2n ** 64n - 1n));
  t.true(late.fresh(2n ** 64n - 2n));
});
