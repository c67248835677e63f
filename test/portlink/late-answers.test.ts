/** Drivers that answer late (SONiC, by way of Redis): a shutting may come true after all that was asked later. */
import test from 'ava';
import { PortLinkGroups } from '../../src/portlink/index.ts';
import { group } from './support.ts';

/** The uplink is lost, and nobody has answered the shutting of A1 yet; it is held open, which is refused. */
function bench() {
  const groups = new PortLinkGroups([group({ downlinks: ['A1'], startupDelay: 0 })], 0);
  let now = 60_000;
  const port = (name: string, up: boolean) => ({ type: 'port', port: name, adminUp: up, carrier: up }) as const;
  const run = (duration: number) => {
    const end = now + duration;
    const effects = [];
    for (let due = groups.nextDeadline(); due !== undefined && due <= end; due = groups.nextDeadline()) {
      now = Math.max(now, due);
      effects.push(...groups.handle({ type: 'tick' }, now));
    }
    now = end;
    return effects;
  };
  const handle = (...events: Parameters<PortLinkGroups['handle']>[0][]) =>
    groups.handle(events.flat(), now).map(({ type }) => type);
  handle(port('A0', true), port('A1', true), { type: 'upstream', ready: true, reason: '' });
  run(60_000);
  handle(port('A0', false));
  handle({ type: 'blind', blind: true, reason: 'Redis is gone' });
  handle({ type: 'hold', group: 'fabric', state: 'open' });
  handle({ type: 'openFailed', ports: ['A1'], reason: 'Redis is gone' });
  return { groups, run, handle, port };
}

test('R4.7 a refused opening is no proof that a port is open while its shutting may still come: it stays ours', (t) => {
  const { groups, run, handle, port } = bench();
  t.deepEqual(
    run(1_500).map(({ type }) => type),
    ['open'],
    'asked again',
  );
  handle({ type: 'openFailed', ports: ['A1'], reason: 'Redis is gone' });
  handle({ type: 'release', group: 'fabric' });
  run(5_000);
  handle(port('A1', true));
  t.is(groups.keeperOf('A1'), 'fabric');
  handle(port('A1', false), { type: 'shutDone', ports: ['A1'] }, { type: 'blind', blind: false, reason: '' });
  run(5_000);
  t.is(groups.keeperOf('A1'), 'fabric');
  handle(port('A0', true));
  t.true(run(10_000).some((effect) => effect.type === 'open' && effect.ports.includes('A1')));
});

test('when the shutting is refused in the end, the port is nobody’s, and shut anew for the loss that goes on', (t) => {
  const { groups, run, handle, port } = bench();
  run(900);
  handle({ type: 'release', group: 'fabric' });
  run(5_000);
  handle(port('A1', true), { type: 'blind', blind: false, reason: '' });
  handle({ type: 'shutFailed', ports: ['A1'], reason: 'the demand was lost' });
  t.true(run(1_500).some((effect) => effect.type === 'shut' && effect.ports.includes('A1')));
  t.is(groups.keeperOf('A1'), 'fabric');
});

test('somebody who opens the port after the answer is noticed', (t) => {
  const { groups, run, handle, port } = bench();
  run(900);
  handle({ type: 'release', group: 'fabric' });
  handle(port('A1', false), { type: 'shutDone', ports: ['A1'] }, { type: 'blind', blind: false, reason: '' });
  run(5_000);
  t.true(handle(port('A1', true)).includes('alarm'));
  t.is(groups.keeperOf('A1'), undefined);
});
