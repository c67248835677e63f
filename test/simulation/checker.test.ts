/**
 * The invariants can fail: each is shown a switch with a defect that it must see, in a story that is well without it.
 * The defects are put in from outside, where the agent meets its machine or its own parts.
 */
import test from 'ava';
import { RTM } from 'rtnetlink-ts';
import type { TorSwitch } from '../../src/agent/tor/switch.ts';
import type { HostDelta } from '../../src/model/hosts.ts';
import { Monitor } from './invariants.ts';
import { quietEnd } from './quiet-end.ts';
import type { Scene, Settings } from './scene.ts';
import { SIDES } from './server.ts';
import type { Life } from './tor.ts';
import { World } from './world.ts';

const SCENE: Partial<Scene> = { uplinks: [0], bridged: false, six: false, sonic: false, helps: false, echoes: false };
const BASE: Partial<Settings> = {
  recoveryDelay: 500,
  startupDelay: 0,
  probe: { interval: 1_000, retries: 1, timeout: 200 },
  returning: 'never',
  upWhen: ['carrier'],
};

interface Case {
  readonly title: string;
  readonly scene?: Partial<Scene>;
  readonly sees: RegExp;
  defect(world: World, life: Life, agent: TorSwitch): void;
  /** What happens to the switch A, with the defect and without. */
  happens(world: World): Promise<void>;
}

async function play({ scene, happens }: Case, defect: Case['defect']): Promise<readonly string[]> {
  const world = new World(3, {
    scene: { protocol: 'bgp', ...SCENE, ...scene },
    base: {
      ...BASE,
      groups: [
        {
          name: 'fabric',
          uplinks: [0],
          downlinks: [1, 2, 3, 4],
          minUplinks: 1,
          shut: 'all',
          priority: [],
          direction: 'uplink',
          shutUplinks: false,
          deferDelay: 0,
          dryRun: false,
        },
      ],
    },
  });
  const monitor = new Monitor(world);
  world.gateway.start();
  for (const side of SIDES) world.agents.start(side);
  monitor.begin();
  await world.run(10_000);
  const life = world.tors.A.life!;
  defect(world, life, life.agent!);
  await happens(world);
  if (world.violations.length === 0) quietEnd(world);
  for (const side of SIDES) world.agents.crash(side);
  return world.violations;
}

const uplinkFlaps = async (world: World): Promise<void> => {
  world.cable('A', 0, 'test', true);
  await world.run(8_000);
  world.cable('A', 0, 'test', false);
  await world.run(18_000);
};

const serverLinkBreaks = async (world: World): Promise<void> => {
  world.cable('A', 1, 'test', true);
  await world.run(16_000);
  world.cable('A', 1, 'test', false);
  await world.run(12_000);
};

const vmFallsSilent = async (world: World): Promise<void> => {
  world.vms[0]!.alive = false;
  await world.run(25_000);
};

const drained = async (world: World): Promise<void> => {
  const { drain } = world.tors.A.life!.agent!;
  const order = { ports: ['A1'], whole: true, pause: 0, timeout: 2_000, force: false };
  drain.drain(order);
  await world.run(8_000);
  drain.undrain(order);
  await world.run(30_000);
};

const withoutWithdrawals = (delta: HostDelta): HostDelta => ({ ...delta, withdrawn: [] });

const CASES: readonly Case[] = [
  {
    title: 'a withdrawal that never reaches BGP',
    sees: /G has 10\.10\.10\.\d+\/32 from BGP A0, unlike the agent/,
    defect(_world, _life, { fabric }) {
      const bgp = fabric.bgp!;
      const apply = bgp.apply.bind(bgp);
      bgp.apply = (delta) => apply(withoutWithdrawals(delta));
    },
    happens: serverLinkBreaks,
  },
  {
    title: 'a withdrawal that never reaches OSPF',
    scene: { protocol: 'ospf', ospf: ospfAs('external') },
    sees: /G has 10\.10\.10\.\d+\/32 from OSPF A0, unlike the agent/,
    defect(_world, _life, { fabric }) {
      const ospf = fabric.ospf!;
      const apply = ospf.apply.bind(ospf);
      ospf.apply = (delta) => apply(withoutWithdrawals(delta));
    },
    happens: serverLinkBreaks,
  },
  {
    title: 'an announcement that never reaches OSPF',
    scene: { protocol: 'ospf', ospf: ospfAs('stub-link') },
    sees: /G has not got 10\.10\.10\.\d+\/32 from OSPF A0, unlike the agent/,
    defect(_world, _life, { fabric }) {
      const ospf = fabric.ospf!;
      const apply = ospf.apply.bind(ospf);
      ospf.apply = (delta) => apply({ ...delta, announced: [] });
    },
    happens: serverLinkBreaks,
  },
  {
    title: 'a host table that hears nothing of ports',
    sees: /A announces 10\.10\.10\.\d+ on A1, which is down/,
    defect(_world, _life, { hosts }) {
      hosts.portChange = () => {};
    },
    happens: serverLinkBreaks,
  },
  {
    title: 'hosts that are never asked',
    sees: /A 10\.10\.10\.1\/32 is announced for \d+ ms and is not there/,
    defect(world, life) {
      // As if every question were answered.
      const chat = (): void => {
        const [vm] = world.vms;
        if (vm!.alive === false) {
          vm!.alive = true;
          vm!.server.chat(vm!);
          vm!.alive = false;
        }
        if (!life.clock.dead) world.clock.after(150, chat);
      };
      chat();
    },
    happens: vmFallsSilent,
  },
  {
    title: 'prefixes that are not heeded',
    sees: /A announces 10\.99\.0\.7\/32/,
    defect(world) {
      world.agents.reload('A', { prefix: '10.99.0.0/24' });
    },
    happens: (world) => world.run(20_000),
  },
  {
    title: 'ports that are not shut when the uplink is lost',
    sees: /A\d is open, and its group has had 0 uplinks for/,
    defect(_world, { face }) {
      const setAdmin = face.setAdmin.bind(face);
      face.setAdmin = (ports, up) => (up ? setAdmin(ports, up) : Promise.resolve());
    },
    happens: uplinkFlaps,
  },
  {
    title: 'ports that are not opened again',
    sees: /A\d is (shut, and no group says why|still shut \d+ ms after its reason has gone)/,
    defect(_world, { face }) {
      const setAdmin = face.setAdmin.bind(face);
      face.setAdmin = (ports, up) => (up ? Promise.resolve() : setAdmin(ports, up));
    },
    happens: uplinkFlaps,
  },
  {
    title: 'a group that believes its uplink lost for ever',
    sees: /A\d is still shut \d+ ms after its reason has gone/,
    defect(_world, _life, { groups }) {
      const portChanged = groups.portChanged.bind(groups);
      groups.portChanged = (change) =>
        change.name === 'A0' && change.after?.carrier ? undefined : portChanged(change);
    },
    happens: uplinkFlaps,
  },
  {
    title: 'drained ports that stay shut',
    sees: /A1 is (shut, and no group says why|still shut \d+ ms after its reason has gone)|the drain of A is partial/,
    defect(_world, _life, { groups }) {
      groups.undrain = () => {};
    },
    happens: drained,
  },
  {
    title: 'hosts that are withdrawn after their port is shut for planned work',
    sees: /A announces 10\.10\.10\.\d+ on A1, which it has shut/,
    defect(world, _life, { hosts }) {
      const portChange = hosts.portChange.bind(hosts);
      hosts.blockPorts = () => {};
      hosts.portChange = (change) => void world.clock.after(300, () => portChange(change));
    },
    happens: drained,
  },
  {
    title: 'a port that is shut without a reason',
    sees: /A shuts A2, and no group has a reason/,
    defect(world, { face }) {
      world.clock.after(5_000, () => face.setAdmin(['A2'], false));
    },
    happens: (world) => world.run(20_000),
  },
  {
    title: "an operator's port that is opened",
    sees: /A opens A2, which an operator has shut/,
    defect(world, { face }) {
      world.clock.after(5_000, () => face.setAdmin(['A2'], true));
    },
    async happens(world) {
      const port = world.port('A', 2);
      port.operator = true;
      world.tors.A.box.setAdmin(port, false);
      await world.run(20_000);
    },
  },
  {
    title: 'hosts that are withdrawn after their port is shut',
    sees: /A announces 10\.10\.10\.\d+ on A\d, which it has shut/,
    defect(world, _life, { hosts }) {
      const blockPorts = hosts.blockPorts.bind(hosts);
      const portChange = hosts.portChange.bind(hosts);
      hosts.blockPorts = (...all) => void world.clock.after(300, () => blockPorts(...all));
      hosts.portChange = (change) => void world.clock.after(300, () => portChange(change));
    },
    happens: uplinkFlaps,
  },
  {
    title: 'routes that never reach the kernel',
    sees: /A lacks kernel routes of 10\.10\.10\./,
    defect(world) {
      const { box } = world.tors.A;
      const request = box.request.bind(box);
      box.request = (each) => (each.type === RTM.NEWROUTE ? undefined : request(each));
    },
    happens: serverLinkBreaks,
  },
  {
    title: 'routes that stay in the kernel',
    sees: /A still has a kernel route for 10\.10\.10\./,
    defect(world) {
      const { box } = world.tors.A;
      const routes = box.routes.delete.bind(box.routes);
      box.routes.delete = (key) => (box.routes.get(key)?.destination.endsWith('/32') ? true : routes(key));
    },
    happens: async (world) => {
      world.vms[0]!.alive = false;
      await world.run(30_000);
    },
  },
  {
    title: 'an exception',
    sees: /an exception: Error: by design/,
    defect(_world, { clock }) {
      clock.after(10, () => {
        throw new Error('by design');
      });
    },
    happens: (world) => world.run(1_000),
  },
  {
    title: 'timers that are never done',
    sees: /time stands still/,
    defect(_world, { clock }) {
      const again = (): void => void clock.schedule(clock.now(), again);
      again();
    },
    happens: (world) => world.run(1_000),
  },
];

function ospfAs(as: Scene['ospf']['as']): Scene['ospf'] {
  return { as, metricType: 2, network: 'point-to-point', area: '0.0.0.0', dead: 4 };
}

for (const each of CASES) {
  test(`seen: ${each.title}`, async (t) => {
    const well = await play(each, () => {});
    t.deepEqual(well, [], 'without the defect');
    const seen = await play(each, each.defect);
    t.regex(seen.join('\n'), each.sees);
  });
}
