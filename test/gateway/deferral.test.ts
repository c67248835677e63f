/** R4.7: a gateway that comes back: its routes lead where they did until the neighbours behind them have been heard. */
import test from 'ava';
import { Deferral } from '../../src/agent/gateway/deferral.ts';
import { Router, type RouterOptions } from '../../src/agent/gateway/router.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import type { LearnedRoute } from '../../src/model/hosts.ts';
import { VirtualClock } from '../simulation/clock.ts';

const A = '192.0.2.2' as Address;
const B = '198.51.100.2' as Address;
const C = '203.0.113.2' as Address;
const PREFIX = '10.10.10.2/32' as Prefix;
const OTHER = '10.10.10.3/32' as Prefix;

const route = (nextHops: readonly Address[], backup: readonly Address[] = [], prefix = PREFIX): LearnedRoute => ({
  prefix,
  metric: 20,
  nextHops: nextHops.map((via) => ({ via })),
  ...(backup.length > 0 ? { backup: backup.map((via) => ({ via })) } : {}),
});

/** `10.10.10.2/32: A | B`: next hops, backup. */
const NAMES = new Map([
  [A, 'A'],
  [B, 'B'],
  [C, 'C'],
]);
const text = ({ nextHops, backup = [] }: LearnedRoute) =>
  [nextHops, backup].map((hops) => hops.map(({ via }) => NAMES.get(via)).join('+')).join('|');

function scene(...inherited: LearnedRoute[]) {
  const clock = new VirtualClock();
  const heard = new Set<Address>();
  const given: string[] = [];
  const kernel = new Map<Prefix, LearnedRoute>();
  const deferral = new Deferral({
    clock,
    heard: (via) => heard.has(via),
    give: (routes) => {
      for (const each of routes) {
        kernel.set(each.prefix, each);
        given.push(text(each));
      }
    },
  });
  deferral.begin(inherited);
  const pass = (ms: number) => {
    const end = clock.now() + ms;
    while (clock.step(end));
  };
  return { clock, deferral, heard, given, kernel, pass };
}

test('R4.7 who only stands by is back first: the host stays where it was until its own switch is heard', (t) => {
  const { clock, deferral, heard, given, kernel, pass } = scene(route([A]));
  deferral.update([route([B])]);
  t.deepEqual(given, ['A|B'], 'but he is there as its backup');
  t.deepEqual([...deferral.wanted(kernel.values())].map(text), ['B|'], 'what is wanted in the end is not hidden');
  pass(1_000);
  heard.add(B);
  pass(1_000);
  deferral.update([route([A], [B])]);
  heard.add(A);
  pass(60_000);
  t.deepEqual(given, ['A|B', 'A|B']);
  t.is(clock.pending, 0);
});

test('R4.7 a host that has moved meanwhile is followed as soon as its old switch has said all but that', (t) => {
  const { deferral, heard, given, pass } = scene(route([A]));
  deferral.update([route([B])]);
  heard.add(B);
  pass(500);
  t.deepEqual(given, ['A|B']);
  heard.add(A);
  pass(50);
  t.deepEqual(given, ['A|B', 'B|']);
  deferral.update([route([])]);
  t.deepEqual(given.slice(2), ['|'], 'and nothing is held any more');
});

test('R4.7 nor is it waited for an old switch that does not come back', (t) => {
  const { clock, deferral, heard, given, pass } = scene(route([A]), route([A], [], OTHER));
  deferral.update([route([B])]);
  heard.add(B);
  pass(4_999);
  t.deepEqual(given, ['A|B']);
  pass(1);
  t.deepEqual(given, ['A|B', 'B|'], 'what nobody says again is for who reconciles');
  t.is(clock.pending, 0);
});

test('R4.7 announced and withdrawn before the old switch is there: the route of before stays', (t) => {
  const { deferral, heard, given, kernel, pass } = scene(route([A]));
  deferral.update([route([B])]);
  deferral.update([route([])]);
  t.deepEqual(given, ['A|B', 'A|']);
  t.deepEqual([...deferral.wanted(kernel.values())], []);
  deferral.update([route([A])]);
  t.deepEqual(given.slice(2), ['A|']);
  deferral.update([route([])]);
  t.deepEqual(given.slice(3), ['|'], 'who has said it may take it back');
  heard.add(A);
  pass(1_000);
  t.is(given.length, 4);
});

test('R4.7 where nobody else has it, it is waited for a switch that does not come back until all is reconciled', (t) => {
  const { clock, deferral, given, kernel, pass } = scene(route([A]), route([A], [], OTHER));
  deferral.update([route([B]), route([B], [], OTHER)]);
  deferral.update([route([]), route([], [], OTHER)]);
  pass(29_000);
  t.deepEqual(given.slice(2), ['A|', 'A|']);
  deferral.update([route([B])]);
  pass(50);
  t.deepEqual(given.slice(4), ['A|B', 'B|']);
  t.deepEqual([...deferral.wanted(kernel.values())].map(text), ['B|']);
  deferral.close();
  deferral.update([route([])]);
  t.deepEqual(given.slice(6), ['|']);
  t.is(clock.pending, 0);
});

test('R4.7 what nobody comes to say again goes when it is known', (t) => {
  const { deferral, heard, given, pass } = scene(route([A]));
  deferral.update([route([B])]);
  deferral.update([route([])]);
  heard.add(A);
  pass(50);
  t.deepEqual(given, ['A|B', 'A|', '|']);
});

test('R4.7 one of several equal ways is enough; new hosts and other prefixes do not wait', (t) => {
  const { deferral, given } = scene(route([A, C]));
  deferral.update([route([B], [], OTHER), route([C], [B])]);
  t.deepEqual(given, ['B|', 'C|B']);
  deferral.update([route([B])]);
  t.deepEqual(given.slice(2), ['B|']);
});

test('R4.7 a switch that is heard to be worse now than another is left at once', (t) => {
  const { deferral, given } = scene(route([A]));
  deferral.update([route([B], [A])]);
  t.deepEqual(given, ['B|A']);
});

test('R4.7 a switch whose session is lost before it has said all is not waited for', (t) => {
  const { clock, deferral, given, pass } = scene(route([A]), route([C], [], OTHER));
  deferral.update([route([B]), route([B], [], OTHER)]);
  deferral.lost([A]);
  t.deepEqual(given, ['A|B', 'C|B', 'B|']);
  deferral.lost([C]);
  t.deepEqual(given.slice(3), ['B|']);
  pass(60_000);
  t.is(given.length, 4);
  t.is(clock.pending, 0);
});

test('R4.7 the routes of a router that comes back: what is written until both switches have said all', async (t) => {
  const clock = new VirtualClock();
  const written: string[] = [];
  const heard = new Set<Address>();
  const installer = {
    adopt: async () => [route([A]), route([A], [], OTHER)],
    update: (routes: readonly LearnedRoute[]) => void written.push(...routes.map(text)),
    switchOver: () => ({ messages: 0, refused: 0, routes: 0 }),
    close: () => {},
  };
  const options = {
    ...{ sources: ['bgp'], clock, kernel: { protocol: 201, table: 254 } },
    installer: () => installer,
    heardFrom: (source: string, via: Address) => source === 'bgp' && heard.has(via),
  } as unknown as RouterOptions;
  const router = new Router(options);
  t.is(await router.inherited('bgp'), 2);
  router.update('bgp', [route([B]), route([B], [], OTHER)]);
  t.deepEqual(written, ['A|B', 'A|B']);
  router.update('bgp', [route([A], [B])]);
  heard.add(A);
  while (clock.step(clock.now() + 100));
  t.deepEqual(written.slice(2), ['A|B', 'B|']);
  router.close();
  t.is(clock.pending, 0);

  heard.clear();
  const another = new Router(options);
  await another.inherited('bgp');
  written.length = 0;
  another.update('bgp', [route([B])]);
  another.sessionLost({ neighbor: A, nextHops: [], interface: undefined });
  t.deepEqual(written, ['A|B', 'B|']);
  another.close();
  t.is(clock.pending, 0);
});

test('R4.7 what is selected while the routes of before are reconciled is not held for ever', async (t) => {
  const clock = new VirtualClock();
  const written: string[] = [];
  const reconciled: string[] = [];
  const router: Router = new Router({
    ...{ sources: ['bgp'], clock, kernel: { protocol: 201, table: 254 } },
    installer: () => ({
      adopt: async () => [route([A])],
      update: (routes: readonly LearnedRoute[]) => void written.push(...routes.map(text)),
      reconcile: async (wanted: Iterable<LearnedRoute>) => {
        reconciled.push(...[...wanted].map(text));
        router.update('bgp', [route([B])]);
      },
      close: () => {},
    }),
    heard: () => true,
    heardFrom: () => false,
    onReconciled: () => reconciled.push('done'),
  } as unknown as RouterOptions);
  await router.inherited('bgp');
  router.start();
  const end = clock.now() + 1_000;
  while (reconciled.length === 0 && clock.step(end)) await new Promise(setImmediate);
  t.deepEqual(reconciled, ['done']);
  t.deepEqual(written, ['A|B', 'B|']);
  router.close();
  t.is(clock.pending, 0);
});

test('without an earlier life, or after the end, everything passes', (t) => {
  const { clock, deferral, given } = scene();
  deferral.update([route([B])]);
  t.deepEqual(given, ['B|']);
  t.is(clock.pending, 0);
  const ended = scene(route([A]));
  ended.deferral.close();
  ended.pass(10_000);
  t.deepEqual(ended.given, []);
  t.is(ended.clock.pending, 0);
});
