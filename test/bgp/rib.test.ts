import test from 'ava';
import { ForeignClaims } from '../../src/bgp/claims.ts';
import type { PathAttributes, UpdateMessage } from '../../src/bgp/codec/messages.ts';
import { routerMark } from '../../src/bgp/marks.ts';
import type { InRoute, RibPeer } from '../../src/bgp/rib.ts';
import { bestPaths, Rib } from '../../src/bgp/rib.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import { ipv4ToNumber } from '../../src/model/address.ts';
import type { ClaimLevel, ForeignClaim, ForeignShadow } from '../../src/model/hosts.ts';

const DEFAULT = '0.0.0.0/0' as Prefix;

const peer = (address: string, external = true): RibPeer => ({
  address: address as Address,
  remoteId: ipv4ToNumber(address as Address),
  external,
});

interface Sketch {
  from: string;
  path?: number[];
  origin?: 0 | 1 | 2;
  med?: number;
  preference?: number;
  internal?: boolean;
}

function route(sketch: Sketch): InRoute {
  const attributes: PathAttributes = {
    origin: sketch.origin ?? 0,
    asPath: [{ type: 'AS_SEQUENCE', asns: sketch.path ?? [65000] }],
  };
  if (sketch.med !== undefined) attributes.med = sketch.med;
  if (sketch.preference !== undefined) attributes.localPreference = sketch.preference;
  return {
    prefix: DEFAULT,
    peer: peer(sketch.from, !sketch.internal),
    attributes,
    nextHop: sketch.from as Address,
    linkLocal: undefined,
  };
}

/** RFC 4271 §9.1.2.2: the candidates, and who is left, best first. */
const table: [what: string, candidates: Sketch[], best: string[]][] = [
  ['one', [{ from: '192.0.2.1' }], ['192.0.2.1']],
  [
    'higher LOCAL_PREF before the shorter path',
    [{ from: '192.0.2.1', preference: 200, path: [1, 2] }, { from: '192.0.2.2' }],
    ['192.0.2.1'],
  ],
  [
    '(a) shorter path before better ORIGIN',
    [
      { from: '192.0.2.1', path: [1, 2] },
      { from: '192.0.2.2', origin: 2 },
    ],
    ['192.0.2.2'],
  ],
  [
    '(b) lower ORIGIN before lower MED',
    [
      { from: '192.0.2.1', origin: 1, med: 0 },
      { from: '192.0.2.2', origin: 0, med: 9 },
    ],
    ['192.0.2.2'],
  ],
  [
    '(c) lower MED of the same AS; a missing one is 0',
    [{ from: '192.0.2.1', med: 5 }, { from: '192.0.2.2' }],
    ['192.0.2.2'],
  ],
  [
    '(c) MED of different ASes says nothing',
    [
      { from: '192.0.2.1', med: 5, path: [1] },
      { from: '192.0.2.2', path: [2] },
    ],
    ['192.0.2.1', '192.0.2.2'],
  ],
  [
    '(c) MED removes only within its AS',
    [
      { from: '192.0.2.1', med: 5, path: [1] },
      { from: '192.0.2.2', med: 3, path: [1] },
      { from: '192.0.2.3', med: 9, path: [2] },
    ],
    ['192.0.2.2', '192.0.2.3'],
  ],
  ['(d) external before internal', [{ from: '192.0.2.1', internal: true }, { from: '192.0.2.2' }], ['192.0.2.2']],
  [
    '(f) lowest identifier leads the equal ones',
    [{ from: '192.0.2.9' }, { from: '192.0.2.3' }],
    ['192.0.2.3', '192.0.2.9'],
  ],
];
for (const [what, candidates, best] of table) {
  test(`best path: ${what}`, (t) => {
    for (const order of [candidates, [...candidates].reverse()]) {
      t.deepEqual(
        bestPaths(order.map(route), 16).map((one) => String(one.nextHop)),
        best,
      );
    }
  });
}

test('best path: an AS_SET counts as one', (t) => {
  const set = route({ from: '192.0.2.1' });
  const long = route({ from: '192.0.2.2', path: [1, 2, 3] });
  const asPath = [
    { type: 'AS_SEQUENCE' as const, asns: [1] },
    { type: 'AS_SET' as const, asns: [2, 3, 4, 5] },
  ];
  t.is(
    bestPaths([long, { ...set, attributes: { ...set.attributes, asPath } }], 16)[0]!.nextHop,
    '192.0.2.1' as Address,
  );
});

test('no more paths than allowed', (t) => {
  const routes = Array.from({ length: 20 }, (_, index) => route({ from: `192.0.2.${index + 1}` }));
  t.is(bestPaths(routes, 4).length, 4);
});

function message(
  reach: string[],
  from: string,
  attributes: PathAttributes = {},
  withdrawn: string[] = [],
): UpdateMessage {
  return {
    type: 'UPDATE',
    withdrawn: withdrawn as Prefix[],
    reach: reach.length ? [{ family: 4, nextHop: from as Address, prefixes: reach as Prefix[] }] : [],
    attributes: { origin: 0, asPath: [{ type: 'AS_SEQUENCE', asns: [65000] }], ...attributes },
    problems: [],
    endOfRib: undefined,
  };
}

function rib(reachable = new Set(['192.0.2.1', '192.0.2.5'])) {
  return new Rib({
    localAs: () => 65001,
    maximumPaths: 16,
    resolve: (one) =>
      reachable.has(one.nextHop) ? { via: one.nextHop, interface: 'A0' } : { rejected: 'next-hop-unreachable' },
  });
}

test('two uplinks give one route with two next hops; losing one leaves the other; both, none', (t) => {
  const table = rib();
  table.update(peer('192.0.2.1'), message(['0.0.0.0/0'], '192.0.2.1'));
  table.update(
    peer('192.0.2.5'),
    message(['0.0.0.0/0'], '192.0.2.5', { asPath: [{ type: 'AS_SEQUENCE', asns: [64999] }] }),
  );
  t.deepEqual(table.decide(), [
    {
      prefix: DEFAULT,
      metric: 0,
      nextHops: [
        { via: '192.0.2.1' as Address, interface: 'A0' },
        { via: '192.0.2.5' as Address, interface: 'A0' },
      ],
    },
  ]);
  table.drop('192.0.2.1' as Address);
  t.deepEqual(
    table.decide()[0]!.nextHops.map((hop) => String(hop.via)),
    ['192.0.2.5'],
  );
  table.update(peer('192.0.2.5'), message([], '', {}, ['0.0.0.0/0']));
  t.deepEqual(table.decide(), [{ prefix: DEFAULT, metric: 0, nextHops: [] }]);
  t.deepEqual(table.decide(), []);
});

test('the same again changes nothing; a loop and an unreachable next hop are kept but not used', (t) => {
  const table = rib();
  const sender = peer('192.0.2.1');
  table.update(sender, message(['0.0.0.0/0'], '192.0.2.1'));
  t.is(table.decide().length, 1);
  table.update(sender, message(['0.0.0.0/0'], '192.0.2.1'));
  t.deepEqual(table.decide(), []);
  table.update(
    sender,
    message(['0.0.0.0/0'], '192.0.2.1', { asPath: [{ type: 'AS_SEQUENCE', asns: [65000, 65001] }] }),
  );
  t.deepEqual(table.decide()[0]!.nextHops, []);
  t.is(table.rejection([...table.adjIn()][0]!), 'as-loop');
  table.update(sender, message(['10.0.0.0/8'], '198.51.100.1'));
  t.deepEqual(table.decide(), []);
  t.is(table.received(sender.address), 2);
});

test('a next hop that becomes reachable makes its routes usable', (t) => {
  const reachable = new Set<string>();
  const table = rib(reachable);
  table.update(peer('192.0.2.1'), message(['0.0.0.0/0'], '192.0.2.1'));
  t.deepEqual(table.decide(), []);
  reachable.add('192.0.2.1');
  table.touchNextHops((nextHop) => nextHop === '192.0.2.1');
  t.is(table.decide()[0]!.nextHops.length, 1);
});

function claims(policy: { sharedAs?: boolean; announced?: ClaimLevel } = {}) {
  const emitted: ForeignClaim[] = [];
  const shadows: ForeignShadow[] = [];
  const tracker = new ForeignClaims(
    {
      localAs: () => 65001,
      routerId: '10.255.0.1' as Address,
      sharedAs: () => policy.sharedAs ?? true,
      covers: (address) => address.startsWith('10.10.10.'),
      announced: () => policy.announced,
      isOurs: (address) => address === '192.0.2.2',
    },
    { claim: (claim) => emitted.push(claim), shadow: (shadow) => shadows.push(shadow) },
  );
  return { tracker, emitted, shadows };
}

const path = (...asns: number[]): PathAttributes => ({ origin: 2, asPath: [{ type: 'AS_SEQUENCE', asns }] });
const G = '192.0.2.1' as Address;
const G2 = '192.0.2.5' as Address;

test('the twin is heard through G with its level, and its going too', (t) => {
  const { tracker, emitted } = claims();
  tracker.update(G, message(['10.10.10.4/32', '10.10.10.0/24', '203.0.113.1/32'], '192.0.2.1', path(65000, 65002)));
  tracker.update(G, message(['10.10.10.4/32'], '192.0.2.1', { ...path(65000, 65002), origin: 0 }));
  tracker.update(G, message(['10.10.10.4/32'], '192.0.2.1', { ...path(65000, 65002), origin: 0 }));
  tracker.update(G, message([], '', {}, ['10.10.10.4/32']));
  t.deepEqual(emitted, [
    { address: '10.10.10.4' as Address, level: 0, from: 'AS65002' },
    { address: '10.10.10.4' as Address, level: 2, from: 'AS65002' },
    { address: '10.10.10.4' as Address, level: undefined, from: 'AS65002' },
  ]);
});

test('two gateways tell the same claim: one emission, gone when neither tells it', (t) => {
  const { tracker, emitted } = claims();
  tracker.update(G, message(['10.10.10.4/32'], G, path(65000, 65002)));
  tracker.update(G2, message(['10.10.10.4/32'], G2, path(64999, 65002)));
  tracker.withdraw(G, ['10.10.10.4/32' as Prefix]);
  t.is(emitted.length, 1);
  tracker.withdraw(G2, ['10.10.10.4/32' as Prefix]);
  t.is(emitted[1]!.level, undefined);
  t.is(tracker.size, 0);
});

test('a claim of a directly connected other names its next hop', (t) => {
  const { tracker, emitted } = claims();
  tracker.update(G, message(['10.10.10.4/32'], '192.0.2.77', path(65000)));
  t.is(emitted[0]!.from, '192.0.2.77');
});

const marked = (router: string): PathAttributes => ({
  ...path(65000, 65001),
  largeCommunities: [[65001, 1, 2], routerMark(65001, router as Address)],
});

test('our own route that comes back is no claim', (t) => {
  const ours: [string, PathAttributes, { sharedAs?: boolean; announced?: ClaimLevel }][] = [
    ['192.0.2.2', path(65000, 65001), {}],
    ['192.0.2.1', path(65000, 65001), { sharedAs: false }],
    ['192.0.2.1', path(65000, 65001), { announced: 0 }],
    ['192.0.2.1', marked('10.255.0.1'), { sharedAs: true, announced: 1 }],
    ['192.0.2.1', marked('10.255.0.1'), { sharedAs: true }],
  ];
  for (const [nextHop, attributes, policy] of ours) {
    const { tracker, emitted } = claims(policy);
    tracker.update(G, message(['10.10.10.4/32'], nextHop, attributes));
    t.deepEqual(emitted, []);
  }
});

test('the twin with our own AS number is heard, and by its router id where its routes are marked', (t) => {
  const twins: [PathAttributes, { sharedAs?: boolean; announced?: ClaimLevel }, string][] = [
    [path(65000, 65001), {}, 'AS65001'],
    [path(65000, 65001), { announced: 1 }, 'AS65001'],
    [marked('10.255.0.2'), { sharedAs: true, announced: 0 }, '10.255.0.2'],
    [marked('10.255.0.2'), { sharedAs: true }, '10.255.0.2'],
  ];
  for (const [attributes, policy, from] of twins) {
    const { tracker, emitted } = claims(policy);
    tracker.update(G, message(['10.10.10.4/32'], '192.0.2.1', attributes));
    const named = from.startsWith('AS') ? {} : { routerId: from as Address };
    t.deepEqual(emitted, [{ address: '10.10.10.4' as Address, level: 0, from, ...named }]);
  }
});
