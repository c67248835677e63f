import test from 'ava';
import type { BgpNeighborOptions, BgpOptions } from '../../src/bgp/index.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import { MemoryNetwork, VirtualClock } from './support/memory.ts';
import { A, G, hosts, lastOf, Node, port } from './support/world.ts';

const G2 = '198.51.100.1' as Address;
const A2 = '198.51.100.2' as Address;
const PREFIXES = ['10.10.0.0/16' as Prefix];
const timers = { keepalive: 1000, hold: 3000 };
const TO_G: BgpNeighborOptions = { address: G, remoteAs: 65000, localAddress: A, ...timers };
const TO_G2: BgpNeighborOptions = { address: G2, remoteAs: 65010, localAddress: A2, ...timers };
const SETTINGS = { asn: 65001, announce: { communities: [] }, prefixes: PREFIXES, neighbors: [TO_G] };

/** A switch with two gateways, of which it knows the first; connections start from the address that they name. */
function world(options: Partial<BgpOptions> = {}) {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const gateway = (local: Address, asn: number, remote: Address) =>
    new Node(
      clock,
      network,
      local,
      { asn, routerId: local },
      [{ address: remote, remoteAs: 65001, passive: true }],
      [port('g', 1, [local, 24])],
    );
  const first = gateway(G, 65000, A);
  const second = gateway(G2, 65010, A2);
  const tor = new Node(
    clock,
    network,
    A,
    {
      ...SETTINGS,
      routerId: '10.255.0.1' as Address,
      transport: {
        connect: (target, handlers) => network.transport(target.localAddress!).connect(target, handlers),
        listen: (target, accept) => network.transport(target.address).listen(target, accept),
      },
      ...options,
    },
    [TO_G],
    [port('A0', 1, [A, 24]), port('A9', 2, [A2, 24])],
  );
  for (const node of [first, second, tor]) node.speaker.start();
  const received = (node: Node) =>
    node.speaker
      .routes()
      .filter((route) => route.table === 'in')
      .map((route) => route.prefix)
      .sort();
  return { clock, network, first, second, tor, received };
}

const lost = (node: Node) => node.changes.filter((change) => change.from === 'Established').map(({ reason }) => reason);

test('a neighbour more and one less, and the sessions of the others stand', (t) => {
  const { clock, first, second, tor, received } = world();
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') });
  clock.advance(100);
  tor.speaker.configure({ ...SETTINGS, neighbors: [TO_G, TO_G2] });
  clock.advance(100);
  t.true(tor.speaker.establishedWith(G2));
  t.deepEqual(received(second), ['10.10.10.1/32']);
  t.deepEqual(lost(tor), []);

  tor.speaker.configure({ ...SETTINGS, neighbors: [TO_G2] });
  clock.advance(2);
  t.deepEqual(lost(first), ['notification 6/3 received']);
  t.deepEqual(received(first), []);
  t.deepEqual(
    tor.speaker.sessions().map((session) => session.neighbor),
    [G2],
  );
  clock.advance(20_000);
  t.false(first.speaker.establishedWith(A));
  t.deepEqual(lost(second), []);
});

test('what was agreed on with a neighbour changes: that session alone begins anew; a limit changes in place', (t) => {
  const { clock, first, second, tor, received } = world({ neighbors: [TO_G, TO_G2] });
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') });
  clock.advance(100);
  tor.speaker.configure({ ...SETTINGS, neighbors: [{ ...TO_G, hold: 6000 }, TO_G2] });
  clock.advance(500);
  t.deepEqual(lost(first), ['notification 6/6 received']);
  t.deepEqual(lost(second), []);
  t.true(tor.speaker.establishedWith(G));
  t.deepEqual(received(first), ['10.10.10.1/32']);

  first.speaker.apply({ withdrawn: [], announced: hosts('10.10.20.1', '10.10.20.2') });
  clock.advance(10);
  tor.speaker.configure({
    ...SETTINGS,
    neighbors: [
      { ...TO_G, hold: 6000 },
      { ...TO_G2, maximumPrefixes: 1 },
    ],
  });
  second.speaker.apply({ withdrawn: [], announced: hosts('10.10.20.1', '10.10.20.2') });
  clock.advance(10);
  t.deepEqual(lost(second), ['notification 6/1 received'], 'the new limit holds');
  t.is(lost(first).length, 1);
});

test('communities and prefixes change in the sessions that stand', (t) => {
  const { clock, first, tor, received } = world();
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1', '10.10.20.1') });
  clock.advance(100);
  tor.speaker.configure({ ...SETTINGS, announce: { communities: ['65001:77'] } });
  clock.advance(10);
  const communities = () => first.speaker.routes().find((route) => route.table === 'in')!.communities;
  t.true(communities().includes('65001:77'));

  tor.speaker.configure({ ...SETTINGS, prefixes: ['10.10.10.0/24' as Prefix] });
  clock.advance(10);
  t.deepEqual(received(first), ['10.10.10.1/32'], 'what is outside now is withdrawn');
  t.false(communities().includes('65001:77'));
  tor.speaker.configure({ ...SETTINGS, prefixes: ['10.10.10.0/24', '10.20.0.0/16'] as Prefix[] });
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.20.0.1') });
  clock.advance(10);
  t.deepEqual(received(first), ['10.10.10.1/32', '10.20.0.1/32']);
  t.deepEqual(lost(tor), []);
});

test('claims follow the prefixes', (t) => {
  const { clock, first, tor } = world();
  first.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1', '10.10.20.1') });
  clock.advance(100);
  t.is(tor.claims.length, 2);
  tor.speaker.configure({ ...SETTINGS, prefixes: ['10.10.10.0/24' as Prefix] });
  t.deepEqual([lastOf(tor.claims).address, lastOf(tor.claims).level], ['10.10.20.1' as Address, undefined]);
  tor.speaker.configure(SETTINGS);
  t.deepEqual([lastOf(tor.claims).address, lastOf(tor.claims).level], ['10.10.20.1' as Address, 0]);
  t.is(tor.claims.length, 4);
});

test('another AS number of ours ends all sessions; a wrong setting changes nothing', (t) => {
  const { clock, first, tor } = world();
  clock.advance(100);
  t.throws(() => tor.speaker.configure({ ...SETTINGS, neighbors: [TO_G, TO_G] }), { instanceOf: RangeError });
  t.throws(() => tor.speaker.configure({ ...SETTINGS, announce: { communities: ['x'] } }));
  clock.advance(100);
  t.deepEqual(lost(tor), []);
  tor.speaker.configure({ ...SETTINGS, asn: 65002 });
  clock.advance(2);
  t.deepEqual(lost(first), ['notification 6/6 received']);
});
