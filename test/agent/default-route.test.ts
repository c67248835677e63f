import test from 'ava';
import { type DefaultRouteState, DefaultRoutes, RELEARN_WAIT } from '../../src/agent/tor/fabric/default-route.ts';
import { VirtualClock } from '../simulation/clock.ts';

function pass(clock: VirtualClock, ms: number): void {
  const end = clock.now() + ms;
  while (clock.step(end));
}

function bench() {
  const clock = new VirtualClock();
  const now = { state: 'here' as DefaultRouteState, learning: undefined as string | undefined, asked: 0 };
  const routes = new DefaultRoutes({
    clock,
    state: () => now.state,
    learning: () => now.learning,
    onChange: () => {
      now.asked++;
      routes.readiness('A0');
    },
  });
  return { clock, now, routes, ready: () => routes.readiness('A0').ready };
}

test('R4.4 upWhen default-route: a route that is absent for no reason is absent at once', (t) => {
  const { now, routes } = bench();
  t.deepEqual(routes.readiness('A0'), { ready: true, reason: 'a default route through it is installed' });
  now.state = 'absent';
  t.deepEqual(routes.readiness('A0'), { ready: false, reason: 'no default route through it is installed' });
  now.learning = 'BGP neighbour 192.0.2.1 restarts gracefully';
  t.false(routes.readiness('A0').ready, 'an excuse that comes afterwards excuses nothing');
});

test('R4.4 upWhen default-route: a route that is rewritten in the kernel is not lost', (t) => {
  const { now, ready, routes } = bench();
  t.true(ready());
  now.state = 'coming';
  t.deepEqual(routes.readiness('A0'), {
    ready: true,
    reason: 'the default route through it is learned anew: it is on its way into the kernel',
  });
  now.state = 'here';
  t.true(ready());
});

test('R4.4 upWhen default-route: a session that is made anew is given its time, and no more', (t) => {
  const { clock, now, ready, routes } = bench();
  t.true(ready());
  now.state = 'absent';
  now.learning = 'BGP neighbour 192.0.2.1 was reset by a reload';
  t.true(ready());
  pass(clock, RELEARN_WAIT / 2);
  t.true(ready());
  t.true(now.asked > 5, 'looked after meanwhile');
  now.learning = 'BGP neighbour 192.0.2.1 is telling its routes';
  pass(clock, RELEARN_WAIT / 2);
  t.false(ready());
  const { asked } = now;
  pass(clock, 60_000);
  t.is(now.asked, asked, 'and then left alone');
  routes.close();
});

test('R4.4 upWhen default-route: the session is back and has told all: what is absent now is absent', (t) => {
  const { clock, now, ready } = bench();
  t.true(ready());
  now.state = 'absent';
  now.learning = 'BGP neighbour 192.0.2.1 is telling its routes';
  t.true(ready());
  pass(clock, 500);
  now.learning = undefined;
  t.false(ready());
});

test('R4.4 upWhen default-route: a lost link excuses nothing', (t) => {
  const { now, ready, routes } = bench();
  t.true(ready());
  routes.linkLost('A0');
  now.state = 'coming';
  now.learning = 'BGP neighbour 192.0.2.1 restarts gracefully';
  t.false(ready());
});

test('R4.4 upWhen default-route: a route that never was is not there because it might come', (t) => {
  const { now, ready } = bench();
  now.state = 'coming';
  t.false(ready());
});
