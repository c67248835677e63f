import test from 'ava';
import { ForeignClaims } from '../../src/bgp/claims.ts';
import type { LargeCommunity, PathAttributes } from '../../src/bgp/codec/messages.ts';
import type { BgpOptions } from '../../src/bgp/index.ts';
import { GRACEFUL_SHUTDOWN } from '../../src/bgp/index.ts';
import { routerMark, shadowMark } from '../../src/bgp/marks.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import type { ClaimLevel, ForeignClaim, ForeignShadow, HostRoute } from '../../src/model/hosts.ts';
import { MemoryNetwork, VirtualClock } from './support/memory.ts';
import { A, G, hosts, lastOf, Node, port, updates, world } from './support/world.ts';

const HOST = '10.10.10.2' as Address;
const on = (portIndex: number, ...addresses: string[]): HostRoute[] =>
  hosts(...addresses).map((host) => ({ ...host, portIndex }));
const shadow = (...addresses: string[]): HostRoute[] => on(7, ...addresses).map((host) => ({ ...host, shadow: true }));
const route = (node: Node, table = 'in') => node.speaker.routes().find((one) => one.table === table)!;

test('R4.8 a host names its port; another port is said, in the same session', (t) => {
  const { clock, tor, gateway } = world();
  tor.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  clock.advance(100);
  t.deepEqual(route(gateway).communities, ['65001:20556:184483841', '65001:20557:99']);
  t.deepEqual(gateway.heard, [
    { address: HOST, routerId: '10.255.0.1' as Address, portIndex: 99, shadow: false, up: true },
  ]);
  t.is(tor.speaker.apply({ withdrawn: [], announced: on(4, HOST) }).packets, 1);
  t.is(tor.speaker.apply({ withdrawn: [], announced: on(4, HOST) }).packets, 0);
  clock.advance(10);
  t.like(lastOf(gateway.heard), { portIndex: 4, up: true });
  tor.speaker.apply({ withdrawn: [HOST], announced: [] });
  clock.advance(10);
  t.like(lastOf(gateway.heard), { address: HOST, portIndex: 4, up: false });
  t.is(gateway.heard.length, 3);
});

test('one UPDATE for each port and level, in one write; withdrawals of all ports in one', (t) => {
  const { clock, network, tor } = world();
  clock.advance(100);
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  const before = connection.written.length;
  const first = Array.from({ length: 500 }, (_, index) => `10.10.1.${index % 250}`);
  const announced = [...on(1, ...new Set(first)), ...on(2, '10.10.2.1', '10.10.2.2'), ...on(1, '10.10.3.1')];
  t.is(tor.speaker.apply({ withdrawn: [], announced }).packets, 2);
  t.is(connection.written.length, before + 1);
  t.is(tor.speaker.apply({ withdrawn: announced.map(({ address }) => address), announced: [] }).packets, 1);
  t.is(updates(connection.written.slice(before)).length, 3);
});

test('a shadow is announced worse than what is drained, to external and internal neighbours', (t) => {
  for (const remoteAs of [65000, 65001]) {
    const { clock, tor, gateway } = world({ remoteAs }, {}, {}, { asn: remoteAs });
    tor.speaker.setTunnelEndpoint(A);
    tor.speaker.apply({ withdrawn: [], announced: hosts([HOST, 2]) });
    tor.speaker.setGracefulShutdown(true);
    clock.advance(100);
    const drained = route(gateway);
    tor.speaker.setGracefulShutdown(false);
    tor.speaker.apply({ withdrawn: [], announced: shadow(HOST) });
    clock.advance(100);
    const standing = route(gateway);
    t.deepEqual(standing.communities, [
      'graceful-shutdown',
      '65001:20556:184483841',
      `65001:20558:${0xc0000202}`,
      '65001:20559:1',
    ]);
    t.is(standing.origin, 'INCOMPLETE');
    if (remoteAs === 65000) {
      t.is(drained.asPath.split(' ').length, 3);
      t.is(standing.asPath, '65001 65001 65001 65001 65001');
    } else {
      t.is(drained.localPreference, 0);
      t.is(standing.localPreference, 0);
      t.is(drained.med, undefined);
      t.is(standing.med, 0xffffffff);
    }
    t.like(lastOf(gateway.heard), { address: HOST, portIndex: undefined, shadow: true, up: true });
  }
});

/** A and B at one gateway, which passes on what it hears. */
function fabric(options: Partial<BgpOptions> = {}, asnB = 65002) {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const B = '198.51.100.2' as Address;
  const GB = '198.51.100.1' as Address;
  const prefixes = ['10.10.10.0/24' as Prefix];
  const a = new Node(
    clock,
    network,
    A,
    { asn: 65001, routerId: '10.255.0.1' as Address, prefixes, ...options },
    [{ address: G, remoteAs: 65000 }],
    [port('A0', 1, [A, 24])],
  );
  const b = new Node(
    clock,
    network,
    B,
    { asn: asnB, routerId: '10.255.0.2' as Address, prefixes, ...options },
    [{ address: GB, remoteAs: 65000 }],
    [port('B0', 1, [B, 24])],
  );
  const g = new Node(
    clock,
    network,
    G,
    { asn: 65000, routerId: '10.255.0.254' as Address, propagate: true, listen: { port: 179 } },
    [
      { address: A, remoteAs: 65001, passive: true, localAddress: G },
      { address: B, remoteAs: asnB, passive: true, localAddress: GB },
    ],
    [port('gA', 1, [G, 24]), port('gB', 2, [GB, 24])],
  );
  for (const node of [g, a, b]) node.speaker.start();
  clock.advance(200);
  return { clock, a, b, g, B };
}

for (const asn of [65002, 65001]) {
  const own = asn === 65001 ? 'the same AS number' : 'AS numbers of their own';
  test(`R4.3 twins with ${own}: a real host is a claim with its endpoint, a shadow is none and is reported`, (t) => {
    const { clock, a, b, g, B } = fabric({}, asn);
    a.speaker.setTunnelEndpoint(A);
    b.speaker.setTunnelEndpoint(B);
    a.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
    clock.advance(10);
    t.deepEqual(b.claims, [
      { address: HOST, level: 0, from: '10.255.0.1', routerId: '10.255.0.1' as Address, endpoint: A, portIndex: 99 },
    ]);
    b.speaker.apply({ withdrawn: [], announced: shadow(HOST) });
    clock.advance(10);
    t.deepEqual(a.shadows, [{ address: HOST, up: true, from: '10.255.0.2', endpoint: B }]);
    t.deepEqual(a.claims, []);
    t.deepEqual(g.speaker.routes().find((one) => one.table === 'loc')?.neighbor, A, 'the real one is the one way');
    t.is(g.speaker.routes().filter((one) => one.table === 'loc').length, 1);
    t.deepEqual(lastOf(g.routes).backup, [{ via: B, interface: 'gB' }]);
    a.speaker.setGracefulShutdown(true);
    clock.advance(10);
    t.like(lastOf(b.claims), { level: 0, leaving: true });
    t.is(g.speaker.routes().find((one) => one.table === 'loc')!.neighbor, A, 'drained, it still wins');
    a.speaker.apply({ withdrawn: [HOST], announced: [] });
    clock.advance(10);
    t.deepEqual(lastOf(b.claims), { address: HOST, level: undefined, from: '10.255.0.1' });
    t.deepEqual(lastOf(g.routes).nextHops, [{ via: B, interface: 'gB' }]);
    t.deepEqual(a.claims, []);
    b.speaker.apply({ withdrawn: [], announced: on(7, HOST) });
    clock.advance(10);
    t.deepEqual(lastOf(a.claims), {
      address: HOST,
      level: 0,
      from: '10.255.0.2',
      routerId: '10.255.0.2' as Address,
      endpoint: B,
      portIndex: 7,
    });
    t.deepEqual(lastOf(a.shadows), { address: HOST, up: false, from: '10.255.0.2' });
    t.deepEqual(b.shadows, [], 'its own never');
  });
}

test('R4.5 what a switch stands by for it reaches through the fabric; what it has, it does not', (t) => {
  const { clock, a, b } = fabric();
  const way = () => {
    clock.advance(10);
    return b.routes.findLast(({ prefix }) => prefix === `${HOST}/32`)?.nextHops.map(({ via }) => via);
  };
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  t.deepEqual(way(), ['198.51.100.1' as Address]);
  b.speaker.apply({ withdrawn: [], announced: shadow(HOST) });
  t.deepEqual(way(), ['198.51.100.1' as Address], 'it stands by');
  b.speaker.apply({ withdrawn: [], announced: hosts([HOST, 1]) });
  t.deepEqual(way(), [], 'it is here');
  b.speaker.apply({ withdrawn: [], announced: shadow(HOST) });
  t.deepEqual(way(), ['198.51.100.1' as Address], 'and there again');
  a.speaker.apply({ withdrawn: [HOST], announced: [] });
  t.deepEqual(way(), [], 'its own shadow leads nowhere');
});

test('a new endpoint is said with all we announce', (t) => {
  const { clock, a, b } = fabric();
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  clock.advance(10);
  a.speaker.setTunnelEndpoint(A);
  clock.advance(10);
  a.speaker.setTunnelEndpoint(undefined);
  clock.advance(10);
  t.deepEqual(
    b.claims.map(({ endpoint }) => endpoint),
    [undefined, A, undefined],
  );
});

/** What a switch makes of one route that G sends it. */
function judged(attributes: PathAttributes, policy: { sharedAs?: boolean; announced?: ClaimLevel | 'shadow' } = {}) {
  const claims: ForeignClaim[] = [];
  const shadows: ForeignShadow[] = [];
  const tracker = new ForeignClaims(
    {
      localAs: () => 65001,
      routerId: '10.255.0.1' as Address,
      sharedAs: () => policy.sharedAs ?? true,
      covers: () => true,
      announced: () => policy.announced,
      isOurs: (address) => address === A,
    },
    { claim: (claim) => claims.push(claim), shadow: (one) => shadows.push(one) },
  );
  const hear = (more: PathAttributes, nextHop = G) =>
    tracker.update(G, {
      type: 'UPDATE',
      withdrawn: [],
      reach: [{ family: 4, nextHop, prefixes: [`${HOST}/32` as Prefix] }],
      attributes: more,
      problems: [],
      endOfRib: undefined,
    });
  hear(attributes);
  return { claims, shadows, hear };
}

const through = (...asns: number[]): PathAttributes => ({
  origin: 2,
  asPath: [{ type: 'AS_SEQUENCE', asns: [65000, ...asns] }],
});
const SHADOW_PATH = [65001, 65001, 65001, 65001, 65001];

test('a shadow of ours that the gateway sends back is neither a claim nor a foreign shadow', (t) => {
  const marks: LargeCommunity[] = [routerMark(65001, '10.255.0.1' as Address), shadowMark(65001)];
  const own = { ...through(...SHADOW_PATH), largeCommunities: marks };
  for (const policy of [{ announced: 'shadow' as const }, { sharedAs: false }, {}]) {
    const { claims, shadows } = judged(own, policy);
    t.deepEqual([claims, shadows], [[], []]);
  }
  const unmarked = { ...own, largeCommunities: [shadowMark(65001)] };
  const { claims, shadows, hear } = judged(unmarked, { announced: 'shadow' });
  hear(through(...SHADOW_PATH), A);
  t.deepEqual([claims, shadows], [[], []]);
});

test('a shadow of the twin with our AS number is a foreign shadow, marked or not', (t) => {
  const mark = routerMark(65001, '10.255.0.2' as Address);
  const twins: [PathAttributes, string][] = [
    [{ ...through(...SHADOW_PATH), largeCommunities: [mark, shadowMark(65001)] }, '10.255.0.2'],
    [{ ...through(...SHADOW_PATH), largeCommunities: [shadowMark(65001)] }, 'AS65001'],
  ];
  for (const [attributes, from] of twins) {
    const { claims, shadows } = judged(attributes, { announced: 0 });
    t.deepEqual([claims, shadows], [[], [{ address: HOST, up: true, from }]]);
  }
});

test('what leaves is known by the community or by the path of a drain; a short detour is no drain', (t) => {
  const leaving = (attributes: PathAttributes) => judged(attributes).claims[0]!.leaving ?? false;
  t.true(leaving({ ...through(65002), communities: [GRACEFUL_SHUTDOWN] }));
  t.true(leaving(through(65002, 65002, 65002)));
  t.false(leaving(through(65002)));
  t.false(leaving(through(65010, 65011, 65002)));
  t.false(leaving(through(65002, 65002)));
});

test('another switch takes a claim over in one message: the first one is gone, and said to be', (t) => {
  const { claims, hear } = judged({
    ...through(65002),
    largeCommunities: [routerMark(65002, '10.255.0.2' as Address)],
  });
  hear({ ...through(65003), largeCommunities: [routerMark(65003, '10.255.0.3' as Address)] });
  t.deepEqual(claims, [
    { address: HOST, level: 0, from: '10.255.0.2', routerId: '10.255.0.2' as Address },
    { address: HOST, level: undefined, from: '10.255.0.2' },
    { address: HOST, level: 0, from: '10.255.0.3', routerId: '10.255.0.3' as Address },
  ]);
});

test('marks of another AS than the announcer say nothing', (t) => {
  const { claims, shadows } = judged({ ...through(65002), largeCommunities: [shadowMark(65003), [65000, 20558, 1]] });
  t.deepEqual([claims.length, shadows.length, claims[0]!.endpoint], [1, 0, undefined]);
});
