/**
 * Our agent as G in the worked example: routes with their backups in the kernel beforehand, one message when a session
 * falls, nothing lost on the way back, and an agent that may be killed.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { gatewayPeerless, startPeerlessGateway } from '../../lab/gateway/peerless.ts';
import { type CaseName, type LabResult, type LabUpOptions, labRun, renderTable } from '../../lab/index.ts';
import { placeOf } from '../../lab/place.ts';
import { gone, signal, sleep } from '../../lab/processes.ts';
import { loadState, saveState } from '../../lab/state.ts';
import { namespaceOf } from '../../lab/topology/plan.ts';
import { askAgent } from '../../lab/tor/peerless.ts';
import type { CountersView, EventView } from '../../src/agent/api.ts';
import { peerless, Stand } from './stand.ts';

const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;
/** Switches wait for 4 s (OSPF) and 5 s (BGP), of which the sessions need some (ms). */
const PATIENT = 3_500;
const HOSTS = ['10.10.10.1', '10.10.10.2'];
const HOSTS6 = ['2001:db8:10::1', '2001:db8:10::2'];

type Options = Pick<LabUpOptions, 'protocol' | 'families' | 'tor'>;

async function up(t: ExecutionContext, options: Options): Promise<Stand> {
  t.timeout(400_000);
  const stand = await Stand.up({ ...options, gateway: 'peerless' });
  t.teardown(() => stand.down());
  return stand;
}

const askG = <T>(stand: Stand, path: string): Promise<T> => askAgent(stand.directory('G'), path) as Promise<T>;

function untilInstalled(stand: Stand, table: 'bgp.routes' | 'ospf.routes', count: number): Promise<void> {
  const routes = async () => (await askG<CountersView>(stand, '/v1/counters'))[table];
  return stand.until(
    `${count} routes are installed`,
    async () => {
      const { installed, waiting } = (await routes())!;
      return installed === count && waiting === 0;
    },
    routes,
  );
}

async function drive(t: ExecutionContext, stand: Stand, cases: readonly CaseName[]): Promise<LabResult> {
  const result = await labRun({ name: stand.name, runs: 1, cases });
  t.deepEqual(result.problems, []);
  for (const run of result.runs) {
    const what = `${run.case} ${run.phase}`;
    t.deepEqual(run.unexpected, [], `${what}: what moved wrongly`);
    t.deepEqual(run.failures, [], what);
    t.is(run.lostElsewhere, 0, `${what}: loss of hosts that are not concerned: ${run.lossesElsewhere.join('; ')}`);
    t.log(`${what}: ${run.lost} lost, outage ${run.outage.toFixed(1)} ms`);
  }
  t.log(renderTable(result));
  return result;
}

function moved(t: ExecutionContext, result: LabResult, hosts: (name: CaseName) => readonly string[]): void {
  for (const run of result.runs) t.deepEqual([...run.moved].toSorted(), [...hosts(run.case)].toSorted());
}

test.serial(
  'R4.3 R4.5 R4.6 R4.7 G = Peerless, BGP, IPv4 and IPv6: figures 7 and 10, the death of a switch',
  async (t) => {
    const stand = await up(t, { protocol: 'bgp', families: [4, 6] });
    const result = await drive(t, stand, ['server-link', 'uplink', 'tor-death']);
    const one = [HOSTS[1]!, HOSTS6[1]!];
    moved(t, result, (name) => (name === 'server-link' ? one : [...HOSTS, ...HOSTS6]));
    for (const run of result.runs)
      if (run.phase === 'back') t.is(run.lost, 0, `${run.case}: nothing is lost on the way back`);
    await untilInstalled(stand, 'bgp.routes', 8);
    t.regex(await stand.ip('G', 'route', 'show', '10.10.10.1'), /nhid \d+ proto 203 metric 20/);
  },
);

test.serial('R4.3 R4.5 R4.6 R4.7 G = Peerless, OSPF: figures 7 and 10, the death of a switch', async (t) => {
  const stand = await up(t, { protocol: 'ospf' });
  const result = await drive(t, stand, ['server-link', 'uplink', 'tor-death']);
  moved(t, result, (name) => (name === 'server-link' ? HOSTS.slice(1) : HOSTS));
  for (const run of result.runs)
    if (run.phase === 'back') t.is(run.lost, 0, `${run.case}: nothing is lost on the way back`);
  await untilInstalled(stand, 'ospf.routes', 4);
});

/** What the kernel of G says went of routes and next-hop objects while `work` was done. */
async function removedAtG(stand: Stand, work: () => Promise<void>): Promise<string[]> {
  const monitor = spawn('ip', ['-n', namespaceOf(stand.name, 'G'), 'monitor', 'route', 'nexthop']);
  let text = '';
  monitor.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  try {
    await sleep(200);
    await work();
    await sleep(200);
  } finally {
    monitor.kill();
  }
  return text.split('\n').filter((line) => /^(\[\w+\])?Deleted (id|10\.10\.10\.|2001:db8:10:)/.test(line));
}

for (const protocol of ['bgp', 'ospf'] as const) {
  const options = protocol === 'bgp' ? { families: [4, 6] as const } : {};
  test.serial(
    `R4.7 G's agent is killed and started, and exchanged by \`peerless restart\`: the kernel goes on, and nothing is lost: ${protocol}`,
    async (t) => {
      const stand = await up(t, { protocol, ...options });
      const directory = stand.directory('G');
      const agentOfG = () => loadState(stand.name).processes.find(({ name }) => name === 'G agent')!;
      let endedAt = 0;
      let away = 0;
      const startG = async (): Promise<void> => {
        endedAt = performance.now();
        const state = loadState(stand.name);
        const configuration = gatewayPeerless(protocol, directory, { families: state.families });
        state.processes = state.processes.filter(({ name }) => name !== 'G agent');
        state.processes.push(...(await startPeerlessGateway(placeOf(state, 'G'), directory, configuration)));
        saveState(state);
        away = performance.now() - endedAt;
      };
      const cleanup = (...words: string[]) =>
        stand.exec('G', PEERLESS, 'cleanup', '--config', join(directory, 'peerless.yaml'), ...words);
      const installed = 4 * loadState(stand.name).families.length;
      const ways = {
        killed: async () => {
          signal(agentOfG(), 'SIGKILL');
          await gone([agentOfG()], 5_000);
          await startG();
        },
        restarted: async () => {
          const before = agentOfG().pid;
          const supervised = (async () => {
            if (!(await gone([agentOfG()], 20_000))) throw new Error("G's agent did not leave");
            await startG();
          })();
          const { code, stdout, stderr } = await peerless(
            ...['restart', '--json', '--timeout', '60', '--socket', join(directory, 'control.sock')],
          );
          await supervised;
          t.is(code, 0, stderr);
          t.like(JSON.parse(stdout), { before, after: agentOfG().pid });
        },
      };
      const falls = async () => (await stand.events()).filter(({ type }) => type === 'ospf.down').length;
      for (const [how, exchange] of Object.entries(ways)) {
        const fallsBefore = await falls();
        const before = await stand.ip('G', 'nexthop', 'show');
        let lost: Awaited<ReturnType<Stand['probing']>> = {} as never;
        const removed = await removedAtG(stand, async () => {
          lost = await stand.probing(async () => {
            await exchange();
            await stand.until('routes are reconciled', async () => {
              const counters = await askG<CountersView>(stand, '/v1/counters');
              return counters[`${protocol}.routes`]!.installed === installed;
            });
          });
        });
        // The new agent has to say its first word within the dead interval, or the restart time: a machine that is too
        // slow for that shows nothing.
        if (away > PATIENT || (await falls()) > fallsBefore) {
          t.log(`${how}: away for ${away.toFixed(0)} ms, which was noticed: not judged`);
          t.pass();
          await stand.untilHome();
          continue;
        }
        for (const [server, probed] of Object.entries(lost)) t.is(probed.lost, 0, `${how}: ${server}`);
        t.deepEqual(removed, [], how);
        t.is(await stand.ip('G', 'nexthop', 'show'), before, `${how}: objects are the same`);
        await stand.untilHome();
        const events = await askG<EventView[]>(stand, '/v1/events');
        t.false(events.some(({ type }) => type === 'gateway.switch-over'));
      }
      if (protocol === 'ospf') return;
      const refused = await cleanup();
      t.is(refused.code, 1);
      t.regex(refused.stderr, /an agent answers on/);
      signal(agentOfG(), 'SIGKILL');
      await gone([agentOfG()], 5_000);
      const done = await cleanup('--json');
      t.is(done.code, 0, done.stdout + done.stderr);
      t.like(JSON.parse(done.stdout).found, { routes: installed, settings: ['net.ipv4.nexthop_compat_mode'] });
      t.is(await stand.ip('G', 'nexthop', 'show'), '');
      for (const family of ['-4', '-6']) t.is(await stand.ip('G', family, 'route', 'show', 'proto', '203'), '');
    },
  );
}

test.serial(
  'R4.7 beside shadow routes every host has a backup in G, and a session that ends moves them at once',
  async (t) => {
    const stand = await up(t, { protocol: 'bgp', tor: 'shadow' });
    await stand.until('backups are there', async () => {
      return (await askG<CountersView>(stand, '/v1/counters'))['bgp.routes']!.backed === 4;
    });
    const kernel = async () => (await stand.ip('G', 'route', 'show', 'proto', '203')).trim().split('\n');
    await stand.until('the kernel has them beside the routes', async () => (await kernel()).length === 8, kernel);
    await stand.silence('A0', true);
    let told: EventView | undefined;
    await stand.until('a switch-over is told', async () => {
      told = (await askG<EventView[]>(stand, '/v1/events')).find(({ type }) => type === 'gateway.switch-over');
      return told !== undefined;
    });
    t.like(told!.fields, { neighbor: '192.0.2.2', protocol: 'bgp', routes: 2, messages: 1, refused: 0 });
    t.log(told!.message);
    await stand.silence('A0', false);
    await stand.untilHome();
  },
);
