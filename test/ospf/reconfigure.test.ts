/** The configuration read anew: what differs changes, nothing else is touched. */
import test from 'ava';
import { parsePrefix } from '../../src/model/address.ts';
import type { OspfAnnounce, OspfInterfaceOptions } from '../../src/ospf/index.ts';
import { address, allFull, host, type Router, type RouterOptions, twoSwitches, Wire, World } from './simulation.ts';

const H = (n: number) => `10.10.10.${n}/32`;
const AS_IS: OspfAnnounce = { as: 'external', metric: 20, metricType: 2 };

interface Change {
  readonly announce?: OspfAnnounce;
  readonly prefixes?: readonly string[];
  /** By interface; null: removed. */
  readonly interfaces?: Readonly<Record<string, Partial<OspfInterfaceOptions> | null>>;
}

function configure(router: Router, { announce = AS_IS, prefixes = ['10.10.10.0/24'], interfaces = {} }: Change): void {
  router.handle({
    kind: 'configure',
    settings: {
      announce,
      prefixes: prefixes.map((text) => parsePrefix(text)!),
      interfaces: router.attachments.flatMap(({ wire, area, cost, priority }, index) => {
        const name = `i${index}`;
        const change = interfaces[name];
        if (change === null) return [];
        const base = { name, area: address(area ?? '0.0.0.0'), network: wire.kind, hello: 1000, dead: 4000 };
        return [
          {
            ...base,
            ...(cost === undefined ? {} : { cost }),
            ...(priority === undefined ? {} : { priority }),
            ...change,
          },
        ];
      }),
    },
  });
}

function settledLab(options: RouterOptions = {}) {
  const lab = twoSwitches(options);
  const { world, g, a, b } = lab;
  a.announce(host('10.10.10.1'), host('10.10.10.2', 1));
  b.announce(host('10.10.10.4'));
  world.until('Full everywhere', () => allFull(g, a, b) && g.routes.size === 3);
  world.run(7000);
  return lab;
}

const neighborEffects = (router: Router, from: number) =>
  router.effects.slice(from).filter(({ kind }) => kind === 'neighbor').length;

test('the same settings again: not a packet, not an effect', (t) => {
  const { a } = settledLab();
  const seen = a.effects.length;
  configure(a, {});
  t.deepEqual(a.effects.slice(seen), []);
});

test('metric and type of the announcements: all hosts anew, at once, without a moment without', (t) => {
  const { world, g, a, b } = settledLab();
  const seen = g.effects.length;
  configure(a, { announce: { as: 'external', metric: 50, metricType: 1 } });
  world.until('new metrics', () => g.routes.get(H(1))!.metric === 60 && g.routes.get(H(2))!.metric === 59);
  world.run(8000);
  const changes = g.effects.slice(seen).flatMap((effect) => (effect.kind === 'routes' ? effect.changes : []));
  t.true(changes.every(({ nextHops }) => nextHops.length > 0));
  t.is(neighborEffects(g, seen), 0);
  t.deepEqual(g.database(), b.database());
});

for (const [from, to] of [
  ['external', 'stub-link'],
  ['stub-link', 'external'],
] as const) {
  test(`${from} becomes ${to}: the hosts stay reachable, nothing of the former kind is left`, (t) => {
    const announce = { as: from, metric: 20, metricType: 2 } as const;
    const { world, g, a, b } = settledLab({ announce });
    const seen = g.effects.length;
    configure(a, { announce: { ...announce, as: to } });
    world.run(9000);
    t.true(g.routes.has(H(1)) && g.routes.has(H(2)) && g.routes.has(H(4)));
    const gone = g.effects
      .slice(seen)
      .flatMap((effect) => (effect.kind === 'routes' ? effect.changes : []))
      .filter(({ nextHops }) => nextHops.length === 0);
    t.deepEqual(gone, []);
    t.is(neighborEffects(g, seen), 0);
    t.deepEqual(g.database(), b.database());
    const externals = [...g.machine.core.external.entries.values()].filter(
      ({ lsa }) => lsa.header.advertisingRouter === a.id,
    );
    t.is(externals.length, to === 'external' ? 2 : 0);
    a.withdraw('10.10.10.1');
    t.true(world.until('withdrawn', () => !g.routes.has(H(1))) < 50);
  });
}

test('the cost of an interface is in the router LSA at once, adjacencies do not notice', (t) => {
  const { world, g, a } = settledLab();
  const seen = g.effects.length;
  configure(a, { interfaces: { i0: { cost: 77 } } });
  world.run(50);
  const lsa = g.machine.core.areas.get(0)!.database.entries.get(`1/${a.id}/${a.id}`)!.lsa.body;
  t.true(lsa.kind === 'router' && lsa.links.some(({ type, metric }) => type === 1 && metric === 77));
  t.is(neighborEffects(g, seen), 0);
});

test('intervals change on both ends within the dead interval: the adjacency stands', (t) => {
  const { world, g, a } = settledLab();
  const seen = [g.effects.length, a.effects.length];
  const change = { interfaces: { i0: { hello: 2000, dead: 8000 } } };
  configure(a, change);
  world.run(2500);
  configure(g, change);
  world.run(20_000);
  t.is(neighborEffects(g, seen[0]!), 0);
  t.is(neighborEffects(a, seen[1]!), 0);
  t.true((g.machine.core.counters.get('drop.hello-interval-mismatch') ?? 0) > 0);
});

test('an interface is taken away and comes again: the neighbour knows at once, the other adjacencies stand', (t) => {
  const { world, g, a, b } = settledLab();
  const seen = b.effects.length;
  configure(g, { interfaces: { i0: null } });
  world.run(20);
  t.deepEqual(a.states(), ['Init']);
  t.is(neighborEffects(b, seen), 0);
  configure(g, {});
  g.up(0);
  world.until('Full again', () => allFull(g, a, b));
  world.until('routes', () => g.routes.size === 3);
  t.is(neighborEffects(b, seen), 0);
});

test('the last interface of an area goes, and the area with it', (t) => {
  const world = new World();
  const wires = [new Wire('point-to-point'), new Wire('point-to-point')];
  const a = world.router('A', '10.255.0.1', [
    { wire: wires[0]!, address: '192.0.2.2', prefixLength: 30 },
    { wire: wires[1]!, address: '192.0.2.6', prefixLength: 30, area: '0.0.0.1' },
  ]);
  const g = world.router('G', '10.255.0.254', [{ wire: wires[0]!, address: '192.0.2.1', prefixLength: 30 }]);
  const x = world.router('X', '10.255.0.9', [
    { wire: wires[1]!, address: '192.0.2.5', prefixLength: 30, area: '0.0.0.1' },
  ]);
  for (const router of [a, g, x]) router.up();
  a.announce(host('10.10.10.1'));
  world.until('Full', () => allFull(a, g, x));
  world.run(3000);
  const seen = g.effects.length;
  configure(a, { interfaces: { i1: null } });
  world.run(2000);
  t.deepEqual([...a.machine.core.areas.keys()], [0]);
  t.is(neighborEffects(g, seen), 0);
  t.deepEqual(x.states(), ['Init']);
  // And into the backbone: the adjacency of that interface alone begins anew.
  configure(a, { interfaces: { i1: { area: address('0.0.0.0') } } });
  a.up(1);
  configure(x, { interfaces: { i0: { area: address('0.0.0.0') } } });
  x.up();
  world.until('Full in the backbone', () => allFull(a, g, x));
  t.is(neighborEffects(g, seen), 0);
  world.run(8000);
  t.deepEqual(g.database(), x.database());
});

test('priorities: the election is held again', (t) => {
  const world = new World();
  const wire = new Wire('broadcast');
  const routers = [1, 2, 3].map((n) =>
    world.router(`R${n}`, `10.255.0.${n}`, [{ wire, address: `192.0.2.${n}`, prefixLength: 24, priority: 10 - n }]),
  );
  for (const router of routers) router.up();
  world.run(20_000);
  const states = () => routers.map(({ machine }) => machine.core.interfaces.get('i0')!.state);
  t.deepEqual(states(), ['DR', 'Backup', 'DR Other']);
  configure(routers[0]!, { interfaces: { i0: { priority: 0 } } });
  world.run(9000);
  t.deepEqual(states(), ['DR Other', 'DR', 'Backup']);
  t.true(allFull(...routers));
});

test('other prefixes: claims outside them are forgotten, those inside are heard of', (t) => {
  const { a } = settledLab();
  const level = (of: string) => a.claims.findLast((claim) => claim.address === of)?.level;
  t.is(level('10.10.10.4'), 0);
  let before = a.claims.length;
  configure(a, { prefixes: ['10.10.20.0/24'] });
  t.is(level('10.10.10.4'), undefined);
  t.is(a.claims.length, before + 1);
  before = a.claims.length;
  configure(a, { prefixes: ['10.10.10.0/24', '10.10.20.0/24'] });
  t.is(level('10.10.10.4'), 0);
  t.is(a.claims.length, before + 1);
  configure(a, { prefixes: ['10.10.10.0/24'], announce: { ...AS_IS, metric: 21 } });
  t.is(level('10.10.10.4'), 1, 'read with our own metric');
});
