import test from 'ava';
import type { BgpOptions } from '../../src/bgp/index.ts';
import type { Connection, ConnectionHandlers, Transport } from '../../src/bgp/transport.ts';
import type { Address } from '../../src/model/address.ts';
import { MemoryNetwork, VirtualClock } from './support/memory.ts';
import { A, G, hosts, inTable, lastOf, Node, port } from './support/world.ts';

const RESTART = { gracefulRestart: { restartTime: 5000 } };

/** A process on a network in memory that can be killed: its connections break as the kernel breaks them. */
class Life {
  readonly node: Node;
  #dead = false;
  readonly #network: MemoryNetwork;
  readonly #local: Address;

  constructor(clock: VirtualClock, network: MemoryNetwork, local: Address, options: Partial<BgpOptions> = {}) {
    this.#network = network;
    this.#local = local;
    const inner = network.transport(local);
    const transport: Transport = {
      connect: (target, handlers) => (this.#dead ? NOWHERE : inner.connect(target, this.#guarded(handlers))),
      listen: (target, accept) =>
        inner.listen(target, (connection) => {
          const handlers = this.#dead ? undefined : accept(connection);
          return handlers && this.#guarded(handlers);
        }),
    };
    const tor = local === A;
    this.node = new Node(
      clock,
      network,
      local,
      {
        asn: tor ? 65001 : 65000,
        routerId: (tor ? '10.255.0.1' : '10.255.0.254') as Address,
        ...RESTART,
        ...options,
        transport,
      },
      [tor ? { address: G, remoteAs: 65000 } : { address: A, remoteAs: 65001, passive: true }],
      [port(tor ? 'A0' : 'gA', 1, [local, 24])],
    );
  }

  kill(): void {
    this.#dead = true;
    for (const connection of this.#network.connections) {
      if (connection.localAddress !== this.#local) continue;
      connection.handlers = undefined;
      connection.peer?.fail('reset by the neighbour');
    }
  }

  #guarded(handlers: ConnectionHandlers): ConnectionHandlers {
    const alive =
      <T extends unknown[]>(run: (...given: T) => void) =>
      (...given: T): void => {
        if (!this.#dead) run(...given);
      };
    return {
      onOpen: alive(() => handlers.onOpen()),
      onData: alive((data: Uint8Array) => handlers.onData(data)),
      onDrain: alive(() => handlers.onDrain()),
      onClose: alive((reason: string) => handlers.onClose(reason)),
    };
  }
}

const NOWHERE: Connection = {
  localAddress: undefined,
  remoteAddress: G,
  backlog: () => 0,
  write: () => {},
  close: (done) => done?.(),
};

function story(torOptions: Partial<BgpOptions> = {}, gatewayOptions: Partial<BgpOptions> = {}) {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const gateway = new Life(clock, network, G, gatewayOptions);
  const tor = new Life(clock, network, A, torOptions);
  gateway.node.speaker.start();
  tor.node.speaker.start(false);
  const tell = (life: Life, ...addresses: string[]) =>
    life.node.speaker.apply({ withdrawn: [], announced: hosts(...addresses) });
  return {
    clock,
    network,
    gateway,
    tor,
    tell,
    born: (local = A, options = {}) => new Life(clock, network, local, options),
  };
}

const session = (life: Life) => life.node.speaker.sessions()[0]!;
const changesOf = (life: Life) => life.node.routes.map(({ prefix, nextHops }) => `${prefix} ${nextHops.length}`);

test('RFC 4724: hosts of a killed switch stay, and those it does not find again go with its End-of-RIB', (t) => {
  const { clock, gateway, tor, tell, born } = story();
  tell(tor, '10.10.10.1', '10.10.10.2', '10.10.10.3');
  clock.advance(100);
  t.deepEqual(session(gateway).gracefulRestart, { restartTime: 5000, families: ['ipv4', 'ipv6'] });
  const before = changesOf(gateway);
  tor.kill();
  t.not(session(gateway).state, 'Established');
  t.true(session(gateway).restarting);
  t.is(session(gateway).prefixesStale, 3);
  clock.advance(800);

  const next = born();
  next.node.speaker.start(true);
  clock.advance(1000);
  t.true(next.node.speaker.establishedWith(G));
  tell(next, '10.10.10.1');
  clock.advance(10);
  tell(next, '10.10.10.2');
  clock.advance(1000);
  t.deepEqual(changesOf(gateway), before, 'no route of the gateway has changed');
  t.is(session(gateway).prefixesStale, 1);
  t.deepEqual(inTable(gateway.node).length, 3);

  next.node.speaker.settled();
  clock.advance(10);
  t.deepEqual(changesOf(gateway), [...before, '10.10.10.3/32 0'], 'the one that died meanwhile is gone');
  t.is(session(gateway).prefixesStale, 0);
  clock.advance(60_000);
  t.is(inTable(gateway.node).length, 2);
  t.is(gateway.node.claims.filter((claim) => claim.level === undefined).length, 1);
});

test('RFC 4724: a switch that does not come back loses its hosts after its restart time, not before', (t) => {
  const { clock, gateway, tor, tell } = story();
  tell(tor, '10.10.10.1');
  clock.advance(100);
  tor.kill();
  clock.advance(4900);
  t.is(inTable(gateway.node).length, 1);
  clock.advance(200);
  t.is(inTable(gateway.node).length, 0);
  t.is(lastOf(changesOf(gateway)), '10.10.10.1/32 0');
  t.false(session(gateway).restarting);
  t.is(lastOf(gateway.node.claims).level, undefined);
});

test('a switch that comes back from a loss of power has preserved nothing, and says so', (t) => {
  const { clock, gateway, tor, tell, born } = story();
  tell(tor, '10.10.10.1');
  clock.advance(100);
  tor.kill();
  const next = born();
  next.node.speaker.start(false);
  clock.advance(150);
  t.true(next.node.speaker.establishedWith(G));
  t.deepEqual(inTable(gateway.node), []);
});

test('not graceful: a clean stop, an end by our own hand, a dead link, silence, or a neighbour that does not want it', async (t) => {
  const ends: Record<string, (world: ReturnType<typeof story>) => unknown> = {
    'SIGTERM of the switch': ({ tor }) => tor.node.speaker.stop(),
    'BFD at the gateway': ({ gateway }) => gateway.node.speaker.neighborFailed(A, 'BFD'),
    'the link at the gateway': ({ gateway, clock }) => gateway.node.link('gA', false, clock.now()),
    'the hold timer': ({ network, clock }) => {
      network.cut = true;
      clock.advance(4000);
    },
  };
  for (const [name, end] of Object.entries(ends)) {
    const world = story();
    world.tell(world.tor, '10.10.10.1');
    world.clock.advance(100);
    t.is(inTable(world.gateway.node).length, 1, name);
    await end(world);
    world.clock.advance(1);
    t.is(inTable(world.gateway.node).filter((route) => route).length, 0, name);
  }
  for (const [name, ours, theirs] of [
    ['the switch', { gracefulRestart: undefined }, {}],
    ['the gateway', {}, { gracefulRestart: undefined }],
  ] as const) {
    const { clock, gateway, tor, tell } = story(ours, theirs);
    tell(tor, '10.10.10.1');
    clock.advance(100);
    tor.kill();
    t.is(inTable(gateway.node).length, 0, `off at ${name}`);
  }
});

test('a link that goes down while the neighbour is awaited ends the wait', (t) => {
  const { clock, gateway, tor, tell } = story();
  tell(tor, '10.10.10.1');
  clock.advance(100);
  tor.kill();
  t.is(inTable(gateway.node).length, 1);
  gateway.node.link('gA', false, clock.now());
  t.is(inTable(gateway.node).length, 0);
});

test('a second crash before the table was whole keeps only what the second life has said', (t) => {
  const { clock, gateway, tor, tell, born } = story();
  tell(tor, '10.10.10.1', '10.10.10.2');
  clock.advance(100);
  tor.kill();
  const second = born();
  second.node.speaker.start(true);
  tell(second, '10.10.10.1');
  clock.advance(200);
  t.is(session(gateway).prefixesStale, 1);
  second.kill();
  t.deepEqual(inTable(gateway.node), ['10.10.10.1/32 INCOMPLETE']);
  clock.advance(6000);
  t.deepEqual(inTable(gateway.node), []);
});

test('the R bit is said to each neighbour until the first session with it, and only until the table is settled', (t) => {
  const { clock, network, tor, born } = story();
  const said = () => {
    const flags: number[] = [];
    for (const connection of network.connections) {
      if (connection.localAddress !== A) continue;
      for (const data of connection.written) {
        const at = Buffer.from(data).indexOf(Uint8Array.of(64, 10));
        if (data[18] === 1 && at > 0) flags.push(data[at + 2]! >> 7);
      }
    }
    return flags;
  };
  clock.advance(100);
  t.deepEqual(said(), [0]);
  tor.kill();
  network.connections.length = 0;
  const next = born();
  next.node.speaker.start(true);
  clock.advance(200);
  t.is(lastOf(said()), 1);
  for (const connection of [...network.connections]) connection.fail('reset');
  clock.advance(2000);
  t.true(next.node.speaker.establishedWith(G));
  t.is(lastOf(said()), 0);
});
