import test from 'ava';
import fc from 'fast-check';
import {
  addressBytes,
  formatAddress,
  formatMac,
  hostPrefix,
  ipv4FromNumber,
  ipv4ToNumber,
  macBytes,
  makePrefix,
  parseAddress,
  parseMac,
  parsePrefix,
  prefixContains,
} from '../../src/model/address.ts';

const accepted: [string, string][] = [
  ['10.10.10.2', '10.10.10.2'],
  ['255.255.255.255', '255.255.255.255'],
  ['2001:DB8::1', '2001:db8::1'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['::ffff:10.0.0.1', '::ffff:a00:1'],
];
const refused = [
  '',
  '10.10.10',
  '10.10.10.256',
  '10.10.10.02',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '12345::',
  '::g',
  '1:2:3:4:5:6:7:8::',
];

test('addresses read in any form print in one', (t) => {
  for (const [text, canonical] of accepted) t.is(parseAddress(text), canonical as never, text);
  for (const text of refused) t.is(parseAddress(text), undefined, text);
});

test('every address survives bytes and text, and printing is a fixed point', (t) => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  fc.assert(
    fc.property(bytes, (octets) => {
      const text = formatAddress(octets);
      t.deepEqual(addressBytes(text), octets);
      t.is(parseAddress(text), text);
    }),
  );
  fc.assert(fc.property(fc.nat(0xffffffff), (number) => t.is(ipv4ToNumber(ipv4FromNumber(number)), number)));
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (octets) => {
      const mac = formatMac(octets);
      t.is(parseMac(mac.toUpperCase()), mac);
      t.deepEqual(macBytes(mac), octets);
    }),
  );
});

test('R4.2 a host is a 32-bit or 128-bit prefix; a prefix with host bits is refused', (t) => {
  t.is(hostPrefix(parseAddress('10.10.10.2')!), '10.10.10.2/32' as never);
  t.is(hostPrefix(parseAddress('2001:db8::2')!), '2001:db8::2/128' as never);
  t.is(parsePrefix('10.10.10.0/24'), '10.10.10.0/24' as never);
  for (const text of ['10.10.10.1/24', '10.10.10.0/33', '10.10.10.0', '/24', '10.10.10.0/', '::/129']) {
    t.is(parsePrefix(text), undefined, text);
  }
});

test('a prefix contains what it masks, of its own family only', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.nat(32), (octets, length) => {
      t.true(prefixContains(makePrefix(octets, length), formatAddress(octets)));
    }),
  );
  const prefix = parsePrefix('10.10.10.0/25')!;
  t.true(prefixContains(prefix, parseAddress('10.10.10.127')!));
  t.false(prefixContains(prefix, parseAddress('10.10.10.128')!));
  t.false(prefixContains(prefix, parseAddress('::1')!));
});
