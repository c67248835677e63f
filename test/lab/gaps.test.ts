import test from 'ava';
import { gapsOf, lostInGaps } from '../../lab/gaps.ts';
import type { Observation } from '../../lab/observer/observer.ts';

const C4 = '2001:db8:10::2';
const fib = (at: number, via: ('A' | 'B')[], address = C4): Observation => ({ at, kind: 'fib', address, via });

test('a route that is replaced by deleting and adding leaves a gap; one that is missing for longer does not', (t) => {
  const gaps = gapsOf([fib(100, []), fib(100.2, ['B']), fib(200, []), fib(260, ['A']), fib(300, ['B'])]);
  t.deepEqual(gaps, [{ address: C4, from: 100, to: 100.2 }]);
  t.deepEqual(
    gapsOf([fib(100, [], '10.10.10.2'), fib(100.2, ['B'], '10.10.10.2')]),
    [],
    'IPv4 is replaced in one step',
  );
});

test('only what falls into the gap, and is no more than it holds, is the gateway’s', (t) => {
  const gaps = [{ address: C4, from: 100, to: 100.2 }];
  const lost = (count: number, firstBy: number, last: number, address = C4) =>
    lostInGaps(address, [{ count, firstBy, last }], gaps);
  t.is(lost(1, 99.8, 99.7), 1, 'the observer hears of it afterwards');
  t.is(lost(2, 99.5, 100.5), 2);
  t.is(lost(3, 99, 101), 0, 'longer than the gap');
  t.is(lost(1, 102, 102), 0, 'after it');
  t.is(lost(1, 60, 60), 0, 'long before it');
  t.is(lost(1, 99.8, 99.7, '2001:db8:10::1'), 0, "another's");
});
