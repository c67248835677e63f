/** R4.1: servers that say nothing until they are asked. */
import test from 'ava';
import fc from 'fast-check';
import { refuseSweep, Sweeper, type SweepPlace } from '../../src/hostroutes/sources/sweep.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import { VirtualClock } from './clock.ts';

class Bench {
  readonly clock = new VirtualClock();
  readonly asked: { at: number; where: string; address: Address }[] = [];
  readonly called: string[] = [];
  readonly known = new Set<string>();
  ends = 0;
  readonly sweeper = new Sweeper({
    clock: this.clock,
    ask: (place, address) => {
      this.asked.push({ at: this.clock.now(), where: place.interface, address });
      return true;
    },
    call: (place) => {
      this.called.push(`${place.interface} ${place.prefix}`);
      return true;
    },
    known: (address) => this.known.has(address),
    done: () => {
      this.ends++;
    },
  });
}

const place = (name: string, prefix = '10.10.10.0/24'): SweepPlace => ({ interface: name, prefix: prefix as Prefix });

test('R4.1 a sweep asks for each address of a prefix once on each interface, not for those that are known', (t) => {
  const bench = new Bench();
  bench.known.add('10.10.10.7');
  const plan = bench.sweeper.sweep([place('A1', '10.10.10.0/28'), place('A2', '10.10.10.0/28')], 200);
  t.deepEqual(plan, { interfaces: 2, addresses: 14, questions: 28, seconds: 1 });
  t.is(bench.asked.length, 0, 'nothing in the turn of the start');
  bench.clock.advance(10_000);
  const expected = Array.from({ length: 14 }, (_, last) => `10.10.10.${last + 1}`).filter(
    (each) => each !== '10.10.10.7',
  );
  for (const name of ['A1', 'A2']) {
    t.deepEqual(
      bench.asked.filter(({ where }) => where === name).map(({ address }) => address as string),
      expected,
    );
  }
  t.is(bench.sweeper.count['sweep.done'], 1);
});

test('a sweep keeps its rate whatever it is, in portions, and ends', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 22, max: 32 }), (rate, length) => {
      const bench = new Bench();
      bench.sweeper.sweep([place('A1', `10.10.0.0/${length}`)], rate);
      const most = 1_100;
      for (let turn = 0; turn < most && bench.sweeper.count['sweep.done'] === 0; turn++) bench.clock.advance(1_000);
      const size = length >= 31 ? 2 ** (32 - length) : 2 ** (32 - length) - 2;
      const took = (bench.asked.at(-1)?.at ?? 0) / 1000;
      const perSecond = new Map<number, number>();
      for (const { at } of bench.asked)
        perSecond.set(Math.floor(at / 1000), (perSecond.get(Math.floor(at / 1000)) ?? 0) + 1);
      const portion = Math.max(1, Math.round(rate / 50));
      return (
        bench.asked.length === size && took <= size / rate + 1 && Math.max(...perSecond.values()) <= rate + 2 * portion
      );
    }),
    { numRuns: 60 },
  );
  t.pass();
});

test('IPv6: all nodes at once, one question a prefix and interface', (t) => {
  const bench = new Bench();
  const plan = bench.sweeper.sweep([place('A1', '2001:db8::/64'), place('A2', '2001:db8::/64')], 200);
  t.deepEqual(plan, { interfaces: 2, addresses: 0, questions: 2, seconds: 1 });
  bench.clock.advance(1_000);
  t.deepEqual(bench.called, ['A1 2001:db8::/64', 'A2 2001:db8::/64']);
});

test('a port that flaps is swept once a minute, at the wish of an operator at once; what is under way is not begun anew', (t) => {
  const bench = new Bench();
  for (let times = 0; times < 5; times++) {
    bench.sweeper.sweep([place('A1', '10.10.10.0/30')], 200);
    bench.clock.advance(2_000);
  }
  t.is(bench.asked.length, 2);
  bench.sweeper.sweep([place('A1', '10.10.10.0/30')], 200, true);
  bench.sweeper.sweep([place('A1', '10.10.10.0/30')], 200, true);
  bench.clock.advance(2_000);
  t.is(bench.asked.length, 4);
  bench.clock.advance(60_000);
  bench.sweeper.sweep([place('A1', '10.10.10.0/30')], 200);
  bench.sweeper.stop();
  bench.clock.advance(2_000);
  t.is(bench.asked.length, 4, 'stopped');
});

test('a reply is one to the sweep while that goes on, and two seconds longer', (t) => {
  const bench = new Bench();
  t.false(bench.sweeper.listening);
  bench.sweeper.sweep([place('A1', '10.10.10.0/30')], 200);
  t.true(bench.sweeper.listening);
  bench.clock.advance(1_500);
  t.true(bench.sweeper.listening);
  bench.clock.advance(1_000);
  t.false(bench.sweeper.listening);
});

test('prefixes that are too large are refused in words', (t) => {
  const refusal = (...prefixes: string[]) => refuseSweep({ prefixes: prefixes as Prefix[] });
  t.is(refusal('10.10.0.0/20', '2001:db8::/32'), undefined);
  t.regex(refusal('10.10.0.0/20', '10.20.0.0/28')!, /have 4108 IPv4 addresses, more than the 4096 that can be swept/);
  t.regex(refusal('10.0.0.0/8')!, /have 16777214/);
});
