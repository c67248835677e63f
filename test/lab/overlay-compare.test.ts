import test from 'ava';
import { compareStreams, excesses } from '../../lab/overlay/compare.ts';
import { renderSteps } from '../../lab/overlay/page.ts';
import type { ProbeResult } from '../../lab/probe/prober.ts';

const result = (server: string, more: Partial<ProbeResult> = {}): ProbeResult => ({
  server,
  family: 4,
  direction: 'to-server',
  refused: 0,
  sent: 1000,
  received: 1000 - (more.lost ?? 0),
  lost: 0,
  duplicates: 0,
  reordered: 0,
  outage: 0,
  outageFrom: undefined,
  pause: 1,
  holes: 0,
  where: [],
  ...more,
});

test('containers lose no more than their hosts: two packets a hole are its edges', (t) => {
  const of = (hosts: number, holes: number, containers: number) =>
    excesses(compareStreams([result('C1-C4', { lost: hosts, holes }), result('c1-c4', { lost: containers })])).length;
  t.deepEqual([of(0, 0, 2), of(0, 0, 3)], [0, 1]);
  t.deepEqual([of(20, 1, 22), of(20, 1, 23)], [0, 1]);
  t.deepEqual([of(20, 3, 26), of(20, 3, 27)], [0, 1]);
  t.is(of(20, 1, 0), 0);
});

test('what fell due while the prober itself waited may be missing in one stream alone', (t) => {
  const of = (containers: number) =>
    excesses(compareStreams([result('C1-C4'), result('c1-c4', { lost: containers, pause: 5.2 })])).length;
  t.deepEqual([of(7), of(8)], [0, 1]);
});

test('each direction is compared with its own, and what is missing altogether is no comparison', (t) => {
  const back = { direction: 'from-server' } as const;
  const pairs = compareStreams([
    result('C1-C4', { lost: 9, holes: 1 }),
    result('C1-C4', back),
    result('c1-c4', { lost: 9 }),
    result('c1-c4', { ...back, lost: 9 }),
  ]);
  t.deepEqual(
    excesses(pairs).map(({ pair, direction }) => `${pair} ${direction}`),
    ['C1-C4 back'],
  );
  t.throws(() => compareStreams([result('C1-C4')]), { message: /nothing was sent between the containers c1-c4/ });
});

test('the table says what is compared, and of each NO who lost how much', (t) => {
  const pairs = compareStreams([result('C1-C4', { lost: 3, holes: 1 }), result('c1-c4', { lost: 40 })]);
  const text = renderSteps([{ step: 'a link fails', at: 0, pairs, noMore: false }]);
  t.regex(text, /a link fails +3 +40 +C1-C4 there .* NO\n/);
  t.regex(text, /did containers lose more than their hosts/);
  t.regex(text, /NO: a link fails: C1-C4 there: of 1000 packets hosts lost 3, containers 40; up to 5 would be no more/);
});
