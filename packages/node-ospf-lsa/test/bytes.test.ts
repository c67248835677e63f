/** Tables of bytes: what is right and, beside it, what is nearly right and must be refused, and why. */
import test from 'ava';
import type { DecodeError, LsaBody } from '../src/index.ts';
import { decodeLsa, decodePacket, encodeLsa, lsaChecksum, packetChecksum } from '../src/index.ts';

type Refused = DecodeError['reason'];

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'));
}

/** Length and checksum put right: what is wrong is then only what the row means. */
function packet(type: number, body: string, length?: number): Uint8Array {
  const bytes = Buffer.concat([bytesOf('02 00 0000 0aff0001 00000001 0000 0000 0000000000000000'), bytesOf(body)]);
  bytes[1] = type;
  bytes.writeUInt16BE(length ?? bytes.length, 2);
  bytes.writeUInt16BE(packetChecksum(bytes, Math.min(length ?? bytes.length, bytes.length)), 12);
  return Uint8Array.from(bytes);
}

function lsa(type: number, body: string): Uint8Array {
  const bytes = Buffer.concat([bytesOf('0001 02 00 0a0a0a01 0aff0001 80000001 0000 0000'), bytesOf(body)]);
  bytes[3] = type;
  bytes.writeUInt16BE(bytes.length, 18);
  bytes.writeUInt16BE(lsaChecksum(bytes), 16);
  return Uint8Array.from(bytes);
}

const hex = (...parts: Uint8Array[]): string => Buffer.concat(parts).toString('hex');
const ids = { routerId: 0x0aff0001, areaId: 1, authType: 0 };
const header = '0001 02 05 0a0a0a01 0aff0001 80000001 abcd 0024';
const headerValue = {
  age: 1,
  options: 2,
  type: 5,
  linkStateId: 0x0a0a0a01,
  advertisingRouter: 0x0aff0001,
  sequence: -0x7fffffff,
  checksum: 0xabcd,
  length: 36,
};
const hello = 'fffffffc 000a 02 01 00000028 0a000001 0a000002';

const packetRows: readonly (readonly [name: string, bytes: Uint8Array, expected: object | Refused])[] = [
  [
    'Hello',
    packet(1, `${hello} 0aff0002`),
    {
      ...ids,
      type: 1,
      networkMask: 0xfffffffc,
      helloInterval: 10,
      options: 2,
      priority: 1,
      deadInterval: 40,
      designatedRouter: 0x0a000001,
      backupDesignatedRouter: 0x0a000002,
      neighbors: [0x0aff0002],
    },
  ],
  ['Hello with half a neighbour', packet(1, `${hello} 0aff`), 'bad-length'],
  ['Hello without its backup', packet(1, hello.slice(0, -9)), 'bad-length'],
  ['Hello with an empty body', packet(1, ''), 'bad-length'],
  [
    'Database Description',
    packet(2, `05dc 42 07 fedcba98 ${header}`),
    { ...ids, type: 2, interfaceMtu: 1500, options: 0x42, flags: 7, sequence: 0xfedcba98, headers: [headerValue] },
  ],
  ['Database Description, header cut', packet(2, `05dc 42 07 fedcba98 ${header.slice(0, -2)}`), 'bad-length'],
  ['Database Description, no sequence', packet(2, '05dc 42 07'), 'bad-length'],
  [
    'Link State Request',
    packet(3, '00000005 0a0a0a01 0aff0001'),
    { ...ids, type: 3, requests: [{ type: 5, linkStateId: 0x0a0a0a01, advertisingRouter: 0x0aff0001 }] },
  ],
  ['Link State Request for nothing', packet(3, ''), { ...ids, type: 3, requests: [] }],
  ['Link State Request, one word too many', packet(3, '00000005 0a0a0a01 0aff0001 00000000'), 'bad-length'],
  ['Link State Update without LSAs', packet(4, '00000000'), { ...ids, type: 4, lsas: [], rejected: [] }],
  ['Link State Update without a count', packet(4, '0000'), 'bad-length'],
  ['Link State Acknowledgment', packet(5, header), { ...ids, type: 5, headers: [headerValue] }],
  ['Link State Acknowledgment, header cut', packet(5, header.slice(0, -2)), 'bad-length'],
  ['type 0', packet(0, ''), 'bad-type'],
  ['type 6', packet(6, ''), 'bad-type'],
  ['no octets', new Uint8Array(), 'truncated'],
  ['a header less one octet', packet(3, '').subarray(0, 23), 'truncated'],
  ['OSPFv3', Uint8Array.from([3, ...packet(3, '').subarray(1)]), 'bad-version'],
  ['a length below the header', packet(3, '', 23), 'bad-length'],
  ['a length beyond the octets', packet(3, '', 25), 'truncated'],
  ['a wrong checksum', Uint8Array.from(packet(3, ''), (octet, at) => (at === 13 ? octet ^ 1 : octet)), 'bad-checksum'],
  ['AuType 3', Uint8Array.from(packet(3, ''), (octet, at) => (at === 15 ? 3 : octet)), 'bad-auth'],
  [
    'a digest that is not all there',
    Uint8Array.from([...packet(3, ''), ...new Uint8Array(15)], (octet, at) => ({ 15: 2, 19: 16 })[at] ?? octet),
    'truncated',
  ],
];

for (const [name, bytes, expected] of packetRows) {
  test(`packet: ${name}${typeof expected === 'string' ? `, refused as ${expected}` : ''}`, (t) => {
    const result = decodePacket(bytes);
    if (typeof expected === 'string') t.like(result, { ok: false, reason: expected });
    else t.deepEqual(result as object, { ok: true, value: expected });
  });
}

const lsaRows: readonly (readonly [name: string, bytes: Uint8Array, expected: LsaBody | Refused])[] = [
  [
    'router',
    lsa(1, '03 00 0001 0aff0002 0a000001 01 01 000a 08 00 0014'),
    {
      kind: 'router',
      flags: 3,
      links: [{ linkId: 0x0aff0002, linkData: 0x0a000001, type: 1, metric: 10, tos: [{ tos: 8, metric: 20 }] }],
    },
  ],
  ['router, fewer links than said', lsa(1, '03 00 0002 0aff0002 0a000001 01 00 000a'), 'bad-lsa-length'],
  ['router, more links than said', lsa(1, '03 00 0000 0aff0002 0a000001 01 00 000a'), 'bad-lsa-length'],
  ['router, TOS metrics missing', lsa(1, '03 00 0001 0aff0002 0a000001 01 ff 000a'), 'bad-lsa-length'],
  ['router, nothing', lsa(1, ''), 'bad-lsa-length'],
  ['network', lsa(2, 'ffffff00 0aff0001'), { kind: 'network', mask: 0xffffff00, attachedRouters: [0x0aff0001] }],
  ['network, half a router', lsa(2, 'ffffff00 0aff'), 'bad-lsa-length'],
  ['network, no mask', lsa(2, ''), 'bad-lsa-length'],
  ['summary', lsa(3, 'ffff0000 00 ffffff'), { kind: 'summary', mask: 0xffff0000, metric: 0xffffff, tos: [] }],
  ['ASBR summary', lsa(4, '00000000 00 00000a'), { kind: 'summary', mask: 0, metric: 10, tos: [] }],
  ['summary without metric', lsa(3, 'ffff0000'), 'bad-lsa-length'],
  ['summary, half a TOS metric', lsa(3, 'ffff0000 00 000001 0000'), 'bad-lsa-length'],
  [
    'external, type 1 metric',
    lsa(5, 'ffffffff 00 000014 0a000001 fffffffe'),
    {
      kind: 'external',
      mask: 0xffffffff,
      metricType: 1,
      metric: 20,
      forwardingAddress: 0x0a000001,
      tag: 0xfffffffe,
      tos: [],
    },
  ],
  [
    'NSSA, type 2 metric, with TOS',
    lsa(7, 'ffffffff 80 000014 00000000 00000000 88 000015 0a000001 00000002'),
    {
      kind: 'external',
      mask: 0xffffffff,
      metricType: 2,
      metric: 20,
      forwardingAddress: 0,
      tag: 0,
      tos: [{ metricType: 2, tos: 8, metric: 21, forwardingAddress: 0x0a000001, tag: 2 }],
    },
  ],
  ['external without tag', lsa(5, 'ffffffff 80 000014 00000000'), 'bad-lsa-length'],
  ['NSSA, half a TOS block', lsa(7, 'ffffffff 80 000014 00000000 00000000 00000000'), 'bad-lsa-length'],
  ['opaque of odd length', lsa(10, 'abcdef'), { kind: 'opaque', data: bytesOf('abcdef') }],
  ['opaque, empty', lsa(11, ''), { kind: 'opaque', data: new Uint8Array() }],
  ['a type nobody knows', lsa(200, '0102'), { kind: 'unknown', data: bytesOf('0102') }],
  ['a header less one octet', lsa(5, '').subarray(0, 19), 'truncated'],
  ['a body that is not all there', lsa(10, 'abcdef').subarray(0, 22), 'truncated'],
  [
    'a length below the header',
    Uint8Array.from(lsa(10, ''), (octet, at) => (at === 19 ? 19 : octet)),
    'bad-lsa-length',
  ],
  ['a wrong checksum', Uint8Array.from(lsa(10, 'ab'), (octet, at) => (at === 20 ? 0xac : octet)), 'bad-lsa-checksum'],
];

for (const [name, bytes, expected] of lsaRows) {
  test(`LSA: ${name}${typeof expected === 'string' ? `, refused as ${expected}` : ''}`, (t) => {
    const result = decodeLsa(bytes);
    if (typeof expected === 'string') return void t.like(result, { ok: false, reason: expected });
    if (!result.ok) return void t.fail(result.detail);
    t.deepEqual(result.value.body, expected);
    t.deepEqual(result.value.raw, bytes);
    t.deepEqual(encodeLsa(result.value.header, expected).raw, bytes);
  });
}

const first = lsa(10, '01010101');
const good = lsa(5, 'ffffffff 80 000014 00000000 00000000');
const badChecksum = Uint8Array.from(good, (octet, at) => (at === 35 ? 1 : octet));
const badBody = lsa(5, 'ffffffff');
const tooShort = Uint8Array.from(good, (octet, at) => (at === 19 ? 19 : octet));
const tooLong = Uint8Array.from(good, (octet, at) => (at === 18 ? 0xff : octet));

const updateRows: readonly (readonly [
  name: string,
  count: string,
  lsas: Uint8Array[],
  kept: Uint8Array[],
  Refused[],
])[] = [
  ['all good', '00000002', [first, good], [first, good], []],
  ['a bad checksum in the middle', '00000003', [first, badChecksum, good], [first, good], ['bad-lsa-checksum']],
  ['a bad body in the middle', '00000003', [first, badBody, good], [first, good], ['bad-lsa-length']],
  ['two bad ones', '00000003', [badChecksum, badBody, good], [good], ['bad-lsa-checksum', 'bad-lsa-length']],
  ['a length too short for a header ends it', '00000003', [first, tooShort, good], [first], ['bad-lsa-length']],
  ['a length beyond the packet ends it', '00000003', [first, tooLong, good], [first], ['bad-lsa-length']],
  ['the last LSA cut inside its header', '00000002', [first, good.subarray(0, 19)], [first], ['truncated']],
  ['the last LSA cut inside its body', '00000002', [first, good.subarray(0, 30)], [first], ['bad-lsa-length']],
  ['the last LSA short of one octet', '00000002', [first, good.subarray(0, 35)], [first], ['bad-lsa-length']],
  ['fewer LSAs than said', 'ffffffff', [first, good], [first, good], ['truncated']],
  ['more LSAs than said', '00000001', [first, good], [first], ['bad-length']],
];

for (const [name, count, lsas, kept, rejected] of updateRows) {
  test(`RFC 2328 §13 (1), Link State Update: ${name}`, (t) => {
    const result = decodePacket(packet(4, count + hex(...lsas)));
    if (!result.ok || result.value.type !== 4) return void t.fail();
    t.deepEqual(
      result.value.lsas.map(({ raw }) => hex(raw)),
      kept.map((raw) => hex(raw)),
    );
    t.deepEqual(
      result.value.rejected?.map(({ reason }) => reason),
      rejected,
    );
  });
}

test('an LSA does not reach into what stands behind the packet', (t) => {
  const cut = packet(4, `00000001${hex(good.subarray(0, 32))}`);
  const result = decodePacket(Uint8Array.from([...cut, ...good.subarray(32)]));
  if (!result.ok || result.value.type !== 4) return void t.fail();
  t.deepEqual(result.value.lsas, []);
  t.is(result.value.rejected?.length, 1);
});

test('a decoded LSA lives on when the receive buffer is used again', (t) => {
  const buffer = Buffer.from(packet(4, `00000001${hex(first)}`));
  const result = decodePacket(buffer);
  buffer.fill(0xff);
  if (!result.ok || result.value.type !== 4) return void t.fail();
  const [kept] = result.value.lsas;
  t.is(hex(kept!.raw), hex(first));
  t.deepEqual(kept!.body, { kind: 'opaque', data: bytesOf('01010101') });
});
