import test from 'ava';
import { EventLog, WallClock } from '../../src/agent/events.ts';
import { anyBlind, type BlindListener, Sight } from '../../src/agent/tor/sight.ts';
import { systemClock } from '../../src/model/clock.ts';

function source() {
  const listeners = new Set<BlindListener>();
  return {
    on: (listener: BlindListener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    say: (blind: boolean, reason: string) => {
      for (const listener of listeners) listener(blind, reason);
    },
    listeners,
  };
}

test('R4.4 of several sources of sight the loss of one is blindness, until all see again', (t) => {
  const kernel = source();
  const sonic = source();
  const told: [boolean, string][] = [];
  const end = anyBlind(kernel.on, sonic.on)((blind, reason) => told.push([blind, reason]));
  kernel.say(false, 'never was blind');
  kernel.say(true, 'overflow');
  sonic.say(true, 'Redis is gone');
  kernel.say(true, 'overflow again');
  kernel.say(false, 'read again');
  t.deepEqual(told, [[true, 'overflow']]);
  sonic.say(false, 'Redis is back');
  t.deepEqual(told, [
    [true, 'overflow'],
    [false, 'Redis is back'],
  ]);
  end();
  t.is(kernel.listeners.size + sonic.listeners.size, 0);
});

test('R4.4 blindness freezes the groups, and is an event, a counter and a warning', (t) => {
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  const events = new EventLog(systemClock, new WallClock(systemClock), quiet);
  const frozen: boolean[] = [];
  const sight = new Sight(events, (blind) => frozen.push(blind));
  t.deepEqual(sight.warnings(), []);
  sight.changed(true, 'the kernel dropped notifications');
  sight.changed(true, 'said twice');
  t.deepEqual(sight.counters(), { losses: 1, blind: 1 });
  t.regex(sight.warnings()[0]!, /port-link groups are frozen: the kernel dropped notifications/);
  sight.changed(false, 'read again');
  t.deepEqual(frozen, [true, false]);
  t.deepEqual(sight.counters(), { losses: 1, blind: 0 });
  t.deepEqual(sight.warnings(), []);
  t.deepEqual(
    events.since(0).map(({ type, severity }) => [type, severity]),
    [
      ['ports.blind', 'warning'],
      ['ports.seen', 'info'],
    ],
  );
});
