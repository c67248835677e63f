import test from 'ava';
import { judgeStream } from '../../lab/probe/streams.ts';
import { medianOf, spread } from '../../lab/statistics.ts';

/** A stream of one packet a millisecond; `lost` never arrived. */
function stream(sent: number, lost: readonly number[], change: (arrivals: Uint8Array) => void = () => undefined) {
  const sentAt = Float64Array.from({ length: sent }, (_, index) => 1000 + index);
  const arrivals = new Uint8Array(sent).fill(1);
  for (const sequence of lost) arrivals[sequence] = 0;
  change(arrivals);
  return { sentAt, arrivals, sent, reordered: 0 };
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

test('spread: median of an odd and of an even number, min and max; nothing is not zero', (t) => {
  t.deepEqual(spread([3, 1, 2]), { median: 2, min: 1, max: 3 });
  t.deepEqual(spread([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 });
  t.is(spread([]), undefined);
  t.is(medianOf([7]), 7);
});

test('a stream without loss has no outage', (t) => {
  const result = judgeStream(stream(100, []), 1);
  t.like(result, { sent: 100, received: 100, lost: 0, outage: 0, outageFrom: undefined, holes: 0 });
});

test('the outage is the time between the neighbours of the longest hole, less one interval', (t) => {
  const result = judgeStream(stream(100, [10, ...range(40, 62)]), 1);
  t.is(result.lost, 23);
  t.is(result.holes, 2);
  t.is(result.outage, 22);
  t.is(result.outageFrom, 1039);
});

test('packets sent late make the outage longer than their number says', (t) => {
  const record = stream(10, [5]);
  for (let sequence = 6; sequence < 10; sequence++) record.sentAt[sequence]! += 20;
  t.is(judgeStream(record, 1).outage, 21);
});

test('a stream that never came back is down to the end, one that never was is down all the time', (t) => {
  t.is(judgeStream(stream(100, range(90, 100)), 1).outage, 9);
  t.is(judgeStream(stream(100, range(0, 100)), 1).lost, 100);
  t.is(judgeStream(stream(100, range(0, 100)), 1).outage, 98);
});

test('duplicates are counted once each and are no loss', (t) => {
  const result = judgeStream(
    stream(10, [], (arrivals) => {
      arrivals[3] = 2;
      arrivals[4] = 5;
    }),
    1,
  );
  t.like(result, { received: 10, lost: 0, duplicates: 2 });
});

test('holes: how many, by when the first had left, since when the last', (t) => {
  const record = { ...stream(100, [10, ...range(40, 62)]), leftBy: new Float64Array(100).fill(2000) };
  t.deepEqual(judgeStream(record, 1).where, [
    { count: 1, firstBy: 2000, last: 1010 },
    { count: 22, firstBy: 2000, last: 1061 },
  ]);
  t.is(judgeStream(stream(10, [9]), 1).where[0]!.firstBy, 1009);
});
