import test from 'ava';
import { ipv4FromNumber, type Prefix } from '../../src/model/address.ts';
import { address, Bench, deltas, heard, mac, policy, probes } from './helpers.ts';

test('R4.5 a silent host is asked, asked again, and goes alone; its neighbour on the port stays', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1'));
  bench.do(bench.live('10.10.10.2', 'A1'));
  t.deepEqual(probes(bench.run(4_999)), []);
  const first = bench.run(2);
  t.deepEqual(
    probes(first).map((effect) => [effect.address, effect.mac, effect.port]),
    [
      [address('10.10.10.1'), mac(1), 'A1'],
      [address('10.10.10.2'), mac(2), 'A1'],
    ],
  );
  t.is(bench.table.find(address('10.10.10.1'))?.state, 'reachable', 'one lost probe is no news');
  bench.run(200);
  t.is(bench.table.find(address('10.10.10.1'))?.state, 'probing');
  bench.run(398);
  t.is(bench.model.size, 2);
  // Asked in vain for the last time, and then up to the next instant for verdicts.
  const last = bench.run(200 + 250);
  t.deepEqual(deltas(last), [
    {
      type: 'delta',
      delta: { withdrawn: [address('10.10.10.1')], announced: [] },
      cause: { kind: 'silent', port: 'A1', reason: 'no answer to 4 probes' },
    },
  ]);
  bench.run(600_000);
  t.deepEqual([...bench.model.keys()], [address('10.10.10.2')]);
  t.is(probes(bench.log).filter((effect) => effect.address === '10.10.10.1').length, 4);
});

test('R4.5 what is asked on a port is asked in its rounds: early by an eighth of the interval at most, never late', (t) => {
  let seed = 1;
  const random = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const bench = new Bench(policy({ limits: { perPort: 200, total: 800 } }), random);
  const heardAt = new Map<string, number>();
  for (let index = 1; index <= 60; index++) {
    const port = `A${1 + (index % 3)}`;
    bench.do(bench.live(`10.10.10.${index}`, port));
    heardAt.set(`10.10.10.${index}`, bench.now);
    bench.now += 7;
  }
  const instants = new Map<string, Set<number>>();
  const gaps = new Set<number>();
  const end = bench.now + 60_000;
  let answers: string[] = [];
  while (bench.now < end) {
    for (const each of answers) {
      bench.do(bench.alive.get(address(each))!.answer());
      heardAt.set(each, bench.now);
    }
    answers = [];
    bench.now = Math.max(bench.now, bench.table.nextDeadline()!);
    const at = bench.now;
    for (const effect of bench.do({ type: 'tick' })) {
      if (effect.type !== 'probe') continue;
      const silence = at - heardAt.get(effect.address)!;
      t.true(silence <= 5_000, `asked after ${silence} ms`);
      t.true(silence >= 5_000 - 5_000 / 8 - 2, `asked after ${silence} ms`);
      const seen = instants.get(effect.port) ?? new Set();
      instants.set(effect.port, seen.add(at % 300));
      if (effect.address === '10.10.10.1') gaps.add(Math.round(silence / 300));
      answers.push(effect.address);
    }
    bench.now += 1;
  }
  t.deepEqual([...instants].sort(), [
    ['A1', new Set([0])],
    ['A2', new Set([50])],
    ['A3', new Set([100])],
  ]);
  t.true(gaps.size > 1, 'who was once asked together need not be for ever');
});

test('a host that answers the last probe stays', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1'));
  bench.run(5_700);
  t.is(bench.table.find(address('10.10.10.1'))?.state, 'probing');
  bench.do(heard('10.10.10.1', 'A1'));
  t.is(bench.table.find(address('10.10.10.1'))?.state, 'reachable');
  bench.run(4_900);
  t.is(bench.model.size, 1);
});

test('a probe that could not be sent does not count against the host', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1'));
  for (let turn = 0; turn < 100; turn++) {
    for (const effect of probes(bench.run(200))) bench.do({ type: 'probeUnsent', address: effect.address, port: 'A1' });
  }
  t.is(bench.model.size, 1);
  bench.run(2_000);
  t.is(bench.model.size, 0);
});

test('R4.5 20,000 silent hosts are never asked in one burst', (t) => {
  const bench = new Bench(
    policy({ prefixes: ['10.0.0.0/8' as Prefix], limits: { perPort: 20_000, total: 20_000 } }),
    () => 0.5,
  );
  for (let index = 1; index <= 20_000; index++) {
    bench.do(heard(ipv4FromNumber(0x0a000000 + index), 'A1', { mac: mac(1) }));
  }
  let asked = 0;
  while (asked < 20_000) {
    bench.now = Math.max(bench.now, bench.table.nextDeadline()!);
    const sent = probes(bench.do({ type: 'tick' })).length;
    t.true(sent <= 64);
    asked += sent;
    if (bench.now > 60_000) break;
  }
  t.true(asked >= 20_000);
  t.is(bench.table.hosts().length, 20_000);
});

test('evidence of unknown age is asked first: a stale neighbour is announced only once it answers', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1', { source: 'neighbour', stale: true }));
  t.is(bench.model.size, 0);
  bench.run(60_000);
  t.is(bench.model.size, 0);
  bench.live('10.10.10.1', 'A1');
  bench.do(heard('10.10.10.1', 'A1', { source: 'neighbour', stale: true }));
  bench.run(5);
  t.is(bench.model.size, 1);
  bench.do(heard('10.10.10.1', 'A2', { source: 'neighbour', stale: true }));
  t.is(bench.table.find(address('10.10.10.1'))?.port, 'A1', 'and it moves nobody');
});

test('R4.5 a neighbour that the kernel gives up is asked at once, and goes if silent', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1', { source: 'neighbour' }));
  bench.do(bench.live('10.10.10.2', 'A1'));
  bench.do(heard('10.10.10.2', 'A1', { source: 'neighbour' }));
  bench.do({ type: 'lost', source: 'neighbour', address: address('10.10.10.1'), port: 'A1' });
  bench.do({ type: 'lost', source: 'neighbour', address: address('10.10.10.2'), port: 'A1' });
  bench.run(160);
  t.deepEqual([...bench.model.keys()], [address('10.10.10.2')]);
  t.deepEqual(
    bench.table.find(address('10.10.10.2'))?.sources.map(({ source }) => source),
    ['arp'],
  );
});

test('R4.7 a host of an earlier run is asked, and announced only once it answers', (t) => {
  const bench = new Bench();
  bench.live('10.10.10.1', 'A1');
  const recall = (text: string, port: string) =>
    bench.do({ type: 'recall', address: address(text), mac: mac(1), port });
  recall('10.10.10.1', 'A1');
  recall('10.10.10.2', 'A1');
  recall('10.10.11.1', 'A1');
  recall('10.10.10.3', 'A0');
  t.is(bench.table.counters().searches, 2);
  t.is(bench.model.size, 0);
  bench.run(5);
  t.deepEqual([...bench.model.keys()], [address('10.10.10.1')]);
  recall('10.10.10.1', 'A2');
  bench.run(60_000);
  t.is(bench.table.counters().searches, 0);
  t.is(bench.table.find(address('10.10.10.1'))?.port, 'A1');
});

test('R4.5 doubts in quick succession do not put off the verdict', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1'));
  for (let turn = 0; turn < 20; turn++) {
    bench.do({ type: 'lost', source: 'neighbour', address: address('10.10.10.1'), port: 'A1' });
    bench.run(10);
  }
  t.is(bench.model.size, 0);
  t.is(probes(bench.log).filter((effect) => effect.address === '10.10.10.1').length, 3);
});
