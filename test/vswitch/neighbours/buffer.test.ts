import test from 'ava';
import fc from 'fast-check';
import { HoldBuffer } from '../../../src/vswitch-bridge/neighbours/hold/buffer.ts';

const OPTIONS = { lifetime: 1_000, perNeighbour: 4, total: 6, totalBytes: 100 };

test('R2.3 packets leave in the order in which they came, each place its own', (t) => {
  const buffer = new HoldBuffer<string, number>(OPTIONS);
  for (const [place, packet] of [
    ['a', 1],
    ['b', 2],
    ['a', 3],
  ] as const) {
    t.true(buffer.take(place, place, packet, 10, 0));
  }
  t.deepEqual(buffer.release('a'), [1, 3]);
  t.deepEqual(buffer.release('a'), []);
  t.like(buffer.counters(), { held: 3, sent: 2, waiting: 1, waitingBytes: 10 });
});

test('R2.4 each packet has its own lifetime', (t) => {
  const buffer = new HoldBuffer<string, number>(OPTIONS);
  buffer.take('a', 'n', 1, 10, 0);
  buffer.take('a', 'n', 2, 10, 400);
  t.is(buffer.nextDeadline(), 1_000);
  t.deepEqual(buffer.expire(999), []);
  t.deepEqual(buffer.expire(1_000), [{ place: 'a', packets: [1], left: 1 }]);
  t.is(buffer.nextDeadline(), 1_400);
  t.deepEqual(buffer.expire(1_400), [{ place: 'a', packets: [2], left: 0 }]);
  t.is(buffer.nextDeadline(), undefined);
  t.like(buffer.counters(), { held: 2, expired: 2, waiting: 0, waitingBytes: 0 });
});

test('R2.4 bounded per neighbour, in total and in octets; what is refused is counted', (t) => {
  const buffer = new HoldBuffer<string, number>(OPTIONS);
  const taken = ['a', 'b', 'a', 'b', 'a'].map((place, packet) => buffer.take(place, 'gateway', packet, 10, 0));
  t.deepEqual(taken, [true, true, true, true, false]);
  t.deepEqual(
    [1, 2, 3].map((packet) => buffer.take('c', 'c', packet, 10, 0)),
    [true, true, false],
  );
  t.deepEqual(buffer.release('a'), [0, 2]);
  t.false(buffer.take('d', 'd', 1, 61, 0));
  t.true(buffer.take('d', 'd', 1, 60, 0));
  t.like(buffer.counters(), { held: 7, refused: 3, sent: 2, waiting: 5 });
});

test('R2.4 every packet is accounted for once, and no bound is ever passed', (t) => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('take' as const),
      place: fc.integer({ min: 0, max: 5 }),
      bytes: fc.integer({ min: 1, max: 40 }),
    }),
    fc.record({ kind: fc.constant('release' as const), place: fc.integer({ min: 0, max: 5 }) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 700 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const buffer = new HoldBuffer<number, number>(OPTIONS);
      const seen: number[] = [];
      let now = 0;
      let next = 0;
      for (const each of steps) {
        if (each.kind === 'take') {
          if (!buffer.take(each.place, `n${each.place % 3}`, next, each.bytes, now)) seen.push(next);
          next++;
        } else if (each.kind === 'release') {
          const out = buffer.release(each.place);
          if (out.some((packet, index) => index > 0 && out[index - 1]! > packet)) return false;
          seen.push(...out);
        } else {
          now += each.ms;
          for (const { packets } of buffer.expire(now)) seen.push(...packets);
        }
        const { held, sent, expired, refused, waiting, waitingBytes } = buffer.counters();
        if (waiting > 6 || waitingBytes > 100 || held !== sent + expired + waiting) return false;
        if (seen.length !== sent + expired + refused || new Set(seen).size !== seen.length) return false;
      }
      return true;
    }),
  );
  t.pass();
});
