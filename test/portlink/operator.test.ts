import test from 'ava';
import { Box, group } from './support.ts';

test('a port that an operator shut before is neither shut nor ever opened by us', (t) => {
  const box = Box.running(group());
  box.admin('A2', false);
  box.carrier('A0', false);
  t.deepEqual(box.said('shut'), ['shut A1,A3,A4']);
  box.carrier('A0', true);
  box.run(60_000);
  t.deepEqual(box.said('open'), ['open A1,A3,A4']);
  t.deepEqual(box.shutPorts, ['A2']);
});

test('a port that an operator opens while we have it shut is noted and left to them until the group was up again', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  box.run(10_000);
  box.admin('A2', true);
  t.deepEqual(box.said('alarm'), ['alarm A2 was opened by somebody else while the group had it shut']);
  box.run(60_000);
  box.admin('A2', false);
  box.admin('A2', true);
  t.is(box.said('shut').length, 1);
  box.carrier('A0', true);
  box.run(5000);
  t.deepEqual(box.said('open'), ['open A1,A3,A4']);
  box.carrier('A0', false);
  t.deepEqual(box.said('shut'), ['shut A1,A2,A3,A4', 'shut A1,A2,A3,A4']);
});

test('a port that an operator opened is the group’s again when the configuration gives it to the group anew', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  box.run(10_000);
  box.admin('A2', true);
  box.send({ type: 'configure', groups: [group({ recoveryDelay: 1000 })] });
  t.is(box.said('shut').length, 1, 'another change does not take it from them');
  box.send({ type: 'configure', groups: [group({ downlinks: ['A1', 'A3', 'A4'] })] });
  t.is(box.said('shut').length, 1);
  box.send({ type: 'configure', groups: [group()] });
  t.deepEqual(box.said('shut'), ['shut A1,A2,A3,A4', 'shut A2']);
});

test('an operator who opens a port at once after our shut is noticed when the dust has settled', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  box.admin('A2', true);
  t.deepEqual(box.said('alarm'), []);
  box.run(500);
  t.is(box.said('alarm').length, 1);
  t.is(box.said('shut').length, 1);
});

test('an operator who shuts a port right after our opening keeps it shut', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  box.carrier('A0', true);
  box.run(5000);
  box.admin('A3', false);
  box.run(60_000);
  t.deepEqual(box.shutPorts, ['A3']);
  t.is(box.said('open').length, 1);
});

test('hold shut shuts at once, whatever the uplinks say; release opens again once all is well', (t) => {
  const box = Box.running(group({ deferDelay: 9000 }));
  box.send({ type: 'hold', group: 'fabric', state: 'shut' });
  t.deepEqual(box.said(), ['withdraw A1,A2,A3,A4', 'shut A1,A2,A3,A4', 'up>held']);
  t.is(box.group().held, 'shut');
  box.carrier('A0', false);
  box.carrier('A0', true);
  box.run(4000);
  box.send({ type: 'release', group: 'fabric' });
  t.is(box.group().state, 'recovering');
  t.is(box.group().held, undefined);
  box.run(1000);
  t.deepEqual(box.shutPorts, []);
});

test('hold open opens what we shut at once and keeps it open; release acts on what holds then', (t) => {
  const box = Box.running(group());
  box.admin('A4', false);
  box.carrier('A0', false);
  box.send({ type: 'hold', group: 'fabric', state: 'open' });
  t.deepEqual(box.shutPorts, ['A4']);
  box.run(60_000);
  t.deepEqual(box.said('shut'), ['shut A1,A2,A3']);
  box.send({ type: 'release', group: 'fabric' });
  t.deepEqual(box.said('shut'), ['shut A1,A2,A3', 'shut A1,A2,A3']);
  t.is(box.group().state, 'shut');
});

test('release of hold shut lets a group without autoRecover come back', (t) => {
  const box = Box.running(group({ autoRecover: false }));
  box.send({ type: 'hold', group: 'fabric', state: 'shut' });
  box.send({ type: 'release', group: 'fabric' });
  t.deepEqual(box.shutPorts, []);
});

test('a hold outlives a restart', (t) => {
  const before = Box.running(group());
  before.send({ type: 'hold', group: 'fabric', state: 'shut' });
  const after = before.restart(before.machine.memory(), group());
  after.upstream(true);
  after.run(60_000);
  t.is(after.group().state, 'held');
  t.is(after.shutPorts.length, 4);
  after.send({ type: 'release', group: 'fabric' });
  t.deepEqual(after.shutPorts, []);
});

test('hold or release of an unknown group does nothing', (t) => {
  const box = Box.running(group());
  t.deepEqual(box.send({ type: 'hold', group: 'nobody', state: 'shut' }), []);
  t.deepEqual(box.send({ type: 'release', group: 'nobody' }), []);
});
