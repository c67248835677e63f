import test from 'ava';
import { EventLog, WallClock } from '../../src/agent/events.ts';
import { Drain, type DrainOptions } from '../../src/agent/tor/drain/drain.ts';
import type { Port } from '../../src/model/ports.ts';
import { DRAIN } from '../../src/portlink/index.ts';
import { VirtualClock } from '../hostroutes/clock.ts';

const silent = () => undefined;
const log = { debug: silent, info: silent, warn: silent, error: silent };

/** A1 was shut for a drain of which nothing is known any more. */
function bench() {
  const clock = new VirtualClock();
  const wall = new WallClock(clock, () => 0);
  const port: { -readonly [Key in keyof Port]?: Port[Key] } = { name: 'A1', adminUp: false, carrier: false };
  const asked: string[][] = [];
  const blocks: boolean[] = [];
  const state: { keeper: string | undefined; opener: string | undefined; ready: boolean; busy: boolean } = {
    keeper: DRAIN,
    opener: undefined,
    ready: true,
    busy: false,
  };
  const groups = {
    drain: silent,
    undrain: (ports: readonly string[]) => {
      asked.push([...ports]);
      if (!state.busy) state.keeper = undefined;
    },
    keeperOf: () => state.keeper,
    openerOf: () => state.opener,
  };
  const drain = new Drain({
    clock,
    wall,
    log,
    events: new EventLog(clock, wall, log),
    links: { port: () => port },
    hosts: {
      hosts: () => [],
      find: silent,
      leave: silent,
      left: silent,
      blockPorts: (_: readonly string[], blocked: boolean) => blocks.push(blocked),
    },
    groups,
    fabric: { leastPreferred: silent, readiness: () => ({ ready: state.ready, reason: '' }), tells: () => true },
    room: undefined,
    config: () => ({ hostRoutes: { policy: { ports: ['A1'] } }, portLink: [], stateDirectory: '/nowhere' }),
    surroundings: {},
  } as unknown as DrainOptions);
  return { clock, drain, asked, blocks, state, port };
}

test('R4.7 a port of a drain that is forgotten is opened when its servers find a way out', (t) => {
  const { clock, drain, asked, state } = bench();
  state.ready = false;
  drain.started();
  clock.advance(5_000);
  t.deepEqual(asked, []);
  state.ready = true;
  clock.advance(200);
  t.deepEqual(asked, [['A1']]);
  clock.advance(5_000);
  t.is(asked.length, 1);
});

test('R4.7 an opening that is refused is asked for again, until it has come to pass', (t) => {
  const { clock, drain, asked, state } = bench();
  drain.started();
  for (let refused = 0; refused < 3; refused++) {
    state.keeper = DRAIN;
    drain.trouble(['A1'], 'opening A1 failed: EBUSY');
    clock.advance(1_000);
  }
  t.true(asked.length >= 4);
  const { length } = asked;
  clock.advance(60_000);
  t.is(asked.length, length);
});

test('a shutting that comes after its drain was given up is undone', (t) => {
  const { clock, drain, asked, state, port } = bench();
  state.keeper = undefined;
  drain.started();
  const before = { ...port, adminUp: true } as Port;
  state.keeper = DRAIN;
  drain.portChanged({ name: 'A1', before, after: port as Port, at: clock.now() });
  t.deepEqual(asked, [['A1']]);
});

test('a port that is being drained is not opened for that', (t) => {
  const { clock, drain, asked, state, port } = bench();
  state.keeper = undefined;
  port.adminUp = true;
  drain.started();
  drain.drain({ ports: ['A1'], whole: false, pause: 0, timeout: 1_000, force: false });
  clock.advance(100);
  state.keeper = DRAIN;
  port.adminUp = false;
  drain.portChanged({ name: 'A1', before: { ...port, adminUp: true } as Port, after: port as Port, at: clock.now() });
  clock.advance(60_000);
  t.is(drain.view().phase, 'drained');
  t.deepEqual(asked, []);
  drain.close();
});

test('R4.7 an undrain of a port whose opening was refused a moment ago is carried out when the groups ask again', (t) => {
  const { clock, drain, asked, state, port } = bench();
  const order = { ports: ['A1'], whole: true, pause: 0, timeout: 1_000, force: false };
  const becomes = (up: boolean) => {
    const before = { ...port } as Port;
    port.adminUp = up;
    drain.portChanged({ name: 'A1', before, after: { ...port } as Port, at: clock.now() });
  };
  state.keeper = undefined;
  port.adminUp = true;
  drain.started();
  drain.drain(order);
  clock.advance(100);
  state.keeper = DRAIN;
  becomes(false);
  clock.advance(1_000);
  t.is(drain.view().phase, 'drained');
  state.busy = true;
  drain.undrain(order);
  clock.advance(600);
  const refused = asked.length;
  t.is(state.keeper, DRAIN);
  state.busy = false;
  clock.advance(200);
  t.is(asked.length, refused + 1);
  becomes(true);
  t.is(drain.view().phase, 'none');
  const { length } = asked;
  clock.advance(60_000);
  t.is(asked.length, length);
});

for (const keeper of [undefined, 'fabric'])
  test(`a drained port that somebody opens is free for its servers, but not when ${keeper} has shut it in the same turn`, (t) => {
    const { clock, drain, blocks, state, port } = bench();
    state.keeper = undefined;
    port.adminUp = true;
    drain.started();
    drain.drain({ ports: ['A1'], whole: false, pause: 0, timeout: 1_000, force: false });
    clock.advance(100);
    state.keeper = DRAIN;
    port.adminUp = false;
    drain.portChanged({ name: 'A1', before: undefined, after: { ...port } as Port, at: clock.now() });
    clock.advance(1_000);
    blocks.length = 0;
    port.adminUp = true;
    state.keeper = keeper;
    drain.trouble(['A1'], 'A1 was opened by somebody else');
    t.deepEqual(blocks, keeper === undefined ? [false] : []);
    drain.close();
  });

test('a port that a group is about to open can be drained, one that somebody else has shut can not', (t) => {
  const { drain, state } = bench();
  state.keeper = undefined;
  t.deepEqual(drain.candidates(), []);
  state.opener = 'fabric';
  t.deepEqual(drain.candidates(), ['A1']);
});
