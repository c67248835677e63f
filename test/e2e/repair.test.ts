/**
 * The repair path between two real agents, with FRR as G by BGP. G's bgpd is stopped for the while of a fault, so that
 * nothing that G could do helps: what arrives, arrives through the tunnel.
 */
import test from 'ava';
import { sleep } from '../../lab/processes.ts';
import type { TorName } from '../../lab/topology/plan.ts';
import { TORS } from '../../lab/topology/plan.ts';
import type { StatusView } from '../../src/agent/api.ts';
import { Stand } from './stand.ts';

let stand: Stand;

const uplinkOf = async (tor: TorName): Promise<string> => {
  const { uplinks } = await stand.status(tor);
  return uplinks[0]!.addresses!.find((each) => !each.includes(':'))!;
};

/** Both of A's hosts have a backup that leads to B. */
async function untilReady(): Promise<void> {
  const via = await uplinkOf('B');
  await stand.until(
    'both hosts of A have a backup',
    async () => {
      const own = (await stand.hosts('A')).filter(({ state }) => state !== 'shadow');
      return own.length === 2 && own.every(({ repair }) => repair?.via === via);
    },
    () => stand.hosts('A'),
  );
}

const backups = async (): Promise<string[]> =>
  (await stand.ip('A', 'route', 'show', 'proto', '205')).split('\n').filter((line) => line.includes('rep0'));

/** Everything that there can be of a repair path. */
async function traces(): Promise<string[]> {
  const lines: string[] = [];
  for (const family of ['-4', '-6']) {
    const rules = await stand.ip('A', family, 'rule', 'show');
    const routes = await stand.ip('A', family, 'route', 'show', 'table', 'all', 'proto', '205');
    lines.push(...rules.split('\n').filter((line) => line.includes('rep0')), ...routes.split('\n').filter(Boolean));
  }
  const objects = (await stand.ip('A', 'nexthop', 'show')).split('\n').filter(Boolean);
  const links = (await stand.ip('A', '-o', 'link', 'show')).split('\n').filter((line) => line.includes('rep0'));
  return [...lines, ...objects, ...links];
}

const passedOver = async (): Promise<string> =>
  (await stand.exec('A', 'cat', '/proc/sys/net/ipv4/conf/A2/ignore_routes_with_linkdown')).stdout.trim();

async function stopGateway(stop: boolean): Promise<void> {
  const { stdout } = await stand.exec('G', 'cat', `${stand.directory('G')}/bgpd.pid`);
  process.kill(Number(stdout.trim()), stop ? 'SIGSTOP' : 'SIGCONT');
}

test.before(async (t) => {
  t.timeout(180_000);
  stand = await Stand.up({
    protocol: 'bgp',
    gateway: 'frr',
    settings: ({ bgp, ...rest }, tor) => ({
      ...rest,
      shadow: { enabled: true, twin: TORS[tor === 'A' ? 'B' : 'A'].routerId },
      // A gateway that is stopped for a moment is not to lose its sessions.
      bgp: {
        ...bgp,
        neighbors: (bgp!.neighbors as object[]).map((neighbor) => ({
          ...neighbor,
          timers: { keepalive: '10s', hold: '60s' },
        })),
      },
    }),
  });
});

test.afterEach.always((t) => stand.mend(t));

test.after.always(() => stand?.down());

test.serial('R4.5 hosts that the other switch stands by for have a backup, and it is shown', async (t) => {
  t.timeout(120_000);
  await stand.untilHome();
  await untilReady();
  const via = await uplinkOf('B');
  t.is((await backups()).length, 2);
  t.like(await stand.status(), { repair: { ready: 2, inUse: 0, via: [via] } });
  const { stdout } = await stand.cli(['hosts']);
  t.is(stdout.split('\n').filter((line) => line.includes(`ready via ${via}`)).length, 2, stdout);
  t.regex((await stand.cli(['status'])).stdout, new RegExp(`repair +ready for 2 via ${via}`));
  t.is(await passedOver(), '1');
});

test.serial('R4.5 the server link fails while the gateway can do nothing: packets go through B', async (t) => {
  t.timeout(120_000);
  const before = (await stand.counters('B')).repair!.arrived!;
  // A gateway that stays stopped would fail all that follows.
  t.teardown(() => stopGateway(false));
  let inUse: StatusView['repair'];
  const probed = await stand.probing(async () => {
    await stopGateway(true);
    stand.cables(['A2'], false);
    await sleep(1_500);
    ({ repair: inUse } = await stand.status());
  });
  const { C4, ...others } = probed;
  // Without it everything is lost from the fault on; the server's own switch-over is the only loss with it.
  t.true(C4.lost < 500, JSON.stringify(probed));
  t.true((await stand.counters('B')).repair!.arrived! - before > 500, JSON.stringify(await stand.counters('B')));
  t.deepEqual(
    Object.values(others).map(({ lost }) => lost),
    [0, 0, 0],
  );
  t.like(inUse, { ready: 1, inUse: 1 });
  await stopGateway(false);
  await stand.until('G reaches it through B', async () => (await stand.fib())['10.10.10.2']?.join() === 'B', stand.fib);
  await stand.until('the backup is gone', async () => (await backups()).length === 1, backups);
  const told = async () => (await stand.events()).map(({ type }) => type);
  for (const type of ['repair.inUse', 'repair.over'])
    await stand.until(`${type} is told`, async () => (await told()).includes(type), told);
  t.deepEqual(
    (await stand.events()).filter(({ type }) => type === 'agent.error'),
    [],
  );
});

test.serial('R4.5 and back: the server returns to A, and has a backup again', async (t) => {
  t.timeout(120_000);
  stand.cables(['A2'], true);
  await stand.untilHome();
  await untilReady();
  t.is((await backups()).length, 2);
});

test.serial(
  'R4.5 nobody takes the server up: the backup goes after hold and margin, and nothing goes round',
  async (t) => {
    t.timeout(120_000);
    stand.cables(['A2', 'B2'], false);
    await stand.until('it is in use', async () => (await stand.status()).repair!.inUse === 1);
    await stand.until('the backup is gone', async () => (await backups()).length === 1, backups);
    const [a, b] = [(await stand.counters('A')).repair!, (await stand.counters('B')).repair!];
    t.is(a.arrived, 0, 'what B can not deliver does not come back');
    t.is(b.sent, 0);
    stand.cables(['A2', 'B2'], true);
    await stand.untilHome();
    await untilReady();
  },
);

test.serial('R4.5 killed: the backups stand; the next life takes them over', async (t) => {
  t.timeout(120_000);
  await stand.signal('SIGKILL');
  t.is((await backups()).length, 2);
  await stand.start();
  t.is((await backups()).length, 2);
  await stand.untilHome();
  await untilReady();
});

test.serial('R4.5 killed with repair switched off afterwards, or stopped: nothing is left of it', async (t) => {
  t.timeout(120_000);
  await stand.signal('SIGKILL');
  t.true((await traces()).length > 0);
  stand.editConfig((config) => {
    config.shadow.repair = false;
  });
  await stand.start();
  t.deepEqual(await traces(), []);
  t.is(await passedOver(), '0');
  await stand.signal('SIGTERM');
  stand.editConfig((config) => {
    config.shadow.repair = true;
  });
  await stand.start();
  await stand.untilHome();
  await untilReady();
  await stand.signal('SIGTERM');
  t.deepEqual(await traces(), []);
  t.is(await passedOver(), '0');
  await stand.start();
  await stand.untilHome();
  await untilReady();
});

test.serial('R4.5 killed, and no other life comes: cleanup takes all of it', async (t) => {
  t.timeout(120_000);
  await stand.signal('SIGKILL');
  const done = await stand.cli(['cleanup', '--config', stand.configFile(), '--purge', '--json']);
  t.is(done.code, 0, done.stdout + done.stderr);
  const { found, left } = JSON.parse(done.stdout) as Record<'found' | 'left', Record<string, unknown>>;
  t.true((found!.repair as number) > 0);
  t.true((found!.passedOver as string[]).includes('A2'));
  t.like(left, { repair: 0, passedOver: [], files: [] });
  t.deepEqual(await traces(), []);
  t.is(await passedOver(), '0');
});
