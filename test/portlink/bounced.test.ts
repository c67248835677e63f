import test from 'ava';
import { BOUNCE, type PortLinkEffect, type PortLinkEvent, PortLinkGroups } from '../../src/portlink/index.ts';
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
  t.like(
    box.group().downlinks.find(({ port }) => port === 'A2'),
    { adminUp: false, shutByUs: true },
    'still shut, and by us',
  );
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

/** Its next life: it has died while the port was shut, and the driver tells it all that it finds in one picture. */
function nextLife(hold?: 'shut') {
  const box = requested();
  const [port] = box.machine.memory().ports;
  const machine = new PortLinkGroups([group({ recoveryDelay: 0 })], 1_000);
  const events = [
    { type: 'restore', memory: { ports: [{ ...port!, since: 900 }], holds: hold ? { fabric: hold } : {} } },
    ...['A0', 'A1', 'A3', 'A4'].map((name) => ({ type: 'port', port: name, adminUp: true, carrier: true }) as const),
    { type: 'port', port: 'A2', adminUp: false, carrier: false },
  ] as const;
  const opened = (effects: readonly PortLinkEffect[]): string[] =>
    effects.flatMap((effect) => (effect.type === 'open' ? effect.ports : []));
  return { machine, opened, first: machine.handle(events, 1_000) };
}

test('R4.7 what an earlier life left shut so is opened', (t) => {
  const { machine, opened, first } = nextLife();
  t.deepEqual(opened(first), ['A2']);
  t.is(machine.memory().ports.length, 1, 'until it is open');
});

test('R4.6 one of a group that is held shut is kept by it, and not opened first', (t) => {
  const { machine, opened, first } = nextLife('shut');
  t.deepEqual(opened(first), []);
  t.is(machine.keeperOf('A2'), 'fabric');
});

test('R4.6 a group that acts in the turn in which the kernel has shut it keeps it, and it is not opened', (t) => {
  const box = requested({ deferDelay: 100 });
  box.machine.handle({ type: 'port', port: 'A0', adminUp: true, carrier: false }, box.now);
  const effects = box.machine.handle({ type: 'shutDone', ports: ['A2'] }, box.now + 100);
  t.deepEqual(
    effects.flatMap((effect) => (effect.type === 'open' ? effect.ports : [])),
    [],
  );
  t.is(box.machine.keeperOf('A2'), 'fabric');
});

test('R4.7 however long its opening takes, it is no loss of the last downlink until it has had time to come up', (t) => {
  const box = requested({ direction: 'both', downlinks: ['A2'], shutUplinks: true, deferDelay: 0 });
  const answer = (event: PortLinkEvent): void => {
    for (const effect of box.machine.handle(event, box.now)) box.log.push({ at: box.now, effect });
  };
  answer({ type: 'port', port: 'A2', adminUp: false, carrier: false });
  answer({ type: 'shutDone', ports: ['A2'] });
  box.run(9_000);
  answer({ type: 'openDone', ports: ['A2'] });
  answer({ type: 'port', port: 'A2', adminUp: true, carrier: false });
  box.run(4_900);
  t.deepEqual(box.said('withdraw', 'state'), []);
  box.run(200);
  t.deepEqual(box.said('withdraw'), ['withdraw A2'], 'it has not come up');
});

test('while nothing is known of the ports none is bounced', (t) => {
  const box = Box.running(group());
  box.send({ type: 'blind', blind: true, reason: 'lost' });
  box.send(bounce('A2'));
  t.deepEqual(box.said('shut'), []);
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

test('R4.6 a port that an operator has opened against its group is left to him', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  box.run(10_000);
  box.admin('A2', true);
  t.is(box.said('alarm').length, 1);
  box.send(bounce('A2'));
  t.false(box.shutPorts.includes('A2'));
  t.is(box.said('shut').length, 1);
});

test('R4.6 a group that shuts one port on a loss, and waits for an operator then, keeps no other', (t) => {
  const config = group({ uplinks: ['A0', 'A9'], minUplinks: 2, shut: { count: 1 }, autoRecover: false });
  const box = Box.running(config);
  box.carrier('A0', false);
  t.deepEqual(box.shutPorts, ['A1']);
  box.send(bounce('A3'));
  box.run(60_000);
  t.deepEqual(box.shutPorts, ['A1']);
  t.deepEqual(box.said('shut', 'open'), ['shut A1', 'shut A3', 'open A3']);
});
