/** A port that is shut because its carrier is back and a crowd is behind it, where the kernel does not say so. */
import test from 'ava';
import { BOUNCE } from '../../src/portlink/index.ts';
import { gratuitous } from './speech.ts';
import { World } from './world.ts';

test('R4.7 a port that was just shut carries nobody, also while the kernel has not told of it', async (t) => {
  const scene = { protocol: 'bgp', uplinks: [0], bridged: false, six: false, sonic: false } as const;
  const world = new World(1, {
    scene,
    base: { upWhen: ['carrier'], recoveryDelay: 0, startupDelay: 0, returning: 'always', bounceFrom: 1 },
  });
  const { fate } = world.tors.A;
  world.gateway.start();
  for (const side of ['A', 'B'] as const) world.agents.start(side);
  await world.run(8_000);
  const { agent, kernel, face } = world.tors.A.life!;
  const there = agent!.hosts.hosts().filter(({ port, state }) => port === 'A1' && state === 'reachable');
  t.true(there.length > 0);
  world.cable('A', 1, 'test', true);
  await world.run(5_000);
  world.cable('A', 1, 'test', false);
  // What comes after the return of the carrier is lost: that the port is shut. A frame that came before it is read after it.
  fate.only = { call: 'link notification', fault: 'lost' };
  const [{ address, mac }] = there as [(typeof there)[0]];
  while (world.port('A', 1).adminUp) {
    face.heard(world.port('A', 1), gratuitous({ address, mac }));
    await world.run(0.02);
  }
  t.is(agent!.groups.keeperOf('A1') ?? agent!.groups.openerOf('A1'), BOUNCE);
  await world.run(1);
  t.true(kernel.port('A1')!.carrier, 'as far as is known');
  t.not(agent!.hosts.find(address)!.state, 'reachable');
  fate.only = undefined;
  await world.run(10_000);
  t.true(world.port('A', 1).adminUp);
  t.is(agent!.hosts.find(address)!.state, 'reachable');
  t.is(agent!.hosts.find(address)!.port, 'A1');
  for (const side of ['A', 'B'] as const) world.agents.crash(side);
});

test('R4.7 a port that could not be shut carries its hosts', async (t) => {
  const scene = { protocol: 'bgp', uplinks: [0], bridged: false, six: false, sonic: false } as const;
  const world = new World(1, {
    scene,
    base: { upWhen: ['carrier'], recoveryDelay: 0, startupDelay: 0, returning: 'always', bounceFrom: 1 },
  });
  const { fate } = world.tors.A;
  world.gateway.start();
  for (const side of ['A', 'B'] as const) world.agents.start(side);
  await world.run(8_000);
  const { agent } = world.tors.A.life!;
  const on = () => agent!.hosts.hosts().filter(({ port, state }) => port === 'A1' && state === 'reachable').length;
  const before = on();
  t.true(before > 0);
  world.cable('A', 1, 'test', true);
  await world.run(5_000);
  t.is(on(), 0);
  fate.only = { call: 'ports: shut', fault: 'error' };
  world.cable('A', 1, 'test', false);
  await world.run(5_000);
  fate.only = undefined;
  const shuts = agent!.events.since(0).filter(({ type }) => type === 'portlink.shut');
  t.is(shuts.length, 1);
  t.true(world.port('A', 1).adminUp);
  await world.run(5_000);
  t.is(on(), before);
  for (const side of ['A', 'B'] as const) world.agents.crash(side);
});
