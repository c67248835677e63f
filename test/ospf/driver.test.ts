import test from 'ava';
import type { Clock } from '../../src/model/clock.ts';
import { type OspfOptions, OspfSpeaker } from '../../src/ospf/index.ts';
import { PacedSender } from '../../src/ospf/pacing.ts';
import { stripIp } from '../../src/ospf/socket.ts';
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
