import test from 'ava';
import { Box, group } from './support.ts';

const shutPorts = (box: Box) => [...box.ports].filter(([, { adminUp }]) => !adminUp).map(([name]) => name);

test('R4.4 a spared port is not shut with its group, by uplinks or by hand', (t) => {
  const box = Box.running(group({ spared: ['A2'] }));
  box.carrier('A0', false);
  t.deepEqual(shutPorts(box), ['A1', 'A3', 'A4']);
  box.carrier('A0', true);
  box.run(60_000);
  t.deepEqual(shutPorts(box), []);
  box.send({ type: 'hold', group: 'fabric', state: 'shut' });
  t.deepEqual(shutPorts(box), ['A1', 'A3', 'A4']);
});

test('R4.4 a port that becomes spared is opened, and shut when it is not any more', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  t.is(shutPorts(box).length, 4);
  box.run(60_000);
  box.send({ type: 'configure', groups: [group({ spared: ['A2'] })] });
  t.deepEqual(shutPorts(box), ['A1', 'A3', 'A4']);
  box.run(60_000);
  t.deepEqual(shutPorts(box), ['A1', 'A3', 'A4']);
  box.send({ type: 'configure', groups: [group()] });
  t.is(shutPorts(box).length, 4);
});
