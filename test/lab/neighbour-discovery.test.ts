import test from 'ava';
import {
  addressOctets,
  addressText,
  discoverySpeaker,
  neighbourSolicitation,
  unsolicitedAdvertisement,
} from '../../lab/team/neighbour-discovery.ts';

for (const [text, hex] of [
  ['2001:db8:10::1', '20010db8001000000000000000000001'],
  ['::', '00000000000000000000000000000000'],
  ['fe80::200:5eff:fe00:10a', 'fe8000000000000002005efffe00010a'],
  ['2001:db8:1:2:3:4:5:6', '20010db8000100020003000400050006'],
  ['1:0:0:2::3', '00010000000000020000000000000003'],
] as const) {
  test(`${text} as octets and back`, (t) => {
    t.is(addressOctets(text).toString('hex'), hex);
    t.is(addressText(Buffer.from(hex, 'hex')), text);
  });
}

test('an unsolicited advertisement, octet by octet (RFC 4861 §4.4)', (t) => {
  const frame = unsolicitedAdvertisement('02:00:00:00:00:04', '2001:db8:10::2');
  t.is(frame.subarray(0, 14).toString('hex'), '333300000001' + '020000000004' + '86dd');
  t.is(frame.subarray(14, 22).toString('hex'), '60000000' + '0020' + '3aff');
  t.is(frame.subarray(38, 54).toString('hex'), 'ff020000000000000000000000000001');
  t.is(frame.subarray(54, 56).toString('hex'), '8800');
  t.is(frame.subarray(58, 62).toString('hex'), '20000000');
  t.is(frame.subarray(78).toString('hex'), '0201020000000004');
  t.is(discoverySpeaker(frame.subarray(14)), '2001:db8:10::2');
});

test('a solicitation is heard of its source, and its checksum sums up', (t) => {
  const frame = neighbourSolicitation('02:00:00:00:00:04', '2001:db8:10::2', '2001:db8:10::fe');
  t.is(frame.subarray(0, 6).toString('hex'), '3333ff0000fe');
  t.is(discoverySpeaker(frame.subarray(14)), '2001:db8:10::2');
  let sum = 32 + 58;
  for (let at = 22; at < frame.length; at += 2) sum += frame.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  t.is(sum, 0xffff);
});

test('other packets speak for nobody', (t) => {
  t.is(discoverySpeaker(Buffer.alloc(20)), undefined);
  t.is(discoverySpeaker(Buffer.alloc(80)), undefined);
});
