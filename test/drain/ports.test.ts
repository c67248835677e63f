import test from 'ava';
import { DRAIN } from '../../src/portlink/index.ts';
import { Box, group } from '../portlink/support.ts';

const drain = (...ports: string[]) => ({ type: 'drain', ports, reason: 'drained' }) as const;
const undrain = (...ports: string[]) => ({ type: 'undrain', ports }) as const;

test('R4.4 R4.7 a drained port is shut without a withdrawal, remembered as such, and no loss to its group', (t) => {
  const box = Box.running(group());
  box.send(drain('A2'));
  t.deepEqual(box.said(), ['shut A2']);
  t.is(box.group().state, 'up');
  t.deepEqual(
    box
      .group()
      .downlinks.filter(({ drained }) => drained)
      .map(({ port }) => port),
    ['A2'],
  );
  t.is(box.machine.keeperOf('A2'), DRAIN);
  box.run(60_000);
  t.deepEqual(box.shutPorts, ['A2']);
  box.send(undrain('A2'));
  t.deepEqual(box.shutPorts, []);
  t.deepEqual(box.machine.memory().ports, []);
});

test('R4.6 an uplink that is lost and comes back meanwhile: the group shuts and opens the others only', (t) => {
  const box = Box.running(group());
  box.send(drain('A1', 'A2'));
  box.carrier('A0', false);
  t.deepEqual(box.said('withdraw', 'shut').slice(1), ['withdraw A3,A4', 'shut A3,A4']);
  box.carrier('A0', true);
  box.run(60_000);
  t.deepEqual(box.shutPorts, ['A1', 'A2']);
  t.is(box.group().state, 'up');
});

test('R4.6 released while the group stands on a loss: the port stays shut, and opens with the group', (t) => {
  const box = Box.running(group());
  box.send(drain('A1'));
  box.carrier('A0', false);
  box.send(undrain('A1'));
  t.is(box.machine.keeperOf('A1'), 'fabric');
  t.deepEqual(box.shutPorts, ['A1', 'A2', 'A3', 'A4']);
  box.carrier('A0', true);
  box.run(60_000);
  t.deepEqual(box.shutPorts, []);
});

test('drained while the group has it shut: recovery leaves it shut', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  box.send(drain('A1'));
  box.carrier('A0', true);
  box.run(60_000);
  t.deepEqual(box.shutPorts, ['A1']);
});

test('a hold opens no drained port, and its release neither', (t) => {
  const box = Box.running(group());
  box.send(drain('A1'));
  box.send({ type: 'hold', group: 'fabric', state: 'open' });
  t.deepEqual(box.shutPorts, ['A1']);
  box.send({ type: 'release', group: 'fabric' });
  box.run(60_000);
  t.deepEqual(box.shutPorts, ['A1']);
});

test('all downlinks drained are no reason to shut the uplinks', (t) => {
  const box = Box.running(group({ direction: 'both', shutUplinks: true }));
  box.send(drain('A1', 'A2', 'A3', 'A4'));
  box.run(60_000);
  t.deepEqual(box.shutPorts, ['A1', 'A2', 'A3', 'A4']);
  t.is(box.group().state, 'up');
});

test('R4.7 over a restart, and over a group that is removed or renamed, a drained port stays shut', (t) => {
  const before = Box.running(group());
  before.send(drain('A1', 'A2'));
  const box = before.restart(before.machine.memory(), group({ name: 'other', downlinks: ['A1'] }));
  box.upstream(true);
  box.run(60_000);
  t.deepEqual(box.shutPorts, ['A1', 'A2']);
  box.send({ type: 'configure', groups: [] });
  box.run(60_000);
  t.deepEqual(box.shutPorts, ['A1', 'A2']);
  box.send(undrain('A1', 'A2'));
  t.deepEqual(box.shutPorts, []);
});

test('opened by somebody else, or refused: the drain is told which', (t) => {
  const box = Box.running(group());
  box.send(drain('A1'));
  box.run(1_000);
  box.admin('A1', true);
  const told = box.log.findLast(({ effect }) => effect.type === 'alarm' && effect.group === DRAIN)!.effect;
  t.like(told, { ports: ['A1'] });
  t.is(box.machine.keeperOf('A1'), undefined);
  box.log.length = 0;
  box.refuse = 'shut';
  box.send(drain('A2'));
  const refused = box.log.find(({ effect }) => effect.type === 'alarm' && effect.group === DRAIN)!.effect;
  t.like(refused, { ports: ['A2'] });
});
