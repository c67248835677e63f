import test from 'ava';
import { ipv4ToNumber } from '../../src/model/address.ts';
import type { Clock } from '../../src/model/clock.ts';
import type { Port } from '../../src/model/ports.ts';
import { type OspfOptions, OspfSpeaker } from '../../src/ospf/index.ts';
import { PacedSender } from '../../src/ospf/pacing.ts';
import { type OspfSocket, stripIp } from '../../src/ospf/socket.ts';
import { BusyClock } from '../model/busy-clock.ts';
import { memoryInRam } from './memory-store.ts';
import { address, host } from './simulation.ts';

class ManualClock implements Clock {
  time = 1000;
  readonly #timers = new Set<{ at: number; run: () => void }>();
  now = () => this.time;
  schedule(at: number, run: () => void) {
    const timer = { at, run };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }
  pass(ms: number) {
    const end = this.time + ms;
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#timers.delete(next);
      this.time = Math.max(this.time, next.at);
      next.run();
    }
    this.time = end;
  }
}

test('a burst that a default receive buffer takes goes out in one turn; the rest follows in order', (t) => {
  const clock = new ManualClock();
  const seen: { at: number; id: number }[] = [];
  const sender = new PacedSender(
    clock,
    (_to, packets) => {
      for (const packet of packets) seen.push({ at: clock.now(), id: packet[0]! });
    },
    () => t.fail(),
  );
  sender.send(
    '224.0.0.5',
    Array.from({ length: 70 }, (_, id) => Uint8Array.of(id)),
  );
  t.is(seen.length, 48);
  sender.send(
    '224.0.0.5',
    Array.from({ length: 50 }, (_, id) => Uint8Array.of(70 + id)),
  );
  t.is(seen.length, 48);
  t.is(sender.waiting, 72);
  clock.pass(4);
  t.is(seen.length, 96);
  clock.pass(4);
  t.deepEqual(
    seen.map(({ id }) => id),
    Array.from({ length: 120 }, (_, id) => id),
  );
  t.is(sender.waiting, 0);
  clock.pass(100);
  sender.send('224.0.0.5', [Uint8Array.of(9)]);
  t.is(seen.at(-1)!.at, clock.now(), 'nothing waits when nothing has to');
});

test('the queue of a sender is bounded', (t) => {
  let refused = 0;
  const sender = new PacedSender(
    new ManualClock(),
    () => {},
    (packets) => {
      refused += packets;
    },
  );
  const packets = Array.from({ length: 4000 }, () => Uint8Array.of(1));
  sender.send('224.0.0.5', packets);
  t.is(refused, 0);
  sender.send('224.0.0.5', packets);
  t.is(refused, 4000);
  sender.close();
  t.is(sender.waiting, 0);
});

test('IP headers that do not hold together are refused', (t) => {
  const packet = (change: (bytes: Buffer) => void, length = 64) => {
    const bytes = Buffer.alloc(length);
    bytes[0] = 0x45;
    bytes.writeUInt16BE(length, 2);
    change(bytes);
    return stripIp(bytes);
  };
  t.is(packet(() => {})?.bytes.length, 44);
  t.is(packet((bytes) => (bytes[0] = 0x46))?.bytes.length, 40);
  t.is(
    packet((bytes) => (bytes[0] = 0x65)),
    undefined,
  );
  t.is(
    packet((bytes) => (bytes[0] = 0x44)),
    undefined,
  );
  t.is(
    packet((bytes) => bytes.writeUInt16BE(65, 2)),
    undefined,
  );
  t.is(
    packet((bytes) => bytes.writeUInt16BE(10, 2)),
    undefined,
  );
  t.is(stripIp(Buffer.alloc(7)), undefined);
});

const options = (change: Partial<OspfOptions>): OspfOptions => ({
  routerId: address('10.255.0.1'),
  interfaces: [],
  announce: { as: 'external', metric: 20, metricType: 2 },
  prefixes: [],
  clock: new ManualClock(),
  log: { debug() {}, info() {}, warn() {}, error() {} },
  links: { port: () => undefined, portByIndex: () => undefined, ports: () => [], onChange: () => () => {} },
  onRoutes() {},
  onForeignClaim() {},
  onNeighbor() {},
  ...change,
});
const A0 = { name: 'A0', area: address('0.0.0.0'), network: 'point-to-point', hello: 1000, dead: 4000 } as const;

test('options that could never be spoken with are refused at once', (t) => {
  const nssa = { announce: { as: 'nssa', metric: 20, metricType: 2 }, interfaces: [A0] } as const;
  t.throws(() => new OspfSpeaker(options(nssa)), { instanceOf: RangeError, message: /other than 0\.0\.0\.0/ });
  const authentication = { type: 'simple', password: 'too long for it' } as const;
  t.throws(() => new OspfSpeaker(options({ interfaces: [{ ...A0, authentication }] })), { instanceOf: RangeError });
});

test('without a link there is no one to tell, and the report says so', async (t) => {
  const speaker = new OspfSpeaker(options({ interfaces: [A0] }));
  t.deepEqual(speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] }), { packets: 0 });
  speaker.start();
  t.deepEqual(speaker.apply({ withdrawn: [address('10.10.10.1')], announced: [] }), { packets: 0 });
  t.false(speaker.adjacencyUp('A0'));
  t.false(speaker.adjacencyUp('nowhere'));
  await speaker.stop();
  await speaker.stop();
});

test('hosts of IPv6 are not for OSPFv2: counted, not announced', (t) => {
  const speaker = new OspfSpeaker(options({ interfaces: [A0] }));
  speaker.apply({ withdrawn: [], announced: [host('2001:db8::1')] });
  t.is(speaker.counters()['hosts.not-ipv4'], 1);
  t.deepEqual(speaker.lsdb(), []);
});

/** Two speakers on one wire in memory; `order` is what the first one did since it was last emptied. */
function pair(change: Partial<OspfOptions> = {}) {
  const clock = new ManualClock();
  const busy = new BusyClock(clock);
  const order: string[] = [];
  const ends: Parameters<OspfSocket['listen']>[0][] = [];
  const addresses = ['192.0.2.1', '192.0.2.2'].map(address);
  const ends32 = addresses.map(ipv4ToNumber);
  const store = memoryInRam();
  const write = store.write.bind(store);
  store.write = (bytes, at) => {
    order.push('disk');
    write(bytes, at);
  };
  const speakers = addresses.map((own, side) => {
    const port: Port = {
      ...{ name: 'A0', ifindex: 7, mac: undefined, mtu: 1500, adminUp: true, carrier: true, master: 0, kind: 'veth' },
      addresses: [{ address: own, prefixLength: 30 }],
    };
    const openSocket = (): OspfSocket => ({
      join() {},
      leave() {},
      close() {},
      listen: (receive) => {
        ends[side] = receive;
      },
      send: (_to, packets) => {
        for (const packet of packets) {
          if (side === 0 && packet[1] === 4) order.push('wire');
          const bytes = Uint8Array.from(packet);
          const arrive = (): void => ends[1 - side]?.({ source: ends32[side]!, destination: 0xe0000005, bytes });
          clock.schedule(clock.now() + 1, () => (side === 1 ? busy.arrive(arrive) : arrive()));
        }
        return packets.length;
      },
    });
    return new OspfSpeaker(
      options({
        routerId: address(`10.255.0.${side + 1}`),
        interfaces: [A0],
        links: { port: () => port, portByIndex: () => port, ports: () => [port], onChange: () => () => {} },
        clock,
        openSocket,
        ...(side === 0 ? { memory: store, clock: busy, ...change } : {}),
      }),
    );
  });
  for (const speaker of speakers) speaker.start();
  for (const speaker of speakers) speaker.settled();
  clock.pass(5_000);
  return { clock, busy, order, speakers };
}

test('R4.5 in one delta a host goes and another comes: what is written down of the other waits for the withdrawal', (t) => {
  const { clock, order, speakers } = pair();
  const [speaker] = speakers as [OspfSpeaker];
  t.true(speaker.adjacencyUp('A0'));
  speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
  clock.pass(5_000);
  order.length = 0;
  speaker.apply({ withdrawn: [address('10.10.10.1')], announced: [host('10.10.10.2')] });
  t.deepEqual(order, ['wire', 'disk', 'wire']);
});

test('a loop that was busy for long reads what has come before it gives a neighbour up', (t) => {
  const changes: string[] = [];
  const { clock, busy, speakers } = pair({ onNeighbor: ({ to, reason }) => changes.push(`${to}: ${reason}`) });
  const [speaker, other] = speakers as [OspfSpeaker, OspfSpeaker];
  changes.length = 0;
  busy.deaf = true;
  clock.pass(2_000);
  busy.deaf = false;
  busy.turn(() => clock.pass(2_500));
  clock.pass(1_500);
  t.deepEqual(changes, []);
  t.true(speaker.adjacencyUp('A0'));

  other.abandon();
  clock.pass(10);
  busy.turn(() => clock.pass(5_000));
  t.deepEqual(changes, ['Down: InactivityTimer']);
});

test('R4.5 hosts that are stub links go in one instance, however many: a neighbour hears no second one in a second', (t) => {
  const { clock, order, speakers } = pair({ announce: { as: 'stub-link', metric: 20, metricType: 2 } });
  const [speaker] = speakers as [OspfSpeaker];
  const many = Array.from({ length: 60 }, (_, index) => host(`10.10.10.${index + 1}`));
  speaker.apply({ withdrawn: [], announced: many });
  clock.pass(5_000);
  order.length = 0;
  const gone = many.slice(0, 50).map((each) => each.address);
  speaker.apply({ withdrawn: gone, announced: [host('10.10.10.99')] });
  t.deepEqual(order, ['wire']);
});
