/** What a gateway asks of the speaker: a default route of its own, backups, transit; and an observer, which asks nothing. */
import test from 'ava';
import fc from 'fast-check';
import type { Lsa } from 'node-ospf-lsa';
import type { LearnedRoute } from '../../src/model/hosts.ts';
import { RouteTable } from '../../src/ospf/machine/route-table.ts';
import { computeRoutes } from '../../src/ospf/machine/spf.ts';
import { keptBy, nextLife } from './lives.ts';
import { address, allFull, host, type Router, shadow, twoSwitches, Wire, World } from './simulation.ts';

const DEFAULT = '0.0.0.0/0';
const TO_A = '192.0.2.2';
const TO_B = '192.0.2.6';

/** A and B behind G, which is configured as it comes. */
function behind(gateway: Parameters<World['router']>[3], seed = 1) {
  const world = new World(seed);
  const wires = [new Wire('point-to-point'), new Wire('point-to-point')] as const;
  const end = (wire: Wire, text: string) => ({ wire, address: text, prefixLength: 30 });
  const g = world.router('G', '10.255.0.254', [end(wires[0], '192.0.2.1'), end(wires[1], '192.0.2.5')], gateway);
  const a = world.router('A', '10.255.0.1', [end(wires[0], TO_A)]);
  const b = world.router('B', '10.255.0.2', [end(wires[1], TO_B)]);
  for (const router of [g, a, b]) router.up();
  return { world, g, a, b };
}

const configure = (router: Router, settings: object): void => {
  const { interfaces, announce, prefixes } = router.machine.core.options;
  router.handle({ kind: 'configure', settings: { interfaces, announce, prefixes, ...settings } });
};

const way = (router: Router, prefix: string): string =>
  [router.routes.get(prefix)?.nextHops, router.routes.get(prefix)?.backup]
    .map((hops) => (hops ?? []).map(({ via }) => via).join('+'))
    .join(' | ');

test('R4.3 a gateway originates a default route, at its metric; a reload changes it and takes it back', (t) => {
  const { world, g, a, b } = behind({ originateDefault: { metric: 7, metricType: 2 } });
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  t.deepEqual(
    [a, b].map((router) => router.routes.get(DEFAULT)?.nextHops[0]?.via as string | undefined),
    ['192.0.2.1', '192.0.2.5'],
  );
  t.is(a.routes.get(DEFAULT)!.metric, 7);
  t.false(g.routes.has(DEFAULT), 'its own it does not learn');
  configure(g, { originateDefault: { metric: 9, metricType: 1 } });
  world.run(2000);
  t.is(a.routes.get(DEFAULT)!.metric, 19);
  configure(g, {});
  world.run(2000);
  t.false(a.routes.has(DEFAULT));
});

test('a default route survives the restart of its gateway unnoticed, and goes with its end', (t) => {
  const gateway = { originateDefault: { metric: 7, metricType: 2 } } as const;
  const { world, g, a, b } = behind(gateway);
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(5000);
  const kept = keptBy(g, world);
  g.crash();
  const seen = a.effects.length;
  world.run(500);
  const again = nextLife(world, g, kept, gateway);
  world.run(1000);
  again.handle({ kind: 'settled' });
  world.run(10_000);
  t.deepEqual(
    a.effects.slice(seen).filter(({ kind }) => kind === 'routes'),
    [],
  );
  again.handle({ kind: 'leave' });
  world.run(1500);
  t.false(a.routes.has(DEFAULT));
});

test('in an NSSA the default is of type 7', (t) => {
  const world = new World(3);
  const wire = new Wire('point-to-point');
  const announce = { as: 'nssa', metric: 20, metricType: 2 } as const;
  const ends = ['192.0.2.1', TO_A].map((each) => ({ wire, address: each, prefixLength: 30, area: '0.0.0.1' }));
  const originateDefault = { metric: 7, metricType: 2 } as const;
  const g = world.router('G', '10.255.0.254', [ends[0]!], { announce, originateDefault });
  const a = world.router('A', '10.255.0.1', [ends[1]!], { announce });
  for (const router of [g, a]) router.up();
  world.until('Full', () => allFull(g, a));
  world.run(2000);
  t.is(a.routes.get(DEFAULT)?.nextHops[0]?.via, address('192.0.2.1'));
});

test('an observer hears everything, announces no host and is nobody’s way', (t) => {
  const world = new World(5);
  const lan = new Wire('broadcast');
  const end = (text: string) => ({ wire: lan, address: text, prefixLength: 24, priority: 1 });
  const a = world.router('A', '10.255.0.1', [end('192.0.2.1')]);
  const b = world.router('B', '10.255.0.2', [end('192.0.2.2')]);
  const o = world.router('O', '10.255.0.250', [end('192.0.2.250')], { observer: true });
  for (const router of [o, a, b]) router.up();
  a.announce(host('10.10.10.1'));
  o.announce(host('10.10.10.9'));
  world.until('Full everywhere', () => allFull(a, b, o));
  world.run(8000);
  t.is(o.routes.get('10.10.10.1/32')?.nextHops[0]?.via, address('192.0.2.1'));
  t.false(a.routes.has('10.10.10.9/32'));
  t.is(o.machine.core.counters.get('hosts.observer'), 1);
  t.is([...o.machine.core.interfaces.values()][0]!.state, 'DR Other', 'never the Designated Router');
  const own = o.machine.core.areas.get(0)!.database.entries.get(`1/${o.id}/${o.id}`)!.lsa.body;
  t.deepEqual(own.kind === 'router' && [own.flags, own.links.map(({ metric }) => metric)], [0, [0xffff]]);
});

test('who becomes an observer takes its hosts back', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  t.true(g.routes.has('10.10.10.1/32'));
  configure(a, { observer: true });
  world.run(2000);
  t.false(g.routes.has('10.10.10.1/32'));
  a.announce(host('10.10.10.1'));
  world.run(2000);
  t.false(g.routes.has('10.10.10.1/32'));
});

test('a host with a second announcer comes with a backup, which is kept up to date by itself', (t) => {
  const { world, g, a, b } = behind({ backups: true });
  world.until('Full everywhere', () => allFull(g, a, b));
  a.announce(host('10.10.10.1'), host('10.10.10.2'));
  world.run(2000);
  t.is(way(g, '10.10.10.1/32'), `${TO_A} | `);
  const seen = g.effects.length;
  b.announce(shadow('10.10.10.1'));
  world.run(2000);
  t.is(way(g, '10.10.10.1/32'), `${TO_A} | ${TO_B}`);
  const changes = g.effects.slice(seen).flatMap((effect) => (effect.kind === 'routes' ? effect.changes : []));
  t.deepEqual(
    changes.map(({ prefix }) => prefix as string),
    ['10.10.10.1/32'],
  );
  a.withdraw('10.10.10.1');
  world.run(20);
  t.is(way(g, '10.10.10.1/32'), `${TO_B} | `);
  a.announce(host('10.10.10.1'));
  world.run(2000);
  b.withdraw('10.10.10.1');
  world.run(2000);
  t.is(way(g, '10.10.10.1/32'), `${TO_A} | `);
  t.is(way(g, '10.10.10.2/32'), `${TO_A} | `);
});

test('equal announcers are both next hops; the backup is beyond them, and shares none with them', (t) => {
  const { world, g, a, b } = behind({ backups: true });
  a.announce(host('10.10.10.1'));
  b.announce(host('10.10.10.1'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  t.is(way(g, '10.10.10.1/32'), `${TO_A}+${TO_B} | `);
  b.announce(host('10.10.10.1', 1));
  world.run(2000);
  t.is(way(g, '10.10.10.1/32'), `${TO_B} | ${TO_A}`);
});

test('without being asked for, there are no backups', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'));
  b.announce(shadow('10.10.10.1'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  t.deepEqual(Object.keys(g.routes.get('10.10.10.1/32')!).sort(), ['metric', 'nextHops', 'prefix']);
});

test('R4.7 a switch that is back from the dead: what it said before draws no traffic until it says it again', (t) => {
  for (const delay of [1, 20, 40]) {
    const { world, wireA, g, a, b } = twoSwitches();
    wireA.delay = delay;
    a.announce(host('10.10.10.1'));
    world.until('Full everywhere', () => allFull(g, a, b));
    world.run(3000);
    t.is(way(g, '10.10.10.1/32'), `${TO_A} | `);
    a.crash();
    world.run(6000);
    b.announce(host('10.10.10.1'));
    world.run(3000);
    const seen = g.effects.length;
    const again = nextLife(world, a, undefined);
    again.handle({ kind: 'settled' });
    again.up();
    world.until('Full again', () => allFull(g, again));
    world.run(3000);
    const changes = g.effects.slice(seen).flatMap((effect) => (effect.kind === 'routes' ? effect.changes : []));
    t.deepEqual(changes, []);
    again.announce(host('10.10.10.1', 1));
    world.until('it says it again', () => way(g, '10.10.10.1/32') === `${TO_A} | `);
  }
});

test('a neighbour that comes up keeps no loss of another waiting, and many that come up keep nobody', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'));
  world.until('A is Full', () => g.states()[0] === 'Full');
  world.run(3000);
  b.crash();
  world.run(6000);
  const again = nextLife(world, b, undefined);
  again.up();
  world.until('B is Full again', () => g.states().includes('Full') && g.states().length === 2 && allFull(g));
  const full = world.now;
  g.down(0);
  world.until('A is gone', () => !g.routes.has('10.10.10.1/32'));
  t.true(world.now - full <= 15, `${world.now - full} ms`);
});

test('R4.5 one withdrawal among thousands: no route but its own is computed', (t) => {
  const { world, g, a, b } = behind({ backups: true });
  const hosts = Array.from({ length: 2000 }, (_, index) => `10.20.${index >> 8}.${index & 255}`);
  a.announce(...hosts.map((each) => host(each)));
  b.announce(...hosts.map((each) => shadow(each)));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(8000);
  t.is(g.routes.size, 2000 + 0);
  const runs = g.machine.core.counters.get('spf.runs');
  const seen = g.effects.length;
  a.withdraw(hosts[5]!);
  world.run(500);
  const changes = g.effects.slice(seen).flatMap((effect) => (effect.kind === 'routes' ? effect.changes : []));
  t.deepEqual(
    changes.map(({ prefix, nextHops }) => `${prefix} ${nextHops[0]?.via}`),
    [`${hosts[5]}/32 ${TO_B}`],
  );
  t.is(g.machine.core.counters.get('spf.runs'), runs);
});

const lineOf = ({ prefix, nextHops, metric, backup }: LearnedRoute): string =>
  JSON.stringify([prefix, nextHops, metric, backup]);

/** The routes of a machine's database, computed from nothing. */
function afresh(router: Router): string[] {
  const { core } = router.machine;
  const young = ({ lsa }: { lsa: Lsa }): boolean => lsa.header.age < 3600;
  const result = computeRoutes({
    routerId: core.routerId,
    areas: Array.from(core.areas.values(), (area) => ({
      id: area.id,
      interfaces: area.interfaces
        .filter(({ state }) => state !== 'Down')
        .map((iface) => ({
          name: iface.name,
          address: iface.link!.address,
          ifindex: iface.link!.ifindex,
          neighbors: new Map(
            Array.from(iface.neighbors.values())
              .filter(({ state }) => state === 'Full')
              .map((each) => [each.routerId, each.address]),
          ),
        })),
      lsas: Array.from(area.database.entries.values())
        .filter(young)
        .map(({ lsa }) => lsa),
    })),
    externals: Array.from(core.external.entries.values())
      .filter(young)
      .map(({ lsa }) => lsa),
    backups: true,
  });
  const routes = new RouteTable().update(result, () => false);
  return routes.map(lineOf).sort();
}

test('whatever is announced, withdrawn, drained or dies: routes found one by one are those found all at once', (t) => {
  const step = fc.record({
    who: fc.constantFrom('a', 'b'),
    what: fc.constantFrom('real', 'strong', 'shadow', 'withdraw', 'drain', 'undrain', 'down', 'up'),
    host: fc.integer({ min: 1, max: 3 }),
    wait: fc.constantFrom(0, 1, 3, 20, 1200),
  });
  const form = fc.constantFrom(
    { as: 'external', metric: 20, metricType: 2 } as const,
    { as: 'external', metric: 20, metricType: 1 } as const,
    { as: 'stub-link', metric: 20, metricType: 2 } as const,
  );
  fc.assert(
    fc.property(form, form, fc.array(step, { maxLength: 14 }), fc.nat(), (formA, formB, steps, seed) => {
      const world = new World(seed);
      const wires = [new Wire('point-to-point'), new Wire('point-to-point')] as const;
      const end = (wire: Wire, text: string) => ({ wire, address: text, prefixLength: 30 });
      const g = world.router('G', '10.255.0.254', [end(wires[0], '192.0.2.1'), end(wires[1], '192.0.2.5')], {
        backups: true,
        earlyArrivals: 5,
      });
      const a = world.router('A', '10.255.0.1', [end(wires[0], TO_A)], { announce: formA });
      const b = world.router('B', '10.255.0.2', [end(wires[1], TO_B)], { announce: formB });
      for (const router of [g, a, b]) router.up();
      world.until('Full everywhere', () => allFull(g, a, b));
      for (const { who, what, host: n, wait } of steps) {
        const router = who === 'a' ? a : b;
        const name = `10.10.10.${n}`;
        if (what === 'real') router.announce(host(name));
        else if (what === 'strong') router.announce(host(name, 1));
        else if (what === 'shadow') router.announce(shadow(name));
        else if (what === 'withdraw') router.withdraw(name);
        else if (what === 'drain' || what === 'undrain') router.handle({ kind: 'drain', on: what === 'drain' });
        else if (what === 'down') router.down(0);
        else router.up(0);
        world.run(wait);
      }
      world.run(20_000);
      t.deepEqual(Array.from(g.routes.values(), lineOf).sort(), afresh(g));
    }),
    { numRuns: 60 },
  );
});
