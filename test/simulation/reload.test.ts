/** What a reload may do to ports, on the simulated switches. */
import test from 'ava';
import { World } from './world.ts';

function calmWorld(): World {
  const scene = { protocol: 'bgp', uplinks: [0], bridged: false, sonic: false } as const;
  const world = new World(1, { scene, base: { upWhen: ['adjacency'], recoveryDelay: 3_000, startupDelay: 500 } });
  world.gateway.start();
  world.agents.start('A');
  return world;
}

test('R4.6 a reload that resets the session to the gateway shuts no port', async (t) => {
  const world = calmWorld();
  await world.run(10_000);
  const from = world.lines.length;
  world.agents.reload('A', { hold: 9 });
  await world.run(20_000);
  const since = world.lines.slice(from);
  t.true(
    since.some((line) => line.includes('G hears A')),
    'the session was to be reset',
  );
  t.deepEqual(
    since.filter((line) => line.includes('A shuts')),
    [],
  );
  world.agents.crash('A');
});

test('R4.6 a session that a reload reset, and that does not come back, shuts the ports after all', async (t) => {
  const world = calmWorld();
  await world.run(10_000);
  const at = world.clock.now();
  world.tors.A.silent.add(0);
  world.agents.reload('A', { hold: 9 });
  await world.run(20_000);
  const shut = world.lines.filter((line) => line.includes('A shuts') && Number.parseFloat(line) >= at);
  t.is(shut.length, 1);
  t.true(Number.parseFloat(shut[0]!) >= at + 10_000);
  world.agents.crash('A');
});

test('R4.6 the uplink that breaks while its session is being reset by a reload shuts the ports at once', async (t) => {
  const world = calmWorld();
  await world.run(10_000);
  const at = world.clock.now();
  world.tors.A.silent.add(0);
  world.agents.reload('A', { hold: 9 });
  await world.run(1_000);
  world.cable('A', 0, 'test', true);
  await world.run(1_000);
  const shut = world.lines.filter((line) => line.includes('A shuts') && Number.parseFloat(line) >= at);
  t.is(shut.length, 1);
  t.true(Number.parseFloat(shut[0]!) >= at + 1_000);
  world.agents.crash('A');
});

test('R4.2 the carriers of a port that a reload adds are watched from then on', async (t) => {
  const world = calmWorld();
  await world.run(1_000);
  const { agent, kernel } = world.tors.A.life!;
  let watched: readonly string[] = [];
  kernel.watchCarriers = (names) => {
    watched = [...names];
  };
  const loaded = world.agents.config('A');
  const portLink = loaded.config.portLink.map((group) => ({ ...group, uplinks: [...group.uplinks, 'A9'] }));
  agent!.reload({ ...loaded, config: { ...loaded.config, portLink } });
  t.true(watched.includes('A9'));
  world.agents.crash('A');
});
