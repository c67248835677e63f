import test from 'ava';
import { Box, group } from './support.ts';

test('R4.6 uplink loss shuts every downlink in one batch and withdraws their hosts, in the turn of the event', (t) => {
  const box = Box.running(group());
  const effects = box.carrier('A0', false);
  t.deepEqual(
    effects.map(({ type }) => type),
    ['withdraw', 'shut', 'state'],
  );
  t.deepEqual(box.said(), ['withdraw A1,A2,A3,A4', 'shut A1,A2,A3,A4', 'up>shut']);
  t.deepEqual(box.shutPorts, ['A1', 'A2', 'A3', 'A4']);
  t.regex(box.group().reason, /^0 of 1 uplinks up, 1 needed \(A0: no carrier\)$/);
  t.is(box.group().downlinks[2]!.since, box.now);
});

test('R4.6 the loss of one of two uplinks does nothing while minUplinks is 1, of the second everything', (t) => {
  const box = Box.running(group({ uplinks: ['A0', 'A9'] }));
  t.deepEqual(box.carrier('A0', false), []);
  box.carrier('A9', false);
  t.deepEqual(box.shutPorts, ['A0', 'A9', 'A1', 'A2', 'A3', 'A4'].slice(2));
});

test('R4.6 minUplinks 2: the first loss acts', (t) => {
  const box = Box.running(group({ uplinks: ['A0', 'A9'], minUplinks: 2 }));
  box.carrier('A9', false);
  t.deepEqual(box.said('shut'), ['shut A1,A2,A3,A4']);
  t.is(box.group().reason, '1 of 2 uplinks up, 2 needed (A9: no carrier)');
});

test('R4.6 an uplink that an operator shuts, or that vanishes, is lost too', (t) => {
  const shut = Box.running(group());
  shut.admin('A0', false);
  t.deepEqual(shut.said('shut'), ['shut A1,A2,A3,A4']);
  t.regex(shut.group().reason, /A0: shut/);
  const gone = Box.running(group());
  gone.send({ type: 'portGone', port: 'A0' });
  t.deepEqual(gone.said('shut'), ['shut A1,A2,A3,A4']);
  t.regex(gone.group().reason, /A0: no such interface/);
});

for (const condition of ['adjacency', 'nexthop', 'default-route', 'bfd'] as const) {
  test(`R4.6 upWhen ${condition}: the loss of that condition alone acts, with its reason`, (t) => {
    const box = new Box(group({ upWhen: ['carrier', condition] }));
    box.upstream(true);
    box.send({ type: 'verdict', port: 'A0', condition, ok: true, reason: 'fine' });
    box.run(60_000);
    t.is(box.group().state, 'up');
    box.send({ type: 'verdict', port: 'A0', condition, ok: false, reason: `${condition} of 192.0.2.1 is gone` });
    t.deepEqual(box.shutPorts, ['A1', 'A2', 'A3', 'A4']);
    t.regex(box.group().reason, new RegExp(`A0: ${condition} of 192.0.2.1 is gone`));
    const verdicts = box.group().uplinks[0]!.verdicts;
    t.deepEqual(
      verdicts.map(({ ok, since }) => [ok, since]),
      [
        [true, 0],
        [false, 60_000],
      ],
    );
  });
}

test('R4.6 a condition that nobody has judged yet is not fulfilled', (t) => {
  const box = new Box(group({ upWhen: ['carrier', 'bfd'] }));
  box.run(9999);
  t.deepEqual(box.shutPorts, []);
  box.run(1);
  t.deepEqual(box.shutPorts, ['A1', 'A2', 'A3', 'A4']);
  t.regex(box.group().reason, /A0: bfd not known yet/);
});

test('R4.6 deferDelay counts from the loss; uplinks that come back within it change nothing', (t) => {
  const box = Box.running(group({ deferDelay: 300 }));
  box.carrier('A0', false);
  box.run(299);
  box.carrier('A0', true);
  box.run(10_000);
  t.deepEqual(box.said(), []);
  box.carrier('A0', false);
  box.run(299);
  t.deepEqual(box.said(), []);
  box.run(1);
  t.deepEqual(box.said('shut'), ['shut A1,A2,A3,A4']);
});

test('R4.4 several groups share an uplink: one loss shuts the downlinks of each', (t) => {
  const box = Box.running(
    group({ name: 'left', downlinks: ['A1', 'A2'] }),
    group({ name: 'right', uplinks: ['A0', 'A9'], downlinks: ['A3'] }),
  );
  box.carrier('A0', false);
  t.deepEqual(box.shutPorts, ['A1', 'A2']);
  box.carrier('A9', false);
  t.deepEqual(box.shutPorts, ['A1', 'A2', 'A3']);
  t.deepEqual([box.group('left').state, box.group('right').state], ['shut', 'shut']);
});

test('R4.6 a downlink that appears, or that its operator opens, while the group is shut is shut too', (t) => {
  const box = Box.running(group());
  box.admin('A3', false);
  box.send({ type: 'portGone', port: 'A4' });
  box.carrier('A0', false);
  t.deepEqual(box.said('shut'), ['shut A1,A2']);
  box.admin('A3', true);
  box.ports.get('A4')!.adminUp = true;
  box.show('A4');
  t.deepEqual(box.said('shut'), ['shut A1,A2', 'shut A3', 'shut A4']);
});

test('R4.4 partial shut: N ports by priority, the rest in order, never fewer than one', (t) => {
  const uplinks = ['A0', 'A9'];
  const rows = [
    { shut: { count: 2 }, priority: ['A3'], expected: ['A3', 'A1'] },
    { shut: { count: 1 }, priority: [], expected: ['A1'] },
    { shut: { percent: 50 }, priority: ['A4', 'A2'], expected: ['A4', 'A2'] },
    { shut: { percent: 30 }, priority: ['A4'], expected: ['A4', 'A1'] },
    { shut: { percent: 1 }, priority: ['nonsense'], expected: ['A1'] },
    { shut: { count: 99 }, priority: [], expected: ['A1', 'A2', 'A3', 'A4'] },
  ] as const;
  for (const { shut, priority, expected } of rows) {
    const box = Box.running(group({ uplinks, minUplinks: 2, shut, priority }));
    box.carrier('A9', false);
    t.deepEqual(box.said('withdraw', 'shut'), [`withdraw ${expected.join()}`, `shut ${expected.join()}`]);
    // Never partial when no uplink is left.
    box.carrier('A0', false);
    t.deepEqual(box.shutPorts, ['A1', 'A2', 'A3', 'A4']);
  }
});

test('R4.4 partial shut with no uplink left is all at once, and shrinks to the part when one comes back', (t) => {
  const box = Box.running(group({ uplinks: ['A0', 'A9'], minUplinks: 2, shut: { count: 1 }, priority: ['A2'] }));
  box.send({ type: 'blind', blind: true, reason: 'resync' });
  box.carrier('A0', false);
  box.carrier('A9', false);
  box.send({ type: 'blind', blind: false, reason: '' });
  t.deepEqual(box.said('shut'), ['shut A1,A2,A3,A4']);
  box.carrier('A0', true);
  box.run(5000);
  t.deepEqual(box.said('open'), ['open A1,A3,A4']);
  t.is(box.group().state, 'shut');
  box.carrier('A9', true);
  box.run(5000);
  t.deepEqual(box.said('open'), ['open A1,A3,A4', 'open A2']);
  t.is(box.group().state, 'up');
});

test('R4.6 the kernel refuses to shut: alarm, and asked again until it is done', (t) => {
  const box = Box.running(group());
  box.refuse = 'shut';
  box.carrier('A0', false);
  box.run(2500);
  t.is(box.said('shut').length, 3);
  t.regex(box.said('alarm')[0]!, /shutting A1, A2, A3, A4 failed: EBUSY/);
  box.refuse = undefined;
  box.run(1000);
  t.deepEqual(box.shutPorts, ['A1', 'A2', 'A3', 'A4']);
  box.carrier('A0', true);
  box.run(5000);
  t.deepEqual(box.shutPorts, []);
});

test('a shut that was refused and whose reason went away leaves nothing of ours', (t) => {
  const box = Box.running(group());
  box.refuse = 'shut';
  box.carrier('A0', false);
  box.carrier('A0', true);
  box.refuse = undefined;
  box.run(20_000);
  t.is(box.said('shut').length, 1);
  t.deepEqual(box.shutPorts, []);
  t.deepEqual(box.machine.memory().ports, []);
});
