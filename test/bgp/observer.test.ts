import test from 'ava';
import { Uplinks } from '../../src/agent/tor/fabric/uplinks.ts';
import { Upstream } from '../../src/agent/tor/fabric/upstream.ts';
import { Framer } from '../../src/bgp/codec/framer.ts';
import type { OpenMessage } from '../../src/bgp/codec/messages.ts';
import { parseMessage } from '../../src/bgp/codec/parser.ts';
import { serialize } from '../../src/bgp/codec/serializer.ts';
import type { Address } from '../../src/model/address.ts';
import { MemoryNetwork, VirtualClock } from './support/memory.ts';
import { A, G, hosts, lastOf, Node, port, world } from './support/world.ts';

const OBSERVER = { observer: true };

/** What the agent of a switch makes of its BGP sessions. */
function fabricOf(tor: Node, clock: { now(): number }, protocol = 'bgp', ospf: object | undefined = undefined) {
  const table = { complete: true, size: protocol === 'ospf' ? 1 : 0, routes: () => [] };
  const links = { port: (name: string) => tor.ports.get(name), ports: () => tor.ports.values() };
  const options = {
    clock: { now: () => clock.now(), schedule: () => ({ cancel() {} }) },
    links,
    speakers: { bgp: tor.speaker, ospf },
    tables: { protocols: () => [protocol], of: () => table, all: () => [table] },
    resets: { on: () => undefined },
    outside: undefined,
    onChange: () => {},
  } as never;
  return { upstream: new Upstream(options), uplinks: new Uplinks(options) };
}

test('R4.8 who only listens says so: the switch knows it, tells it all, and takes no route from it', (t) => {
  const { clock, tor, gateway } = world({}, {}, {}, OBSERVER);
  tor.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.1') });
  gateway.speaker.apply({ withdrawn: [], announced: hosts('10.10.10.9') });
  tor.speaker.publishFacts([{ key: Buffer.from('A1'), value: Buffer.from('up') }]);
  clock.advance(100);
  t.true(tor.speaker.sessions()[0]!.observer);
  t.false(gateway.speaker.sessions()[0]!.observer);
  t.true(lastOf(tor.changes).observer);
  t.is(gateway.heard.length, 1);
  t.is(gateway.facts.length, 1);
  t.is(tor.speaker.counters().routes_from_observers, 1);
  t.deepEqual([tor.routes, tor.claims], [[], []]);
  gateway.speaker.stop();
  clock.advance(10);
  t.true(tor.speaker.sessions()[0]!.observer, 'it is still known as one');
  t.like(lastOf(tor.changes), { from: 'Established', observer: true });
});

test('R4.8 the session of an observer makes no fabric ready, is no adjacency, and is not waited for', (t) => {
  for (const [options, counts] of [
    [OBSERVER, false],
    [{}, true],
  ] as const) {
    const { clock, tor } = world({}, {}, {}, options);
    const { upstream, uplinks } = fabricOf(tor, clock);
    clock.advance(100);
    t.true(tor.speaker.establishedWith(G));
    // As `Fabric` reports it.
    for (const { to, at, observer } of tor.changes) {
      if (!observer) upstream.sessionChanged('bgp', to === 'Established', at);
    }
    clock.advance(20_000);
    t.is(upstream.readiness().ready, counts, upstream.readiness().reason);
    t.is(uplinks.adjacency('A0').ready, counts);
    t.is(uplinks.neighboursOn(tor.ports.get('A0')!).length, counts ? 1 : 0);
  }
});

test('an observer that is gone keeps no port shut: beside a session that is of use it is no straggler', (t) => {
  const { clock, tor, gateway } = world({}, {}, {}, OBSERVER);
  clock.advance(100);
  gateway.speaker.stop();
  clock.advance(100);
  t.false(tor.speaker.establishedWith(G));
  const ospf = { neighbors: () => [{ state: 'Full' }] };
  const { upstream } = fabricOf(tor, clock, 'ospf', ospf);
  upstream.sessionChanged('ospf', true, clock.now());
  clock.advance(1_500);
  t.true(upstream.readiness().ready, upstream.readiness().reason);
});

test('RFC 5492 §3: a neighbour that refuses an OPEN for what it does not know is met without that', (t) => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const opens: OpenMessage[] = [];
  network.transport(G).listen({ address: G, port: 179, peers: [] }, (connection) => {
    const framer = new Framer();
    return {
      onOpen() {},
      onDrain() {},
      onClose() {},
      onData(data) {
        for (const frame of framer.push(data)) {
          if (!('body' in frame)) continue;
          const message = parseMessage(frame, { fourOctetAs: true, families: new Set(), external: true, remoteAs: 0 });
          if (message.type !== 'OPEN') continue;
          opens.push(message);
          const strange = message.capabilities.some(
            (one) => one.code === 'observer' || ('safi' in one && one.safi > 128),
          );
          if (strange) {
            connection.write(serialize({ type: 'NOTIFICATION', code: 2, subcode: 7, data: new Uint8Array(0) }));
            connection.close();
            return;
          }
          connection.write(
            serialize({ ...message, myAs: 65000, identifier: '10.255.0.254' as Address, capabilities: [] }),
          );
          connection.write(serialize({ type: 'KEEPALIVE' }));
        }
      },
    };
  });
  const tor = new Node(
    clock,
    network,
    A,
    { asn: 65001, routerId: '10.255.0.1' as Address, observer: true },
    [{ address: G, remoteAs: 65000 }],
    [port('A0', 1, [A, 24])],
  );
  tor.speaker.start();
  clock.advance(2_000);
  t.true(tor.speaker.establishedWith(G));
  t.is(opens.length, 2);
  t.true(opens[0]!.capabilities.some(({ code }) => code === 'observer'));
});
