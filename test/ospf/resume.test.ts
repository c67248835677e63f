/** An earlier life's adjacencies taken up: the neighbours must not notice, and where they have, all is as after any start. */
import test, { type ExecutionContext } from 'ava';
import type { Kept } from '../../src/ospf/codec/memory.ts';
import type { OspfAnnounce } from '../../src/ospf/index.ts';
import { keptBy, nextLife } from './lives.ts';
import { allFull, host, ip, Router, type RouterOptions, twoSwitches, Wire, World } from './simulation.ts';

const H = (n: number) => `10.10.10.${n}/32`;

/** What a router noticed since `from`: changes of neighbours and of routes. */
function noticed(router: Router, from: number): string[] {
  return router.effects.slice(from).flatMap((effect) => {
    if (effect.kind === 'neighbor') return [`${effect.from} -> ${effect.to}: ${effect.reason}`];
    if (effect.kind === 'routes') return effect.changes.map(({ prefix, nextHops }) => `${prefix} ${nextHops.length}`);
    return [];
  });
}

const FORMS: readonly OspfAnnounce[] = [
  { as: 'external', metric: 20, metricType: 2 },
  { as: 'external', metric: 20, metricType: 1 },
  { as: 'stub-link', metric: 20, metricType: 2 },
];

for (const announce of FORMS) {
  for (const pause of [0, 300, 2500]) {
    test(`R4.7 dead for ${pause} ms: nobody notices (${announce.as}, type ${announce.metricType})`, (t) => {
      const options = { announce };
      const { world, g, a, b } = twoSwitches(options);
      a.announce(host('10.10.10.1'), host('10.10.10.2'));
      b.announce(host('10.10.10.4'));
      world.until('Full everywhere', () => allFull(g, a, b));
      world.until('hosts at G', () => g.routes.size >= 3);
      world.run(7000);
      const kept = keptBy(a, world);
      a.crash();
      const seen = g.effects.length;
      world.run(pause);
      const again = nextLife(world, a, kept, options);
      t.true(again.sent[0]!.effect.kind === 'send', 'the first word is a hello');
      t.deepEqual(again.states(), ['Full'], 'and the adjacency stands');
      world.run(20);
      t.true(again.routes.has(H(4)), 'it knows what it knew');
      t.true(again.claims.some(({ address }) => address === '10.10.10.4'));
      again.announce(host('10.10.10.1'), host('10.10.10.2'));
      world.run(1500);
      again.handle({ kind: 'settled' });
      world.run(20_000);
      t.deepEqual(noticed(g, seen), []);
      t.deepEqual(g.database(), again.database());
      t.deepEqual(g.database(), b.database());
      again.withdraw('10.10.10.2');
      t.true(world.until('a withdrawal is taken', () => !g.routes.has(H(2))) < 50);
    });
  }
}

test('R4.7 in an NSSA', (t) => {
  const world = new World();
  const wire = new Wire('point-to-point');
  const options: RouterOptions = { announce: { as: 'nssa', metric: 20, metricType: 2 } };
  const place = (address: string) => [{ wire, address, prefixLength: 30, area: '0.0.0.1' }];
  const g = world.router('G', '10.255.0.254', place('192.0.2.1'), options);
  const a = world.router('A', '10.255.0.1', place('192.0.2.2'), options);
  for (const router of [g, a]) router.up();
  a.announce(host('10.10.10.1'));
  world.until('Full', () => allFull(g, a) && g.routes.has(H(1)));
  world.run(7000);
  const kept = keptBy(a, world);
  a.crash();
  const seen = g.effects.length;
  world.run(900);
  const again = nextLife(world, a, kept, options);
  again.announce(host('10.10.10.1'));
  again.handle({ kind: 'settled' });
  world.run(9000);
  t.deepEqual(noticed(g, seen), []);
  t.deepEqual(g.database(), again.database());
});

for (const role of ['DR', 'Backup', 'DR Other'] as const) {
  test(`R4.7 on a broadcast network, as ${role}`, (t) => {
    const world = new World(5);
    const wire = new Wire('broadcast');
    const priority = { DR: 9, Backup: 5, 'DR Other': 1 }[role];
    const make = (name: string, n: number, own: number) =>
      world.router(name, `10.255.0.${n}`, [{ wire, address: `192.0.2.${n}`, prefixLength: 24, priority: own }]);
    const others = [make('X', 10, role === 'DR' ? 5 : 9), make('Y', 11, role === 'DR Other' ? 5 : 1), make('Z', 12, 1)];
    const a = make('A', 1, priority);
    for (const router of [...others, a]) router.up();
    a.announce(host('10.10.10.1'));
    world.run(30_000);
    t.is(a.machine.core.interfaces.get('i0')!.state, role);
    const kept = keptBy(a, world);
    a.crash();
    const seen = others.map(({ effects }) => effects.length);
    world.run(1200);
    const again = nextLife(world, a, kept);
    t.is(again.machine.core.interfaces.get('i0')!.state, role);
    again.announce(host('10.10.10.1'));
    world.run(200);
    again.handle({ kind: 'settled' });
    world.run(15_000);
    for (const [index, other] of others.entries()) t.deepEqual(noticed(other, seen[index]!), [], other.name);
    for (const other of others) t.deepEqual(other.database(), again.database());
    t.is(again.machine.core.interfaces.get('i0')!.state, role);
  });
}

test('R4.7 hosts that went while it was away are flushed when the table has settled, the others stay', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'), host('10.10.10.2'), host('10.10.10.3'));
  world.until('Full everywhere', () => allFull(g, a, b) && g.routes.size === 3);
  world.run(3000);
  const kept = keptBy(a, world);
  a.crash();
  world.run(400);
  // The host table may be quicker than the speaker, as with static hosts.
  const early = world.router('A', '10.255.0.1', a.attachments);
  early.handle({ kind: 'hosts', delta: { withdrawn: [], announced: [host('10.10.10.1'), host('10.10.10.3', 1)] } });
  const link = { ifindex: 1, mtu: 1500, address: ip('192.0.2.2'), prefixLength: 30 };
  const seen = g.effects.length;
  early.handle({ kind: 'resume', kept, links: new Map([['i0', link]]), graceUntil: 0 });
  world.run(100);
  t.is(g.routes.get(H(3))!.metric, 19, 'what is said otherwise now is said');
  t.true(g.routes.has(H(2)), 'not settled yet');
  early.handle({ kind: 'settled' });
  t.true(world.until('flushed', () => !g.routes.has(H(2))) < 20);
  world.run(10_000);
  t.true(noticed(g, seen).every((line) => !line.startsWith(H(1))));
  t.deepEqual(g.database(), early.database());
});

test('R4.7 settled from the start (the kernel had no routes any more): what nobody backs goes at once', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'), host('10.10.10.2'));
  world.until('Full everywhere', () => allFull(g, a, b) && g.routes.size === 2);
  world.run(3000);
  const kept = keptBy(a, world);
  a.crash();
  const again = world.router('A', '10.255.0.1', a.attachments);
  again.announce(host('10.10.10.1'));
  again.handle({ kind: 'settled' });
  const link = { ifindex: 1, mtu: 1500, address: ip('192.0.2.2'), prefixLength: 30 };
  again.handle({ kind: 'resume', kept, links: new Map([['i0', link]]), graceUntil: 0 });
  t.true(world.until('flushed', () => !g.routes.has(H(2))) < 20);
  world.run(9000);
  t.true(g.routes.has(H(1)));
  t.deepEqual(g.states(), ['Full', 'Full']);
  t.deepEqual(g.database(), again.database());
});

test('R4.5 what the fabric said while it was away is heard with the retransmission', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'));
  b.announce(host('10.10.10.4'), host('10.10.10.5'));
  world.until('Full everywhere', () => allFull(g, a, b) && g.routes.size === 3);
  world.run(3000);
  const kept = keptBy(a, world);
  a.crash();
  world.run(500);
  b.withdraw('10.10.10.4');
  b.announce(host('10.10.10.6'));
  world.run(1500);
  const again = nextLife(world, a, kept);
  again.announce(host('10.10.10.1'));
  world.until('both', () => again.routes.has(H(6)) && !again.routes.has(H(4)), 6000);
  world.run(9000);
  t.deepEqual(g.database(), again.database());
});

for (const [what, pause] of [
  ['just before', 3900],
  ['just after', 4600],
  ['long after', 20_000],
] as const) {
  test(`too late: taken up ${what} the neighbour gave it up`, (t) => {
    const { world, g, a, b } = twoSwitches();
    a.announce(host('10.10.10.1'));
    b.announce(host('10.10.10.4'), host('10.10.10.5'));
    world.until('Full everywhere', () => allFull(g, a, b) && g.routes.size === 3);
    world.run(3300);
    const kept = keptBy(a, world);
    a.crash();
    world.run(200);
    b.withdraw('10.10.10.4');
    world.run(pause - 200);
    const seen = g.effects.length;
    const again = nextLife(world, a, kept);
    again.announce(host('10.10.10.1'));
    again.handle({ kind: 'settled' });
    world.until('Full', () => allFull(g, again, b), 20_000);
    world.run(20_000);
    t.deepEqual(g.database(), again.database());
    t.deepEqual(g.database(), b.database());
    t.false(
      noticed(g, seen).includes(`${H(4)} 1`),
      'what was withdrawn meanwhile does not come back, not for a moment',
    );
  });
}

test('R4.7 a planned restart that outlasts the dead interval: a neighbour that honours Grace-LSAs has not noticed', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'), host('10.10.10.2'));
  world.until('Full everywhere', () => allFull(g, a, b) && g.routes.size === 2);
  world.run(7000);
  a.handle({ kind: 'pause', grace: 30 });
  const grace = () => [...g.machine.core.interfaces.get('i0')!.database.entries.values()];
  world.until('granted', () => a.machine.ungranted() === 0 && grace().length === 1);
  const { adjacencies, ...kept } = keptBy(a, world);
  a.crash();
  // G as the helper: its neighbour does not die.
  const neighbor = [...g.machine.core.interfaces.get('i0')!.neighbors.values()][0]!;
  g.machine.core.deadlines.cancel(neighbor.inactivityTimer);
  world.run(9000);
  const before = g.database();
  const seen = g.effects.length;
  const late = {
    ...kept,
    adjacencies: [],
    late: adjacencies,
    pulse: { ...kept.pulse, graceUntil: world.now + 20_000 },
  };
  const again = nextLife(world, a, late);
  again.announce(host('10.10.10.1'), host('10.10.10.2'));
  t.deepEqual(again.states(), [], 'an ordinary adjacency, from the beginning');
  again.handle({ kind: 'settled' });
  world.until('Full', () => again.states()[0] === 'Full', 20_000);
  const ofOurs = (lines: string[]) => lines.filter((line) => line.includes(`/${a.id} `));
  t.deepEqual(ofOurs(g.database()), ofOurs(before), 'not one of our LSAs has changed');
  world.run(50);
  t.is(grace().length, 0, 'the grace is given back');
  world.run(9000);
  t.deepEqual(ofOurs(g.database()), ofOurs(before));
  t.deepEqual(g.database(), again.database());
  const lost = noticed(g, seen).filter((line) => line.endsWith(' 0') && line.startsWith('10.10.10.'));
  // G here is a machine of ours, which is no helper: it is the LSAs that count.
  t.log(lost.join(', '));
});

test('grace that ends without an adjacency: we speak for ourselves again', (t) => {
  const { world, g, a, b } = twoSwitches();
  world.until('Full everywhere', () => allFull(g, a, b));
  const { adjacencies, ...kept } = keptBy(a, world);
  a.crash();
  g.crash();
  world.run(5000);
  const pulse = { ...kept.pulse, graceUntil: world.now + 3000 };
  const again = nextLife(world, a, { ...kept, adjacencies: [], late: adjacencies, pulse });
  const links = () => {
    const { body } = again.machine.core.areas.get(0)!.database.entries.get(`1/${a.id}/${a.id}`)!.lsa;
    return body.kind === 'router' ? body.links.filter(({ type }) => type === 1).length : -1;
  };
  world.run(2900);
  t.is(links(), 1);
  world.run(200);
  t.is(links(), 0);
  t.is(again.machine.core.restarting, undefined);
});

test('the gateway was started anew meanwhile: an ordinary adjacency, at once', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'));
  b.announce(host('10.10.10.4'));
  world.until('Full everywhere', () => allFull(g, a, b) && g.routes.size === 2);
  world.run(3000);
  const kept = keptBy(a, world);
  a.crash();
  g.crash();
  world.run(300);
  const g2 = nextLife(world, g, undefined);
  const again = nextLife(world, a, kept);
  again.announce(host('10.10.10.1'));
  g2.up();
  const took = world.until('Full', () => allFull(g2, again, b), 30_000);
  t.log(`${took} ms`);
  world.until('routes', () => g2.routes.size === 2, 30_000);
  world.run(10_000);
  t.deepEqual(g2.database(), again.database());
  t.deepEqual(g2.database(), b.database());
  t.is(again.machine.core.counters.get('resume.refused'), 1);
});

test('another address, area or interval than before: nothing is taken up', (t) => {
  const { world, g, a, b } = twoSwitches();
  world.until('Full everywhere', () => allFull(g, a, b));
  const kept = keptBy(a, world);
  for (const change of [
    { area: 1 },
    { helloInterval: 2 },
    { deadInterval: 8 },
    { address: ip('192.0.2.9') },
    { nssa: true },
  ]) {
    const other: Kept = { ...kept, adjacencies: kept.adjacencies.map((each) => ({ ...each, ...change })) };
    const lonely = new World();
    const again = new Router(
      lonely,
      'A',
      '10.255.0.1',
      [{ wire: new Wire('point-to-point'), address: '192.0.2.2', prefixLength: 30 }],
      {},
    );
    const link = { ifindex: 1, mtu: 1500, address: ip('192.0.2.2'), prefixLength: 30 };
    again.handle({ kind: 'resume', kept: other, links: new Map([['i0', link]]), graceUntil: 0 });
    t.deepEqual(again.states(), [], JSON.stringify(change));
    t.is(again.machine.core.size, 1, 'its own router LSA and nothing else');
    t.is(again.machine.core.counters.get('resume.not-the-same'), 1);
  }
});

test('R4.7 lossy wires, deaths at any time: in the end all databases agree, and no host that stayed was ever missed in time', (t) => {
  for (let seed = 1; seed <= 40; seed++) story(t, seed);
});

function story(t: ExecutionContext, seed: number): void {
  const { world, wireA, wireB, g, a, b } = twoSwitches({ retransmit: 1000 }, seed);
  const live = new Set<number>();
  let present = a;
  for (const wire of [wireA, wireB]) {
    wire.loss = 0.05;
    wire.jitter = 3;
  }
  world.until('Full everywhere', () => allFull(g, a, b));
  for (let turn = 0; turn < 5; turn++) {
    for (let step = 0; step < 4; step++) {
      const n = 1 + Math.floor(world.random() * 8);
      if (live.delete(n)) present.withdraw(`10.10.10.${n}`);
      else {
        live.add(n);
        present.announce(host(`10.10.10.${n}`));
      }
      const m = 20 + Math.floor(world.random() * 4);
      if (world.random() < 0.5) b.announce(host(`10.10.10.${m}`));
      else b.withdraw(`10.10.10.${m}`);
      world.run(world.random() * 900);
    }
    const kept = keptBy(present, world);
    present.crash();
    world.run(world.random() * (turn % 2 === 0 ? 1500 : 9000));
    present = nextLife(world, present, kept, { retransmit: 1000 });
    present.announce(...[...live].map((n) => host(`10.10.10.${n}`)));
    // `nextLife` does not bring up links that were not taken up.
    present.up();
    world.run(1200);
    present.handle({ kind: 'settled' });
  }
  for (const wire of [wireA, wireB]) wire.loss = 0;
  world.until(`seed ${seed}: Full`, () => allFull(g, present, b), 60_000);
  world.run(15_000);
  t.deepEqual(g.database(), present.database(), `seed ${seed}`);
  t.deepEqual(g.database(), b.database(), `seed ${seed}`);
  const hosts = [...g.routes.keys()].filter((prefix) => Number(prefix.split('.')[3]!.split('/')[0]) < 20);
  t.deepEqual(hosts.sort(), [...live].map(H).sort(), `seed ${seed}`);
}
