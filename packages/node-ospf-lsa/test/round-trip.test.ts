import test from 'ava';
import fc from 'fast-check';
import {
  compareInstances,
  decodeLsa,
  decodeLsaHeader,
  decodePacket,
  encodeLsa,
  encodePacket,
  lsaWithAge,
  packUpdates,
  trailerLength,
  withAge,
} from '../src/index.ts';
import { anyPacket, authentication, lsa, lsaInput, lsaTypes, packets } from './support/arbitraries.ts';

for (const type of lsaTypes) {
  test(`an LSA of type ${type} comes back from its bytes as it was`, (t) => {
    fc.assert(
      fc.property(lsaInput(type), fc.uint8Array({ maxLength: 8 }), ([fields, body], behind) => {
        const made = encodeLsa(fields, body);
        t.like(made.header, fields);
        t.is(made.header.length, made.raw.length);
        t.deepEqual(decodeLsa(made.raw), { ok: true, value: made });
        t.deepEqual(decodeLsa(Buffer.concat([made.raw, behind])), { ok: true, value: made });
        t.deepEqual(decodeLsaHeader(made.raw.subarray(0, 20)), { ok: true, value: made.header });
      }),
    );
    t.pass();
  });
}

for (const [name, packet] of Object.entries(packets)) {
  test(`a ${name} comes back from its bytes as it was, however it is signed`, (t) => {
    fc.assert(
      fc.property(packet, authentication, fc.nat(0xffffffff), (sent, key, sequence) => {
        const bytes = encodePacket(sent, key, sequence);
        const decoded = decodePacket(bytes, { authentication: key });
        if (!decoded.ok) throw new Error(`${decoded.reason}: ${decoded.detail}`);
        const crypto = trailerLength(key) > 0 && key.type !== 'none' && key.type !== 'simple';
        const expected = {
          ...sent,
          authType: crypto ? 2 : key.type === 'simple' ? 1 : 0,
          ...(crypto ? { keyId: key.keyId, cryptoSequence: sequence } : {}),
          ...(sent.type === 4 ? { rejected: [] } : {}),
        };
        t.deepEqual(decoded.value, expected as typeof decoded.value);
        t.deepEqual(encodePacket(decoded.value, key), bytes);
      }),
    );
    t.pass();
  });
}

test('an LLS block, or any octets, behind a packet change nothing (RFC 5613)', (t) => {
  fc.assert(
    fc.property(anyPacket, authentication, fc.uint8Array({ maxLength: 40 }), (sent, key, behind) => {
      const bytes = encodePacket(sent, key);
      const options = { authentication: key };
      t.deepEqual(decodePacket(Buffer.concat([bytes, behind]), options), decodePacket(bytes, options));
    }),
  );
  t.pass();
});

test('packUpdates: every LSA once, in order, no packet over the limit, none that the next LSA would have fitted', (t) => {
  fc.assert(
    fc.property(
      fc.array(lsa, { maxLength: 40 }),
      authentication,
      fc.integer({ min: 64, max: 1480 }),
      (lsas, key, max) => {
        const raws = lsas.map(({ raw }) => raw);
        const sent = packUpdates(raws, max, { routerId: 1, areaId: 2, cryptoSequence: 3 }, key);
        const came = sent.map((bytes) => {
          const decoded = decodePacket(bytes, { authentication: key });
          if (!decoded.ok || decoded.value.type !== 4) throw new Error('not an update');
          t.deepEqual(decoded.value.rejected, []);
          t.like(decoded.value, { routerId: 1, areaId: 2 });
          return decoded.value.lsas.map(({ raw }) => raw);
        });
        t.deepEqual(came.flat(), raws);
        for (const [index, bytes] of sent.entries()) {
          t.true(bytes.length <= max || came[index]!.length === 1);
          const next = came[index + 1]?.[0];
          if (next) t.true(bytes.length + next.length > max);
        }
      },
    ),
  );
  t.pass();
});

test('packUpdates adds InfTransDelay to the ages, up to MaxAge, and leaves the LSAs given untouched', (t) => {
  const fields = { options: 2, type: 10, linkStateId: 1, advertisingRouter: 1, sequence: 1 };
  const ages = [0, 3598, 3600, 0x8000, 0x8e0f];
  const raws = ages.map((age) => encodeLsa({ ...fields, age }, { kind: 'opaque', data: new Uint8Array(4) }).raw);
  const before = raws.map((raw) => Buffer.from(raw));
  const [bytes] = packUpdates(raws, 1480, { routerId: 1, areaId: 0, transmitDelay: 3 });
  const decoded = decodePacket(bytes!);
  if (!decoded.ok || decoded.value.type !== 4) return t.fail();
  t.deepEqual(
    decoded.value.lsas.map(({ header }) => header.age),
    [3, 3600, 3600, 0x8003, 0x8e10],
  );
  t.deepEqual(decoded.value.rejected, []);
  t.deepEqual(
    raws.map((raw) => Buffer.from(raw)),
    before,
  );
});

test('another age is the same instance with a valid checksum', (t) => {
  fc.assert(
    fc.property(lsa, fc.nat(3600), (original, age) => {
      const aged = lsaWithAge(original, age);
      t.deepEqual(decodeLsa(aged.raw), { ok: true, value: aged });
      t.is(aged.header.age, age);
      t.deepEqual(withAge(aged.raw, original.header.age), original.raw);
      t.is(compareInstances(aged.header, lsaWithAge(original, age).header), 0);
    }),
  );
  t.pass();
});

test('what cannot be put on the wire is refused as the mistake it is', (t) => {
  const header = { age: 0, options: 0, type: 5, linkStateId: 0, advertisingRouter: 0, sequence: 0 };
  const opaque = { kind: 'opaque' as const, data: new Uint8Array(65_536) };
  t.throws(() => encodeLsa(header, opaque), { instanceOf: TypeError });
  t.throws(() => encodeLsa({ ...header, type: 10 }, opaque), { instanceOf: RangeError });
  const request = { routerId: 1, areaId: 0, type: 3 as const, requests: [] };
  t.throws(() => encodePacket(request, { type: 'simple', password: 'nine char' }), { instanceOf: RangeError });
  const md5 = { type: 'md5' as const, keyId: 1, secret: new Uint8Array(17) };
  t.throws(() => encodePacket(request, md5), { instanceOf: RangeError });
  t.throws(() => encodePacket(request, { ...md5, secret: new Uint8Array() }), { instanceOf: RangeError });
  t.throws(() => encodePacket(request, { ...md5, secret: new Uint8Array(1), keyId: 256 }), { instanceOf: RangeError });
  const key = { type: 0, linkStateId: 0, advertisingRouter: 0 };
  t.throws(() => encodePacket({ ...request, requests: new Array(5500).fill(key) }), { instanceOf: RangeError });
});
