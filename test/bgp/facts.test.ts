import test from 'ava';
import { endOfFacts } from '../../src/bgp/codec/facts.ts';
import type { Address } from '../../src/model/address.ts';
import type { CarriedFact, HeardFact } from '../../src/model/port-facts.ts';
import { MemoryNetwork, VirtualClock } from './support/memory.ts';
import { A, G, hosts, Node, port, updates, world } from './support/world.ts';

const fact = (name: string, says: string): CarriedFact => ({ key: Buffer.from(name), value: Buffer.from(says) });
const told = ({ routerId, key, value, reason }: HeardFact): string =>
  [routerId, Buffer.from(key).toString(), value ? Buffer.from(value).toString() : `gone: ${reason}`].join(' ');
const heard = (node: Node): string[] => node.facts.splice(0).map(told);
/** Two uplinks of one switch, each with a session of its own at the gateway. */
function twoSessions() {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const links = [
    { near: G, far: A },
    { near: '198.51.100.1' as Address, far: '198.51.100.2' as Address },
  ];
  const gateway = new Node(
    clock,
    network,
    G,
    { asn: 65000, routerId: '10.255.0.254' as Address, listen: { port: 179 } },
    links.map(({ near, far }) => ({ address: far, remoteAs: 65001, passive: true, localAddress: near })),
    links.map(({ near }, index) => port(`g${index}`, index + 1, [near, 24])),
  );
  gateway.speaker.start();
  const uplinks = links.map(({ near, far }, index) => {
    const options = { asn: 65001, routerId: '10.255.0.1' as Address };
    const ports = [port(`A${index}`, index + 1, [far, 24])];
    return new Node(clock, network, far, options, [{ address: near, remoteAs: 65000 }], ports);
  });
  for (const { speaker } of uplinks) speaker.start();
  const publish = (...facts: CarriedFact[]) => {
    for (const { speaker } of uplinks) speaker.publishFacts(facts);
  };
  return { clock, gateway, publish, second: links[1]!.far };
}

const sessionOf = (node: Node) => node.speaker.sessions()[0]!;

test('R4.9 what a switch says of its ports arrives, changes and goes; the same again is no news', (t) => {
  const { clock, network, tor, gateway } = world();
  tor.speaker.publishFacts([fact('A1', 'up'), fact('A2', 'up')]);
  clock.advance(100);
  t.deepEqual(heard(gateway), ['10.255.0.1 A1 up', '10.255.0.1 A2 up']);
  t.like(sessionOf(gateway), { portFacts: true, factsReceived: 2, observer: false });
  t.like(sessionOf(tor), { portFacts: true, factsSent: 2 });
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  const before = connection.written.length;
  tor.speaker.publishFacts([fact('A2', 'up'), fact('A1', 'up')]);
  t.is(connection.written.length, before, 'cheap where nothing differs');
  tor.speaker.publishFacts([fact('A1', 'up'), fact('A2', 'down: lost carrier')]);
  clock.advance(10);
  t.deepEqual(heard(gateway), ['10.255.0.1 A2 down: lost carrier']);
  tor.speaker.publishFacts([fact('A2', 'down: lost carrier')]);
  clock.advance(10);
  t.deepEqual(heard(gateway), ['10.255.0.1 A1 gone: withdrawn']);
});

test('R4.9 facts end with the session that brought them, with its reason, and are said anew in the next', (t) => {
  const { clock, tor, gateway } = world();
  tor.speaker.publishFacts([fact('A1', 'up')]);
  clock.advance(100);
  heard(gateway);
  gateway.speaker.neighborFailed(A, 'BFD: control detection time expired');
  t.deepEqual(heard(gateway), ['10.255.0.1 A1 gone: session lost: BFD: control detection time expired']);
  clock.advance(20_000);
  t.deepEqual(heard(gateway), ['10.255.0.1 A1 up']);
});

test('R4.9 facts are no forwarding state: they go although the routes of the session are kept (RFC 4724)', (t) => {
  const graceful = { gracefulRestart: { restartTime: 5_000 } };
  const { clock, network, tor, gateway } = world({}, {}, graceful, graceful);
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') });
  tor.speaker.publishFacts([fact('A1', 'up')]);
  clock.advance(100);
  heard(gateway);
  for (const connection of network.connections) {
    if (connection.localAddress === A) connection.handlers = undefined;
    else connection.fail('reset by the neighbour');
  }
  t.true(sessionOf(gateway).restarting);
  t.is(sessionOf(gateway).prefixesReceived, 1);
  t.deepEqual(heard(gateway), ['10.255.0.1 A1 gone: session lost: reset by the neighbour']);
});

test('R4.9 a switch with two sessions says its facts in both: they are told once, and end with the last of them', (t) => {
  const { clock, gateway, publish, second } = twoSessions();
  publish(fact('A1', 'up'));
  clock.advance(100);
  t.deepEqual(
    gateway.speaker.sessions().map(({ state, factsReceived }) => [state, factsReceived]),
    [
      ['Established', 1],
      ['Established', 1],
    ],
  );
  t.deepEqual(heard(gateway), ['10.255.0.1 A1 up']);
  publish(fact('A1', 'down'));
  clock.advance(10);
  t.deepEqual(heard(gateway), ['10.255.0.1 A1 down']);
  gateway.speaker.neighborFailed(second, 'BFD: of the second link');
  t.deepEqual(heard(gateway), [], 'it is still said in the first');
  gateway.speaker.neighborFailed(A, 'BFD: of the first link');
  t.deepEqual(heard(gateway), ['10.255.0.1 A1 gone: session lost: BFD: of the first link']);
});

test('facts come after the routes: while the kernel takes nothing the newest word on each waits, and goes last', (t) => {
  const { clock, network, tor, gateway } = world({ hold: 0 }, { hold: 0 });
  tor.speaker.publishFacts([fact('A1', 'up'), fact('A2', 'up')]);
  clock.advance(100);
  heard(gateway);
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  connection.blocked = true;
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.9') });
  tor.speaker.publishFacts([fact('A1', 'down'), fact('A2', 'up')]);
  tor.speaker.publishFacts([fact('A1', 'up again')]);
  tor.speaker.apply({ withdrawn: ['10.10.10.9' as Address], announced: hosts('10.10.10.1') });
  const before = connection.written.length;
  connection.unblock();
  const sent = updates(connection.written.slice(before)).map(({ withdrawn, reach }) =>
    [...withdrawn, ...reach.flatMap(({ prefixes }) => prefixes)].join(),
  );
  t.deepEqual(sent.slice(0, 2), ['10.10.10.9/32', '10.10.10.1/32'], 'the routes first');
  clock.advance(10);
  t.deepEqual(heard(gateway).sort(), ['10.255.0.1 A1 up again', '10.255.0.1 A2 gone: withdrawn']);
});

test('a neighbour that is not offered facts gets none, nor the ports of hosts; one that does not know them neither', (t) => {
  for (const [a, g] of [
    [{ portFacts: false }, {}],
    [{}, { portFacts: false }],
  ]) {
    const { clock, tor, gateway } = world(a, g);
    tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') });
    tor.speaker.publishFacts([fact('A1', 'up')]);
    clock.advance(100);
    t.deepEqual(heard(gateway), []);
    t.false(sessionOf(gateway).portFacts);
    t.is(sessionOf(tor).factsSent, 0);
    const [route] = gateway.speaker.routes();
    t.is(route!.communities.includes('65001:20557:99'), a?.portFacts !== false);
    t.true(tor.speaker.establishedWith(G));
  }
});

test('RFC 4724 §2: the facts have an End-of-RIB of their own, once, when it is known what there is to say', (t) => {
  const { clock, network, tor } = world();
  clock.advance(100);
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  const written = () => Buffer.concat(connection.written);
  const end = endOfFacts();
  t.is(written().indexOf(end), -1);
  tor.speaker.publishFacts([fact('A1', 'up')]);
  const at = written().indexOf(end);
  t.true(at > written().indexOf('A1'));
  t.is(at, written().length - end.length, 'the last that was said');
  tor.speaker.publishFacts([]);
  t.is(written().indexOf(end, at + 1), -1);
});

test('RFC 2918: a refresh brings the facts again, too', (t) => {
  const { clock, tor, gateway } = world();
  tor.speaker.publishFacts([fact('A1', 'up')]);
  clock.advance(100);
  heard(gateway);
  t.true(gateway.speaker.requestRefresh(A));
  clock.advance(10);
  t.deepEqual(heard(gateway), ['10.255.0.1 A1 up']);
});

test('what can not be carried is refused and counted; the rest goes out', (t) => {
  const { clock, tor, gateway } = world();
  clock.advance(100);
  tor.speaker.publishFacts([fact('', 'no key'), fact('A1', ''), fact('A2', 'x'.repeat(5_000)), fact('A3', 'up')]);
  clock.advance(10);
  t.deepEqual(heard(gateway), ['10.255.0.1 A3 up']);
  t.is(tor.speaker.counters().facts_refused, 3);
});

test('RFC 4760 §7: keys that can not be read end the facts, not the session', (t) => {
  const { clock, network, tor, gateway } = world();
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') });
  tor.speaker.publishFacts([fact('A1', 'up')]);
  clock.advance(100);
  heard(gateway);
  const connection = network.connections.find((one) => one.localAddress === A && one.open)!;
  const list = [0x80, 15, 4, 0, 1, 241, 0];
  connection.write(Buffer.from([...new Array(16).fill(255), 0, 23 + list.length, 2, 0, 0, 0, list.length, ...list]));
  clock.advance(10);
  t.regex(heard(gateway).join(), /A1 gone: malformed/);
  t.is(gateway.speaker.counters()['afi-safi-disable_port_facts_nlri'], 1);
  tor.speaker.publishFacts([fact('A1', 'down')]);
  clock.advance(10);
  t.deepEqual(heard(gateway), []);
  t.true(gateway.speaker.establishedWith(A));
  t.is(sessionOf(gateway).prefixesReceived, 1);
});

test('facts alone do not make a table complete that has not come yet', (t) => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const words = { gracefulRestart: { restartTime: 5_000 } };
  const tor = new Node(
    clock,
    network,
    A,
    { asn: 65001, routerId: '10.255.0.1' as Address, ...words },
    [{ address: G, remoteAs: 65000 }],
    [port('A0', 1, [A, 24])],
  );
  const gateway = new Node(
    clock,
    network,
    G,
    { asn: 65000, routerId: '10.255.0.254' as Address, ...words },
    [{ address: A, remoteAs: 65001, passive: true }],
    [port('gA', 1, [G, 24])],
  );
  gateway.speaker.start();
  // As after a crash: the table of routes is not whole yet, and End-of-RIB is not said.
  tor.speaker.start(true);
  tor.speaker.publishFacts([fact('A1', 'up')]);
  clock.advance(2_000);
  t.is(gateway.facts.length, 1);
  t.false(gateway.speaker.initialRoutesReceived(A));
  tor.speaker.settled();
  clock.advance(10);
  t.true(gateway.speaker.initialRoutesReceived(A));
});
