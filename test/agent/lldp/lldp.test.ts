import test from 'ava';
import fc from 'fast-check';
import { Lldp, type LldpSource, type NeighbourTable } from '../../../src/agent/lldp/index.ts';
import { ObjectSplitter, parseNeighbours } from '../../../src/agent/lldp/parse.ts';
import { VirtualClock } from '../../hostroutes/clock.ts';

/** As lldpcli 1.0.16 prints it (`-f json0 show neighbors`), two neighbours on A2, shortened. */
const entry = (port: string, name: string | undefined, id: string, description?: string) => ({
  name: port,
  via: 'LLDP',
  rid: '1',
  age: '0 day, 00:00:02',
  chassis: [
    {
      id: [{ type: 'mac', value: '42:16:1f:8f:ad:ed' }],
      ...(name === undefined ? {} : { name: [{ value: name }] }),
      capability: [{ type: 'Router', enabled: true }],
    },
  ],
  port: [
    {
      id: [{ type: 'ifname', value: id }],
      ...(description === undefined ? {} : { descr: [{ value: description }] }),
      ttl: [{ value: '120' }],
    },
  ],
});
const answer = (...entries: object[]) => JSON.stringify({ lldp: [{ interface: entries }] }, null, 2);

test('LLDP: who is at the other end of each port', (t) => {
  const chassisId = '42:16:1f:8f:ad:ed';
  const table = parseNeighbours(
    answer(entry('A0', 'spine-1', 'Ethernet4', 'to leaf'), entry('A2', 'hv1', 'eth0'), entry('A2', undefined, 'eth1')),
  );
  t.deepEqual(table && Object.fromEntries(table), {
    A0: [{ systemName: 'spine-1', portId: 'Ethernet4', portDescription: 'to leaf', chassisId }],
    A2: [
      { systemName: 'hv1', portId: 'eth0', chassisId },
      { systemName: chassisId, portId: 'eth1', chassisId },
    ],
  });
  t.deepEqual(parseNeighbours('{ "lldp": [ { } ] }'), new Map(), 'as it prints when there is nobody');
});

test("LLDP: a stranger's words are cut and hold no control characters; nonsense is left out", (t) => {
  const table = parseNeighbours(answer(entry('A0', `evil\u001b[31m\u009b${'x'.repeat(1000)}`, 'e\u00001')));
  const [neighbour] = table!.get('A0')!;
  t.is(neighbour!.systemName, `evil[31m${'x'.repeat(247)}`);
  t.is(neighbour!.portId, 'e1');
  t.is(parseNeighbours('{ "lldp": [ {'), undefined);
  t.is(parseNeighbours('{ "configuration": [] }'), undefined);
  t.is(parseNeighbours(answer({ name: 'A1' }, { name: 7 }, { name: 'A1', port: [{ id: 'x' }] }))?.size, 0);
  t.is(parseNeighbours(answer(...Array.from({ length: 50 }, () => entry('A1', 'hub', 'p'))))?.get('A1')?.length, 4);
  const judged = (text: string) => parseNeighbours(text) === undefined || parseNeighbours(text) instanceof Map;
  fc.assert(fc.property(fc.json(), judged));
  fc.assert(fc.property(fc.json(), (text) => judged(`{"lldp":[{"interface":[${text}]}]}`)));
});

test('LLDP: objects are cut out of a stream wherever it is torn', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
      (objects, cuts) => {
        const stream = objects.map((each) => `\n${JSON.stringify(each, null, 2)}\n`).join('');
        const splitter = new ObjectSplitter(1 << 20);
        const found: string[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const length = cuts[turn % cuts.length]!;
          const pushed = splitter.push(stream.slice(at, at + length));
          if (pushed === 'overflow') return false;
          found.push(...pushed);
          at += length;
        }
        return JSON.stringify(found.map((text) => JSON.parse(text))) === JSON.stringify(objects);
      },
    ),
  );
  t.is(new ObjectSplitter(10).push(`{"a": "${'x'.repeat(20)}`), 'overflow');
  t.deepEqual(new ObjectSplitter(10).push('} warning " } {}'), ['{}'], 'what stands between objects is nothing');
});

/** Answers in the test's own time. */
class Source implements LldpSource {
  readonly asked: number[] = [];
  answer: NeighbourTable | undefined | 'fails' = new Map();
  closed = false;
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  look(): Promise<NeighbourTable | undefined> {
    this.asked.push(this.#clock.now());
    return this.answer === 'fails' ? Promise.reject(new Error('gone')) : Promise.resolve(this.answer);
  }

  close(): void {
    this.closed = true;
  }
}

const UP = {
  name: 'A1',
  ifindex: 7,
  mac: undefined,
  mtu: 1500,
  adminUp: true,
  carrier: true,
  master: 0,
  kind: 'veth',
  addresses: [],
};
const DOWN = { ...UP, carrier: false };

async function pass(clock: VirtualClock, ms: number): Promise<void> {
  for (let second = 0; second < ms; second += 1000) {
    clock.advance(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('LLDP is looked at every 30 s, soon after a port came up, and seldom where nobody answers', async (t) => {
  const clock = new VirtualClock();
  const source = new Source(clock);
  source.answer = new Map([['A1', [{ systemName: 'hv1', portId: 'eth0' }]]]);
  const lldp = new Lldp(source, clock);
  t.deepEqual(lldp.of('A1'), []);
  lldp.start();
  await pass(clock, 4_000);
  t.deepEqual(source.asked, [3_000]);
  t.deepEqual(lldp.of('A1'), [{ systemName: 'hv1', portId: 'eth0' }]);
  t.deepEqual(lldp.of('A2'), []);
  await pass(clock, 30_000);
  t.deepEqual(source.asked, [3_000, 33_000]);
  lldp.portChanged({ before: UP, after: DOWN });
  for (let times = 0; times < 100; times++) lldp.portChanged({ before: DOWN, after: UP });
  await pass(clock, 6_000);
  t.deepEqual(source.asked, [3_000, 33_000, 37_000], 'many ports, one look');

  source.answer = undefined;
  await pass(clock, 30_000);
  t.deepEqual(lldp.of('A1'), [], 'what nobody says any more is not shown');
  const before = source.asked.length;
  for (let times = 0; times < 10; times++) lldp.portChanged({ before: DOWN, after: UP });
  await pass(clock, 3_600_000);
  t.true(source.asked.length - before <= 10, `${source.asked.length - before} looks in an hour`);
  source.answer = 'fails';
  await pass(clock, 700_000);
  source.answer = new Map([['A1', []]]);
  await pass(clock, 700_000);
  const regained = source.asked.length;
  await pass(clock, 60_000);
  t.is(source.asked.length - regained, 2, 'back to every 30 s');
  lldp.stop();
  t.true(source.closed);
  const last = source.asked.length;
  await pass(clock, 60_000);
  t.is(source.asked.length, last);
});
