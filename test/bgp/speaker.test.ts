import test from 'ava';
import fc from 'fast-check';
import type { BgpOptions } from '../../src/bgp/index.ts';
import type { Transport } from '../../src/bgp/transport.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import { BusyClock } from '../model/busy-clock.ts';
import { MemoryNetwork, VirtualClock } from './support/memory.ts';

import { A, G, hosts, inTable, lastOf, Node, port, updates, world } from './support/world.ts';

test('two speakers meet; hosts go out with their level in ORIGIN and are withdrawn', (t) => {
  const { clock, tor, gateway } = world();
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1', ['10.10.10.2', 1], ['10.10.10.3', 2]) });
  clock.advance(100);
  t.true(tor.speaker.establishedWith(G));
  t.deepEqual(inTable(gateway), ['10.10.10.1/32 INCOMPLETE', '10.10.10.2/32 EGP', '10.10.10.3/32 IGP']);
  t.deepEqual(lastOf(tor.changes), {
    neighbor: G,
    from: 'OpenConfirm',
    to: 'Established',
    reason: 'keepalive received',
    at: tor.changes.at(-1)!.at,
  });
  tor.speaker.apply({ withdrawn: ['10.10.10.1' as Address], announced: hosts(['10.10.10.2', 2]) });
  clock.advance(10);
  t.deepEqual(inTable(gateway), ['10.10.10.2/32 IGP', '10.10.10.3/32 IGP']);
  t.true(tor.speaker.initialRoutesReceived(G), 'End-of-RIB of both families');
});

test('one write a change: withdrawals and announcements of all levels together', (t) => {
  const { clock, network, tor } = world();
  clock.advance(100);
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1', '10.10.10.2') });
  const before = connection.written.length;
  const report = tor.speaker.apply({
    withdrawn: ['10.10.10.1' as Address],
    announced: hosts(['10.10.10.3', 1], ['10.10.10.4', 2]),
  });
  t.is(connection.written.length, before + 1);
  t.is(report.packets, 3);
  t.is(report.firstByteAt, clock.now());
  const sent = updates(connection.written.slice(before));
  t.deepEqual(
    sent.map((message) => [...message.withdrawn, ...message.reach.flatMap((reach) => reach.prefixes)].join()),
    ['10.10.10.1/32', '10.10.10.3/32', '10.10.10.4/32'],
  );
});

test('another MAC or port of a host is no news for BGP', (t) => {
  const { clock, tor } = world();
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') });
  clock.advance(100);
  t.is(tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') }).packets, 0);
});

test('R4.2 a host outside the prefixes is refused, the rest of its delta goes out', (t) => {
  const { clock, tor, gateway } = world();
  clock.advance(100);
  tor.speaker.apply({ withdrawn: [], announced: hosts('203.0.113.1', '10.10.10.1') });
  clock.advance(10);
  t.deepEqual(inTable(gateway), ['10.10.10.1/32 INCOMPLETE']);
  t.is(tor.speaker.counters().refused_outside_prefixes, 1);
});

test('while the kernel takes nothing, the newest word on each host waits', (t) => {
  const { clock, network, tor, gateway } = world({ hold: 0 }, { hold: 0 });
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1', '10.10.10.2') });
  clock.advance(100);
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  connection.blocked = true;
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.9') });
  const written = connection.written.length;
  t.is(tor.speaker.apply({ withdrawn: ['10.10.10.1' as Address], announced: [] }).packets, 0);
  tor.speaker.apply({ withdrawn: [], announced: hosts(['10.10.10.1', 2]) });
  tor.speaker.apply({ withdrawn: ['10.10.10.2' as Address], announced: [] });
  t.is(connection.written.length, written);
  t.is(tor.speaker.sessions()[0]!.queued, 2);
  connection.unblock();
  clock.advance(10);
  t.is(connection.written.length, written + 1);
  t.is(tor.speaker.sessions()[0]!.queued, 0);
  t.deepEqual(inTable(gateway), ['10.10.10.1/32 IGP', '10.10.10.9/32 INCOMPLETE']);
});

test('RFC 9687: a neighbour that never takes data is given up', (t) => {
  const { clock, network, tor } = world({ hold: 0 }, { hold: 0 });
  clock.advance(100);
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  connection.blocked = true;
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.9') });
  clock.advance(19_000);
  t.true(tor.speaker.establishedWith(G));
  clock.advance(2_000);
  t.true(tor.changes.some((change) => change.reason === 'send hold timer expired'));
});

test('R4.7 a dead neighbour costs its routes and claims after the hold time, and comes back with the table', (t) => {
  const { clock, network, tor, gateway } = world();
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') });
  clock.advance(5_000);
  t.deepEqual(inTable(gateway), ['10.10.10.1/32 INCOMPLETE']);
  network.cut = true;
  clock.advance(4_000);
  t.false(tor.speaker.establishedWith(G));
  t.deepEqual(inTable(gateway), []);
  t.true(gateway.changes.some((change) => change.from === 'Established' && change.reason === 'hold timer expired'));
  network.cut = false;
  clock.advance(6_000);
  t.true(tor.speaker.establishedWith(G));
  t.deepEqual(inTable(gateway), ['10.10.10.1/32 INCOMPLETE']);
});

/** `world`, with a switch that has a clock and ears of its own. */
function between(clock: VirtualClock, network: MemoryNetwork, options: Partial<BgpOptions>) {
  const tor = new Node(
    clock,
    network,
    A,
    { asn: 65001, routerId: '10.255.0.1' as Address, ...options },
    [{ address: G, remoteAs: 65000 }],
    [port('A0', 1, [A, 24])],
  );
  const gateway = new Node(
    clock,
    network,
    G,
    { asn: 65000, routerId: '10.255.0.254' as Address },
    [{ address: A, remoteAs: 65001, passive: true }],
    [port('gA', 1, [G, 24])],
  );
  return { tor, gateway };
}

test('a loop that was busy for longer than the hold time reads what has come before it gives a neighbour up', (t) => {
  const clock = new VirtualClock();
  const busy = new BusyClock(clock);
  const network = new MemoryNetwork(clock);
  const inner = network.transport(A);
  const transport: Transport = {
    ...inner,
    connect: (target, { onData, ...handlers }) =>
      inner.connect(target, { ...handlers, onData: (data) => busy.arrive(() => onData(data)) }),
  };
  const { tor, gateway } = between(clock, network, { clock: busy, transport });
  gateway.speaker.start();
  tor.speaker.start();
  clock.advance(5_000);
  t.true(tor.speaker.establishedWith(G));
  const changes = tor.changes.length;
  busy.deaf = true;
  clock.advance(1_200);
  busy.deaf = false;
  busy.turn(() => clock.advance(1_950));
  clock.advance(1_000);
  t.true(tor.speaker.establishedWith(G));
  t.is(tor.changes.length, changes);

  network.cut = true;
  busy.turn(() => clock.advance(4_000));
  t.false(tor.speaker.establishedWith(G), 'nothing had come');
  t.true(tor.changes.some(({ reason }) => reason === 'hold timer expired'));
});

test('a neighbour that tells of thousands at once leaves others their turns, and its last words are heard', (t) => {
  const clock = new VirtualClock();
  const busy = new BusyClock(clock);
  const network = new MemoryNetwork(clock);
  const { tor, gateway } = between(clock, network, { clock: busy });
  const many = hosts(...Array.from({ length: 4_000 }, (_, index) => `10.10.${index >> 8}.${index & 255}`));
  gateway.speaker.start();
  tor.speaker.start();
  clock.advance(100);
  busy.turn(() => undefined);
  t.true(tor.speaker.establishedWith(G));
  gateway.speaker.apply({ withdrawn: [], announced: many });
  clock.advance(10);
  const counts = [inTable(tor).length];
  for (let turn = 0; turn < 3; turn++) {
    busy.turn(() => undefined);
    counts.push(inTable(tor).length);
  }
  t.true(counts[0]! > 500 && counts[0]! < 1_000, `${counts}`);
  t.true(counts[3]! > 2_500 && counts[3]! < 4_000, `${counts}`);
  gateway.speaker.apply({ withdrawn: [many[3_999]!.address], announced: [] });
  clock.advance(10);
  for (let turn = 0; turn < 5; turn++) busy.turn(() => undefined);
  t.is(inTable(tor).length, 3_999, 'in the order in which it was said');

  gateway.speaker.apply({ withdrawn: [], announced: many.map((host) => ({ ...host, level: 1 as const })) });
  clock.advance(10);
  network.connections.find((one) => one.localAddress === A && one.open)!.fail('cut');
  t.is(lastOf(tor.changes).reason, 'cut');
  t.deepEqual(inTable(tor), []);
  busy.turn(() => undefined);
  t.deepEqual(inTable(tor), [], 'nothing of the old stream comes later');
});

test('carrier loss ends the session in the same turn; the way back is short', (t) => {
  const { clock, network, tor, gateway } = world();
  clock.advance(60_000);
  network.cut = true;
  tor.link('A0', false, clock.now());
  t.false(tor.speaker.establishedWith(G));
  t.is(lastOf(tor.changes).reason, 'interface A0 down');
  gateway.link('gA', false, clock.now());
  clock.advance(30_000);
  network.cut = false;
  gateway.link('gA', true, clock.now());
  tor.link('A0', true, clock.now());
  clock.advance(20);
  t.true(tor.speaker.establishedWith(G));
});

test('a port that leads elsewhere is none of the session', (t) => {
  const { clock, tor } = world();
  tor.ports.set('A1', port('A1', 2, ['10.10.10.254', 24]));
  clock.advance(100);
  tor.link('A1', false, clock.now());
  t.true(tor.speaker.establishedWith(G));
});

test('RFC 4271 §6.8: both connect at the same moment, whatever the latency, and one session is left', (t) => {
  for (const routerId of ['10.255.0.1', '10.255.0.255'] as Address[]) {
    for (const latency of [1, 40, 200, 700]) {
      const clock = new VirtualClock();
      const network = new MemoryNetwork(clock);
      network.latency = latency;
      const tor = new Node(
        clock,
        network,
        A,
        { asn: 65001, routerId },
        [{ address: G, remoteAs: 65000, hold: 9000 }],
        [port('A0', 1, [A, 24])],
      );
      const gateway = new Node(
        clock,
        network,
        G,
        { asn: 65000, routerId: '10.255.0.254' as Address },
        [{ address: A, remoteAs: 65001, hold: 9000 }],
        [port('gA', 1, [G, 24])],
      );
      tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') });
      tor.speaker.start();
      gateway.speaker.start();
      clock.advance(30_000);
      t.true(tor.speaker.establishedWith(G), `latency ${latency}`);
      t.true(gateway.speaker.establishedWith(A), `latency ${latency}`);
      const changes = tor.changes.length;
      clock.advance(60_000);
      t.is(tor.changes.length, changes, 'stable');
      t.is(tor.speaker.counters().sessions_established, 1);
      t.deepEqual(inTable(gateway), ['10.10.10.1/32 INCOMPLETE']);
    }
  }
});

test('a stranger is not let in', (t) => {
  const { clock, network, gateway } = world();
  const stranger = new Node(
    clock,
    network,
    '192.0.2.66',
    { asn: 65001, routerId: '10.0.0.66' as Address },
    [{ address: G, remoteAs: 65000 }],
    [],
  );
  stranger.speaker.start();
  clock.advance(1_000);
  t.false(stranger.speaker.establishedWith(G));
  t.true(gateway.speaker.counters().connections_from_strangers! > 0);
});

test('maximum prefixes: Cease/1, and a minute of peace', (t) => {
  const { clock, tor, gateway } = world({}, { maximumPrefixes: 2 });
  clock.advance(100);
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1', '10.10.10.2', '10.10.10.3') });
  clock.advance(10);
  t.false(gateway.speaker.establishedWith(A));
  t.is(gateway.speaker.counters().maximum_prefixes_exceeded, 1);
  t.regex(gateway.changes.find((change) => change.from === 'Established')!.reason, /more than 2 prefixes/);
  t.deepEqual(inTable(gateway), []);
  tor.speaker.apply({ withdrawn: ['10.10.10.3' as Address], announced: [] });
  clock.advance(55_000);
  t.is(gateway.speaker.counters().sessions_established, 1);
  clock.advance(15_000);
  t.true(gateway.speaker.establishedWith(A));
  t.is(inTable(gateway).length, 2);
});

test('BFD ends a session with Cease/10, and it is tried again', (t) => {
  const { clock, network, tor } = world();
  clock.advance(20_000);
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  tor.speaker.neighborFailed(G, 'BFD down');
  t.deepEqual([...lastOf(connection.written).subarray(18)], [3, 6, 10]);
  t.is(lastOf(tor.changes).reason, 'BFD down');
  clock.advance(1_000);
  t.true(tor.speaker.establishedWith(G));
});

test('whatever octets a neighbour sends, the speaker lives and meets it again', (t) => {
  const { clock, network, tor, gateway } = world({ connectRetry: 200 });
  gateway.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.7', ['10.10.10.8', 2]) });
  clock.advance(100);
  const recorded = network.connections
    .find((one) => one.localAddress === G && one.open)!
    .written.map((data) => Buffer.from(data));
  const edit = fc.record({ at: fc.nat({ max: 400 }), value: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(fc.shuffledSubarray(recorded, { minLength: 1 }), fc.array(edit, { maxLength: 5 }), (parts, edits) => {
      for (let second = 0; second < 10 && !tor.speaker.establishedWith(G); second++) clock.advance(1_000);
      t.true(tor.speaker.establishedWith(G));
      const connection = network.connections.findLast((one) => one.localAddress === A && one.handlers)!;
      const bytes = Buffer.concat(parts);
      for (const { at, value } of edits) bytes[at % bytes.length] = value;
      connection.handlers?.onData(bytes);
      clock.advance(10);
    }),
    { numRuns: 300 },
  );
  // A half message may have swallowed what came after it, until the hold timer.
  clock.advance(20_000);
  // Some of what was changed was a route as good as any.
  tor.speaker.neighborFailed(G, 'a clean table');
  clock.advance(1_000);
  t.true(tor.speaker.establishedWith(G));
  t.deepEqual(inTable(tor), ['10.10.10.7/32 INCOMPLETE', '10.10.10.8/32 IGP']);
});

test('stop withdraws, says goodbye and stays stopped', async (t) => {
  const { clock, network, tor, gateway } = world();
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') });
  clock.advance(100);
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  const before = connection.written.length;
  await tor.speaker.stop('bye');
  const [withdrawal] = updates(connection.written.slice(before));
  t.deepEqual(withdrawal!.withdrawn, ['10.10.10.1/32' as Prefix]);
  const last = Buffer.from(lastOf(connection.written));
  t.deepEqual([...last.subarray(18)], [3, 6, 2, 3, ...Buffer.from('bye')]);
  clock.advance(60_000);
  t.false(gateway.speaker.establishedWith(A));
  t.is(tor.speaker.sessions()[0]!.state, 'Idle');
});

test('a received route to a host of ours is not used, and is again when the host has gone', (t) => {
  const { clock, tor, gateway } = world();
  clock.advance(100);
  gateway.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.7') });
  clock.advance(10);
  t.is(lastOf(tor.routes).nextHops.length, 1);
  t.is(lastOf(tor.claims).level, 0);
  tor.speaker.apply({ withdrawn: [], announced: hosts(['10.10.10.7', 1]) });
  t.deepEqual(lastOf(tor.routes), { prefix: '10.10.10.7/32' as Prefix, nextHops: [], metric: 0 });
  tor.speaker.apply({ withdrawn: ['10.10.10.7' as Address], announced: [] });
  t.deepEqual(lastOf(tor.routes).nextHops, [{ via: G, interface: 'A0' }]);
  gateway.speaker.apply({ withdrawn: ['10.10.10.7' as Address], announced: [] });
  clock.advance(10);
  t.is(lastOf(tor.claims).level, undefined);
});

test('RFC 8326: all is announced again, worse; what waits for the kernel is not lost by it', (t) => {
  const { clock, network, tor, gateway } = world({ hold: 0 }, { hold: 0 });
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1', '10.10.10.2') });
  clock.advance(100);
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  connection.blocked = true;
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.9') });
  tor.speaker.apply({ withdrawn: ['10.10.10.1' as Address], announced: [] });
  tor.speaker.setGracefulShutdown(true);
  connection.unblock();
  clock.advance(10);
  const seen = gateway.speaker.routes().filter((route) => route.table === 'in');
  t.deepEqual(seen.map((route) => [String(route.prefix), route.communities[0]]).sort(), [
    ['10.10.10.2/32', 'graceful-shutdown'],
    ['10.10.10.9/32', 'graceful-shutdown'],
  ]);
});

test('an IPv6 address of the uplink that comes later makes IPv6 hosts announced, until it goes', (t) => {
  const { clock, tor, gateway } = world({}, {}, { prefixes: ['10.10.0.0/16' as Prefix, '2001:db8:10::/64' as Prefix] });
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1', '2001:db8:10::5') });
  clock.advance(100);
  t.deepEqual(inTable(gateway), ['10.10.10.1/32 INCOMPLETE']);
  t.is(tor.speaker.counters().no_next_hop_ipv6, 1);
  const before = tor.ports.get('A0')!;
  const after = port('A0', 1, [A, 24], ['2001:db8::2', 64]);
  tor.ports.set('A0', after);
  tor.speaker.linkChanged({ name: 'A0', before, after, at: clock.now() });
  clock.advance(10);
  t.deepEqual(inTable(gateway), ['10.10.10.1/32 INCOMPLETE', '2001:db8:10::5/128 INCOMPLETE']);
  tor.ports.set('A0', before);
  tor.speaker.linkChanged({ name: 'A0', before: after, after: before, at: clock.now() });
  clock.advance(10);
  t.deepEqual(inTable(gateway), ['10.10.10.1/32 INCOMPLETE'], 'and when it goes they are withdrawn');
});

test('a link that goes down while the session is down anyway does not make the way back longer', (t) => {
  const { clock, network, tor } = world();
  clock.advance(100);
  network.cut = true;
  tor.link('A0', false, clock.now());
  clock.advance(1_000);
  tor.link('A0', true, clock.now());
  tor.link('A0', false, clock.now());
  network.cut = false;
  tor.link('A0', true, clock.now());
  clock.advance(4_000);
  t.true(tor.speaker.establishedWith(G));
});

test('R4.6 session loss takes back every learned route and claim', (t) => {
  const { clock, tor, gateway } = world();
  clock.advance(100);
  gateway.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.7', '10.10.10.8') });
  clock.advance(10);
  tor.link('A0', false, clock.now());
  t.deepEqual(
    tor.routes.slice(-2).map((one) => [String(one.prefix), one.nextHops.length]),
    [
      ['10.10.10.7/32', 0],
      ['10.10.10.8/32', 0],
    ],
  );
  t.deepEqual(
    tor.claims.slice(-2).map((one) => one.level),
    [undefined, undefined],
  );
});

test('a slow start: a hold time of a second is refused, a wrong community too', (t) => {
  t.throws(() => world({ hold: 1000 }), { instanceOf: RangeError });
  t.throws(() => world({}, {}, { announce: { communities: ['no such'] } }), { instanceOf: RangeError });
});
