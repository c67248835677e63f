import test from 'ava';
import { LsaType } from 'node-ospf-lsa';
import { allFull, host, Wire, World } from './simulation.ts';

const H1 = '10.10.10.1/32';
const H2 = '10.10.10.2/32';

function oneSwitch() {
  const world = new World();
  const wire = new Wire('point-to-point');
  const options = { announce: { as: 'nssa', metric: 20, metricType: 2 } } as const;
  const area = '0.0.0.1';
  const g = world.router('G', '10.255.0.254', [{ wire, address: '192.0.2.1', prefixLength: 30, area }], options);
  const a = world.router('A', '10.255.0.1', [{ wire, address: '192.0.2.2', prefixLength: 30, area }], options);
  g.up();
  a.up();
  a.announce(host('10.10.10.1'));
  world.until('the host at G', () => g.routes.get(H1)?.metric === 20);
  a.down(0);
  return { world, g, a };
}

test('R4.5 a host whose announcement changed while all uplinks were down is withdrawn all the same', (t) => {
  const { world, g, a } = oneSwitch();
  a.handle({ kind: 'drain', on: true });
  a.withdraw('10.10.10.1');
  a.up();
  world.until('Full again', () => allFull(g, a));
  world.run(7_000);
  t.false(g.routes.has(H1));
  for (const { machine } of [g, a]) {
    const entries = [...machine.core.areas.values()].flatMap(({ database }) => [...database.entries.values()]);
    t.deepEqual(
      entries.filter(({ lsa }) => lsa.header.type === LsaType.Nssa),
      [],
    );
  }
});

test('what changed while all uplinks were down is heard when one is back', (t) => {
  const { world, g, a } = oneSwitch();
  a.announce(host('10.10.10.1', 2), host('10.10.10.2'));
  a.up();
  world.until('Full again', () => allFull(g, a));
  world.run(7_000);
  t.is(g.routes.get(H1)?.metric, 18);
  t.is(g.routes.get(H2)?.metric, 20, 'never announced before');
});
