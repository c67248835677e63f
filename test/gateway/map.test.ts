import test from 'ava';
import { encodeFact } from '../../src/gateway/codec/index.ts';
import type { Address } from '../../src/model/address.ts';
import { Example, routerIdOf, SERVERS, START, UPLINK, uplinkOf } from './support/example.ts';

const C4 = '10.10.10.2' as Address;

test('R4.8: which ports each address is behind, on the gateway, the switch and the server, and since when', (t) => {
  const example = new Example().begin();
  t.is(example.text('10.10.10.1'), 'up ga up A A0 up A1 up');
  t.is(example.text('10.10.10.2'), 'up ga up A A0 up A2 up');
  t.is(example.text('10.10.10.4'), 'up gb up B B0 up B3 up');
  t.is(example.text('10.10.10.5'), 'up gb up B B0 up B4 up');
  const row = example.row(C4);
  t.is(row.since, START);
  t.deepEqual(row.nextHops, [{ port: 'ga', via: uplinkOf('A') }]);
  t.deepEqual(row.places[0]?.macs, ['02:00:00:00:00:02']);
  t.is(example.rows().length, SERVERS.length);
});

test('R4.8, R4.9: figure 7: the old port stays as down, named, with since and why; nobody else moves', (t) => {
  const example = new Example().begin();
  example.wait(60_000);
  // The withdrawal comes first, what came apart after it.
  example.host('A', C4, 2, { up: false });
  example.wait(1);
  t.is(example.text(C4), 'down ga up A A0 up A2 up');
  t.is(example.row(C4).why, 'A announces it no more behind A2');
  example.say('A', 2, { state: 'down', reason: 'A2 lost carrier' });
  example.wait(1);
  t.is(example.row(C4).why, 'A2 lost carrier');
  example.host('B', C4, 2);
  example.wait(50);
  t.is(example.text(C4), 'standby gb up B B0 up B2 up | down ga up A A0 up A2 down');
  example.route(C4, 'B');
  example.flush();
  t.is(example.text(C4), 'up gb up B B0 up B2 up | down ga up A A0 up A2 down');
  const before = example.place(C4, 'A');
  t.is(before.since, START + 60_000);
  t.is(before.why, 'A2 lost carrier');
  t.is(before.downlink?.why, 'A2 lost carrier');
  t.is(example.row(C4).since, START + 60_052);
  t.is(example.text('10.10.10.1'), 'up ga up A A0 up A1 up');
  const history = example.history((entry) => entry.kind === 'host' && entry.address === C4 && entry.at > START);
  t.deepEqual(
    history.map((entry) => entry.kind === 'host' && [entry.switchName, entry.port, entry.from, entry.to, entry.why]),
    [
      ['A', 'A2', 'up', 'down', 'A2 lost carrier'],
      ['B', 'B2', undefined, 'standby', 'announced by B, the gateway goes another way'],
      ['B', 'B2', 'standby', 'up', 'announced by B'],
    ],
  );
});

test('R4.8, R4.9: figure 10, A still heard by another way: its downlinks are shut, and why', (t) => {
  const example = new Example('ospf').begin();
  example.wait(60_000);
  for (const address of ['10.10.10.1', C4] as Address[]) {
    example.host('A', address, address === C4 ? 2 : 1, { up: false });
  }
  example.say('A', UPLINK, { state: 'down', reason: 'A0 lost carrier' });
  for (const port of [1, 2, 3, 4]) {
    example.say('A', port, { state: 'shut', reason: 'shut by group fabric: A0 lost carrier' });
  }
  example.nearEnd('A', false);
  example.wait(30);
  for (const [address, port] of [
    ['10.10.10.1', 1],
    [C4, 2],
  ] as [Address, number][]) {
    example.host('B', address, port);
    example.route(address, 'B');
  }
  example.wait(10);
  t.is(example.text(C4), 'up gb up B B0 up B2 up | down ga down A A0 down A2 shut');
  t.is(example.text('10.10.10.1'), 'up gb up B B0 up B1 up | down ga down A A0 down A1 shut');
  t.is(example.text('10.10.10.5'), 'up gb up B B0 up B4 up');
  const before = example.place(C4, 'A');
  t.is(before.why, 'shut by group fabric: A0 lost carrier');
  t.is(before.uplink?.why, 'A0 lost carrier');
  t.is(before.gatewayPort?.why, 'ga lost carrier');
});

test('R4.8, R4.9: figure 10, A heard by that link alone: the gateway names its own end of it, and A as not heard', (t) => {
  const example = new Example().begin();
  example.wait(60_000);
  example.nearEnd('A', false);
  example.wait(1);
  t.is(example.text(C4), 'down ga down A A0 down A2 up', 'its own port is what it knows first');
  t.is(example.row(C4).why, 'ga lost carrier here, the way to A A0');
  example.host('B', C4, 2);
  example.route(C4, 'B');
  example.wait(3_000);
  example.lose('A', 'session lost: Hold Timer Expired');
  example.wait(1);
  t.is(example.text(C4), 'up gb up B B0 up B2 up | down ga down A A0 down A2 down');
  const before = example.place(C4, 'A');
  t.is(before.why, 'ga lost carrier here, the way to A A0');
  t.is(before.downlink?.why, 'A is not heard: session lost: Hold Timer Expired');
  t.is(before.switchState, 'lost');
});

test('R4.8: the death of a ToR: its ports and hosts stay, as down, since when and why', (t) => {
  const example = new Example().begin();
  example.wait(60_000);
  example.lose('A', 'session lost: Hold Timer Expired');
  example.wait(1);
  // Until the gateway's route has moved its packets still go there, and nobody can say how they fare.
  t.is(example.text(C4), 'unheard ga up A A0 down A2 down');
  example.host('B', C4, 2);
  example.route(C4, 'B');
  example.wait(1);
  example.wait(86_400_000);
  t.is(example.text(C4), 'up gb up B B0 up B2 up | down ga up A A0 down A2 down');
  const before = example.place(C4, 'A');
  t.is(before.why, 'A is not heard: session lost: Hold Timer Expired');
  t.is(before.since, START + 60_001);
  t.deepEqual(
    example.map.switchViews().map(({ name, state, why }) => [name, state, why]),
    [
      ['A', 'lost', 'session lost: Hold Timer Expired'],
      ['B', 'heard', 'it is heard'],
    ],
  );
});

test('R4.8: two failures at once, each with its own reason, and nowhere to go', (t) => {
  const example = new Example('ospf').begin();
  example.wait(60_000);
  example.host('A', C4, 2, { up: false });
  example.say('A', 2, { state: 'down', reason: 'A2 lost carrier' });
  example.host('B', '10.10.10.5' as Address, 4, { up: false });
  example.say('B', UPLINK, { state: 'down', reason: 'B0 lost carrier' });
  example.say('B', 2, { state: 'shut', reason: 'shut by group fabric: B0 lost carrier' });
  example.say('B', 4, { state: 'shut', reason: 'shut by group fabric: B0 lost carrier' });
  example.nearEnd('B', false);
  example.wait(100);
  t.is(example.text(C4), 'down ga up A A0 up A2 down');
  t.is(example.row(C4).why, 'A2 lost carrier');
  t.is(example.row('10.10.10.5').why, 'shut by group fabric: B0 lost carrier');
  example.route(C4, undefined);
  example.wait(1);
  t.deepEqual(example.row(C4).nextHops, []);
});

test('R4.8: back home again: the standby is down because it moved, and its port is up', (t) => {
  const example = new Example().begin();
  example.host('A', C4, 2, { up: false });
  example.say('A', 2, { state: 'down', reason: 'A2 lost carrier' });
  example.host('B', C4, 2);
  example.route(C4, 'B');
  example.wait(60_000);
  example.say('A', 2);
  example.host('A', C4, 2);
  example.host('B', C4, 2, { up: false });
  example.route(C4, 'A');
  example.wait(1);
  t.is(example.text(C4), 'up ga up A A0 up A2 up | down gb up B B0 up B2 up');
  t.is(example.place(C4, 'B').why, 'moved to A A2');
});

test('R4.9: a port of which nothing failed is not blamed, and what comes much later explains nothing', (t) => {
  const example = new Example().begin();
  example.host('A', C4, 2, { up: false });
  example.wait(1);
  t.is(example.row(C4).why, 'A announces it no more behind A2');
  example.wait(10_000);
  example.say('A', 2, { state: 'down', reason: 'A2 lost carrier' });
  example.wait(1);
  t.is(example.row(C4).why, 'A announces it no more behind A2');
  t.is(example.place(C4, 'A').downlink?.state, 'down');
});

test('R4.8: a move to another port of the same switch', (t) => {
  const example = new Example().begin();
  example.wait(1_000);
  example.host('A', C4, 3);
  example.wait(1);
  t.is(example.text(C4), 'up ga up A A0 up A3 up | down ga up A A0 up A2 up');
  t.is(example.row(C4).places[1]?.why, 'moved to A A3');
});

test('R4.8: who is behind both switches is up on both while both are routed', (t) => {
  const example = new Example().begin();
  example.host('B', C4, 2);
  example.flush();
  t.is(example.text(C4), 'up ga up A A0 up A2 up | standby gb up B B0 up B2 up');
  example.wait(1);
  example.map.handle(
    {
      type: 'route',
      address: C4,
      nextHops: [
        { port: 'ga', via: uplinkOf('A') },
        { port: 'gb', via: uplinkOf('B') },
      ],
    },
    example.moment,
  );
  example.wait(1);
  t.is(example.text(C4), 'up gb up B B0 up B2 up | up ga up A A0 up A2 up');
});

test('a shadow is shown as what it is, also when the gateway goes there', (t) => {
  const example = new Example().begin();
  example.host('B', C4, 2, { shadow: true });
  example.flush();
  t.is(example.text(C4), 'up ga up A A0 up A2 up | shadow gb up B B0 up', 'a shadow is behind no port');
  example.host('A', C4, 2, { up: false });
  example.route(C4, 'B');
  example.wait(1);
  t.is(example.row(C4).state, 'shadow');
  t.is(example.row(C4).why, 'B stands by for it');
  example.host('B', C4, 2);
  example.wait(1);
  t.is(example.row(C4).state, 'up');
  t.is(example.text(C4), 'up gb up B B0 up B2 up | down ga up A A0 up A2 up', 'and it never was elsewhere at B');
  t.is(example.row(C4).places[1]!.why, 'moved to B B2');
});

test('R4.8: of a switch that does not tell of its uplinks it is not said that the gateway goes another way', (t) => {
  const example = new Example();
  example.host('A', C4, 2);
  example.route(C4, 'A');
  example.wait(1);
  t.is(example.row(C4).state, 'standby');
  t.is(example.row(C4).why, 'announced by 10.255.0.1, whose uplinks are not known');
});

test('R4.9: a shadow that ends in vain was behind no port', (t) => {
  const example = new Example().begin();
  example.host('B', C4, 8, { shadow: true });
  example.flush();
  example.host('A', C4, 2, { up: false });
  example.host('B', C4, 8, { shadow: true, up: false });
  example.route(C4, undefined);
  example.wait(1);
  const standBy = example.row(C4).places.find(({ switchName }) => switchName === 'B')!;
  t.is(standBy.why, 'B announces it no more');
});

test('what two protocols say is lost when both have lost it, and an older word does not win', (t) => {
  const example = new Example('bgp').begin();
  const { key, value } = encodeFact(
    example.fact('A', 2, { state: 'down', reason: 'A2 lost carrier', since: START + 5 }),
  );
  const routerId = routerIdOf('A');
  const hear = (source: 'ospf' | 'bgp', octets: Uint8Array | undefined, reason = 'router unreachable') =>
    example.map.handle({ type: 'fact', source, fact: { routerId, key, value: octets, reason } }, example.moment);
  hear('bgp', value);
  hear('ospf', encodeFact(example.fact('A', 2)).value);
  example.wait(10);
  t.is(example.place(C4, 'A').downlink?.state, 'down');
  hear('ospf', value);
  hear('bgp', undefined);
  example.wait(10);
  t.is(example.place(C4, 'A').downlink?.why, 'A2 lost carrier');
  hear('ospf', undefined);
  example.wait(10);
  t.is(example.place(C4, 'A').downlink?.why, 'A is not heard: router unreachable');
});

test('IPv6 next hops are link-local: the port tells whose they are', (t) => {
  const example = new Example().begin();
  const local = 'fe80::1' as Address;
  for (const name of ['A', 'B'] as const) example.say(name, UPLINK, { addresses: [uplinkOf(name), local] });
  const host = '2001:db8::2' as Address;
  example.host('A', host, 2);
  example.host('B', host, 2);
  example.map.handle({ type: 'route', address: host, nextHops: [{ port: 'gb', via: local }] }, example.moment);
  example.wait(1);
  t.is(example.text(host), 'up gb up B B0 up B2 up | standby ga up A A0 up A2 up');
});

test('routers are no hosts: their own /32s stay out, behind whatever port they seem to be', (t) => {
  const example = new Example('ospf').begin();
  example.host('A', routerIdOf('A'), undefined);
  example.map.handle(
    {
      type: 'host',
      source: 'ospf',
      route: {
        address: '10.255.9.9' as Address,
        routerId: '10.255.9.9' as Address,
        portIndex: undefined,
        shadow: false,
        up: true,
      },
    },
    example.moment,
  );
  example.wait(1);
  t.is(example.rows().length, SERVERS.length);
  t.is(example.map.switchViews().length, 2);
});

test('R4.9: a switch is lost with its last session, for the reason of that one', (t) => {
  const example = new Example().begin();
  const routerId = routerIdOf('A');
  const session = (address: string, reason?: string): void => {
    const event = { type: 'neighbour', source: 'bgp', address: address as Address, routerId } as const;
    example.map.handle({ ...event, up: reason === undefined, ...(reason ? { reason } : {}) }, example.moment);
  };
  session(uplinkOf('A'));
  session('2001:db8:a::2');
  session('2001:db8:a::2', 'BFD');
  example.wait(1);
  t.is(example.text(C4), 'up ga up A A0 up A2 up');
  session(uplinkOf('A'), 'Hold Timer Expired');
  for (const port of [UPLINK, 1, 2, 3, 4]) example.unsay('A', port, 'session lost: Hold Timer Expired');
  example.host('A', C4, 2, { up: false });
  example.wait(1);
  t.is(example.place(C4, 'A').downlink?.why, 'A is not heard: session lost: Hold Timer Expired');
});

test('an address is spoken with by two protocols: it is not free for others when one of them ends', (t) => {
  const example = new Example().begin();
  const routerId = routerIdOf('A');
  const session = (source: 'bgp' | 'ospf', up: boolean): void =>
    example.map.handle({ type: 'neighbour', source, address: uplinkOf('A'), routerId, up }, example.moment);
  session('bgp', true);
  session('ospf', true);
  session('bgp', false);
  example.say('B', UPLINK, { addresses: [uplinkOf('B'), uplinkOf('A')] });
  example.wait(1);
  t.is(example.map.counters()['refused.not-its-address'], 1);
  session('ospf', false);
  example.say('B', UPLINK, { addresses: [uplinkOf('B'), uplinkOf('A')] });
  example.wait(1);
  t.is(example.map.counters()['refused.not-its-address'], 1);
});
