import test from 'ava';
import { EventLog, WallClock } from '../../src/agent/events.ts';
import { LastReload } from '../../src/agent/last-reload.ts';
import { VirtualClock } from '../hostroutes/clock.ts';

test('a file that was refused is warned of until one is taken', async (t) => {
  const clock = new VirtualClock();
  const silent = () => undefined;
  const events = new EventLog(clock, new WallClock(clock, () => 0), {
    debug: silent,
    info: silent,
    warn: silent,
    error: silent,
  });
  const reload = new LastReload(events);
  t.deepEqual(reload.warnings(), []);
  const refusal = new Error('a.yaml:3: "soon" is no time\na.yaml:9: no such key');
  await t.throwsAsync(
    reload.attempt(() => Promise.reject(refusal)),
    { is: refusal },
  );
  t.regex(reload.warnings().join(), /a\.yaml:3: "soon" is no time, and 1 more/);
  const [event, ...others] = events.since(0);
  t.is(others.length, 0);
  t.like(event, { type: 'config.refused', severity: 'warning' });
  t.is(await reload.attempt(async () => 7), 7);
  t.deepEqual(reload.warnings(), []);
});
