/** What must outlive a crash, when the disk was full before it. */
import test from 'ava';
import { World } from './world.ts';

test('R4.7 ports that were shut by a group which is gone after a crash are opened', async (t) => {
  const scene = { protocol: 'bgp', uplinks: [0], bridged: false, six: false, sonic: false } as const;
  const world = new World(1, { scene, base: { upWhen: ['carrier'], recoveryDelay: 0, startupDelay: 0 } });
  const open = () => [1, 2, 3, 4].filter((slot) => world.port('A', slot).adminUp);
  world.gateway.start();
  world.agents.start('A');
  await world.run(8_000);
  world.cable('A', 0, 'test', true);
  await world.run(3_000);
  t.deepEqual(open(), []);
  world.agents.crash('A');
  world.settings.A = { ...world.settings.A, groups: [] };
  world.agents.start('A');
  await world.run(3_000);
  t.deepEqual(open(), [1, 2, 3, 4]);
  world.agents.crash('A');
});

test('R4.7 a hold that ended while the disk was full stays ended over a crash', async (t) => {
  const scene = { protocol: 'bgp', uplinks: [0], bridged: false, six: false, sonic: false } as const;
  const world = new World(1, { scene, base: { upWhen: ['carrier'], recoveryDelay: 0, startupDelay: 0 } });
  const { fate } = world.tors.A;
  const held = () => world.tors.A.life!.agent!.groups.view('fabric')!.held;
  world.gateway.start();
  world.agents.start('A');
  await world.run(8_000);
  world.tors.A.life!.agent!.groups.hold('fabric', 'shut');
  await world.run(2_000);
  fate.only = { call: 'disk: save', fault: 'error' };
  world.tors.A.life!.agent!.groups.release('fabric');
  await world.run(2_000);
  fate.only = undefined;
  await world.run(10_000);
  world.agents.crash('A');
  world.agents.start('A');
  await world.run(2_000);
  t.is(held(), undefined);
  t.deepEqual(world.violations, []);
  world.agents.crash('A');
});
