import test from 'ava';
import fc from 'fast-check';
import { writeAttributes } from '../../src/bgp/codec/attributes.ts';
import { formatCommunities, GRACEFUL_SHUTDOWN, parseCommunities } from '../../src/bgp/codec/communities.ts';
import type { Frame } from '../../src/bgp/codec/framer.ts';
import { Framer } from '../../src/bgp/codec/framer.ts';
import type { AsSegment, Capability, Message, OpenMessage, PathAttributes } from '../../src/bgp/codec/messages.ts';
import { hostNlri } from '../../src/bgp/codec/nlri.ts';
import { packAnnouncements, packWithdrawals } from '../../src/bgp/codec/packer.ts';
import { parseMessage } from '../../src/bgp/codec/parser.ts';
import { endOfRib, serialize, serializeUpdate } from '../../src/bgp/codec/serializer.ts';
import type { UpdateContext } from '../../src/bgp/codec/update.ts';
import { Writer } from '../../src/bgp/codec/writer.ts';
import type { Address, Family, Prefix } from '../../src/model/address.ts';
import { formatAddress, ipv4FromNumber, makePrefix } from '../../src/model/address.ts';

const CONTEXT: UpdateContext = {
  fourOctetAs: true,
  families: new Set<Family>([4, 6]),
  external: true,
  remoteAs: 65000,
};

function read(bytes: Uint8Array, context = CONTEXT) {
  return [...new Framer().push(bytes)].map((frame) => ('code' in frame ? frame : parseMessage(frame, context)));
}

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const ipv4 = u32.map(ipv4FromNumber);
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => formatAddress(bytes));
const prefix4 = fc
  .tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.integer({ min: 0, max: 32 }))
  .map(([bytes, length]) => makePrefix(bytes, length));
const prefix6 = fc
  .tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.integer({ min: 0, max: 128 }))
  .map(([bytes, length]) => makePrefix(bytes, length));

const capability: fc.Arbitrary<Capability> = fc.oneof(
  fc.record({ code: fc.constant('multiprotocol' as const), afi: u16, safi: u8 }),
  fc.constant({ code: 'route-refresh' as const }),
  fc.constant({ code: 'observer' as const }),
  fc.record({ code: fc.constant('four-octet-as' as const), asn: u32 }),
  fc.record({
    code: fc.constant('graceful-restart' as const),
    restarting: fc.boolean(),
    restartTime: fc.integer({ min: 0, max: 4095 }),
    families: fc.array(fc.record({ afi: u16, safi: u8, forwarding: fc.boolean() }), { maxLength: 3 }),
  }),
  fc.record({
    code: fc.constant('unknown' as const),
    number: fc.integer({ min: 100, max: 255 }).filter((number) => number !== 239),
    value: fc.uint8Array({ maxLength: 20 }),
  }),
);
const open: fc.Arbitrary<OpenMessage> = fc.record({
  type: fc.constant('OPEN' as const),
  version: u8,
  myAs: u16,
  holdTime: u16,
  identifier: ipv4,
  capabilities: fc.array(capability, { maxLength: 25 }),
});
const segment: fc.Arbitrary<AsSegment> = fc.record({
  type: fc.constantFrom('AS_SET' as const, 'AS_SEQUENCE' as const),
  asns: fc.array(fc.integer({ min: 1, max: 0xffffffff }), { minLength: 1, maxLength: 70 }),
});
const attributes: fc.Arbitrary<PathAttributes> = fc
  .record(
    {
      origin: fc.constantFrom(0 as const, 1 as const, 2 as const),
      asPath: fc
        .array(segment, { maxLength: 3 })
        .map((rest): AsSegment[] => [{ type: 'AS_SEQUENCE', asns: [65000] }, ...rest]),
      med: u32,
      atomicAggregate: fc.constant(true),
      aggregator: fc.record({ asn: u32, address: ipv4 }),
      communities: fc.array(u32, { minLength: 1, maxLength: 80 }),
      extendedCommunities: fc.uint8Array({ minLength: 8, maxLength: 8 }),
      largeCommunities: fc.array(fc.tuple(u32, u32, u32), { minLength: 1, maxLength: 30 }),
      unknown: fc.array(
        fc.record({
          flags: fc.constantFrom(0xc0, 0x80, 0xe0),
          type: fc.constant(200),
          value: fc.uint8Array({ maxLength: 300 }),
        }),
        { minLength: 1, maxLength: 1 },
      ),
    },
    { requiredKeys: ['origin', 'asPath'] },
  )
  .map((record) => record as PathAttributes);

const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, inner) =>
      inner instanceof Uint8Array
        ? Buffer.from(inner).toString('hex')
        : inner?.type === 'Buffer'
          ? Buffer.from(inner.data).toString('hex')
          : inner,
    ),
  );

test('OPEN goes and comes back, with any capabilities', (t) => {
  fc.assert(fc.property(open, (message) => t.deepEqual(plain(read(serialize(message))), plain([message]))));
});

test('KEEPALIVE, NOTIFICATION, ROUTE-REFRESH go and come back', (t) => {
  const messages: Exclude<Message, { type: 'UPDATE' | 'OPEN' }>[] = [
    { type: 'KEEPALIVE' },
    { type: 'NOTIFICATION', code: 6, subcode: 2, data: Uint8Array.of(1, 65) },
    { type: 'ROUTE-REFRESH', afi: 2, safi: 1, subtype: 0 },
  ];
  t.deepEqual(plain(read(Buffer.concat(messages.map(serialize)))), plain(messages));
});

test('UPDATE goes and comes back: both families, all attributes', (t) => {
  const update = fc.record({
    attributes,
    withdrawn: fc.array(prefix4, { maxLength: 20 }),
    gone: fc.array(prefix6, { minLength: 1, maxLength: 10 }),
    announced: fc.array(prefix4, { minLength: 1, maxLength: 20 }),
    announced6: fc.array(prefix6, { minLength: 1, maxLength: 10 }),
    hop: fc.integer({ min: 0x01000000, max: 0x7effffff }).map(ipv4FromNumber),
    hop6: ipv6,
    linkLocal: fc.option(ipv6, { nil: undefined }),
  });
  fc.assert(
    fc.property(update, (sample) => {
      const v6 = { family: 6 as const, nextHop: sample.hop6, prefixes: sample.announced6 };
      const reach = [
        { family: 4 as const, nextHop: sample.hop, prefixes: sample.announced },
        sample.linkLocal ? { ...v6, linkLocal: sample.linkLocal } : v6,
      ];
      const withdrawn = [...sample.withdrawn, ...sample.gone];
      const bytes = serializeUpdate({ type: 'UPDATE', withdrawn, reach, attributes: sample.attributes }, true);
      if (bytes.length > 4096) return;
      t.deepEqual(
        plain(read(bytes)),
        plain([
          {
            type: 'UPDATE',
            withdrawn,
            reach,
            attributes: { ...sample.attributes, nextHop: sample.hop },
            problems: [],
          },
        ]),
      );
    }),
  );
});

test('RFC 6793: a path through a two-octet speaker keeps its four-octet numbers', (t) => {
  const asPath: AsSegment[] = [{ type: 'AS_SEQUENCE', asns: [65000, 4_200_000_001, 65002] }];
  const reach = [{ family: 4 as const, nextHop: '192.0.2.1' as Address, prefixes: ['10.0.0.1/32' as Prefix] }];
  const bytes = serializeUpdate({ type: 'UPDATE', withdrawn: [], reach, attributes: { origin: 0, asPath } }, false);
  const [message] = read(bytes, { ...CONTEXT, fourOctetAs: false });
  t.true(message?.type === 'UPDATE');
  if (message?.type !== 'UPDATE') return;
  t.deepEqual(message.problems, []);
  t.deepEqual(message.attributes.asPath, asPath);
});

test('End-of-RIB of both families', (t) => {
  for (const family of [4, 6] as const) {
    const [message] = read(endOfRib(family));
    t.true(message?.type === 'UPDATE' && message.endOfRib === family);
  }
});

test('the packer fills UPDATEs to 4,096 octets and loses nothing', (t) => {
  for (const family of [4, 6] as const) {
    for (const count of [0, 1, 237, 238, 239, 813, 814, 815, 816, 5000]) {
      const hosts = Array.from({ length: count }, (_, index) =>
        family === 4
          ? ipv4FromNumber(0x0a000000 + index)
          : formatAddress(Uint8Array.of(0x20, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, index >> 8, index & 255)),
      );
      const nlris = hosts.map((host) => ({ nlri: hostNlri(host) }));
      const expected = hosts.map((host) => `${host}/${family === 4 ? 32 : 128}`);
      const gone = packWithdrawals(family, nlris);
      const goneMessages = read(gone.bytes);
      t.is(goneMessages.length, gone.updates);
      t.is(gone.updates, Math.ceil(count / (family === 4 ? 814 : 239)));
      t.deepEqual(
        goneMessages.flatMap((message) => (message.type === 'UPDATE' ? message.withdrawn : [])),
        expected as Prefix[],
      );

      const writer = new Writer();
      const nextHop = family === 4 ? { nextHop: '192.0.2.2' as Address } : {};
      writeAttributes(
        writer,
        { origin: 2, asPath: [{ type: 'AS_SEQUENCE', asns: [65000] }], ...nextHop, communities: [1, 2] },
        CONTEXT,
      );
      const hop = family === 4 ? new Uint8Array() : hostNlri('2001:db8::2' as Address).subarray(1);
      const come = packAnnouncements(family, writer.done(), hop, nlris);
      const comeMessages = read(come.bytes);
      t.is(comeMessages.length, come.updates);
      const reached = comeMessages.flatMap((message) => (message.type === 'UPDATE' ? message.reach : []));
      t.deepEqual(
        reached.flatMap((reach) => [...reach.prefixes]),
        expected as Prefix[],
      );
      t.true(reached.every((reach) => reach.nextHop === (family === 4 ? '192.0.2.2' : '2001:db8::2')));
      for (const frame of [...new Framer().push(come.bytes)]) t.true('body' in frame && frame.body.length + 19 <= 4096);
    }
  }
});

test('the stream may be cut anywhere', (t) => {
  const stream = Buffer.concat([
    serialize({ type: 'KEEPALIVE' }),
    endOfRib(6),
    serialize({ type: 'KEEPALIVE' }),
    endOfRib(4),
  ]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 20 }), (sizes) => {
      const framer = new Framer();
      const types: number[] = [];
      let offset = 0;
      for (const size of [...sizes, stream.length]) {
        for (const frame of framer.push(stream.subarray(offset, offset + size)))
          types.push('body' in frame ? frame.type : -1);
        offset += size;
      }
      t.deepEqual(types, [4, 2, 4, 2]);
    }),
  );
});

const bad = (change: (bytes: Buffer) => void, base: Buffer = Buffer.from(serialize({ type: 'KEEPALIVE' }))) => {
  const bytes = Buffer.from(base);
  change(bytes);
  const [error] = read(bytes);
  return error && 'code' in error ? [error.code, 'subcode' in error ? error.subcode : undefined] : error;
};

test('RFC 4271 §6.1: header errors', (t) => {
  t.deepEqual(
    bad((bytes) => bytes.writeUInt8(0, 3)),
    [1, 1],
  );
  t.deepEqual(
    bad((bytes) => bytes.writeUInt16BE(18, 16)),
    [1, 2],
  );
  t.deepEqual(
    bad((bytes) => bytes.writeUInt16BE(4097, 16)),
    [1, 2],
  );
  t.deepEqual(
    bad((bytes) => bytes.writeUInt8(9, 18)),
    [1, 3],
  );
  t.deepEqual(
    bad((bytes) => bytes.writeUInt16BE(20, 16), Buffer.concat([serialize({ type: 'KEEPALIVE' }), Buffer.alloc(1)])),
    [1, 2],
  );
});

test('after a header error nothing more comes out of the stream', (t) => {
  const framer = new Framer();
  t.is([...framer.push(Buffer.alloc(19))].length, 1);
  t.is([...framer.push(serialize({ type: 'KEEPALIVE' }))].length, 0);
});

test('whatever is changed in recorded messages, the parser answers with a value', (t) => {
  const recorded = [
    serialize({
      type: 'OPEN',
      version: 4,
      myAs: 65000,
      holdTime: 3,
      identifier: '10.0.0.1' as Address,
      capabilities: [
        { code: 'multiprotocol', afi: 1, safi: 1 },
        {
          code: 'graceful-restart',
          restarting: true,
          restartTime: 120,
          families: [{ afi: 1, safi: 1, forwarding: true }],
        },
      ],
    }),
    serializeUpdate(
      {
        type: 'UPDATE',
        withdrawn: ['10.1.0.0/16' as Prefix, '2001:db8::/32' as Prefix],
        reach: [
          { family: 4, nextHop: '192.0.2.1' as Address, prefixes: ['10.10.10.1/32' as Prefix, '0.0.0.0/0' as Prefix] },
          {
            family: 6,
            nextHop: '2001:db8::1' as Address,
            linkLocal: 'fe80::1' as Address,
            prefixes: ['2001:db8:1::/48' as Prefix],
          },
        ],
        attributes: {
          origin: 0,
          asPath: [
            { type: 'AS_SEQUENCE', asns: [65000, 65002] },
            { type: 'AS_SET', asns: [1, 2] },
          ],
          med: 5,
          aggregator: { asn: 65000, address: '10.0.0.1' as Address },
          communities: [0xfde80064],
          largeCommunities: [[1, 2, 3]],
        },
      },
      true,
    ),
  ];
  const edit = fc.record({ at: fc.nat({ max: 300 }), value: u8 });
  fc.assert(
    fc.property(
      fc.constantFrom(...recorded),
      fc.array(edit, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      fc.nat({ max: 40 }),
      fc.boolean(),
      (base, edits, fourOctetAs, cut, external) => {
        const body = Buffer.from(base.subarray(19, Math.max(19, base.length - cut)));
        for (const { at, value } of edits) if (body.length > 0) body[at % body.length] = value;
        const frame: Frame = { type: base[18]!, body };
        const message = parseMessage(frame, { ...CONTEXT, fourOctetAs, external });
        t.truthy(message.type);
        if (message.type === 'UPDATE') {
          for (const problem of message.problems) t.truthy(problem.reason);
          if (message.problems.some((problem) => problem.treatment === 'treat-as-withdraw'))
            t.deepEqual(message.reach, []);
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test('communities: standard, large, well-known, and what is none', (t) => {
  const set = parseCommunities(['65001:100', '4200000000:1:2', 'graceful-shutdown', '65001:100']);
  t.deepEqual(
    set.standard,
    [0xfde90064, GRACEFUL_SHUTDOWN].sort((a, b) => a - b),
  );
  t.deepEqual(formatCommunities(set.standard, set.large), ['65001:100', 'graceful-shutdown', '4200000000:1:2']);
  t.is(GRACEFUL_SHUTDOWN >>> 0, 0xffff0000);
  for (const text of ['', '1', '65536:1', '1:2:3:4', 'a:b', '1:4294967296:0', '1:-2']) {
    t.throws(() => parseCommunities([text]), { instanceOf: RangeError }, text);
  }
});
