/** Traffic stays where it is for a moment, while a neighbour who has only just come may still be remembered for what it was. */
import test from 'ava';
import { Calm } from '../../src/agent/gateway/calm.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import type { LearnedRoute } from '../../src/model/hosts.ts';
import { VirtualClock } from '../simulation/clock.ts';

const A = '192.0.2.2' as Address;
const B = '198.51.100.2' as Address;
const PREFIX = '10.10.10.2/32' as Prefix;
const route = (nextHops: readonly Address[], backup: readonly Address[] = []): LearnedRoute => ({
  prefix: PREFIX,
  metric: 20,
  nextHops: nextHops.map((via) => ({ via })),
  backup: backup.map((via) => ({ via })),
});

function scene() {
  const clock = new VirtualClock();
  let given: readonly string[] = [];
  const calm = new Calm(clock, (routes) => {
    for (const { nextHops } of routes) given = nextHops.map(({ via }) => via);
  });
  const pass = (ms: number) => {
    const end = clock.now() + ms;
    while (clock.step(end));
  };
  return { calm, pass, given: () => given, clock };
}

test('R4.7 what a switch said before it died is not followed when it is back; it takes it back in a moment', (t) => {
  const { calm, pass, given } = scene();
  calm.update([route([B])]);
  calm.came(A);
  calm.update([route([A, B])]);
  t.deepEqual(given(), [B]);
  calm.update([route([A], [B])]);
  t.deepEqual(given(), [B]);
  pass(30);
  calm.update([route([B])]);
  t.deepEqual(given(), [B]);
  pass(500);
  t.deepEqual(given(), [B]);
});

test('what it goes on saying is followed after that moment, and what is wanted is never hidden from who reconciles', (t) => {
  const { calm, pass, given, clock } = scene();
  calm.update([route([B])]);
  calm.came(A);
  calm.update([route([A], [B])]);
  t.deepEqual([...calm.wanted()], [route([A], [B])]);
  pass(199);
  t.deepEqual(given(), [B]);
  pass(1);
  t.deepEqual(given(), [A]);
  t.is(clock.pending, 0);
});

test('where there is no way, or the old one is gone, nothing is held back', (t) => {
  const { calm, given } = scene();
  calm.came(A);
  calm.update([route([A], [B])]);
  t.deepEqual(given(), [A], 'nobody had a way before');
  calm.came(B);
  calm.update([route([B])]);
  t.deepEqual(given(), [B], 'A does not say it any more');
  calm.update([route([])]);
  t.deepEqual(given(), []);
  t.deepEqual([...calm.wanted()], []);
});
