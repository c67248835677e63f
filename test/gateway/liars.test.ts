import test from 'ava';
import { encodeFact, encodeKey } from '../../src/gateway/codec/index.ts';
import { type Address, ipv4FromNumber } from '../../src/model/address.ts';
import { Example, routerIdOf, UPLINK, uplinkOf } from './support/example.ts';

const session = {
  type: 'neighbour',
  source: 'bgp',
  address: uplinkOf('A'),
  routerId: routerIdOf('A'),
  up: true,
} as const;
const C4 = '10.10.10.2' as Address;

test("R4.9: a ToR that speaks of another's ports is not heard, and counted; told once a minute", (t) => {
  const example = new Example().begin();
  const lie = encodeFact(example.fact('A', 2, { state: 'down', reason: 'a lie' }));
  const say = (): void =>
    example.map.handle({ type: 'fact', source: 'bgp', fact: { routerId: routerIdOf('B'), ...lie } }, example.moment);
  say();
  say();
  const { refusals } = example.wait(1);
  t.is(example.text(C4), 'up ga up A A0 up A2 up');
  t.deepEqual(refusals, [
    { routerId: routerIdOf('B'), reason: 'not-its-port', message: '10.255.0.2 speaks of a port of 10.255.0.1' },
  ]);
  t.is(example.map.counters()['refused.not-its-port'], 2);
  example.wait(61_000);
  say();
  t.is(example.wait(1).refusals.length, 1);
});

test("a ToR can not take back another's ports, nor its hosts", (t) => {
  const example = new Example().begin();
  const { key } = encodeFact(example.fact('A', 2));
  const routerId = routerIdOf('B');
  example.map.handle(
    { type: 'fact', source: 'bgp', fact: { routerId, key, value: undefined, reason: 'withdrawn' } },
    example.moment,
  );
  example.host('B', C4, 2, { up: false });
  example.wait(1);
  t.is(example.text(C4), 'up ga up A A0 up A2 up');
});

test("a ToR that calls another's uplink address its own does not become that next hop, whoever came first", (t) => {
  const late = new Example().begin();
  late.say('B', UPLINK, { addresses: [uplinkOf('B'), uplinkOf('A')] });
  late.host('B', C4, 2);
  late.wait(1);
  t.is(late.text(C4), 'up ga up A A0 up A2 up | standby gb up B B0 up B2 up');
  t.is(late.map.counters()['refused.not-its-address'], 1);

  // The liar first: the session with that address settles it.
  const early = new Example();
  early.say('B', UPLINK, { addresses: [uplinkOf('B'), uplinkOf('A')] });
  early.map.handle(session, early.moment);
  early.begin();
  early.say('B', UPLINK, { addresses: [uplinkOf('B'), uplinkOf('A')] });
  early.host('B', C4, 2);
  early.wait(1);
  t.is(early.text(C4), 'up ga up A A0 up A2 up | standby gb up B B0 up B2 up');

  const truth = new Example();
  truth.say('B', UPLINK, { addresses: [uplinkOf('B'), uplinkOf('A')] });
  truth.begin();
  truth.say('B', UPLINK, { addresses: [uplinkOf('B'), uplinkOf('A')] });
  truth.map.handle(session, truth.moment);
  truth.host('B', C4, 2);
  truth.wait(1);
  t.is(truth.text(C4), 'up ga up A A0 up A2 up | standby gb up B B0 up B2 up');
});

test("a host is the announcer's alone: a ToR that names its twin's host is shown beside it, not instead", (t) => {
  const example = new Example().begin();
  example.host('B', C4, 77);
  example.wait(1);
  t.is(example.text(C4), 'up ga up A A0 up A2 up | standby gb up B B0 up');
});

test('who says too much is refused, counted, and harms nobody else', (t) => {
  const limits = { switches: 3, portsPerSwitch: 8, addressesPerSwitch: 20, addresses: 30, places: 2, history: 100 };
  const example = new Example('bgp', limits).begin();
  for (let port = 200; port < 300; port++) example.say('B', port);
  for (let index = 0; index < 100; index++) example.host('B', ipv4FromNumber(0x0a0b0000 + index), 1);
  for (let index = 0; index < 10; index++) {
    const routerId = ipv4FromNumber(0x0aff0100 + index);
    const key = encodeKey({ routerId, ifindex: 1 });
    const { value } = encodeFact(example.fact('B', 1));
    example.map.handle({ type: 'fact', source: 'bgp', fact: { routerId, key, value } }, example.moment);
  }
  example.wait(1);
  const counters = example.map.counters();
  t.is(counters['refused.too-many-ports'], 97);
  t.is(counters['refused.too-many-addresses'], 82);
  t.is(counters['refused.too-many-switches'], 9);
  t.is(counters.addresses, 22);
  t.is(example.text(C4), 'up ga up A A0 up A2 up');
  // A port that never rests pushes out its own past alone.
  for (let turn = 0; turn < 500; turn++) {
    example.say('B', 1, { state: turn % 2 ? 'up' : 'down' });
    example.wait(1);
  }
  t.true(example.map.history.size <= 100);
  t.true(example.history((entry) => entry.kind === 'port' && entry.routerId === routerIdOf('A')).length >= 5);
});

test('a switch whose servers change their addresses fills the map with the past alone, and that gives way', (t) => {
  const example = new Example('bgp', { addresses: 40 }).begin();
  for (let index = 0; index < 200; index++) {
    const passing = ipv4FromNumber(0x0a0b0000 + index);
    example.host('B', passing, 1);
    example.wait(1);
    example.host('B', passing, 1, { up: false });
    example.wait(1_000);
  }
  t.is(example.map.counters()['refused.map-full'], undefined);
  t.true(example.map.counters().addresses! <= 40);
  t.is(example.map.row(ipv4FromNumber(0x0a0b0000 + 199))?.state, 'down', 'the latest past is there');
  t.is(example.text(C4), 'up ga up A A0 up A2 up');
  // Who is there gives way to nobody.
  for (let index = 0; index < 60; index++) example.host('B', ipv4FromNumber(0x0a0c0000 + index), 1);
  example.wait(1);
  t.true(example.map.counters()['refused.map-full']! > 0);
  t.is(example.text(C4), 'up ga up A A0 up A2 up');
});

test('octets that are no fact are counted by what is wrong with them', (t) => {
  const example = new Example().begin();
  const routerId = routerIdOf('A');
  const { key } = encodeFact(example.fact('A', 2));
  const hear = (octets: Uint8Array, value: Uint8Array): void =>
    example.map.handle({ type: 'fact', source: 'ospf', fact: { routerId, key: octets, value } }, example.moment);
  hear(Uint8Array.of(9), Uint8Array.of(1));
  hear(key, Uint8Array.of(7));
  hear(key, Uint8Array.of(1, 2));
  example.wait(1);
  t.is(example.text(C4), 'up ga up A A0 up A2 up');
  const {
    'refused.key-version': keys,
    'refused.value-version': values,
    'refused.tlv-truncated': tlvs,
  } = example.map.counters();
  t.deepEqual([keys, values, tlvs], [1, 1, 1]);
});
