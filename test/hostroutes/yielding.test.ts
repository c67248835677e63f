import test from 'ava';
import type { HostEvent } from '../../src/hostroutes/machine/types.ts';
import type { ClaimLevel } from '../../src/model/hosts.ts';
import { address, Bench, deltas, heard, policy } from './helpers.ts';

const C = address('10.10.10.1');
const DOOR = { interface: 'plhold0', ifindex: 900, mac: heard('10.10.10.9', 'A1').mac };
const claim = (level: ClaimLevel | undefined, of = C): HostEvent => ({
  type: 'foreignClaim',
  claim: { address: of, level, from: 'B' },
});

const yieldingBench = () =>
  new Bench(policy({ yielding: true, returning: { mode: 'always', wait: 1_000, door: DOOR } }));
const settledBench = (): Bench => {
  const bench = yieldingBench();
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.run(500);
  return bench;
};

test("R4.7 a host that is claimed above us: our servers' way is the fabric's, a turn later, and it stays announced", (t) => {
  const bench = settledBench();
  t.deepEqual(deltas(bench.do(claim(1))), []);
  const [told, ...more] = deltas(bench.run(2));
  t.deepEqual(more, []);
  t.like(told, { cause: { kind: 'yielding' }, delta: { withdrawn: [] } });
  t.like(bench.model.get(C), { yields: true, level: 0, interface: 'A1' });

  t.log('it stayed away from there after all');
  bench.do(claim(undefined));
  bench.run(2);
  t.false('yields' in bench.model.get(C)!);
});

test('R4.7 nothing is yielded to a claim that is no better, nor where the kernel can not tell, nor by both links', (t) => {
  const cases = [
    [policy({ yielding: true }), 0],
    [policy(), 1],
    [policy({ yielding: true, activeActive: true }), 1],
    [policy({ yielding: true, probe: { interval: 0, retries: 3, timeout: 200 } }), 1],
  ] as const;
  for (const [configuration, level] of cases) {
    const bench = new Bench(configuration);
    bench.do(bench.live('10.10.10.1', 'A1'));
    bench.run(500);
    bench.do(claim(level));
    bench.run(1_000);
    t.falsy(bench.model.get(C)?.yields);
  }
});

test('R4.7 who vouches for himself is not yielded: nobody would find out that he is here', (t) => {
  const bench = yieldingBench();
  bench.do(heard('10.10.10.1', 'A1', { source: 'bgp' }));
  bench.do(claim(1));
  bench.run(1_000);
  t.falsy(bench.model.get(C)?.yields);
});

test('R4.7 a host that was just heard here yields to no claim that was there before', (t) => {
  const bench = yieldingBench();
  // Nothing is better than the top: it is announced below it, and the other switch has to notice.
  bench.do(claim(2));
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.run(1_000);
  t.like(bench.model.get(C), { level: 1 });
  t.falsy(bench.model.get(C)?.yields);
});

test('R4.7 R4.5 two machines with one address: the one here is back for our servers when it is known for that', (t) => {
  const bench = settledBench();
  bench.do(claim(1));
  bench.run(1_000);
  t.true(bench.model.get(C)?.yields);
  bench.run(2_000);
  t.falsy(bench.model.get(C)?.yields);
  const told = bench.log.length;
  bench.run(10_000);
  t.deepEqual(deltas(bench.log.slice(told)), [], 'and not to and fro');
});

test('R4.7 a host that moved is withdrawn by the rule of ever, and is itself again when it comes back', (t) => {
  const bench = settledBench();
  bench.alive.delete(C);
  bench.do(claim(1));
  const [yielded, gone] = deltas(bench.run(200));
  t.like(yielded, { cause: { kind: 'yielding' } });
  t.like(gone, { cause: { kind: 'rival' }, delta: { withdrawn: [C] } });
  bench.do(heard('10.10.10.1', 'A1'));
  t.like(bench.model.get(C), { level: 2, interface: 'A1' });
  bench.run(10);
  t.falsy(bench.model.get(C)?.yields);
});

test('R4.7 heard at another port of ours, it is ours again at once', (t) => {
  const bench = settledBench();
  bench.do(claim(1));
  bench.run(2);
  t.true(bench.model.get(C)?.yields);
  bench.do(heard('10.10.10.1', 'A2'));
  t.like(bench.model.get(C), { interface: 'A2' });
  t.falsy(bench.model.get(C)?.yields);
});

test('R4.7 drain: what waits for a host here is what the fabric still sends, once the other switch announces it', (t) => {
  const bench = settledBench();
  bench.do({ type: 'leave', ports: ['A1'], reason: 'drained' });
  t.like(bench.model.get(C), { interface: 'plhold0', level: 0 });
  t.falsy(bench.model.get(C)?.yields);
  bench.do(claim(1));
  bench.run(2);
  t.like(bench.model.get(C), { interface: 'plhold0', yields: true });
  bench.do({ type: 'left', addresses: [C], turned: true });
  t.false(bench.model.has(C));
  // Whoever comes back is as new.
  bench.do({ type: 'blockPorts', ports: ['A1'], blocked: false, reason: '' });
  bench.do({ type: 'expect', ports: ['A1'] });
  t.like(bench.model.get(C), { interface: 'plhold0', level: 2 });
  t.falsy(bench.model.get(C)?.yields);
});

test('R4.7 another policy takes it back', (t) => {
  const bench = settledBench();
  bench.do(claim(1));
  bench.run(2);
  bench.do({ type: 'configure', policy: policy({ yielding: false }) });
  bench.run(2);
  t.falsy(bench.model.get(C)?.yields);
});

test('R4.7 ten thousand hosts that return at once cost a delta for each 256, not one each', (t) => {
  const bench = new Bench(
    policy({ yielding: true, prefixes: ['10.10.0.0/16' as never], limits: { perPort: 20_000, total: 20_000 } }),
  );
  const hosts = Array.from({ length: 10_000 }, (_, index) => `10.10.${1 + (index >> 7)}.${1 + (index & 127)}`);
  for (const host of hosts) bench.do(heard(host, 'A1'));
  bench.now += 300;
  for (const host of hosts) bench.do(claim(1, address(host)));
  const told = deltas(bench.run(45)).filter(({ cause }) => cause.kind === 'yielding');
  t.true(told.length <= 41, `${told.length}`);
  t.is(
    told.reduce((sum, { delta }) => sum + delta.announced.length, 0),
    10_000,
  );
});
