import test from 'ava';
import fc from 'fast-check';
import type { HostEvent, HostPolicy } from '../../src/hostroutes/machine/types.ts';
import { address, Bench, deltas, heard, mac, policy } from './helpers.ts';

const PORTS = ['A1', 'A2', 'A3'];
const port = fc.constantFrom(...PORTS);
const ports = fc.subarray(PORTS, { minLength: 1 });
const host = fc.integer({ min: 1, max: 3 }).map((last) => `10.10.10.${last}`);

const somePolicy: fc.Arbitrary<HostPolicy> = fc
  .record({
    ports,
    perPort: fc.integer({ min: 1, max: 4 }),
    mode: fc.constantFrom('learned' as const, 'always' as const, 'never' as const),
    activeActive: fc.boolean(),
  })
  .map(({ mode, perPort, ...rest }) =>
    policy({
      ...rest,
      limits: { perPort, total: 100 },
      returning: { mode, wait: 300, door: { interface: 'door', ifindex: 9, mac: mac(9) } },
    }),
  );

const event: fc.Arbitrary<HostEvent> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(host, port).map(([text, name]) => heard(text, name)) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('portDown' as const), ports, reason: fc.constant('down') }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('portUp' as const), port }) },
  fc.record({ type: fc.constant('blockPorts' as const), ports, blocked: fc.boolean(), reason: fc.constant('group') }),
  { weight: 4, arbitrary: fc.record({ type: fc.constant('expect' as const), ports }) },
  fc.record({ type: fc.constant('opening' as const), ports }),
  {
    weight: 4,
    arbitrary: fc
      .tuple(host, fc.constantFrom(undefined, 0 as const, 1 as const, 2 as const))
      .map(
        ([text, level]): HostEvent => ({ type: 'foreignClaim', claim: { address: address(text), level, from: 'B' } }),
      ),
  },
  { weight: 1, arbitrary: somePolicy.map((configured): HostEvent => ({ type: 'configure', policy: configured })) },
);

test('R4.7 hosts announced ahead of their return: the deltas add up, and without a return they end in time', (t) => {
  fc.assert(
    fc.property(
      somePolicy,
      fc.array(fc.tuple(event, fc.constantFrom(0, 0, 10, 400)), { minLength: 1, maxLength: 80, size: 'max' }),
      (start, story) => {
        const bench = new Bench(start);
        const check = () => {
          const announced = new Map(bench.table.announced().map((route) => [route.address, route]));
          if (announced.size !== bench.model.size) return false;
          for (const [key, route] of bench.model) if (announced.get(key) !== route) return false;
          const live = new Set(bench.table.hosts().map((view) => view.address));
          const expected = new Set(bench.table.expected(PORTS));
          for (const each of live) if (!announced.has(each)) return false;
          for (const each of announced.keys()) if (!live.has(each) && !expected.has(each)) return false;
          for (const each of expected) if (live.has(each)) return false;
          return true;
        };
        for (const [each, pause] of story) {
          bench.do(each);
          if (!check()) return false;
          if (pause) bench.run(pause);
          if (!check()) return false;
        }
        // Those whose neighbours came back lately are waited for up to four times.
        bench.run(1_300);
        return check() && bench.table.expected(PORTS).length === 0;
      },
    ),
    { numRuns: 2_000 },
  );
  t.pass();
});

const GONE = '10.10.10.1';

/** A port that is shut, and one host expected behind it. */
function waiting(): Bench {
  const bench = new Bench(
    policy({ returning: { mode: 'always', wait: 300, door: { interface: 'door', ifindex: 9, mac: mac(9) } } }),
  );
  bench.do(heard(GONE, 'A1'));
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  bench.do({ type: 'foreignClaim', claim: { address: address(GONE), level: 0, from: 'B' } });
  bench.do({ type: 'expect', ports: ['A1'] });
  return bench;
}

test('R4.7 only who is claimed elsewhere, and is not expected already, would be expected', (t) => {
  const bench = new Bench(
    policy({ returning: { mode: 'always', wait: 300, door: { interface: 'door', ifindex: 9, mac: mac(9) } } }),
  );
  for (const last of [1, 2, 3]) bench.do(heard(`10.10.10.${last}`, 'A1'));
  t.is(bench.table.expectable('A1'), 0, 'who is there comes from nowhere');
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  t.is(bench.table.expectable('A1'), 0, 'with one link alone there is nothing to be told first');
  for (const last of [1, 2])
    bench.do({ type: 'foreignClaim', claim: { address: address(`10.10.10.${last}`), level: 0, from: 'B' } });
  t.is(bench.table.expectable('A1'), 2);
  t.is(bench.table.expectable('A2'), 0);
  bench.do({ type: 'expect', ports: ['A1'] });
  t.is(bench.table.expectable('A1'), 0);
});

test('R4.7 hosts are waited for from when their port is opened, however long the fabric took to turn', (t) => {
  const bench = waiting();
  bench.run(290);
  bench.do({ type: 'opening', ports: ['A1'] });
  t.deepEqual(deltas(bench.run(290)), []);
  bench.do({ type: 'portUp', port: 'A1' });
  t.deepEqual(deltas(bench.run(290)), []);
  t.deepEqual(bench.table.expected(['A1']), [address(GONE)]);
  bench.run(20);
  t.deepEqual(bench.table.expected(['A1']), [], 'and no longer');
});

test('R4.7 a port that comes up later than its hosts are waited for says nothing of whether they return', (t) => {
  const door = { interface: 'door', ifindex: 9, mac: mac(9) };
  const bench = new Bench(policy({ returning: { mode: 'learned', wait: 300, door } }));
  const comesBack = () => bench.table.memory().find((memory) => memory.address === GONE)?.returns;
  const leaves = (): void => {
    bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
    bench.do({ type: 'foreignClaim', claim: { address: address(GONE), level: 0, from: 'B' } });
  };
  bench.do(heard(GONE, 'A1'));
  leaves();
  bench.do({ type: 'portUp', port: 'A1' });
  bench.do(heard(GONE, 'A1'));
  t.true(comesBack());
  leaves();
  bench.do({ type: 'expect', ports: ['A1'] });
  bench.run(10_000);
  t.deepEqual(bench.table.expected(['A1']), []);
  t.true(comesBack(), 'the port was shut all the while');
  bench.do({ type: 'portUp', port: 'A1' });
  bench.do({ type: 'expect', ports: ['A1'] });
  bench.run(10_000);
  t.false(comesBack());
});

test('R4.7 nobody is given up while the kernel is still at work on his port, but not for ever', (t) => {
  const bench = waiting();
  t.deepEqual(deltas(bench.run(1_190)), []);
  t.deepEqual(bench.table.expected(['A1']), [address(GONE)]);
  bench.run(20);
  t.deepEqual(bench.table.expected(['A1']), []);
  t.is(bench.model.size, 0);
});

test('R4.7 ten thousand hosts take longer than one: as long as they keep coming the others are waited for', (t) => {
  const bench = new Bench(
    policy({ returning: { mode: 'always', wait: 300, door: { interface: 'door', ifindex: 9, mac: mac(9) } } }),
  );
  const hosts = [1, 2, 3, 4].map((last) => `10.10.10.${last}`);
  for (const host of hosts) bench.do(heard(host, 'A1'));
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  for (const host of hosts) {
    bench.do({ type: 'foreignClaim', claim: { address: address(host), level: 0, from: 'B' } });
  }
  bench.do({ type: 'expect', ports: ['A1'] });
  bench.do({ type: 'portUp', port: 'A1' });
  t.is(bench.table.expected(['A1']).length, 4);
  t.false(bench.table.verdictDue(bench.now + 299));
  t.true(bench.table.verdictDue(bench.now + 300), 'what they have said by then is read before they are given up');
  bench.run(150);
  bench.do(heard(hosts[0]!, 'A1'));
  bench.run(140);
  bench.do(heard(hosts[1]!, 'A1'));
  t.deepEqual(deltas(bench.run(160)), [], 'nobody is given up at the end of the wait, 10 ms after another has come');
  bench.do(heard(hosts[2]!, 'A1'));
  t.is(bench.model.get(address(hosts[2]!))?.ifindex, 101, 'it has come late, and was announced all the while');
  const late = deltas(bench.run(500));
  t.deepEqual(
    late.map(({ delta }) => delta.withdrawn),
    [[address(hosts[3]!)]],
    'who comes no more is given up',
  );
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  bench.do({ type: 'portUp', port: 'A1' });
  t.like(
    bench.table.memory().find((memory) => memory.address === hosts[2]),
    { returns: true },
    'that it comes back by itself is learned of the late ones too',
  );
});

test('R4.7 whoever is heard first after a long turn is in time, and with him those behind him', (t) => {
  const bench = new Bench(
    policy({ returning: { mode: 'always', wait: 300, door: { interface: 'door', ifindex: 9, mac: mac(9) } } }),
  );
  const hosts = ['10.10.10.1', '10.10.10.2'];
  for (const host of hosts) bench.do(heard(host, 'A1'));
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  for (const host of hosts) {
    bench.do({ type: 'foreignClaim', claim: { address: address(host), level: 0, from: 'B' } });
  }
  bench.do({ type: 'expect', ports: ['A1'] });
  bench.do({ type: 'portUp', port: 'A1' });
  // Busy for longer than the wait; then what was read is told before time.
  bench.now += 500;
  t.true(bench.table.verdictDue(bench.now));
  bench.do(heard(hosts[0]!, 'A1'));
  t.deepEqual(deltas(bench.do({ type: 'tick' })), []);
  bench.now += 5;
  t.is(deltas(bench.do(heard(hosts[1]!, 'A1')))[0]?.delta.withdrawn.length, 0);
  t.is(bench.model.size, 2);
});
