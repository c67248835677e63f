/** `peerless drain` and `undrain` as an operator uses them: on agents, kernels and a gateway that are real. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { namespaceOf } from '../../lab/topology/plan.ts';
import type { DrainView } from '../../src/agent/api.ts';
import { Stand } from './stand.ts';

const C3 = '10.10.10.1';
const C4 = '10.10.10.2';
const ALL = ['A1', 'A2', 'A3', 'A4'];

async function standUp(t: ExecutionContext, options: Parameters<typeof Stand.up>[0]): Promise<Stand> {
  t.timeout(240_000);
  const stand = await Stand.up(options);
  t.teardown(() => stand.down());
  await isReady(stand);
  return stand;
}

async function isReady(stand: Stand): Promise<void> {
  await stand.untilHome();
  await stand.until(
    'the fabric is ready',
    async () => (await stand.events()).some(({ type, fields }) => type === 'upstream' && fields.ready === true),
    () => stand.events(),
  );
}

/** Each of the tests that share it ends with everything at home. */
let common: Stand | undefined;
test.after.always(() => common?.down());

async function shared(t: ExecutionContext): Promise<Stand> {
  t.timeout(240_000);
  common ??= await Stand.up({ protocol: 'bgp' });
  await isReady(common);
  return common;
}

const drainOf = (stand: Stand): Promise<DrainView> => stand.ask('/v1/drain');

for (const protocol of ['bgp', 'ospf'] as const) {
  test.serial(`R4.7 drain, restart, undrain: nobody is lost on the way to a server, ${protocol}`, async (t) => {
    const stand = protocol === 'bgp' ? await shared(t) : await standUp(t, { protocol });
    const plan = await stand.cli(['drain', '--dry-run']);
    t.is(plan.code, 0);
    t.regex(plan.stdout, /shut A1\n {4}10\.10\.10\.1 {2}moves, if it has a standby link\n/);
    t.deepEqual(await stand.shutPorts(), [], 'a dry run does nothing');

    const there = await stand.probing(async () => {
      const { code, stdout } = await stand.cli(['drain']);
      t.is(code, 0, stdout);
      t.regex(stdout, /^A2 {2}shut +1 of 1 hosts moved/m);
    });
    for (const [server, { sent, lostTo }] of Object.entries(there)) {
      t.true(sent > 1_000);
      t.is(lostTo, 0, `${server} during the drain`);
    }
    t.deepEqual(await stand.shutPorts(), ALL);
    await stand.until(
      'G reaches all of them through B',
      async () => {
        const fib = await stand.fib();
        const all = [C3, C4, '10.10.10.4', '10.10.10.5'];
        return Object.keys(fib).length === all.length && all.every((address) => fib[address]?.join() === 'B');
      },
      stand.fib,
    );
    t.regex((await stand.cli(['status'])).stdout, /^drain +drained for .*, 4 of 4 ports shut/m);
    t.regex((await stand.cli(['portlink', 'list'])).stdout, /4\/4 \(4 drained\)/);

    t.log('a crash, and a planned restart: it stays drained');
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      await stand.signal(signal);
      await stand.start();
      t.deepEqual(await stand.shutPorts(), ALL, signal);
      t.is((await drainOf(stand)).phase, 'drained', signal);
    }
    t.log('a boot, at which the system opens its ports: they are shut before anything is learned there');
    await stand.signal('SIGKILL');
    for (const port of ALL) await stand.ip('A', 'link', 'set', port, 'up');
    await stand.start();
    t.deepEqual(await stand.shutPorts(), ALL);
    await stand.until(
      'the fabric is ready again',
      async () => (await stand.events()).some(({ type, fields }) => type === 'upstream' && fields.ready === true),
      () => stand.events(),
    );

    const wayBack = await stand.cli(['undrain', '--dry-run']);
    t.is(wayBack.code, 0);
    t.regex(wayBack.stdout, /as preferable as they were\n {2}open A1\n {2}open A2\n {2}open A3\n {2}open A4\n$/);
    t.deepEqual(await stand.shutPorts(), ALL, 'a dry run does nothing');
    const back = await stand.probing(async () => {
      const { code, stdout } = await stand.cli(['undrain']);
      t.is(code, 0, stdout);
      await stand.untilHome();
    });
    for (const [server, { lost }] of Object.entries(back)) t.is(lost, 0, `${server} during the undrain`);
    t.is((await drainOf(stand)).phase, 'none');
    const { drain } = await stand.counters();
    t.is(drain!.lowered, 0);
  });
}

test.serial('R4.7 a server without another path keeps its port; --force takes it', async (t) => {
  const stand = await shared(t);
  stand.cables(['B2'], false);
  const refused = await stand.cli(['drain', '--timeout', '1s', '--pause', '200ms']);
  t.is(refused.code, 1, refused.stdout);
  t.regex(refused.stdout, /no other path seen for 10\.10\.10\.2 \(A2\)/);
  t.deepEqual(await stand.shutPorts(), ['A1', 'A3', 'A4']);
  await stand.until(
    'C4 is at A2 again',
    async () => (await stand.kernelHosts())[C4] === 'A2' && (await stand.fib())[C4]?.join() === 'A',
    () => stand.hosts(),
  );
  t.is((await drainOf(stand)).phase, 'partial');
  const forced = await stand.cli(['drain', '--force', '--timeout', '1s', '--pause', '200ms']);
  t.is(forced.code, 0, forced.stdout);
  t.deepEqual(await stand.shutPorts(), ALL);
  await stand.until('nobody announces C4', async () => ((await stand.fib())[C4] ?? []).length === 0, stand.fib);
  stand.cables(['B2'], true);
  t.is((await stand.cli(['undrain', '--pause', '200ms'])).code, 0);
  await stand.untilHome();
});

test.serial(
  'R4.7 an agent that is killed while a port moves opens that port again, and leaves the others drained',
  async (t) => {
    const stand = await shared(t);
    stand.cables(['B2'], false);
    const command = stand.cli(['drain', '--timeout', '30s', '--pause', '100ms']);
    await stand.until('A2 is under way', async () => (await stand.shutPorts()).includes('A2'));
    await stand.signal('SIGKILL');
    t.is((await command).code, 3);
    await stand.start();
    t.deepEqual(await stand.shutPorts(), ['A1', 'A2'], 'not before there is a way out');
    await stand.until(
      'C4 is back at A2',
      async () => (await stand.kernelHosts())[C4] === 'A2' && (await stand.fib())[C4]?.join() === 'A',
      () => stand.events(),
    );
    t.deepEqual(await stand.shutPorts(), ['A1']);
    const { phase, ports } = await drainOf(stand);
    t.is(phase, 'partial');
    t.deepEqual(
      ports.map(({ port, state }) => `${port} ${state}`),
      ['A1 shut', 'A2 kept', 'A3 kept', 'A4 kept'],
    );
    stand.cables(['B2'], true);
    t.is((await stand.cli(['drain', '--pause', '100ms'])).code, 0);
    t.is((await stand.cli(['undrain', '--pause', '100ms'])).code, 0);
    await stand.untilHome();
  },
);

test.serial(
  "R4.7 the work is the agent's: a command that is killed is not missed, Ctrl-C stops after the port",
  async (t) => {
    const stand = await shared(t);
    const socket = join(stand.directory('A'), 'control.sock');
    const peerless = new URL('../../bin/peerless', import.meta.url).pathname;
    const begin = () =>
      spawn(
        'ip',
        ['netns', 'exec', namespaceOf(stand.name, 'A'), peerless, 'drain', '--pause', '1s', '--socket', socket],
        {
          stdio: ['ignore', 'pipe', 'pipe'],
        },
      );
    const interrupted = begin();
    let text = '';
    interrupted.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    await stand.until('A1 is drained', async () => (await stand.shutPorts()).includes('A1'));
    interrupted.kill('SIGINT');
    const code = await new Promise((resolve) => interrupted.once('close', resolve));
    t.is(code, 1);
    t.regex(
      text,
      /not begun: .*A4\n`peerless drain` goes on with what is left, `peerless undrain` brings everything back\./,
    );
    t.is((await drainOf(stand)).phase, 'partial');
    t.true((await stand.shutPorts()).length < 4);

    const killed = begin();
    await stand.until('it goes on', async () => (await drainOf(stand)).phase === 'draining');
    killed.kill('SIGKILL');
    await stand.until(
      'drained all the same',
      async () => (await drainOf(stand)).phase === 'drained',
      () => drainOf(stand),
    );
    t.is((await stand.cli(['undrain', '--pause', '100ms'])).code, 0);
    await stand.untilHome();
  },
);
