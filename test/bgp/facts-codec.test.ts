import test from 'ava';
import fc from 'fast-check';
import { writeAttributes } from '../../src/bgp/codec/attributes.ts';
import type { BgpError } from '../../src/bgp/codec/errors.ts';
import {
  endOfFacts,
  fits,
  LONGEST_KEY,
  LONGEST_VALUE,
  packFacts,
  packFactWithdrawals,
} from '../../src/bgp/codec/facts.ts';
import { Framer } from '../../src/bgp/codec/framer.ts';
import type { UpdateMessage } from '../../src/bgp/codec/messages.ts';
import { parseMessage } from '../../src/bgp/codec/parser.ts';
import type { UpdateContext } from '../../src/bgp/codec/update.ts';
import { Writer } from '../../src/bgp/codec/writer.ts';
import type { Family } from '../../src/model/address.ts';

const CONTEXT: UpdateContext = {
  fourOctetAs: true,
  families: new Set<Family>([4, 6]),
  portFacts: true,
  external: true,
  remoteAs: 65000,
};
const SHARED = (() => {
  const writer = new Writer();
  writeAttributes(writer, { origin: 0, asPath: [{ type: 'AS_SEQUENCE', asns: [65000] }] }, { fourOctetAs: true });
  return writer.done();
})();
const NEXT_HOP = Uint8Array.of(192, 0, 2, 1);
const hex = (octets: Uint8Array): string => Buffer.from(octets).toString('hex');

function read(bytes: Uint8Array, context = CONTEXT): UpdateMessage[] {
  return [...new Framer().push(bytes)].map((frame) => {
    const message = 'code' in frame ? frame : parseMessage(frame, context);
    if (message.type !== 'UPDATE') throw new Error(JSON.stringify(message));
    return message;
  });
}

const key = fc.uint8Array({ minLength: 1, maxLength: LONGEST_KEY });
const value = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 40 }),
  fc.uint8Array({ minLength: 250, maxLength: 700 }),
);

test('R4.9 facts of ports go and come back, an UPDATE for each, with either kind of next hop', (t) => {
  const facts = fc.array(fc.record({ key, value }), { maxLength: 8 });
  const nextHop = fc.oneof(fc.constant(NEXT_HOP), fc.uint8Array({ minLength: 16, maxLength: 16 }));
  fc.assert(
    fc.property(facts, nextHop, (said, hop) => {
      const packed = packFacts(said, SHARED, hop);
      const messages = read(packed.bytes);
      t.is(packed.updates, said.length);
      t.deepEqual(
        messages.map(({ facts: heard }) => [heard!.said.map(hex), hex(heard!.value), heard!.endOfRib]),
        said.map((one) => [[hex(one.key)], hex(one.value), false]),
      );
      t.true(
        messages.every(({ problems, reach, withdrawn }) => problems.length + reach.length + withdrawn.length === 0),
      );
    }),
  );
});

test('R4.9 taken back: as few UPDATEs as hold the keys, none above 4,096 octets', (t) => {
  fc.assert(
    fc.property(fc.array(key, { maxLength: 300 }), (keys) => {
      const packed = packFactWithdrawals(keys);
      const messages = read(packed.bytes);
      t.is(messages.length, packed.updates);
      t.true(packed.updates <= Math.ceil(packed.bytes.length / (4_096 - 2 * LONGEST_KEY - 2)));
      t.deepEqual(
        messages.flatMap(({ facts }) => facts!.withdrawn.map(hex)),
        keys.map(hex),
      );
    }),
  );
});

test('the longest fact fits; what is longer, or has no key or no value, is not carried', (t) => {
  const longest = { key: new Uint8Array(LONGEST_KEY), value: new Uint8Array(LONGEST_VALUE) };
  t.true(fits(longest));
  t.is(hex(read(packFacts([longest], SHARED, NEXT_HOP).bytes)[0]!.facts!.value), hex(longest.value));
  t.false(fits({ ...longest, key: new Uint8Array(LONGEST_KEY + 1) }));
  t.false(fits({ ...longest, value: new Uint8Array(LONGEST_VALUE + 1) }));
  t.false(fits({ ...longest, key: new Uint8Array(0) }));
  t.false(fits({ ...longest, value: new Uint8Array(0) }));
});

test('RFC 4724: End-of-RIB of the facts is that of no other family', (t) => {
  const [message] = read(endOfFacts());
  t.deepEqual(message!.facts, { withdrawn: [], said: [], value: new Uint8Array(0), endOfRib: true });
  t.is(message!.endOfRib, undefined);
});

// RFC 7606, row by row.
const attribute = (flags: number, type: number, octets: number[]) =>
  flags & 0x10
    ? [flags, type, octets.length >> 8, octets.length & 255, ...octets]
    : [flags, type, octets.length, ...octets];
const ORIGIN = attribute(0x40, 1, [0]);
const AS_PATH = attribute(0x40, 2, [2, 1, 0, 0, 253, 232]);
const REACH = [0, 1, 241, 4, 192, 0, 2, 1, 0];
const FACT = attribute(0x80, 255, [1, 2, 3]);
const KEY = [2, 0xaa, 0xbb];
const reach = (...nlri: number[]) => attribute(0x80, 14, [...REACH, ...nlri]);

function outcome(attributes: number[][], nlri: number[], context: UpdateContext): string {
  const list = attributes.flat();
  const body = Buffer.from([0, 0, list.length >> 8, list.length & 255, ...list, ...nlri]);
  const message = parseMessage({ type: 2, body }, context) as UpdateMessage | BgpError;
  if (message.type === 'ERROR') return `reset ${message.code}/${message.subcode}`;
  const worst = ['afi-safi-disable', 'treat-as-withdraw', 'attribute-discard'].find((treatment) =>
    message.problems.some((problem) => problem.treatment === treatment),
  );
  const facts = message.facts && `said ${message.facts.said.length}, withdrawn ${message.facts.withdrawn.length}`;
  return [worst ?? 'fine', facts ?? 'no facts'].join(': ');
}

const rows: [what: string, attributes: number[][], expected: string, context?: UpdateContext, nlri?: number[]][] = [
  ['a good one', [reach(...KEY), ORIGIN, AS_PATH, FACT], 'fine: said 1, withdrawn 0'],
  ['two keys, one value', [reach(...KEY, 1, 7), ORIGIN, AS_PATH, FACT], 'fine: said 2, withdrawn 0'],
  ['attributes in any order', [FACT, AS_PATH, ORIGIN, reach(...KEY)], 'fine: said 1, withdrawn 0'],
  ['a key longer than the list', [reach(9, 1), ORIGIN, AS_PATH, FACT], 'afi-safi-disable: no facts'],
  ['a key of no octets', [reach(0), ORIGIN, AS_PATH, FACT], 'afi-safi-disable: no facts'],
  [
    'a key of 65 octets',
    [reach(65, ...new Array<number>(65).fill(1)), ORIGIN, AS_PATH, FACT],
    'afi-safi-disable: no facts',
  ],
  ['a bad key among malformed attributes', [reach(0), FACT], 'afi-safi-disable: no facts'],
  [
    'a next hop of 5 octets',
    [attribute(0x80, 14, [0, 1, 241, 5, 1, 2, 3, 4, 5, 0, ...KEY]), ORIGIN, AS_PATH, FACT],
    'afi-safi-disable: no facts',
  ],
  ['a bad key to take back', [attribute(0x80, 15, [0, 1, 241, 0])], 'afi-safi-disable: no facts'],
  ['§3 (d) no value', [reach(...KEY), ORIGIN, AS_PATH], 'treat-as-withdraw: said 0, withdrawn 1'],
  [
    'a value of no octets',
    [reach(...KEY), ORIGIN, AS_PATH, attribute(0x80, 255, [])],
    'treat-as-withdraw: said 0, withdrawn 1',
  ],
  [
    'a value too long',
    [reach(...KEY), ORIGIN, AS_PATH, attribute(0x90, 255, new Array<number>(LONGEST_VALUE + 1).fill(1))],
    'treat-as-withdraw: said 0, withdrawn 1',
  ],
  [
    '§3 (c) flags of the value: transitive',
    [reach(...KEY), ORIGIN, AS_PATH, attribute(0xc0, 255, [1])],
    'treat-as-withdraw: said 0, withdrawn 1',
  ],
  ['§3 (d) no ORIGIN', [reach(...KEY), AS_PATH, FACT], 'treat-as-withdraw: said 0, withdrawn 1'],
  ['§3 (d) no AS_PATH', [reach(...KEY), ORIGIN, FACT], 'treat-as-withdraw: said 0, withdrawn 1'],
  ['§3 (g) the value twice', [reach(...KEY), ORIGIN, AS_PATH, FACT, FACT], 'attribute-discard: said 1, withdrawn 0'],
  ['§3 (g) MP_REACH_NLRI twice', [reach(...KEY), reach(...KEY), ORIGIN, AS_PATH, FACT], 'reset 3/1'],
  ['MP_REACH_NLRI cut short', [attribute(0x80, 14, [0, 1, 241, 4, 1]), ORIGIN, AS_PATH, FACT], 'reset 3/9'],
  [
    'not agreed on',
    [reach(...KEY), ORIGIN, AS_PATH, FACT],
    'attribute-discard: no facts',
    { ...CONTEXT, portFacts: false },
  ],
  [
    'a value beside a route of IPv4',
    [ORIGIN, AS_PATH, attribute(0x40, 3, [192, 0, 2, 1]), FACT],
    'fine: no facts',
    CONTEXT,
    [32, 10, 10, 10, 1],
  ],
  [
    'a value beside a route of IPv4, not agreed on',
    [ORIGIN, AS_PATH, attribute(0x40, 3, [192, 0, 2, 1]), FACT],
    'fine: no facts',
    { ...CONTEXT, portFacts: false },
    [32, 10, 10, 10, 1],
  ],
];
for (const [what, attributes, expected, context = CONTEXT, nlri = []] of rows) {
  test(`RFC 7606, facts of ports: ${what}: ${expected}`, (t) => t.is(outcome(attributes, nlri, context), expected));
}

test('whatever is changed in messages with facts, the parser answers with a value, and keys and values keep their limits', (t) => {
  const said = [
    { key: Uint8Array.of(1, 2, 3), value: new Uint8Array(300).fill(7) },
    { key: Uint8Array.of(4), value: Uint8Array.of(5) },
  ];
  const recorded = Buffer.concat([
    packFacts(said, SHARED, NEXT_HOP).bytes,
    packFactWithdrawals([Uint8Array.of(1, 2, 3), Uint8Array.of(4)]).bytes,
    endOfFacts(),
  ]);
  const change = fc.record({ at: fc.nat({ max: recorded.length - 1 }), to: fc.integer({ min: 0, max: 255 }) });
  const kinds = new Set<string>();
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
      const octets = Buffer.from(recorded);
      for (const { at, to } of changes) octets[at] = to;
      for (const frame of new Framer().push(octets)) {
        const message = 'code' in frame ? frame : parseMessage(frame, CONTEXT);
        kinds.add(message.type === 'UPDATE' ? (message.problems[0]?.treatment ?? 'fine') : message.type);
        if (message.type !== 'UPDATE' || !message.facts) continue;
        for (const one of [...message.facts.said, ...message.facts.withdrawn]) {
          t.true(one.length > 0 && one.length <= LONGEST_KEY);
        }
        if (message.facts.said.length > 0) t.true(message.facts.value.length > 0);
      }
    }),
    { numRuns: 2_000 },
  );
  for (const kind of ['fine', 'ERROR', 'treat-as-withdraw', 'afi-safi-disable']) t.true(kinds.has(kind), kind);
});
