import test from 'ava';
import { BOUNCE } from '../../src/portlink/index.ts';
import { Box, group } from './support.ts';

const bounce = (...ports: string[]) => ({ type: 'bounce', ports, reason: 'A2 is back' }) as const;

test('R4.7 a bounced port is shut, opened when the kernel has shut it, and no loss to its group', (t) => {
  const box = Box.running(group({ direction: 'both', downlinks: ['A2'], shutUplinks: true }));
  box.send(bounce('A2'));
  t.deepEqual(box.said(), ['shut A2', 'open A2']);
  t.deepEqual(box.machine.memory().ports, []);
  t.is(box.group().state, 'up');
});

/** As the kernel works: the request is out, and not answered. */
function requested(...overrides: Parameters<typeof group>): Box {
  const box = Box.running(group(...overrides));
  const effects = box.machine.handle(bounce('A2'), box.now);
  for (const effect of effects) box.log.push({ at: box.now, effect });
  return box;
}

test('R4.7 it is remembered as shut by us, and nobody opens it, until the kernel has answered', (t) => {
  const box = requested();
  box.send({ type: 'tick' });
  t.deepEqual(box.said(), ['shut A2']);
  t.is(box.machine.keeperOf('A2'), BOUNCE);
  t.deepEqual(
    box.machine.memory().ports.map(({ port, group: keeper, reason }) => ({ port, keeper, reason })),
    [{ port: 'A2', keeper: BOUNCE, reason: 'A2 is back' }],
  );
  box.admin('A2', false);
  t.deepEqual(box.said('open'), []);
  box.send({ type: 'shutDone', ports: ['A2'] });
  t.deepEqual(box.said('open'), ['open A2']);
});

test('R4.7 while it is being opened, its being down is no loss of the last downlink', (t) => {
  const box = requested({ direction: 'both', downlinks: ['A2'], shutUplinks: true, deferDelay: 0 });
  const answer = (event: Parameters<typeof box.machine.handle>[0]): void => {
    for (const effect of box.machine.handle(event, box.now)) box.log.push({ at: box.now, effect });
  };
  answer({ type: 'port', port: 'A2', adminUp: false, carrier: false });
  answer({ type: 'shutDone', ports: ['A2'] });
  t.is(box.machine.openerOf('A2'), BOUNCE);
  t.is(box.machine.memory().ports.length, 1, 'a crash now leaves it shut: it is remembered until it is open');
  box.run(4_000);
  t.deepEqual(box.said('withdraw', 'state'), []);
  answer({ type: 'openDone', ports: ['A2'] });
  answer({ type: 'port', port: 'A2', adminUp: true, carrier: true });
  box.run(60_000);
  t.deepEqual(box.said(), ['shut A2', 'open A2']);
});

test('R4.6 a group that loses its uplink meanwhile keeps it shut', (t) => {
  const box = requested();
  box.carrier('A0', false);
  box.admin('A2', false);
  box.send({ type: 'shutDone', ports: ['A2'] });
  t.is(box.machine.keeperOf('A2'), 'fabric');
  t.true(box.shutPorts.includes('A2'));
  box.carrier('A0', true);
  box.run(60_000);
  t.deepEqual(box.shutPorts, []);
});

test('R4.7 what an earlier life left shut so is opened', (t) => {
  const box = requested();
  box.admin('A2', false);
  const next = box.restart(box.machine.memory(), group());
  next.run(60_000);
  t.deepEqual(next.shutPorts, []);
});

test('R4.7 an opening that the kernel refuses is asked for again, with an alarm', (t) => {
  const box = Box.running(group());
  box.refuse = 'open';
  box.send(bounce('A2'));
  t.deepEqual(box.said('alarm'), ['alarm opening A2 failed: EBUSY', 'alarm opening A2 failed: EBUSY']);
  box.refuse = undefined;
  box.run(2_000);
  t.deepEqual(box.shutPorts, []);
  t.deepEqual(box.machine.memory().ports, []);
});

for (const [why, config] of [
  ['only pretends', { dryRun: true }],
  ['an operator is logged in through it', { spared: ['A2'] }],
] as const) {
  test(`a port is not bounced where its group ${why}`, (t) => {
    const box = Box.running(group(config));
    box.send(bounce('A2'));
    t.deepEqual(box.said(), []);
  });
}

test('a port is not bounced that an operator holds open, that he has shut, or that is drained', (t) => {
  const box = Box.running(group());
  box.send({ type: 'hold', group: 'fabric', state: 'open' });
  box.send(bounce('A2'));
  box.send({ type: 'release', group: 'fabric' });
  box.admin('A3', false);
  box.send({ type: 'drain', ports: ['A4'], reason: 'drained' });
  box.send(bounce('A3', 'A4'));
  t.deepEqual(box.said('shut', 'open'), ['shut A4']);
});
