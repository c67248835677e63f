/** That no way to the machine is left out: each can be struck by each of its faults, and each member of the faces is listed. */
import test from 'ava';
import { CALLS, type Call, type Coverage, FACE, type Fault, MACHINE } from './calls.ts';
import { SIDES } from './server.ts';
import { World } from './world.ts';

/** Everything that makes an agent use all that it has. */
async function live(call: Call, fault: Fault): Promise<Coverage> {
  const sonic = call.startsWith('Redis');
  const scene = { protocol: 'both', uplinks: [0], bridged: true, six: true, sonic, helps: true } as const;
  const base = { returning: 'always', recoveryDelay: 0, startupDelay: 0, upWhen: ['carrier', 'nexthop'] } as const;
  const world = new World(7, { scene, base: { ...base, upWhen: [...base.upWhen] } });
  for (const side of SIDES) world.tors[side].fate.only = { call, fault };
  world.gateway.start();
  for (const side of SIDES) world.agents.start(side);
  const struck = (): boolean => world.coverage.counts.has(`${call}: ${fault}`);
  const pass = async (ms: number): Promise<void> => {
    for (let rest = ms; rest > 0 && !struck(); rest -= 50) await world.run(50);
  };
  for (let round = 0; round < 4 && !struck(); round++) {
    await pass(6_000);
    world.cable('A', 0, 'test', true);
    await pass(1_000);
    world.cable('A', 0, 'test', false);
    world.cable('A', 1, 'test', round % 2 === 0);
    await pass(6_000);
    world.moveVm(world.vms[0]!, world.servers[round % 4]!);
    if (round % 2 === 1) world.agents.restart('A');
  }
  for (const side of SIDES) world.agents.crash(side);
  return world.coverage;
}

/** What one socket tells is lost together. */
const sameSocket = (key: string, call: Call): boolean => key.includes('notification') && call.endsWith('notification');

for (const [call, faults] of Object.entries(CALLS) as [Call, readonly Fault[]][]) {
  test(`${call}: ${faults.join(', ')}`, async (t) => {
    for (const fault of faults) {
      const { counts } = await live(call, fault);
      t.true((counts.get(`${call}: ${fault}`) ?? 0) > 0, `${call} was never hit by ${fault}`);
      t.deepEqual(
        [...counts.keys()].filter(
          (key) => key !== `${call}: ${fault}` && !(key.endsWith('lost') && sameSocket(key, call)),
        ),
        [],
        'nothing else was hit',
      );
    }
  });
}

test('every call is the way of some member of the faces', (t) => {
  const used = new Set([...Object.values(FACE), ...Object.values(MACHINE)].flat());
  t.deepEqual(
    Object.keys(CALLS).filter((call) => !used.has(call as Call)),
    [],
  );
});
