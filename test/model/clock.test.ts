import test from 'ava';
import { systemClock } from '../../src/model/clock.ts';

test('a deadline farther away than 31 bits of milliseconds does not fire at once', async (t) => {
  const fired: string[] = [];
  const timers = [
    systemClock.schedule(systemClock.now() + 40 * 86_400_000, () => fired.push('40 days')),
    systemClock.schedule(Number.POSITIVE_INFINITY, () => fired.push('never')),
  ];
  await new Promise<void>((resolve) => systemClock.schedule(systemClock.now() + 30, resolve));
  t.deepEqual(fired, []);
  for (const timer of timers) timer.cancel();
});

test('a deadline in the past fires in a turn of its own', async (t) => {
  let fired = false;
  const done = new Promise<void>((resolve) =>
    systemClock.schedule(systemClock.now() - 5, () => {
      fired = true;
      resolve();
    }),
  );
  t.false(fired);
  await done;
  t.true(fired);
});
