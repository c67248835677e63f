import test from 'ava';
import type { PathAttributes } from '../../src/bgp/codec/messages.ts';
import { serializeUpdate } from '../../src/bgp/codec/serializer.ts';
import type { BgpNeighborOptions, BgpOptions, ServerRoute } from '../../src/bgp/index.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import { MemoryNetwork, VirtualClock } from './support/memory.ts';
import { hosts, Node, port } from './support/world.ts';

const TOR = '10.10.10.254' as Address;
const SERVER = '10.10.10.1' as Address;
const SERVERS = {
  listenRange: '10.10.10.0/24' as Prefix,
  remoteAs: 'external',
  maximumPrefixes: 3,
  defaultOriginate: false,
} as const;

/** A switch without neighbours, and a server that names hosts inside wider prefixes than the switch allows. */
function world(options: Partial<BgpOptions> = {}, server: Partial<BgpOptions & BgpNeighborOptions> = {}) {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const told: ServerRoute[] = [];
  const settings = { asn: 65001, announce: { communities: [] }, neighbors: [], prefixes: ['10.10.0.0/16' as Prefix] };
  const tor = new Node(
    clock,
    network,
    TOR,
    {
      ...settings,
      routerId: '10.255.0.1' as Address,
      servers: SERVERS,
      portOf: (address) => (address === SERVER ? 'A1' : undefined),
      onServerRoute: (route) => told.push(route),
      ...options,
    },
    [],
    [port('br0', 1, [TOR, 24]), port('A1', 2)],
  );
  const { asn = 64601, localAddress = SERVER } = server;
  const node = new Node(
    clock,
    network,
    localAddress,
    { asn, routerId: localAddress, prefixes: ['0.0.0.0/0' as Prefix], sharedAs: false },
    [{ address: TOR, remoteAs: 65001, localAddress, connectRetry: 60_000 }],
    [port('eth0', 1, [localAddress, 24])],
  );
  tor.speaker.start();
  node.speaker.start();
  const view = () => tor.speaker.servers()[0];
  /** Without what KEEPALIVEs said again. */
  const news = () => {
    const last = new Map<Address, boolean>();
    return told.flatMap(({ address, up }) => {
      if (last.get(address) === up) return [];
      last.set(address, up);
      return [`${up ? '+' : '-'}${address}`];
    });
  };
  return { clock, network, tor, server: node, told, view, news, settings };
}

const say = (node: Node, ...addresses: string[]) =>
  node.speaker.apply({ withdrawn: [], announced: hosts(...addresses) });

test('a server behind a downlink names hosts; they are evidence, neither routes nor claims', (t) => {
  const { clock, tor, server, told, view, news } = world();
  say(server, '10.10.20.1', '10.10.20.2');
  clock.advance(100);
  t.is(view()!.state, 'Established');
  t.is(view()!.remoteAs, 64601);
  t.deepEqual(news(), ['+10.10.20.1', '+10.10.20.2']);
  t.deepEqual(told[0], { address: '10.10.20.1' as Address, server: SERVER, port: 'A1', up: true });
  server.speaker.apply({ withdrawn: ['10.10.20.1' as Address], announced: [] });
  clock.advance(100);
  t.deepEqual(view()!.accepted, ['10.10.20.2' as Address]);
  t.deepEqual(news(), ['+10.10.20.1', '+10.10.20.2', '-10.10.20.1']);
  const before = told.length;
  clock.advance(5000);
  t.true(told.length > before, 'KEEPALIVEs vouch for what was named');
  t.deepEqual([tor.routes, tor.claims, tor.changes], [[], [], []]);
  t.deepEqual(tor.speaker.routes(), []);
  say(tor, '10.10.30.1');
  clock.advance(100);
  t.is(server.speaker.sessions()[0]!.prefixesReceived, 0, 'it is told nothing');
});

test('what a server may not name is refused, counted and shown', (t) => {
  const { clock, tor, server, view, news } = world();
  say(server, '192.168.0.1', '10.10.20.1', '10.10.20.2', '10.10.20.3', '10.10.20.4', TOR);
  clock.advance(100);
  t.deepEqual(news(), ['+10.10.20.1', '+10.10.20.2', '+10.10.20.3']);
  t.deepEqual(view()!.refused, { 'outside-prefixes': 1, limit: 1, 'own-address': 1 });
  t.deepEqual(
    view()!.lastRefused.map(({ prefix, reason }) => `${prefix} ${reason}`),
    ['192.168.0.1/32 outside-prefixes', '10.10.20.4/32 limit', '10.10.10.254/32 own-address'],
  );
  t.is(tor.speaker.counters()['servers_refused_outside-prefixes'], 1);
  t.is(view()!.state, 'Established');
});

test('R4.1 a server that leaks 100,000 prefixes: each is refused by its reason, nothing is kept of them, the session stays', (t) => {
  const { clock, network, tor, server, view, news } = world();
  say(server, '10.10.20.1');
  clock.advance(100);
  const wire = network.connections.find((connection) => connection.localAddress === SERVER && connection.open)!;
  const attributes: PathAttributes = { origin: 0, asPath: [{ type: 'AS_SEQUENCE', asns: [64601] }], nextHop: SERVER };
  const leak = (prefixes: readonly Prefix[]) => {
    for (let start = 0; start < prefixes.length; start += 500) {
      const reach = [{ family: 4, nextHop: SERVER, prefixes: prefixes.slice(start, start + 500) }] as const;
      wire.write(serializeUpdate({ type: 'UPDATE', withdrawn: [], reach, attributes }, true));
      clock.advance(2);
    }
  };
  const many = (count: number, prefix: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => prefix(index) as Prefix);
  leak(['0.0.0.0/0' as Prefix, '10.10.0.0/16' as Prefix]);
  leak(many(29_998, (index) => `${20 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}.0/24`));
  leak(many(40_000, (index) => `172.16.${index >> 8}.${index & 255}/32`));
  leak(many(30_000, (index) => `10.10.${100 + (index >> 8)}.${index & 255}/32`));
  clock.advance(100);
  t.deepEqual(view()!.refused, { 'not-a-host': 30_000, 'outside-prefixes': 40_000, limit: 29_998 });
  t.is(view()!.accepted.length, 3, 'the honest one and two that there was room for');
  t.is(view()!.lastRefused.length, 10);
  t.is(view()!.state, 'Established');
  t.is(tor.speaker.counters()['servers_refused_outside-prefixes'], 40_000);
  t.deepEqual(tor.speaker.routes(), [], 'nothing of it is a route of the fabric');
  t.true(news().includes('+10.10.20.1'));
  server.speaker.apply({ withdrawn: ['10.10.20.1' as Address], announced: [] });
  clock.advance(100);
  t.is(news().at(-1), '-10.10.20.1', 'it is listened to as before');
});

type World = ReturnType<typeof world>;

const ENDS: Record<string, (world: World) => void> = {
  'is lost': ({ network }) => {
    for (const connection of [...network.connections]) connection.fail('reset');
  },
  'ends with its port': ({ tor, clock }) => tor.link('A1', false, clock.now()),
  'is stopped': ({ tor }) => {
    tor.speaker.stop();
  },
  'falls silent': ({ network, clock }) => {
    network.cut = true;
    clock.advance(10_000);
  },
  'is no longer configured': ({ tor, settings }) => tor.speaker.configure(settings),
};

for (const [name, end] of Object.entries(ENDS)) {
  test(`a session that ${name} takes its hosts with it`, (t) => {
    const all = world();
    say(all.server, '10.10.20.1', '10.10.20.2');
    all.clock.advance(100);
    t.is(all.view()!.accepted.length, 2);
    end(all);
    t.deepEqual(all.news().slice(2), ['-10.10.20.1', '-10.10.20.2']);
    t.deepEqual(all.tor.speaker.servers(), []);
  });
}

test('who is in no range, behind no downlink or of the wrong AS gets no session', (t) => {
  for (const [options, server, counter] of [
    [{}, { localAddress: '10.10.11.1' as Address }, 'connections_from_strangers'],
    [{}, { localAddress: '10.10.10.2' as Address }, 'connections_not_behind_a_downlink'],
    [{}, { asn: 65001 }, 'servers_received_open'],
    [{ servers: { ...SERVERS, remoteAs: 64700 } }, {}, 'servers_received_open'],
    [{ servers: undefined }, {}, 'connections_from_strangers'],
  ] as const) {
    const { clock, tor, server: node, told } = world(options, server);
    say(node, '10.10.20.1');
    clock.advance(1000);
    t.true((tor.speaker.counters()[counter] ?? 0) > 0 || options.servers === undefined, counter);
    t.deepEqual(tor.speaker.servers(), [], counter);
    t.deepEqual(told, []);
  }
});

test('a default route for who is to get one; a new prefix list is held against what was accepted', (t) => {
  const { clock, tor, server, view, news, settings } = world({ servers: { ...SERVERS, defaultOriginate: true } });
  say(server, '10.10.20.1', '10.10.30.1');
  clock.advance(100);
  t.deepEqual(
    server.routes.map(({ prefix, nextHops }) => [prefix, nextHops[0]?.via]),
    [['0.0.0.0/0', TOR]] as never,
  );
  tor.speaker.configure({
    ...settings,
    prefixes: ['10.10.20.0/24' as Prefix],
    servers: { ...SERVERS, defaultOriginate: true },
  });
  t.deepEqual(news().slice(2), ['-10.10.30.1']);
  t.deepEqual(view()!.accepted, ['10.10.20.1' as Address]);
  t.is(server.changes.filter((change) => change.from === 'Established').length, 0);
});
