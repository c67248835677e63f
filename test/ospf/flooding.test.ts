import test from 'ava';
import { address, allFull, host, ip, twoSwitches, Wire, World } from './simulation.ts';

const H1 = '10.10.10.1/32';
const H2 = '10.10.10.2/32';

test('R4.2 R4.3 each host is one LSA of 32 bits, and G routes it to the switch that announced it', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'), host('10.10.10.2'));
  b.announce(host('10.10.10.4'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.until('routes at G', () => g.routes.size === 3);
  t.deepEqual(g.routes.get(H1)?.nextHops, [{ via: address('192.0.2.2'), interface: 'i0' }]);
  t.deepEqual(g.routes.get('10.10.10.4/32')?.nextHops, [{ via: address('192.0.2.6'), interface: 'i1' }]);
  const externals = [...a.machine.core.external.entries.values()].map(({ lsa }) => lsa.body);
  t.is(externals.length, 3);
  for (const body of externals) t.like(body, { kind: 'external', mask: 0xffffffff });
});

test('R4.5 a host that moves: A flushes, B announces, G follows within milliseconds', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.2'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.until('the host at G', () => g.routes.has(H2));
  world.run(5000);
  a.withdraw('10.10.10.2');
  t.true(world.until('withdrawn at G', () => !g.routes.has(H2)) <= 15);
  b.announce(host('10.10.10.2', 1));
  const took = world.until('G points to B', () => g.routes.get(H2)?.nextHops[0]?.via === address('192.0.2.6'));
  t.true(took <= 25, `${took} ms`);
});

test('R4.5 a withdrawal 0.3 s after the announcement: the silent neighbour has it 1 s after, not after RxmtInterval', (t) => {
  const { world, g, a, b } = twoSwitches({ retransmit: 60_000 });
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(3000);
  a.announce(host('10.10.10.2'));
  world.run(300);
  t.true(g.routes.has(H2));
  a.withdraw('10.10.10.2');
  world.run(200);
  t.true(g.routes.has(H2), 'MinLSArrival of the neighbour dropped it');
  const took = world.until('withdrawn at G', () => !g.routes.has(H2));
  t.true(took > 480 && took < 530, `${took} ms after the 500`);
});

test('R4.5 a receiver that lets a few early instances through has the withdrawal at once, and is no door for a storm', (t) => {
  const { world, g, a, b } = twoSwitches({ retransmit: 60_000, earlyArrivals: 2 });
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(3000);
  a.announce(host('10.10.10.2'));
  world.run(300);
  t.true(g.routes.has(H2));
  a.withdraw('10.10.10.2');
  t.true(world.until('withdrawn at G', () => !g.routes.has(H2)) <= 15);
  world.run(3000);
  a.announce(host('10.10.10.2'));
  world.run(20);
  for (let change = 0; change < 6; change++) {
    a.announce(host('10.10.10.2', change % 2 === 0 ? 1 : 0));
    world.run(20);
  }
  t.true((g.machine.core.counters.get('drop.min-ls-arrival') ?? 0) >= 1);
});

test('R4.5 a host that comes back 0.3 s after its flush is at G again within the second, with a higher number', (t) => {
  const { world, wireB, g, a, b } = twoSwitches({ retransmit: 60_000 });
  a.announce(host('10.10.10.2'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(5000);
  // B is slow to acknowledge the flush: G still holds the MaxAge instance when the host comes back.
  wireB.delay = 400;
  const before = sequenceOf(a, '10.10.10.2');
  a.withdraw('10.10.10.2');
  world.run(300);
  t.false(g.routes.has(H2));
  a.announce(host('10.10.10.2'));
  t.true(sequenceOf(a, '10.10.10.2') > before);
  const took = world.until('back at G', () => g.routes.has(H2));
  t.true(took > 650 && took < 730, `${took} ms`);
  world.run(3000);
  t.true(g.routes.has(H2));
});

for (const period of [70, 130, 300, 450, 700, 990, 1010]) {
  test(`R4.5 a host that flaps every ${period} ms ends as it was left, within 1.2 s, at a neighbour that drops silently`, (t) => {
    const { world, g, a, b } = twoSwitches({ retransmit: 60_000 });
    world.until('Full everywhere', () => allFull(g, a, b));
    world.run(3000);
    for (let turn = 0; turn < 9; turn++) {
      if (turn % 2 === 0) a.announce(host('10.10.10.2'));
      else a.withdraw('10.10.10.2');
      world.run(period);
    }
    t.true(world.until('announced at G', () => g.routes.has(H2)) <= 1200);
    world.run(period);
    a.withdraw('10.10.10.2');
    t.true(world.until('withdrawn at G', () => !g.routes.has(H2)) <= 1200);
    world.run(5000);
    t.false(g.routes.has(H2));
    t.is(a.machine.unacknowledged(), 0);
  });
}

test('R4.5 a neighbour that forgets what is flushed, on a wire of uneven delay: away, back, away within 1.2 s', (t) => {
  for (let seed = 1; seed <= 30; seed++) {
    const { world, wireA, g, a, b } = twoSwitches({ retransmit: 60_000 }, seed);
    a.announce(host('10.10.10.2'));
    world.until('Full everywhere', () => allFull(g, a, b));
    world.run(5000);
    wireA.jitter = 15;
    a.withdraw('10.10.10.2');
    world.run(300);
    t.is(g.machine.core.external.entries.size, 0);
    a.announce(host('10.10.10.2'));
    world.run(300);
    t.true(g.routes.has(H2));
    a.withdraw('10.10.10.2');
    t.true(world.until('withdrawn', () => !g.routes.has(H2)) <= 1200, `seed ${seed}`);
  }
});

test('R4.5 with a lossy wire the same, RxmtInterval being what bounds it', (t) => {
  for (let seed = 1; seed <= 8; seed++) {
    const { world, wireA, g, a, b } = twoSwitches({ retransmit: 1000 }, seed);
    world.until('Full everywhere', () => allFull(g, a, b));
    wireA.loss = 0.3;
    wireA.duplication = 0.2;
    wireA.jitter = 20;
    for (let turn = 0; turn < 7; turn++) {
      if (turn % 2 === 0) a.announce(host('10.10.10.2'), host('10.10.10.1'));
      else a.withdraw('10.10.10.2');
      world.run(170 + 100 * turn);
    }
    wireA.loss = 0;
    world.until('announced', () => g.routes.has(H2) && g.routes.has(H1), 20_000);
    a.withdraw('10.10.10.2');
    world.until('withdrawn', () => !g.routes.has(H2), 20_000);
    world.run(20_000);
    t.deepEqual(g.database(), a.database(), `seed ${seed}`);
    t.deepEqual(g.database(), b.database(), `seed ${seed}`);
    t.true(g.routes.has(H1) && !g.routes.has(H2));
  }
});

test('databases converge over lossy, reordering, repeating wires, and nothing is left unacknowledged', (t) => {
  for (let seed = 1; seed <= 10; seed++) {
    const { world, wireA, wireB, g, a, b } = twoSwitches({ retransmit: 1000, dead: 20_000 }, seed);
    for (const wire of [wireA, wireB]) Object.assign(wire, { loss: 0.25, duplication: 0.2, jitter: 60 });
    a.announce(...Array.from({ length: 60 }, (_, index) => host(`10.10.10.${index + 1}`)));
    b.announce(...Array.from({ length: 60 }, (_, index) => host(`10.10.10.${index + 101}`)));
    world.run(20_000);
    a.withdraw('10.10.10.7', '10.10.10.8');
    b.announce(host('10.10.10.7', 1));
    world.run(20_000);
    for (const wire of [wireA, wireB]) Object.assign(wire, { loss: 0, duplication: 0, jitter: 0 });
    world.until('everything acknowledged', () => [g, a, b].every(({ machine }) => machine.unacknowledged() === 0));
    world.run(10_000);
    t.true(allFull(g, a, b), `seed ${seed}`);
    t.deepEqual(g.database(), a.database(), `seed ${seed}`);
    t.deepEqual(g.database(), b.database(), `seed ${seed}`);
    t.is(g.routes.size, 119, `seed ${seed}`);
  }
});

test('three routers on one broadcast network: one DR, one Backup, and every database alike', (t) => {
  const world = new World(7);
  const lan = new Wire('broadcast');
  const routers = [1, 2, 3, 4].map((n) =>
    world.router(`R${n}`, `10.255.0.${n}`, [{ wire: lan, address: `192.0.2.${n}`, prefixLength: 24 }]),
  );
  for (const router of routers) router.up();
  world.run(6000);
  const states = routers.map(({ machine }) => machine.core.interfaces.get('i0')!.state).sort();
  t.deepEqual(states, ['Backup', 'DR', 'DR Other', 'DR Other']);
  world.until('adjacencies', () => routers.every((router) => router.states().filter((s) => s === 'Full').length >= 2));
  routers[0]!.announce(host('10.10.10.1'));
  world.run(3000);
  for (const router of routers.slice(1)) {
    t.deepEqual(router.database(), routers[0]!.database());
    t.deepEqual(router.routes.get(H1)?.nextHops, [{ via: address('192.0.2.1'), interface: 'i0' }]);
  }
  routers[0]!.withdraw('10.10.10.1');
  t.true(world.until('gone everywhere', () => routers.every(({ routes }) => !routes.has(H1))) <= 300);

  const dr = routers.find(({ machine }) => machine.core.interfaces.get('i0')!.state === 'DR')!;
  dr.crash();
  const left = routers.filter((router) => router !== dr);
  world.run(12_000);
  t.deepEqual(left.map(({ machine }) => machine.core.interfaces.get('i0')!.state).sort(), ['Backup', 'DR', 'DR Other']);
  left[0]!.announce(host('10.10.10.9'));
  world.run(2000);
  for (const router of left.slice(1)) t.true(router.routes.has('10.10.10.9/32'));
});

test('R4.5 never a learned route for a host of ours; the one of the twin appears when ours is withdrawn', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.2'));
  b.announce(host('10.10.10.2', 1));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(5000);
  t.true(a.claims.length > 0);
  t.false(a.routes.has(H2));
  a.withdraw('10.10.10.2');
  world.until('the way to the twin', () => a.routes.get(H2)?.nextHops[0]?.via === address('192.0.2.1'), 300);
  world.run(2000);
  a.announce(host('10.10.10.2', 2));
  world.until('no route to what is ours', () => !a.routes.has(H2), 300);
});

test('R4.7 a switch that dies is forgotten after RouterDeadInterval, and its claims with it', (t) => {
  const { world, g, a, b } = twoSwitches();
  b.announce(host('10.10.10.4', 2));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.until('claim at A', () => a.claims.length > 0);
  t.deepEqual(a.claims[0], { address: address('10.10.10.4'), level: 2, from: '10.255.0.2', portIndex: 9 });
  b.crash();
  world.run(4000 + 1200);
  t.false(g.routes.has('10.10.10.4/32'));
  t.deepEqual(a.claims.at(-1), { address: address('10.10.10.4'), level: undefined, from: '10.255.0.2' });
});

test('R4.6 a link that goes down takes its routes at once', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.until('the host at G', () => g.routes.has(H1));
  world.run(3000);
  g.down(0);
  world.run(15);
  t.false(g.routes.has(H1));
  a.down(0);
  g.up(0);
  a.up();
  world.until('back', () => g.routes.has(H1));
  t.pass();
});

test('R4.2 a restart: stale LSAs are kept for the grace, adopted when backed, flushed when not', (t) => {
  for (const settled of [true, false]) {
    const { world, wireA, g, a, b } = twoSwitches();
    a.announce(host('10.10.10.1'), host('10.10.10.2'));
    for (let turn = 0; turn < 3; turn++) {
      world.run(2000);
      a.withdraw('10.10.10.1');
      world.run(2000);
      a.announce(host('10.10.10.1'));
    }
    world.until('hosts at G', () => g.routes.has(H1) && g.routes.has(H2));
    const before = sequenceOf(a, '10.10.10.1');
    a.crash();
    const again = world.router('A', '10.255.0.1', [{ wire: wireA, address: '192.0.2.2', prefixLength: 30 }]);
    again.up();
    world.until('Full again', () => allFull(g, b, again));
    world.run(1500);
    t.true(g.routes.has(H1) && g.routes.has(H2), 'nothing is flushed before the table has settled');
    again.announce(host('10.10.10.1'));
    if (settled) again.handle({ kind: 'settled' });
    const took = world.until('stale host gone', () => !g.routes.has(H2));
    t.true(settled ? took < 20 : took < 5000, `${took}`);
    t.true(g.routes.has(H1));
    t.is(sequenceOf(again, '10.10.10.1'), before, 'what stands is not said again');
    world.run(3000);
    t.deepEqual(g.database(), again.database());
    t.deepEqual(g.database(), b.database());
  }
});

test('leaving: everything is flushed and acknowledged, then hellos without neighbours end the adjacency', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'), host('10.10.10.2'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(4000);
  a.handle({ kind: 'leave' });
  t.true(world.until('routes gone', () => g.routes.size === 0) < 20);
  world.until('acknowledged', () => a.machine.unacknowledged() === 0, 1000);
  a.handle({ kind: 'goodbye' });
  world.run(10);
  t.deepEqual(g.states(), ['Init', 'Full']);
  t.deepEqual(
    g.database().filter((text) => text.includes(String(ip('10.255.0.1')))),
    [],
  );
});

function sequenceOf(
  router: { machine: import('../../src/ospf/machine/machine.ts').OspfMachine; id: number },
  text: string,
) {
  for (const entry of router.machine.core.external.entries.values()) {
    const { linkStateId, advertisingRouter, sequence } = entry.lsa.header;
    if (linkStateId === ip(text) && advertisingRouter === router.id) return sequence;
  }
  return Number.NaN;
}

test('what a neighbour floods right after Full is taken at once: an answer to a request is no flooding', (t) => {
  const { world, g, a, b } = twoSwitches({ retransmit: 60_000 });
  a.announce(host('10.10.10.1'));
  world.until('Full everywhere', () => allFull(g, a, b));
  const took = world.until('the host at G', () => g.routes.has(H1));
  t.true(took < 250, `${took} ms`);
});

test('§14 a flush in the midst of an exchange with another neighbour goes when that is over', (t) => {
  const { world, wireB, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'));
  world.until('A is Full', () => a.states()[0] === 'Full' && g.routes.has(H1));
  wireB.delay = 300;
  g.handle({ kind: 'kill', address: ip('192.0.2.6'), reason: 'test' });
  world.until('G and B exchange', () => g.machine.core.exchanging > 0);
  a.withdraw('10.10.10.1');
  world.run(5);
  t.true(g.machine.core.exchanging > 0);
  t.is(g.machine.core.maxAged.size, 1);
  wireB.delay = 1;
  world.until('Full everywhere', () => allFull(g, a, b));
  world.until('removed', () => g.machine.core.maxAged.size === 0);
  t.deepEqual(g.database(), b.database());
});

test('a flush that a neighbour missed while it was away follows its exchange closely', (t) => {
  const world = new World();
  const wires = [new Wire('point-to-point'), new Wire('point-to-point')] as const;
  const options = { retransmit: 60_000, dead: 400_000 };
  const end = (index: 0 | 1, n: number) => ({
    wire: wires[index],
    address: `192.0.2.${n + 4 * index}`,
    prefixLength: 30,
  });
  const a = world.router('A', '10.255.0.1', [end(0, 2), end(1, 2)], options);
  const one = world.router('G1', '10.255.0.251', [end(0, 1)], options);
  const two = world.router('G2', '10.255.0.252', [end(1, 1)], options);
  for (const router of [a, one, two]) router.up();
  a.announce(host('10.10.10.1'));
  world.until('Full everywhere', () => allFull(a, one, two));
  world.until('the host at both', () => one.routes.has(H1) && two.routes.has(H1));
  world.run(3000);
  // G2 hears nothing, and so the flush stays on its list; G1 is away while it is made.
  wires[1].loss = 1;
  a.handle({ kind: 'kill', address: ip('192.0.2.1'), reason: 'test' });
  a.withdraw('10.10.10.1');
  world.until('G1 is back', () => a.states().length === 2 && allFull(a, one));
  t.true(world.until('G1 knows', () => one.machine.core.external.entries.size === 0) < 300);
});
