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
  const last = bench.run(300);
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
