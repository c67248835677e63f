/** A drain that meets a group's own doings; what random stories found once. */
import test from 'ava';
import { Monitor } from './invariants.ts';
import { quietEnd } from './quiet-end.ts';
import { SIDES } from './server.ts';
import { World } from './world.ts';

async function begun(): Promise<World> {
  const world = new World(3, {
    scene: { protocol: 'bgp', uplinks: [0], bridged: false, six: false, sonic: false, helps: false, echoes: false },
    base: {
      recoveryDelay: 500,
      startupDelay: 0,
      probe: { interval: 1_000, retries: 1, timeout: 200 },
      returning: 'always',
      upWhen: ['carrier'],
    },
  });
  new Monitor(world).begin();
  world.gateway.start();
  for (const side of SIDES) world.agents.start(side);
  await world.run(10_000);
  return world;
}

const order = (ports: readonly string[]) => ({ ports, whole: false, pause: 0, timeout: 2_000, force: false });

for (const [what, wait] of [
  ['that its group has shut', 3_000],
  ['that its group is about to open', 520],
] as const) {
  test(`R4.4 R4.7 a port ${what} is drained: no recovery opens it, and undrain brings its hosts back`, async (t) => {
    const world = await begun();
    const { drain } = world.tors.A.life!.agent!;
    world.cable('A', 0, 'test', true);
    await world.run(3_000);
    t.false(world.port('A', 1).adminUp);
    if (wait < 1_000) {
      world.cable('A', 0, 'test', false);
      await world.run(wait);
      let waited = 0;
      while (!world.tors.A.life!.agent!.fabric.readiness().ready && waited++ < 5_000) await world.run(1);
    }
    drain.drain(order(['A1']));
    await world.run(wait);
    world.cable('A', 0, 'test', false);
    await world.run(10_000);
    t.is(drain.view().ports[0]!.state, 'shut');
    t.false(world.port('A', 1).adminUp);
    t.true(world.port('A', 2).adminUp);

    drain.undrain(order(['A1']));
    await world.run(40_000);
    quietEnd(world);
    t.deepEqual(world.violations, []);
    t.true(world.places('10.10.10.1').has('A'));
    for (const side of SIDES) world.agents.crash(side);
  });
}
