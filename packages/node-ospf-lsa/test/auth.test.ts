import { createHash } from 'node:crypto';
import test from 'ava';
import type { Authentication, OutgoingPacket } from '../src/index.ts';
import { authenticationProblem, decodePacket, encodePacket, trailerLength } from '../src/index.ts';

const request: OutgoingPacket = { routerId: 0x0aff0001, areaId: 0, type: 3, requests: [] };

/** RFC 5709 §3.3, step by step, from a hash function alone. */
function rfc5709(name: string, blockLength: number, packet: Uint8Array, secret: Uint8Array): Uint8Array {
  const digest = (...parts: Uint8Array[]) => createHash(name).update(Buffer.concat(parts)).digest();
  const length = digest().length;
  const key = new Uint8Array(blockLength);
  key.set(secret.length > length ? digest(secret) : secret);
  const apad = Uint8Array.from({ length }, (_, index) => [0x87, 0x8f, 0xe1, 0xf3][index % 4]!);
  const inner = digest(
    Uint8Array.from(key, (octet) => octet ^ 0x36),
    packet,
    apad,
  );
  return digest(
    Uint8Array.from(key, (octet) => octet ^ 0x5c),
    inner,
  );
}

const hmacs = [
  ['hmac-sha-1', 'sha1', 64, 20],
  ['hmac-sha-256', 'sha256', 64, 32],
  ['hmac-sha-384', 'sha384', 128, 48],
  ['hmac-sha-512', 'sha512', 128, 64],
] as const;

for (const [type, name, blockLength, digestLength] of hmacs) {
  // Around the digest's length, where RFC 5709 hashes the key, and around the block's, where plain HMAC would.
  for (const size of [1, digestLength, digestLength + 1, blockLength, blockLength + 1]) {
    test(`RFC 5709 §3.3: ${type} with a key of ${size} octets`, (t) => {
      const secret = Uint8Array.from({ length: size }, (_, index) => index * 7 + 1);
      const bytes = encodePacket(request, { type, keyId: 9, secret }, 0x01020304);
      t.is(bytes.length, 24 + digestLength);
      t.deepEqual([...bytes.subarray(12, 24)], [0, 0, 0, 2, 0, 0, 9, digestLength, 1, 2, 3, 4]);
      t.deepEqual(
        Buffer.from(bytes.subarray(24)),
        Buffer.from(rfc5709(name, blockLength, bytes.subarray(0, 24), secret)),
      );
    });
  }
}

for (const size of [1, 8, 16]) {
  test(`RFC 2328 §D.4.3: MD5 with a key of ${size} octets, padded with zeros`, (t) => {
    const secret = Uint8Array.from({ length: size }, (_, index) => index + 65);
    const bytes = encodePacket(request, { type: 'md5', keyId: 255, secret }, 0xffffffff);
    const key = new Uint8Array(16);
    key.set(secret);
    const expected = createHash('md5').update(bytes.subarray(0, 24)).update(key).digest();
    t.deepEqual([...bytes.subarray(12, 24)], [0, 0, 0, 2, 0, 0, 255, 16, 255, 255, 255, 255]);
    t.deepEqual(Buffer.from(bytes.subarray(24)), expected);
  });
}

test('RFC 2328 §D.4.2: the simple password stands in the clear, outside the checksum', (t) => {
  const open = encodePacket(request);
  const bytes = encodePacket(request, { type: 'simple', password: 'peer' });
  t.is(Buffer.from(bytes.subarray(16, 24)).toString('latin1'), 'peer\0\0\0\0');
  // AuType 1 instead of 0 lowers the complement by one.
  t.is((bytes[12]! << 8) | bytes[13]!, ((open[12]! << 8) | open[13]!) - 1);
});

const md5 = (keyId: number, text: string): Authentication => ({ type: 'md5', keyId, secret: Buffer.from(text) });
const none: Authentication = { type: 'none' };
const simple = (password: string): Authentication => ({ type: 'simple', password });

const rows: readonly (readonly [string, Authentication, Authentication | readonly Authentication[], boolean])[] = [
  ['nothing asked, nothing given', none, none, true],
  ['nothing asked, password given', simple('a'), none, false],
  ['nothing asked, digest given', md5(1, 'a'), none, false],
  ['password asked, nothing given', none, simple('a'), false],
  ['the password', simple('peerless'), simple('peerless'), true],
  ['the beginning of the password', simple('peerles'), simple('peerless'), false],
  ['a password that is too long to be sent', simple('peerless'), simple('peerless2'), false],
  ['digest asked, nothing given', none, md5(1, 'a'), false],
  ['the key', md5(1, 'a'), md5(1, 'a'), true],
  ['the key under another id', md5(1, 'a'), md5(2, 'a'), false],
  ['another key under the id', md5(1, 'a'), md5(1, 'b'), false],
  ['one of two keys (rollover, §D.3)', md5(2, 'b'), [md5(1, 'a'), md5(2, 'b')], true],
  ['the id of one and the secret of the other', md5(2, 'a'), [md5(1, 'a'), md5(2, 'b')], false],
  ['two keys under one id', md5(1, 'b'), [md5(1, 'a'), md5(1, 'b')], true],
  ['no key at all accepted', none, [], false],
  ['an unusable key configured', md5(1, 'a'), md5(1, ''), false],
];

for (const [name, given, asked, accepted] of rows) {
  test(`authentication: ${name} is ${accepted ? 'accepted' : 'refused'}`, (t) => {
    const result = decodePacket(encodePacket(request, given, 5), { authentication: asked });
    if (accepted) t.true(result.ok);
    else t.like(result, { ok: false, reason: 'bad-auth' });
  });
}

test('a replayed packet with a raised sequence number does not verify', (t) => {
  const bytes = encodePacket(request, md5(1, 'a'), 5);
  t.like(decodePacket(bytes), { ok: true, value: { keyId: 1, cryptoSequence: 5 } });
  bytes[23] = 6;
  t.false(decodePacket(bytes, { authentication: md5(1, 'a') }).ok);
});

test('what a configuration can get wrong is said before it is used', (t) => {
  t.is(authenticationProblem(md5(1, 'sixteen-octets-k')), undefined);
  t.regex(authenticationProblem(md5(1, 'seventeen-octets-'))!, /at most 16/);
  t.regex(authenticationProblem(md5(256, 'a'))!, /0\.\.255/);
  t.regex(authenticationProblem(md5(1.5, 'a'))!, /0\.\.255/);
  t.regex(authenticationProblem(md5(1, ''))!, /empty/);
  t.regex(authenticationProblem(simple('ü'.repeat(5)))!, /10 octets/);
  t.is(authenticationProblem({ type: 'hmac-sha-512', keyId: 0, secret: new Uint8Array(200) }), undefined);
  t.deepEqual(
    [none, simple('a'), md5(1, 'a'), ...hmacs.map(([type]) => ({ ...md5(1, 'a'), type }) as Authentication)].map(
      trailerLength,
    ),
    [0, 0, 16, 20, 32, 48, 64],
  );
});
