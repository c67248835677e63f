import test from 'ava';
import type { BgpError } from '../../src/bgp/codec/errors.ts';
import type { UpdateMessage } from '../../src/bgp/codec/messages.ts';
import { parseMessage } from '../../src/bgp/codec/parser.ts';
import type { UpdateContext } from '../../src/bgp/codec/update.ts';
import type { Family } from '../../src/model/address.ts';

/** RFC 7606, row by row: the attributes of one UPDATE as octets, and what becomes of its route. */
const EXTERNAL: UpdateContext = {
  fourOctetAs: true,
  families: new Set<Family>([4, 6]),
  external: true,
  remoteAs: 65000,
};
const INTERNAL: UpdateContext = { ...EXTERNAL, external: false, remoteAs: 65001 };

const attribute = (flags: number, type: number, value: number[]) => [flags, type, value.length, ...value];
const ORIGIN = attribute(0x40, 1, [0]);
const AS_PATH = attribute(0x40, 2, [2, 1, 0, 0, 253, 232]);
const NEXT_HOP = attribute(0x40, 3, [192, 0, 2, 1]);
const GOOD = [ORIGIN, AS_PATH, NEXT_HOP];
const HOST = [32, 10, 10, 10, 1];
const MP_REACH = attribute(0x80, 14, [0, 2, 1, 16, 0x20, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);

function update(attributes: number[][], nlri: number[] = HOST, withdrawn: number[] = []): Buffer {
  const list = attributes.flat();
  return Buffer.from([
    withdrawn.length >> 8,
    withdrawn.length & 255,
    ...withdrawn,
    list.length >> 8,
    list.length & 255,
    ...list,
    ...nlri,
  ]);
}

const read = (body: Buffer, context = EXTERNAL) => parseMessage({ type: 2, body }, context) as UpdateMessage | BgpError;

function outcome(message: UpdateMessage | BgpError): string {
  if (message.type === 'ERROR') return `reset ${message.code}/${message.subcode}`;
  if (message.problems.some((problem) => problem.treatment === 'treat-as-withdraw')) {
    return message.reach.length === 0 && message.withdrawn.length > 0 ? 'withdraw' : 'inconsistent';
  }
  return message.problems.length > 0 ? 'discard' : 'accept';
}

const rows: [what: string, body: Buffer, expected: string, context?: UpdateContext][] = [
  ['a good UPDATE', update(GOOD), 'accept'],
  ['a good UPDATE with MP_REACH_NLRI', update([MP_REACH, ORIGIN, AS_PATH], []), 'accept'],
  ['attributes longer than the message', Buffer.from([0, 0, 0, 9, 1]), 'reset 3/1'],
  ['withdrawn routes longer than the message', Buffer.from([0, 9, 0, 0, 1]), 'reset 3/1'],
  ['§5.3 NLRI with 33 bits', update(GOOD, [33, 10, 10, 10, 1, 0]), 'reset 3/10'],
  ['§5.3 NLRI cut short', update(GOOD, [32, 10, 10]), 'reset 3/10'],
  ['§5.3 withdrawn route with 40 bits', update(GOOD, HOST, [40, 1, 2, 3, 4, 5]), 'reset 3/10'],
  ['§4 attribute longer than the list', update([...GOOD, [0x80, 4, 9, 0]]), 'withdraw'],
  ['§4 an octet after the last attribute', update([...GOOD, [0x40]]), 'withdraw'],
  ['§3 (c) flags of ORIGIN: optional', update([attribute(0xc0, 1, [0]), AS_PATH, NEXT_HOP]), 'withdraw'],
  ['§3 (c) flags of MED: transitive', update([...GOOD, attribute(0xc0, 4, [0, 0, 0, 1])]), 'withdraw'],
  ['§3 (d) no ORIGIN', update([AS_PATH, NEXT_HOP]), 'withdraw'],
  ['§3 (d) no AS_PATH', update([ORIGIN, NEXT_HOP]), 'withdraw'],
  ['§3 (d) no NEXT_HOP', update([ORIGIN, AS_PATH]), 'withdraw'],
  ['§3 (g) ORIGIN twice', update([ORIGIN, ORIGIN, AS_PATH, NEXT_HOP]), 'discard'],
  ['§3 (g) MP_REACH_NLRI twice', update([MP_REACH, MP_REACH, ORIGIN, AS_PATH], []), 'reset 3/1'],
  ['unrecognized well-known attribute', update([...GOOD, attribute(0x40, 99, [])]), 'reset 3/2'],
  ['unrecognized optional attribute', update([...GOOD, attribute(0xc0, 99, [1, 2])]), 'accept'],
  ['§7.1 ORIGIN 3', update([attribute(0x40, 1, [3]), AS_PATH, NEXT_HOP]), 'withdraw'],
  ['§7.1 ORIGIN of two octets', update([attribute(0x40, 1, [0, 0]), AS_PATH, NEXT_HOP]), 'withdraw'],
  ['§7.2 AS_PATH: segment type 9', update([ORIGIN, attribute(0x40, 2, [9, 1, 0, 0, 253, 232]), NEXT_HOP]), 'withdraw'],
  ['§7.2 AS_PATH: empty segment', update([ORIGIN, attribute(0x40, 2, [2, 0]), NEXT_HOP]), 'withdraw'],
  ['§7.2 AS_PATH: segment overrun', update([ORIGIN, attribute(0x40, 2, [2, 2, 0, 0, 253, 232]), NEXT_HOP]), 'withdraw'],
  ['AS_PATH: not the neighbour first', update([ORIGIN, attribute(0x40, 2, [2, 1, 0, 0, 0, 7]), NEXT_HOP]), 'withdraw'],
  [
    'RFC 7607: AS 0 in the path',
    update([ORIGIN, attribute(0x40, 2, [2, 2, 0, 0, 253, 232, 0, 0, 0, 0]), NEXT_HOP]),
    'withdraw',
  ],
  ['AS_PATH: empty, from outside', update([ORIGIN, attribute(0x40, 2, []), NEXT_HOP]), 'withdraw'],
  ['AS_PATH: empty, from inside', update([ORIGIN, attribute(0x40, 2, []), NEXT_HOP]), 'accept', INTERNAL],
  [
    'AS_PATH: confederation, from outside',
    update([ORIGIN, attribute(0x40, 2, [2, 1, 0, 0, 253, 232, 3, 1, 0, 0, 0, 1]), NEXT_HOP]),
    'withdraw',
  ],
  ['§7.3 NEXT_HOP of three octets', update([ORIGIN, AS_PATH, attribute(0x40, 3, [1, 2, 3])]), 'withdraw'],
  ['NEXT_HOP that is no host', update([ORIGIN, AS_PATH, attribute(0x40, 3, [224, 0, 0, 5])]), 'withdraw'],
  ['§7.4 MED of three octets', update([...GOOD, attribute(0x80, 4, [0, 0, 1])]), 'withdraw'],
  ['§7.5 LOCAL_PREF from outside', update([...GOOD, attribute(0x40, 5, [0, 0, 0, 1])]), 'discard'],
  [
    '§7.5 LOCAL_PREF of three octets from inside',
    update([...GOOD, attribute(0x40, 5, [0, 0, 1])]),
    'withdraw',
    INTERNAL,
  ],
  ['§7.6 ATOMIC_AGGREGATE with an octet', update([...GOOD, attribute(0x40, 6, [1])]), 'discard'],
  ['§7.7 AGGREGATOR of six octets', update([...GOOD, attribute(0xc0, 7, [0, 1, 10, 0, 0, 1])]), 'discard'],
  ['§7.8 COMMUNITIES of no octets', update([...GOOD, attribute(0xc0, 8, [])]), 'withdraw'],
  ['§7.8 COMMUNITIES of five octets', update([...GOOD, attribute(0xc0, 8, [1, 2, 3, 4, 5])]), 'withdraw'],
  ['§7.9 ORIGINATOR_ID from outside', update([...GOOD, attribute(0x80, 9, [1])]), 'discard'],
  ['§7.9 ORIGINATOR_ID of one octet from inside', update([...GOOD, attribute(0x80, 9, [1])]), 'withdraw', INTERNAL],
  [
    '§7.10 CLUSTER_LIST of five octets from inside',
    update([...GOOD, attribute(0x80, 10, [1, 2, 3, 4, 5])]),
    'withdraw',
    INTERNAL,
  ],
  [
    '§7.11 MP_REACH_NLRI with a next hop of 5 octets',
    update([attribute(0x80, 14, [0, 2, 1, 5, 1, 2, 3, 4, 5, 0, 0]), ORIGIN, AS_PATH], []),
    'reset 3/9',
  ],
  ['§7.11 MP_REACH_NLRI cut short', update([attribute(0x80, 14, [0, 2]), ORIGIN, AS_PATH], []), 'reset 3/9'],
  [
    'MP_REACH_NLRI with a prefix of 129 bits',
    update(
      [attribute(0x80, 14, [...MP_REACH.slice(3, -1), 129, ...new Array<number>(17).fill(0)]), ORIGIN, AS_PATH],
      [],
    ),
    'reset 3/9',
  ],
  ['§7.12 MP_UNREACH_NLRI of two octets', update([attribute(0x80, 15, [0, 2])], []), 'reset 3/9'],
  ['§5.3 MP_REACH_NLRI longer than the list', update([ORIGIN, AS_PATH, [0x80, 14, 99, 0, 2]], []), 'reset 3/1'],
  [
    '§7.14 EXTENDED_COMMUNITIES of seven octets',
    update([...GOOD, attribute(0xc0, 16, [1, 2, 3, 4, 5, 6, 7])]),
    'withdraw',
  ],
  ['AS4_PATH from a four-octet neighbour', update([...GOOD, attribute(0xc0, 17, [2, 1, 0, 0, 0, 1])]), 'discard'],
  [
    'RFC 8092 §5 LARGE_COMMUNITIES of eight octets',
    update([...GOOD, attribute(0xc0, 32, [1, 2, 3, 4, 5, 6, 7, 8])]),
    'withdraw',
  ],
  ['§5.2 a malformed attribute and no route in sight', update([attribute(0x40, 1, [3])], []), 'reset 3/6'],
  ['§5.2 an attribute to discard and no route in sight', update([ORIGIN, attribute(0x40, 6, [1])], []), 'discard'],
  ['a family that was not agreed on', update([attribute(0x80, 14, [0, 25, 65, 0, 0]), ...GOOD]), 'discard'],
];

for (const [what, body, expected, context] of rows) {
  test(`RFC 7606: ${what}: ${expected}`, (t) => {
    t.is(outcome(read(body, context)), expected);
  });
}

test('treat-as-withdraw takes the routes of both families back, and the withdrawals of the message stand', (t) => {
  const message = read(
    update([attribute(0x80, 14, [...MP_REACH.slice(3)]), attribute(0x40, 1, [7]), AS_PATH, NEXT_HOP], HOST, [8, 11]),
  );
  t.true(message.type === 'UPDATE');
  if (message.type === 'UPDATE')
    t.deepEqual([...message.withdrawn].map(String), ['11.0.0.0/8', '10.10.10.1/32', '::/0']);
});

test('a discarded attribute is absent, the others stay', (t) => {
  const message = read(update([...GOOD, attribute(0xc0, 7, [1]), attribute(0x80, 4, [0, 0, 0, 9])]));
  t.true(message.type === 'UPDATE');
  if (message.type !== 'UPDATE') return;
  t.is(message.attributes.aggregator, undefined);
  t.is(message.attributes.med, 9);
  t.is(message.reach[0]?.prefixes[0], '10.10.10.1/32' as never);
});
