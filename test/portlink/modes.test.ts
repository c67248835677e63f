import test from 'ava';
import { Box, group } from './support.ts';

test('dryRun says what it would do, with its states, and does nothing', (t) => {
  const box = Box.running(group({ dryRun: true }));
  box.carrier('A0', false);
  box.run(60_000);
  box.carrier('A0', true);
  box.run(5000);
  t.deepEqual(box.said(), [
    'dry shut A1,A2,A3,A4',
    'up>shut',
    'shut>recovering',
    'dry open A1,A2,A3,A4',
    'recovering>up',
  ]);
  t.deepEqual(box.shutPorts, []);
  t.deepEqual(box.machine.memory().ports, []);
});

test('a group that is disabled, removed, or made dryRun while shut gives its ports back at once', (t) => {
  const rows = [
    { groups: [group({ enabled: false })], state: 'disabled' },
    { groups: [], state: undefined },
    { groups: [group({ dryRun: true })], state: 'shut' },
  ];
  for (const { groups, state } of rows) {
    const box = Box.running(group());
    box.carrier('A0', false);
    box.send({ type: 'configure', groups });
    t.deepEqual(box.said('open'), ['open A1,A2,A3,A4']);
    t.is(box.machine.view('fabric')?.state, state as never);
    box.run(60_000);
    t.deepEqual(box.shutPorts, []);
  }
});

test('a disabled group does nothing; enabling it acts on what holds', (t) => {
  const box = Box.running(group({ enabled: false }));
  box.carrier('A0', false);
  box.run(60_000);
  t.deepEqual(box.said(), []);
  box.send({ type: 'configure', groups: [group()] });
  t.deepEqual(box.said('shut'), ['shut A1,A2,A3,A4']);
});

test('configure while shut: a port that joins is shut, one that leaves is opened, one that moves goes with its group', (t) => {
  const box = Box.running(group({ downlinks: ['A1', 'A2', 'A3'] }));
  box.ports.set('A4', { adminUp: true, carrier: true });
  box.show('A4');
  box.carrier('A0', false);
  box.send({
    type: 'configure',
    groups: [
      group({ downlinks: ['A1', 'A4'] }),
      group({ name: 'other', uplinks: ['A0'], downlinks: ['A3'], recoveryDelay: 1000 }),
    ],
  });
  t.deepEqual(box.said('shut', 'open'), ['shut A1,A2,A3', 'open A2', 'shut A4']);
  box.carrier('A0', true);
  box.run(1000);
  t.deepEqual(box.shutPorts, ['A1', 'A4']);
  box.run(4000);
  t.deepEqual(box.shutPorts, []);
});

test('blind freezes: alarm, no shut, no open; afterwards recovery counts anew and a loss acts', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  box.carrier('A0', true);
  box.run(4000);
  box.send({ type: 'blind', blind: true, reason: 'netlink overflow, reading again' });
  t.deepEqual(box.said('alarm'), ['alarm frozen: netlink overflow, reading again']);
  t.regex(box.group().reason, /^frozen/);
  box.run(60_000);
  t.deepEqual(box.said('open'), []);
  box.send({ type: 'blind', blind: false, reason: '' });
  box.run(4999);
  t.deepEqual(box.said('open'), []);
  box.run(1);
  t.deepEqual(box.said('open'), ['open A1,A2,A3,A4']);
  box.send({ type: 'blind', blind: true, reason: 'again' });
  box.carrier('A0', false);
  box.run(1000);
  t.is(box.said('shut').length, 1);
  box.send({ type: 'blind', blind: false, reason: '' });
  t.is(box.said('shut').length, 2);
});

test('R4.4 direction downlink: the last downlink lost withdraws, uplinks are left alone', (t) => {
  const box = Box.running(group({ direction: 'downlink', downlinks: ['A1', 'A2'] }));
  box.carrier('A0', false);
  box.carrier('A0', true);
  box.carrier('A1', false);
  t.deepEqual(box.said(), []);
  box.carrier('A2', false);
  t.deepEqual(box.said(), ['withdraw A1,A2', 'up>shut']);
  box.run(60_000);
  box.carrier('A2', true);
  t.deepEqual(box.said('state'), ['up>shut', 'shut>up']);
  t.deepEqual(box.shutPorts, []);
});

test('R4.4 direction downlink with shutUplinks: uplinks are shut, except those that another group needs, and come back', (t) => {
  const box = Box.running(
    group({ direction: 'downlink', uplinks: ['A0', 'A9'], downlinks: ['A1', 'A2'], shutUplinks: true }),
    group({ name: 'other', uplinks: ['A9'], downlinks: ['A3'] }),
  );
  box.carrier('A1', false);
  box.carrier('A2', false);
  t.deepEqual(box.said(), ['withdraw A1,A2', 'shut A0', 'up>shut']);
  box.carrier('A1', true);
  t.is(box.group().state, 'recovering');
  box.run(5000);
  t.deepEqual(box.said('open'), ['open A0']);
  t.is(box.group().state, 'up');
});

test('R4.4 direction both: each loss acts, and neither takes its own doing for a loss', (t) => {
  const box = Box.running(group({ direction: 'both', shutUplinks: true, downlinks: ['A1', 'A2'] }));
  box.carrier('A0', false);
  t.deepEqual(box.said('withdraw', 'shut', 'open'), ['withdraw A1,A2', 'shut A1,A2']);
  box.run(60_000);
  box.carrier('A0', true);
  // The servers' links take two seconds to come up after the opening.
  for (const port of ['A1', 'A2']) box.ports.get(port)!.carrier = false;
  box.run(5000);
  t.deepEqual(box.said('open'), ['open A1,A2']);
  box.run(2000);
  for (const port of ['A1', 'A2']) box.carrier(port, true);
  box.run(60_000);
  t.is(box.said('shut').length, 1);
  box.log.length = 0;
  box.carrier('A1', false);
  box.carrier('A2', false);
  t.deepEqual(box.said('withdraw', 'shut'), ['withdraw A1,A2', 'shut A0']);
  box.run(60_000);
  t.is(box.said('shut').length, 1);
  box.carrier('A1', true);
  box.ports.get('A0')!.carrier = false;
  box.run(5000);
  t.deepEqual(box.said('open'), ['open A0']);
  box.run(3000);
  box.carrier('A0', true);
  box.run(60_000);
  t.deepEqual(box.shutPorts, []);
  t.is(box.said('shut').length, 1);
  t.is(box.group().state, 'up');
});

test('an idle machine asks for no tick', (t) => {
  const box = Box.running(group());
  t.is(box.machine.nextDeadline(), undefined);
  box.carrier('A0', false);
  box.run(60_000);
  t.is(box.machine.nextDeadline(), undefined);
});

test('blind while part of a group waits to reopen: that recovery counts anew too', (t) => {
  const box = Box.running(group({ uplinks: ['A0', 'A9'], minUplinks: 2, shut: { count: 1 } }));
  box.send({ type: 'blind', blind: true, reason: 'resync' });
  box.carrier('A0', false);
  box.carrier('A9', false);
  box.send({ type: 'blind', blind: false, reason: '' });
  box.carrier('A0', true);
  box.run(4000);
  box.send({ type: 'blind', blind: true, reason: 'resync' });
  box.send({ type: 'blind', blind: false, reason: '' });
  box.run(4999);
  t.deepEqual(box.said('open'), []);
  box.run(1);
  t.deepEqual(box.said('open'), ['open A2,A3,A4']);
});
