import test from 'ava';
import type { PathAttributes } from '../../src/bgp/codec/messages.ts';
import { serializeUpdate } from '../../src/bgp/codec/serializer.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import { GATEWAY, HOST, learned, NAMES, type Name, SWITCH, scene } from './support/gateway.ts';
import { MemoryNetwork, VirtualClock } from './support/memory.ts';
import { hosts, lastOf, Node, port } from './support/world.ts';

test('R4.3 a gateway passes a /32 on to the other switches, itself as next hop and in the path, never back', (t) => {
  const { clock, a, b, gateway } = scene();
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST, '2001:db8:10::5') });
  clock.advance(10);
  t.deepEqual(learned(b), [
    '0.0.0.0/0 via 198.51.100.1 path 65000',
    '10.10.10.2/32 via 198.51.100.1 path 65000 65001',
    '2001:db8:10::5/128 via 2001:db8:b::1 path 65000 65001',
    '::/0 via 2001:db8:b::1 path 65000',
  ]);
  t.deepEqual(learned(a), ['0.0.0.0/0 via 192.0.2.1 path 65000', '::/0 via 2001:db8:a::1 path 65000']);
  const passed = b.speaker.routes().find((one) => one.prefix === '10.10.10.2/32')!;
  t.deepEqual(passed.communities, ['65001:20556:184483841', '65001:20557:99'], 'communities as they came');
  t.deepEqual(b.claims[0], {
    address: HOST,
    level: 0,
    from: '10.255.0.1',
    routerId: '10.255.0.1' as Address,
    portIndex: 99,
  });
  t.deepEqual(gateway.speaker.routes().filter((one) => one.table === 'out' && one.neighbor === SWITCH.b).length, 4);
  t.is(gateway.speaker.sessions().find((one) => one.neighbor === SWITCH.b)!.prefixesSent, 4);
  a.speaker.apply({ withdrawn: [HOST], announced: [] });
  clock.advance(10);
  t.false(learned(b).some((text) => text.startsWith(HOST)));
  t.is(lastOf(b.claims).level, undefined);
});

test('a switch that comes late gets the whole table, the default route, and then End-of-RIB', (t) => {
  const { clock, a, c, written } = scene();
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST, '10.10.10.3') });
  clock.advance(10);
  c.speaker.start();
  clock.advance(200);
  t.is(learned(c).length, 4);
  t.true(c.speaker.initialRoutesReceived(GATEWAY.c));
  const said = written('c');
  t.deepEqual(
    said.slice(-2).map(({ endOfRib }) => endOfRib),
    [4, 6],
    'End-of-RIB last',
  );
  t.is(said.filter(({ reach }) => reach.some(({ prefixes }) => prefixes.length === 2)).length, 1, 'packed');
});

test('R4.5 in one turn a /32 goes and another comes: the withdrawal is passed on first', (t) => {
  const { clock, a, written } = scene();
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST, '10.10.10.3') });
  clock.advance(10);
  written('b');
  a.speaker.apply({ withdrawn: [HOST], announced: hosts('10.10.10.4') });
  clock.advance(10);
  const said = written('b');
  t.deepEqual(said[0]!.withdrawn, ['10.10.10.2/32' as Prefix]);
  t.deepEqual(said[1]!.reach[0]!.prefixes, ['10.10.10.4/32' as Prefix]);
});

test('R4.5 in the turn in which a route is heard the kernel comes first, then the neighbours', (t) => {
  const order: string[] = [];
  const world = scene({ onRoutes: () => order.push('kernel') });
  const { clock, a, connectionTo } = world;
  const connection = connectionTo('b');
  const write = connection.write.bind(connection);
  connection.write = (data) => {
    if (data[18] === 2) order.push('wire');
    write(data);
  };
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  clock.advance(10);
  t.deepEqual(order, ['kernel', 'wire']);
});

test('two announce a host: each hears of the other; the better one is the route, the other the backup', (t) => {
  const { clock, a, b, c, gateway } = scene({}, ['a', 'b', 'c']);
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  b.speaker.apply({ withdrawn: [], announced: hosts([HOST, 1]) });
  clock.advance(10);
  t.deepEqual(lastOf(gateway.routes), {
    prefix: '10.10.10.2/32' as Prefix,
    nextHops: [{ via: SWITCH.b, interface: 'gb' }],
    metric: 0,
    backup: [{ via: SWITCH.a, interface: 'ga' }],
  });
  t.true(learned(a).includes('10.10.10.2/32 via 192.0.2.1 path 65000 65002'));
  t.true(learned(b).includes('10.10.10.2/32 via 198.51.100.1 path 65000 65001'));
  t.true(learned(c).includes('10.10.10.2/32 via 203.0.113.1 path 65000 65002'));
  t.is(lastOf(a.claims).level, 1);
  t.is(lastOf(b.claims).level, 0);
  // The backup alone goes: a change, though the next hops stay.
  const before = gateway.routes.length;
  a.speaker.apply({ withdrawn: [HOST], announced: [] });
  clock.advance(10);
  t.deepEqual(gateway.routes.slice(before), [
    { prefix: '10.10.10.2/32' as Prefix, nextHops: [{ via: SWITCH.b, interface: 'gb' }], metric: 0 },
  ]);
  t.false(
    learned(b).some((text) => text.startsWith(HOST)),
    'whom it was from has nothing any more',
  );
  t.true(learned(c).some((text) => text.startsWith(HOST)));
});

test('two announce a host alike: both are next hops, a third the backup of both', (t) => {
  const { clock, a, b, c, gateway } = scene({}, ['a', 'b', 'c']);
  for (const node of [a, b]) node.speaker.apply({ withdrawn: [], announced: hosts([HOST, 2]) });
  c.speaker.apply({ withdrawn: [], announced: hosts(HOST).map((host) => ({ ...host, shadow: true as const })) });
  clock.advance(10);
  const { nextHops, backup } = lastOf(gateway.routes);
  t.deepEqual(
    nextHops.map(({ via }) => via),
    [SWITCH.a, SWITCH.b],
  );
  t.deepEqual(
    backup?.map(({ via }) => via),
    [SWITCH.c],
  );
});

test('a switch with two sessions is never told its own route by the other one, but what its twin says', (t) => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const wired = (name: Name, asn: number, id: number) => ({
    neighbor: { address: SWITCH[name], remoteAs: asn, passive: true, localAddress: GATEWAY[name] },
    speaker: (apply: Node['speaker'][]) => {
      const node = new Node(
        clock,
        network,
        SWITCH[name],
        { asn, routerId: `10.255.0.${id}` as Address, prefixes: ['10.10.0.0/16' as Prefix] },
        [{ address: GATEWAY[name], remoteAs: 65000 }],
        [port(`${name}0`, id, [SWITCH[name], 24])],
      );
      apply.push(node.speaker);
      return node;
    },
  });
  // a and b are two uplinks of one switch, each with a session of its own; c is the twin.
  const links = { a: wired('a', 65001, 1), b: wired('b', 65001, 1), c: wired('c', 65003, 3) };
  const gateway = new Node(
    clock,
    network,
    GATEWAY.a,
    { asn: 65000, routerId: '10.255.0.254' as Address, prefixes: [], propagate: true, listen: { port: 179 } },
    NAMES.map((name) => links[name].neighbor),
    NAMES.map((name, index) => port(`g${name}`, index + 1, [GATEWAY[name], 24])),
  );
  gateway.speaker.start();
  const speakers: Node['speaker'][] = [];
  const [a, b, c] = NAMES.map((name) => links[name].speaker(speakers)) as [Node, Node, Node];
  for (const speaker of speakers) speaker.start();
  clock.advance(300);
  for (const node of [a, b]) node.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  clock.advance(10);
  t.deepEqual([learned(a), learned(b)], [[], []]);
  c.speaker.apply({ withdrawn: [], announced: hosts(HOST).map((host) => ({ ...host, shadow: true as const })) });
  clock.advance(10);
  for (const node of [a, b]) t.is(node.shadows.length, 1);
  t.deepEqual(
    lastOf(gateway.routes).nextHops.map(({ via }) => via),
    [SWITCH.a, SWITCH.b],
  );
  t.deepEqual(lastOf(gateway.routes).backup, [{ via: SWITCH.c, interface: 'gc' }]);
  t.deepEqual(
    gateway.heard.map(({ routerId, shadow }) => [routerId, shadow]),
    [
      ['10.255.0.1', false],
      ['10.255.0.3', true],
    ],
  );
  a.speaker.apply({ withdrawn: [HOST], announced: [] });
  clock.advance(10);
  t.is(gateway.heard.length, 2, 'the other session still says so');
});

test('R4.7 a switch dies: in one turn all of its hosts are withdrawn from the others or go to the twin', (t) => {
  const { clock, a, b, gateway, written } = scene();
  const many = Array.from({ length: 1_000 }, (_, index) => `10.10.${index >> 8}.${index & 255}`);
  a.speaker.apply({ withdrawn: [], announced: hosts(...many) });
  b.speaker.apply({ withdrawn: [], announced: hosts(many[0]!).map((host) => ({ ...host, shadow: true as const })) });
  clock.advance(10);
  written('b');
  const before = gateway.routes.length;
  gateway.speaker.neighborFailed(SWITCH.a, 'gone');
  clock.advance(10);
  t.is(gateway.routes.length - before, 1_000);
  t.deepEqual(gateway.routes.find((one, index) => index >= before && one.prefix === `${many[0]}/32`)!.nextHops, [
    { via: SWITCH.b, interface: 'gb' },
  ]);
  const said = written('b');
  t.is(said.length, 2, 'packed');
  t.is(said.flatMap(({ withdrawn }) => withdrawn).length, 1_000);
});

test('while a switch takes nothing, the newest word on each prefix waits', (t) => {
  const { clock, a, connectionTo, written } = scene();
  const connection = connectionTo('b');
  connection.blocked = true;
  a.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.9') });
  clock.advance(5);
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST, '10.10.10.3') });
  clock.advance(5);
  a.speaker.apply({ withdrawn: [HOST, '10.10.10.9' as Address], announced: [] });
  clock.advance(5);
  written('b');
  connection.unblock();
  const said = written('b');
  t.deepEqual(
    said.map(({ withdrawn, reach }) => [withdrawn, reach.flatMap(({ prefixes }) => prefixes)]),
    [
      [['10.10.10.9/32' as Prefix], []],
      [[], ['10.10.10.3/32' as Prefix]],
    ],
  );
});

test('RFC 4724 §2: a table that waits for the connection still comes before its End-of-RIB', (t) => {
  const { clock, a, c, gateway, connectionTo, written } = scene();
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  clock.advance(10);
  c.speaker.start();
  const state = () => gateway.speaker.sessions().find(({ neighbor }) => neighbor === SWITCH.c)!.state;
  for (let tick = 0; tick < 100 && state() !== 'OpenSent'; tick++) clock.advance(1);
  // Before the KEEPALIVE, so that the session comes up with octets that wait.
  connectionTo('c').blocked = true;
  clock.advance(50);
  t.is(state(), 'Established');
  t.deepEqual(written('c'), []);
  connectionTo('c').unblock();
  const said = written('c');
  t.deepEqual(
    said.map(({ endOfRib }) => endOfRib),
    [undefined, undefined, undefined, 4, 6],
    'two defaults and a host, then the ends',
  );
});

test('RFC 2918: a refresh brings the table of that family again', (t) => {
  const { clock, a, b, written } = scene();
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  clock.advance(10);
  written('b');
  b.speaker.requestRefresh(GATEWAY.b);
  clock.advance(10);
  const prefixes = written('b').flatMap(({ reach }) => reach.flatMap((one) => one.prefixes));
  t.deepEqual(prefixes.sort(), ['0.0.0.0/0', '10.10.10.2/32', '::/0'] as Prefix[]);
});

test('RFC 2918: a refresh while the connection takes nothing does not lose the withdrawal that waits', (t) => {
  const { clock, a, b, connectionTo } = scene();
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST, '10.10.10.3') });
  clock.advance(10);
  connectionTo('b').blocked = true;
  a.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.9') });
  clock.advance(5);
  a.speaker.apply({ withdrawn: [HOST], announced: [] });
  clock.advance(5);
  b.speaker.requestRefresh(GATEWAY.b);
  clock.advance(5);
  connectionTo('b').unblock();
  clock.advance(5);
  t.deepEqual(
    learned(b).filter((text) => text.startsWith('10.10.')),
    ['10.10.10.3/32 via 198.51.100.1 path 65000 65001', '10.10.10.9/32 via 198.51.100.1 path 65000 65001'],
  );
});

test('the same said again is not passed on again', (t) => {
  const { clock, a, gateway, written } = scene();
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  clock.advance(10);
  written('b');
  gateway.speaker.requestRefresh(SWITCH.a);
  clock.advance(10);
  t.deepEqual(written('b'), []);
});

test('the default route comes and goes with its setting, in the sessions that stand; nothing is originated unasked', (t) => {
  const { clock, b, gateway } = scene({ defaultOriginate: false });
  t.deepEqual(learned(b), []);
  const { neighbors } = {
    neighbors: NAMES.map((name) => ({
      address: SWITCH[name],
      remoteAs: 65001 + NAMES.indexOf(name),
      passive: true,
      localAddress: GATEWAY[name],
      keepalive: 1000,
      hold: 3000,
    })),
  };
  const settings = { asn: 65000, neighbors, announce: { communities: [] }, prefixes: [], propagate: true };
  gateway.speaker.configure({ ...settings, defaultOriginate: true });
  clock.advance(10);
  t.is(learned(b).length, 2);
  gateway.speaker.configure(settings);
  clock.advance(10);
  t.deepEqual(learned(b), []);
  t.true(gateway.speaker.establishedWith(SWITCH.b));
});

test('without a default route of its own a gateway passes a learned one on, and takes it back when it goes', (t) => {
  const { clock, network, b } = scene({ defaultOriginate: false });
  const uplink = network.connections.findLast((one) => one.open && one.localAddress === SWITCH.a)!;
  const prefixes = ['0.0.0.0/0' as Prefix];
  const attributes: PathAttributes = { origin: 0, asPath: [{ type: 'AS_SEQUENCE', asns: [65001] }], nextHop: SWITCH.a };
  const say = (withdrawn: Prefix[], reach: Prefix[]) => {
    const routes = reach.length > 0 ? [{ family: 4 as const, nextHop: SWITCH.a, prefixes: reach }] : [];
    uplink.write(serializeUpdate({ type: 'UPDATE', withdrawn, reach: routes, attributes }, true));
    clock.advance(10);
  };
  say([], prefixes);
  t.deepEqual(learned(b), ['0.0.0.0/0 via 198.51.100.1 path 65000 65001']);
  say(prefixes, []);
  t.deepEqual(learned(b), []);
});

test('what is passed on and what not: RFC 1997 communities, MED, LOCAL_PREF, attributes nobody knows', (t) => {
  const { clock, network, b, written } = scene();
  clock.advance(10);
  const connection = network.connections.findLast((one) => one.open && one.localAddress === SWITCH.a)!;
  const send = (prefix: string, more: PathAttributes) =>
    connection.write(
      serializeUpdate(
        {
          type: 'UPDATE',
          withdrawn: [],
          reach: [{ family: 4, nextHop: SWITCH.a, prefixes: [prefix as Prefix] }],
          attributes: { origin: 1, asPath: [{ type: 'AS_SEQUENCE', asns: [65001, 65010] }], ...more },
        },
        true,
      ),
    );
  written('b');
  send('10.1.0.0/16', { communities: [0xffffff01] });
  send('10.2.0.0/16', { communities: [0xffffff02] });
  send('10.3.0.0/17', {
    med: 7,
    communities: [0x00010002],
    extendedCommunities: Uint8Array.of(0x40, 1, 2, 3, 4, 5, 6, 7, 0, 9, 2, 3, 4, 5, 6, 7),
    atomicAggregate: true,
    unknown: [
      { flags: 0xc0, type: 200, value: Uint8Array.of(1) },
      { flags: 0x80, type: 201, value: Uint8Array.of(2) },
    ],
  });
  clock.advance(10);
  t.deepEqual(
    learned(b).filter((text) => text.startsWith('10.')),
    ['10.3.0.0/17 via 198.51.100.1 path 65000 65001 65010'],
  );
  const [said] = written('b');
  const { med, communities, extendedCommunities, atomicAggregate, unknown, origin } = said!.attributes;
  t.deepEqual(
    { med, communities, extended: [...extendedCommunities!], atomicAggregate, origin },
    { med: undefined, communities: [0x00010002], extended: [0, 9, 2, 3, 4, 5, 6, 7], atomicAggregate: true, origin: 1 },
  );
  t.deepEqual(unknown, [{ flags: 0xe0, type: 200, value: Uint8Array.of(1) }]);
});

test('a switch propagates nothing, and names no backups', (t) => {
  const { clock, a, b, gateway } = scene({ propagate: false, defaultOriginate: false });
  for (const node of [a, b]) node.speaker.apply({ withdrawn: [], announced: hosts([HOST, node === a ? 2 : 0]) });
  clock.advance(10);
  t.deepEqual([learned(a), learned(b)], [[], []]);
  t.false(gateway.routes.some((one) => 'backup' in one));
});
