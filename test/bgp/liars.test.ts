/** Neighbours that lie, ask too much, or take too little: what they get, and that nobody else pays for it. */
import test from 'ava';
import { serialize, serializeUpdate } from '../../src/bgp/codec/serializer.ts';
import { type Address, ipv4FromNumber, ipv4ToNumber, type Prefix } from '../../src/model/address.ts';
import { GATEWAY, HOST, SWITCH, scene } from './support/gateway.ts';
import { hosts, lastOf, Node, port, world } from './support/world.ts';

test('who goes by the BGP Identifier of a switch of another AS is not taken for it', (t) => {
  const { clock, network, a, gateway } = scene();
  const fact = (text: string) => ({ key: Buffer.from('A1'), value: Buffer.from(text) });
  a.speaker.publishFacts([fact('up')]);
  const liar = new Node(
    clock,
    network,
    SWITCH.c,
    { asn: 65003, routerId: '10.255.0.1' as Address },
    [{ address: GATEWAY.c, remoteAs: 65000 }],
    [port('c0', 3, [SWITCH.c, 24])],
  );
  liar.speaker.publishFacts([fact('down')]);
  liar.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  liar.speaker.start();
  clock.advance(300);
  t.true(gateway.speaker.establishedWith(SWITCH.c));
  t.deepEqual(gateway.heard, []);
  t.deepEqual(
    gateway.facts.map(({ value }) => value && Buffer.from(value).toString()),
    ['up'],
  );
  t.is(lastOf(gateway.routes).prefix, `${HOST}/32` as Prefix, 'as a route it is one');
  t.is(gateway.speaker.counters().identifier_of_another, 1);
});

test("a switch announces its twin's host with the twin's marks: that counts only while the twin can not speak for itself", (t) => {
  const { clock, network, b, gateway } = scene();
  b.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  clock.advance(10);
  const connection = network.connections.findLast((one) => one.open && one.localAddress === SWITCH.a)!;
  connection.write(
    serializeUpdate(
      {
        type: 'UPDATE',
        withdrawn: [],
        reach: [{ family: 4, nextHop: SWITCH.a, prefixes: [`${HOST}/32` as Prefix, '10.10.10.66/32' as Prefix] }],
        attributes: {
          origin: 0,
          asPath: [{ type: 'AS_SEQUENCE', asns: [65001, 65002] }],
          nextHop: SWITCH.a,
          largeCommunities: [
            [65002, 20556, ipv4ToNumber('10.255.0.2' as Address)],
            [65002, 20557, 7],
          ],
        },
      },
      true,
    ),
  );
  clock.advance(10);
  const told = () =>
    gateway.heard.splice(0).map(({ address, routerId, portIndex, up }) => `${address} ${routerId} ${portIndex} ${up}`);
  t.deepEqual(told(), ['10.10.10.2 10.255.0.2 99 true']);
  b.speaker.apply({ withdrawn: [HOST], announced: [] });
  clock.advance(10);
  t.deepEqual(told(), ['10.10.10.2 10.255.0.2 99 false'], 'the lie does not keep it there');
  gateway.speaker.neighborFailed(SWITCH.b, 'BFD');
  t.deepEqual(
    told(),
    ['10.10.10.2 10.255.0.2 7 true', '10.10.10.66 10.255.0.2 7 true'],
    'it might be behind the other',
  );
  clock.advance(20_000);
  t.true(gateway.speaker.establishedWith(SWITCH.b));
  t.deepEqual(told(), ['10.10.10.2 10.255.0.2 7 false', '10.10.10.66 10.255.0.2 7 false']);
});

test('RFC 2918: who asks for a table a thousand times in one breath gets it once', (t) => {
  const { clock, network, a, written } = scene();
  a.speaker.apply({ withdrawn: [], announced: hosts(HOST) });
  clock.advance(10);
  written('b');
  const connection = network.connections.findLast((one) => one.open && one.localAddress === SWITCH.b)!;
  const ask = serialize({ type: 'ROUTE-REFRESH', afi: 1, safi: 1, subtype: 0 });
  connection.write(Buffer.concat(Array.from({ length: 1000 }, () => ask)));
  clock.advance(10);
  const prefixes = written('b').flatMap(({ reach }) => reach.flatMap((one) => one.prefixes));
  t.deepEqual(prefixes.sort(), ['0.0.0.0/0', '10.10.10.2/32'] as Prefix[]);
});

test('a neighbour that takes nothing of a table larger than what may wait loses the session, not the agent its life', (t) => {
  const { clock, network, tor } = world({}, {}, { prefixes: ['10.0.0.0/8' as Prefix] });
  const many = Array.from({ length: 65_537 }, (_, index) => ipv4FromNumber(0x0a000000 + index));
  tor.speaker.apply({ withdrawn: [], announced: hosts(...many) });
  const connection = network.connections[0]!;
  const write = connection.write.bind(connection);
  // The KEEPALIVE waits already when the session comes up.
  connection.write = (data) => {
    write(data);
    connection.blocked ||= data[18] === 1;
  };
  t.notThrows(() => clock.advance(50));
  t.is(tor.speaker.sessions()[0]!.established, 1);
  t.like(lastOf(tor.changes), { from: 'OpenConfirm', to: 'Idle', reason: 'the neighbour does not take our routes' });
});
