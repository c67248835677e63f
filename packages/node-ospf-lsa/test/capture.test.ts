/** Packets of real FRR 8.4 and BIRD 2.0 sessions, recorded by live-capture.test.ts. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import type { Authentication } from '../src/index.ts';
import { decodeLsa, decodePacket } from '../src/index.ts';
import { checkCapture } from './support/check-capture.ts';
import { decodeCapture, kindsOf, lsasOf } from './support/describe.ts';
import { readOspf } from './support/pcap.ts';

const hmacSecret = Buffer.from('a-secret-of-20-bytes');
const md5: Authentication = { type: 'md5', keyId: 7, secret: Buffer.from('peerless') };
const simple: Authentication = { type: 'simple', password: 'peer' };
const fixtures: readonly (readonly [string, Authentication])[] = [
  ['multi-area-backbone', { type: 'none' }],
  ['multi-area-area', { type: 'none' }],
  ['nssa-md5-backbone', md5],
  ['nssa-md5-area', md5],
  ['simple-password-backbone', simple],
  ['simple-password-area', simple],
  ['hmac-sha-1', { type: 'hmac-sha-1', keyId: 1, secret: hmacSecret }],
  ['hmac-sha-256', { type: 'hmac-sha-256', keyId: 2, secret: hmacSecret }],
  ['hmac-sha-384', { type: 'hmac-sha-384', keyId: 3, secret: hmacSecret }],
  ['hmac-sha-512', { type: 'hmac-sha-512', keyId: 4, secret: hmacSecret }],
];

function load(name: string): Uint8Array {
  return readFileSync(new URL(`./fixtures/${name}.pcap`, import.meta.url));
}

for (const [name, authentication] of fixtures) {
  test(`recorded from FRR and BIRD, decoded and encoded again to the same bytes: ${name}`, (t) => {
    checkCapture(t, load(name), authentication);
  });

  test(`recorded from FRR and BIRD, refused with another key or type: ${name}`, (t) => {
    const wrong: Authentication[] = [{ type: 'simple', password: 'wrong' }];
    if (authentication.type === 'none') wrong.push(md5);
    else wrong.push({ type: 'none' });
    if ('secret' in authentication) {
      wrong.push({ ...authentication, secret: Buffer.from('wrong') });
      wrong.push({ ...authentication, keyId: authentication.keyId + 100 });
      wrong.push({
        ...authentication,
        type: authentication.type === 'md5' ? 'hmac-sha-256' : 'md5',
        secret: Buffer.of(1),
      });
    }
    for (const { ospf } of readOspf(load(name))) {
      for (const key of wrong) t.like(decodePacket(ospf, { authentication: key }), { ok: false, reason: 'bad-auth' });
      t.true(decodePacket(ospf, { authentication: [...wrong, authentication] }).ok, 'any of several keys will do');
      t.true(decodePacket(ospf).ok, 'without a key nothing is asked for');
    }
  });
}

test('the recordings hold every packet type and every LSA type but 11', (t) => {
  const kinds = new Set(fixtures.flatMap(([name]) => [...kindsOf(decodeCapture(load(name)))]));
  const expected = [1, 2, 3, 4, 5].map((type) => `packet ${type}`);
  expected.push(...[1, 2, 3, 4, 5, 7, 9, 10].map((type) => `lsa ${type}`));
  t.deepEqual([...kinds].sort(), expected.sort());
});

test('what a recorded host route says is what the router was told to redistribute', (t) => {
  const external = lsasOf(decodeCapture(load('multi-area-backbone'))).find(
    ({ header }) => header.type === 5 && header.linkStateId === 0x0a0a0a02,
  );
  t.like(external?.header, { advertisingRouter: 0x0aff0003 });
  t.like(external?.body, { kind: 'external', mask: 0xffffffff, metricType: 2, metric: 20 });
  const nssa = lsasOf(decodeCapture(load('nssa-md5-area'))).find(({ header }) => header.type === 7);
  t.like(nssa?.body, { kind: 'external', metricType: 2, metric: 20 });
});

test('the cryptographic sequence number comes out for the replay check, and never falls for one sender', (t) => {
  const last = new Map<number, number>();
  for (const { packet } of decodeCapture(load('nssa-md5-backbone'), md5)) {
    t.is(packet.keyId, 7);
    t.true(packet.cryptoSequence! >= (last.get(packet.routerId) ?? 0));
    last.set(packet.routerId, packet.cryptoSequence!);
  }
  t.is(last.size, 2);
});

test('every recorded LSA with any one bit of its coverage turned is refused', (t) => {
  for (const { raw } of lsasOf(decodeCapture(load('nssa-md5-area'), md5)).slice(0, 8)) {
    for (let bit = 16; bit < raw.length * 8; bit++) {
      const damaged = Uint8Array.from(raw);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      t.false(decodeLsa(damaged).ok, `bit ${bit}`);
    }
  }
});
