/**
 * `peerless cleanup`: an agent is killed in the midst of its work and no other comes. Afterwards the kernel has nothing of
 * it, and what it had shut is open.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Stand } from './stand.ts';

const TABLE = 4711;

let stand: Stand;

test.before(async (t) => {
  t.timeout(180_000);
  stand = await Stand.up({ protocol: 'both', gateway: 'frr' });
  await stand.signal('SIGTERM');
  stand.editConfig((config) => {
    config.kernel = { ...config.kernel, handoffTable: TABLE };
  });
  await stand.start();
});

test.afterEach.always((t) => stand.mend(t));

test.after.always(() => stand?.down());

const cleanup = (...words: string[]) => stand.cli(['cleanup', '--config', stand.configFile(), ...words]);

/** What bears our mark, in any table, of both families. */
async function ours(): Promise<string[]> {
  const found: string[] = [];
  for (const family of ['-4', '-6']) {
    for (const protocol of [201, 202, 203]) {
      const routes = await stand.ip('A', family, 'route', 'show', 'table', 'all', 'proto', String(protocol));
      found.push(...routes.split('\n').filter((line) => line !== ''));
    }
  }
  const neighbours = await stand.ip('A', 'neighbour', 'show');
  found.push(...neighbours.split('\n').filter((line) => /extern_learn/.test(line)));
  const links = await stand.ip('A', '-o', 'link', 'show');
  found.push(...links.split('\n').filter((line) => line.includes('plhold')));
  return found;
}

const arpIgnore = async (port: string): Promise<string> =>
  (await stand.exec('A', 'cat', `/proc/sys/net/ipv4/conf/${port}/arp_ignore`)).stdout.trim();

async function nothingIsLeft(t: ExecutionContext): Promise<void> {
  t.deepEqual(await ours(), []);
  t.deepEqual(await stand.shutPorts(), []);
}

test.serial('while an agent answers it is refused, and a dry run tells what there is', async (t) => {
  t.timeout(120_000);
  await stand.untilHome();
  const refused = await cleanup();
  t.is(refused.code, 1, refused.stderr);
  t.regex(refused.stderr, /an agent answers on .*\n.*systemctl stop/);
  let found: Record<string, number | boolean | string[]> = {};
  await stand.until(
    'the dry run finds all of it',
    async () => {
      const dry = await cleanup('--dry-run', '--json');
      t.is(dry.code, 0, dry.stderr);
      ({ found } = JSON.parse(dry.stdout) as { found: typeof found });
      // Two hosts, in the main table and in that which is handed over.
      return found.hostRoutes === 4 && found.neighbours === 2 && (found.learnedRoutes as number) > 0;
    },
    () => found,
  );
  t.like(found, { ports: [], unreachable: 1, waitingRoom: true, silenced: [] });
  await stand.untilHome();
});

test.serial('R4.6 killed with its uplink lost and all ports shut: cleanup opens them', async (t) => {
  t.timeout(120_000);
  stand.cables(['A0'], false);
  await stand.until(
    'the group has shut its ports',
    async () => (await stand.shutPorts()).length === 4,
    () => stand.shutPorts(),
  );
  const shut = await stand.shutPorts();
  await stand.signal('SIGKILL');
  const dry = await cleanup('--dry-run');
  t.is(dry.code, 0, dry.stderr);
  t.true(dry.stdout.includes(`would be undone: shut: ${shut.join(' ')}`), dry.stdout);
  t.deepEqual(await stand.shutPorts(), shut);
  const done = await cleanup();
  t.is(done.code, 0, done.stdout + done.stderr);
  await nothingIsLeft(t);
  const { ports } = JSON.parse(readFileSync(join(stand.directory('A'), 'state/ports.json'), 'utf8'));
  t.deepEqual(ports, [], 'who shuts one of them by hand does not find it opened');
  stand.cables(['A0'], true);
  await stand.start();
  await stand.untilHome();
});

test.serial(
  'R4.6 killed in a drain and in a storm: nothing of it is left, and with --purge it never was',
  async (t) => {
    t.timeout(120_000);
    const drained = await stand.cli(['drain', '--port', 'A2', '--force']);
    t.is(drained.code, 0, drained.stdout + drained.stderr);
    t.deepEqual(await stand.shutPorts(), ['A2']);
    await stand.signal('SIGKILL');
    await stand.exec('A', 'sysctl', '-qw', 'net.ipv4.conf.A1.arp_ignore=8');
    // The operator's own, which nobody of ours remembers.
    await stand.ip('A', 'link', 'set', 'A3', 'down');
    t.true((await ours()).length > 4);
    const done = await cleanup('--purge', '--json');
    t.is(done.code, 0, done.stdout + done.stderr);
    const { found, left } = JSON.parse(done.stdout) as Record<'found' | 'left', Record<string, unknown>>;
    t.like(found, { ports: ['A2'], silenced: ['A1'], waitingRoom: true });
    t.like(left, { ports: [], hostRoutes: 0, learnedRoutes: 0, unreachable: 0, neighbours: 0, waitingRoom: false });
    t.deepEqual([left!.silenced, left!.files, left!.problems], [[], [], []]);
    t.deepEqual(await ours(), []);
    t.deepEqual(await stand.shutPorts(), ['A3']);
    t.is(await arpIgnore('A1'), '0');
    const state = readdirSync(join(stand.directory('A'), 'state')).filter((name) =>
      /ports\.json|drain|hosts\.json|ospf/.test(name),
    );
    t.deepEqual(state, []);
    const again = await cleanup();
    t.is(again.code, 0);
    t.is(again.stdout, 'Nothing of an agent is here.\n');
  },
);

test.serial('a configuration that is wrong is told as such, and nothing is touched', async (t) => {
  stand.editConfig((config) => {
    config.kernel.protocol = 'bgp?';
  });
  const refused = await cleanup();
  t.is(refused.code, 2, refused.stdout);
  t.regex(refused.stderr, /kernel\.protocol[\s\S]*name the file that the agent ran with/);
});
