import test from 'ava';
import fc from 'fast-check';
import { lsaChecksum, lsaChecksumValid, packetChecksum } from '../src/index.ts';

/** RFC 905 Annex B, octet by octet and reduced at every step: slow, and plainly what the annex says. */
function fletcher(bytes: Uint8Array): [number, number] {
  let c0 = 0;
  let c1 = 0;
  for (const octet of bytes) {
    c0 = (c0 + octet) % 255;
    c1 = (c1 + c0) % 255;
  }
  return [c0, c1];
}

function sealed(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const checksum = lsaChecksum(copy);
  copy.set([checksum >> 8, checksum & 255], 16);
  return copy;
}

const lsaBytes = fc.oneof(
  fc.uint8Array({ minLength: 20, maxLength: 300 }),
  fc.uint8Array({ minLength: 20, maxLength: 12_000, size: 'max' }),
);

test('the checksum that is computed makes both sums of RFC 905 Annex B zero', (t) => {
  fc.assert(
    fc.property(lsaBytes, (bytes) => {
      const lsa = sealed(bytes);
      t.deepEqual(fletcher(lsa.subarray(2)), [0, 0]);
      t.true(lsaChecksumValid(lsa));
      t.not(lsa[16], 0, 'zero would mean: no checksum');
      t.not(lsa[17], 0, 'zero would mean: no checksum');
    }),
  );
  t.pass();
});

test('no sum, whatever it comes to, is written as a zero octet', (t) => {
  const lsa = new Uint8Array(24);
  let zeros = 0;
  for (let value = 0; value < 0x10000; value++) {
    lsa.set([value >> 8, value & 255], 20);
    const checksum = lsaChecksum(lsa);
    if (checksum >> 8 === 0 || (checksum & 255) === 0) zeros++;
  }
  t.is(zeros, 0);
});

test('verification agrees with RFC 905 Annex B about any octets', (t) => {
  fc.assert(
    fc.property(lsaBytes, fc.boolean(), fc.nat(), fc.nat(255), (bytes, seal, at, value) => {
      const lsa = seal ? sealed(bytes) : Uint8Array.from(bytes);
      lsa[at % lsa.length] = value;
      const zero = lsa[16] === 0 && lsa[17] === 0;
      const [c0, c1] = fletcher(lsa.subarray(2));
      return lsaChecksumValid(lsa) === (c0 === 0 && c1 === 0 && !zero);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('the longest LSA of the largest octets stays exact', (t) => {
  const lsa = sealed(new Uint8Array(65_535).fill(254));
  t.deepEqual(fletcher(lsa.subarray(2)), [0, 0]);
  t.true(lsaChecksumValid(lsa));
});

test('a zero checksum is a failure, even where the sums agree with it', (t) => {
  const lsa = new Uint8Array(20);
  t.deepEqual(fletcher(lsa.subarray(2)), [0, 0]);
  t.false(lsaChecksumValid(lsa));
});

test('an LSA is verified where it stands, and never beyond the octets there are', (t) => {
  const lsa = sealed(Uint8Array.from({ length: 36 }, (_, index) => index));
  const inside = Buffer.concat([Buffer.alloc(5, 9), lsa, Buffer.alloc(5, 9)]);
  t.true(lsaChecksumValid(inside, 5, 36));
  t.false(lsaChecksumValid(inside, 4, 36));
  t.false(lsaChecksumValid(inside, 5, 42));
  t.false(lsaChecksumValid(lsa.subarray(0, 17)));
  t.false(lsaChecksumValid(new Uint8Array()));
});

test('the age is not covered', (t) => {
  const lsa = sealed(Uint8Array.from({ length: 36 }, (_, index) => index));
  lsa.set([0x0e, 0x10]);
  t.true(lsaChecksumValid(lsa));
});

test('the packet checksum makes the ones-complement sum all ones, without the authentication field', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 24, maxLength: 2000 }),
      fc.uint8Array({ minLength: 8, maxLength: 8 }),
      (packet, auth) => {
        const checksum = packetChecksum(packet, packet.length);
        const sealedPacket = Uint8Array.from(packet);
        sealedPacket.set([checksum >> 8, checksum & 255], 12);
        const covered = Buffer.concat([sealedPacket.subarray(0, 16), sealedPacket.subarray(24), Buffer.alloc(1)]);
        let sum = 0n;
        for (let at = 0; at + 1 < covered.length; at += 2) sum += BigInt(covered.readUInt16BE(at));
        t.true(sum === 0n || sum % 0xffffn === 0n);
        sealedPacket.set(auth, 16);
        t.is(packetChecksum(sealedPacket, sealedPacket.length), checksum);
      },
    ),
  );
  t.pass();
});
