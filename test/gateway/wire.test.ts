/** Two switches and an observer whose map hears them, by our own BGP over a network in memory: what is said is what is heard. */
import test from 'ava';
import { encodeFact } from '../../src/gateway/codec/index.ts';
import { PortMap } from '../../src/gateway/machine/map.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import type { PortFact } from '../../src/model/port-facts.ts';
import { MemoryNetwork, VirtualClock } from '../bgp/support/memory.ts';
import { Node, port } from '../bgp/support/world.ts';
import { HISTORY } from './support/example.ts';

const A = '192.0.2.2' as Address;
const B = '192.0.2.6' as Address;
const OBSERVER = '192.0.2.1' as Address;
const C4 = '10.10.10.2' as Address;

function scene() {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const map = new PortMap({ history: HISTORY });
  const moment = () => ({ now: clock.now(), wall: 1_795_280_400_000 + clock.now() });
  const tor = (address: Address, routerId: string, asn: number): Node =>
    new Node(
      clock,
      network,
      address,
      { asn, routerId: routerId as Address },
      [{ address: OBSERVER, remoteAs: 65000 }],
      [port('up', 1, [address, 24])],
    );
  const a = tor(A, '10.255.0.1', 65001);
  const b = tor(B, '10.255.0.2', 65002);
  const observer = new Node(
    clock,
    network,
    OBSERVER,
    {
      asn: 65000,
      routerId: '10.255.0.250' as Address,
      observer: true,
      prefixes: [],
      onFact: (fact) => map.handle({ type: 'fact', source: 'bgp', fact }, moment()),
      onHostRoute: (route) => map.handle({ type: 'host', source: 'bgp', route }, moment()),
      onSession: ({ neighbor, from, to, reason }) => {
        const routerId = (neighbor === A ? '10.255.0.1' : '10.255.0.2') as Address;
        if ((to === 'Established') === (from === 'Established')) return;
        map.handle(
          { type: 'neighbour', source: 'bgp', address: neighbor, routerId, up: to === 'Established', reason },
          moment(),
        );
      },
    },
    [
      { address: A, remoteAs: 65001, passive: true },
      { address: B, remoteAs: 65002, passive: true },
    ],
    [port('near', 1, [OBSERVER, 24])],
  );
  map.handle({ type: 'port', port: 'near', up: true, why: '', prefixes: ['192.0.2.0/24' as Prefix] }, moment());
  for (const { speaker } of [observer, a, b]) speaker.start();
  const wait = (ms: number) => {
    clock.advance(ms);
    return map.flush(moment());
  };
  const places = () =>
    map.row(C4)?.places.map(({ state, switchName, downlink }) => `${state} ${switchName} ${downlink?.port}`);
  wait(10_000);
  return { clock, map, moment, a, b, wait, places };
}

const fact = (routerId: string, changes: Partial<PortFact> = {}): PortFact => ({
  routerId: routerId as Address,
  switchName: routerId === '10.255.0.1' ? 'A' : 'B',
  port: 'A2',
  ifindex: 2,
  role: 'downlink',
  state: 'up',
  since: 1_795_280_400_000,
  reason: '',
  addresses: [],
  macs: [],
  ...changes,
});
const uplink = (routerId: string, address: Address): PortFact =>
  fact(routerId, { port: 'A0', ifindex: 1, role: 'uplink', addresses: [address] });
const host: HostRoute = {
  address: C4,
  interface: 'A2',
  ifindex: 2,
  mac: '02:00:00:00:00:04' as HostRoute['mac'],
  level: 0,
};

test("R4.8, R4.9: a switch's words reach the map, and its twin's lies do not", (t) => {
  const { map, moment, a, b, wait, places } = scene();
  a.speaker.publishFacts([fact('10.255.0.1'), uplink('10.255.0.1', A)].map(encodeFact));
  a.speaker.apply({ withdrawn: [], announced: [host] });
  map.handle({ type: 'route', address: C4, nextHops: [{ port: 'near', via: A }] }, moment());
  wait(100);
  t.deepEqual(places(), ['up A A2']);

  // B: A's port is down; A's address is mine; and your host is behind a port of mine.
  const lies = [fact('10.255.0.1', { state: 'down', reason: 'a lie' }), uplink('10.255.0.2', A)];
  b.speaker.publishFacts([...lies, fact('10.255.0.2', { port: 'B2' })].map(encodeFact));
  b.speaker.apply({ withdrawn: [], announced: [host] });
  const { refusals } = wait(100);
  t.deepEqual(places(), ['up A A2', 'standby B B2']);
  t.deepEqual(refusals.map(({ routerId, reason }) => `${routerId} ${reason}`).sort(), [
    '10.255.0.2 not-its-address',
    '10.255.0.2 not-its-port',
  ]);
  t.is(map.row(C4)?.places[0]?.downlink?.state, 'up');

  // The truth goes on being heard, and so does the liar's own.
  a.speaker.apply({ withdrawn: [C4], announced: [] });
  a.speaker.publishFacts(
    [
      fact('10.255.0.1', { state: 'down', reason: 'A2 lost carrier', since: 1_795_280_500_000 }),
      uplink('10.255.0.1', A),
    ].map(encodeFact),
  );
  wait(100);
  t.deepEqual(places(), ['standby B B2', 'down A A2']);
  t.is(map.row(C4)?.places[1]?.why, 'A2 lost carrier');
});

test('R4.9: a session that ends takes its facts along, with its own reason', async (t) => {
  const { a, map, wait } = scene();
  a.speaker.publishFacts([fact('10.255.0.1'), uplink('10.255.0.1', A)].map(encodeFact));
  a.speaker.apply({ withdrawn: [], announced: [host] });
  wait(100);
  t.is(map.row(C4)?.state, 'standby');
  const stopped = a.speaker.stop('maintenance');
  wait(100);
  await stopped;
  wait(100);
  t.is(map.row(C4)?.state, 'down');
  t.regex(map.row(C4)?.why ?? '', /^A is not heard: session lost: /);
  t.is(map.switchViews()[0]?.state, 'lost');
});
