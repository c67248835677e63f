/**
 * The worked example on switches that are SONiC's: what is read, shut and opened goes through a real Redis with a switch's
 * rows, and only the lasers behind it make a port dark; the kernel's interfaces stay administratively up.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { labRun, renderTable, verdicts } from '../../lab/index.ts';
import { run } from '../../lab/processes.ts';
import { loadState } from '../../lab/state.ts';
import { downlinksOf, namespaceOf } from '../../lab/topology/plan.ts';
import { killRedis, redisSocket, restartRedis } from '../../lab/tor/sonic/box.ts';
import { Stand } from './stand.ts';

const DOWNLINKS = downlinksOf('A');
const CASES = ['server-link', 'uplink', 'restart', 'drain'] as const;

let stand: Stand;

test.before(async (t) => {
  t.timeout(120_000);
  stand = await Stand.up({ protocol: 'bgp', ports: 'sonic' });
});
test.afterEach.always((t) => stand.mend(t));

test.after.always(() => stand?.down());

const redis = (database: number, ...words: string[]): Promise<string> =>
  run(['redis-cli', '-s', redisSocket(stand.directory('A')), '-n', String(database), ...words]);

/** By APPL_DB, what the hardware is asked for. */
async function dark(): Promise<string[]> {
  const states = await Promise.all(DOWNLINKS.map((port) => redis(0, 'HGET', `PORT_TABLE:${port}`, 'admin_status')));
  return DOWNLINKS.filter((_, index) => states[index]!.trim() === 'down');
}

/** By the light at the other end. */
async function lit(): Promise<string[]> {
  const links = JSON.parse(await run(['ip', '-n', namespaceOf(stand.name, 'A'), '-j', 'link', 'show'])) as {
    ifname: string;
    flags: string[];
  }[];
  return links
    .filter(({ ifname, flags }) => DOWNLINKS.includes(ifname) && flags.includes('LOWER_UP'))
    .map((l) => l.ifname);
}

const groupReason = async (): Promise<string> => (await stand.group()).reason;

test.serial('R4.1 R4.3 R4.4 R4.5 R4.6 R4.7 the worked example through SONiC', async (t) => {
  t.timeout(240_000);
  const result = await labRun({ name: stand.name, runs: 1, cases: CASES });
  t.deepEqual(result.problems, []);
  const failed = verdicts(result.rows).filter(({ pass }) => !pass);
  t.deepEqual(failed, [], renderTable(result));
  for (const row of result.rows) t.true(row.asExpected && row.lostElsewhere === 0, `${row.case} ${row.phase}`);
  const uplink = result.runs.find((phase) => phase.case === 'uplink' && phase.phase === 'fault')!;
  t.deepEqual(uplink.moved, ['10.10.10.1', '10.10.10.2']);
  t.is(await redis(4, 'HGET', 'PORT|A1', 'admin_status'), 'up\n', 'what config save would save');
  t.regex((await stand.counters()).kernel!['sonic.demands']!.toString(), /^[1-9]/);
  t.deepEqual(await stand.shutPorts(), [], "no kernel interface was anybody's to shut");
});

test.serial(
  'R4.5 R4.7 Redis dies: groups freeze, nothing is shut or opened, servers are withdrawn as ever; it returns',
  async (t) => {
    t.timeout(120_000);
    await stand.untilHome();
    await killRedis(loadState(stand.name), 'A');
    await stand.until('frozen', async () => (await groupReason()).startsWith('frozen'), groupReason);
    const alarms = async () => (await stand.events()).filter(({ type }) => type === 'portlink.alarm');
    await stand.until('an alarm', async () => /Redis is gone/.test((await alarms()).at(-1)?.message ?? ''), alarms);
    stand.cables(['A2'], false);
    await stand.until('C4 is behind B', async () => (await stand.fib())['10.10.10.2']?.join() === 'B', stand.fib);
    stand.cables(['A0'], false);
    await stand.until(
      'all are behind B',
      async () => !Object.values(await stand.fib()).some((tors) => tors.includes('A')),
      stand.fib,
    );
    t.deepEqual(await lit(), ['A1', 'A3', 'A4'], 'untouched');
    await restartRedis(loadState(stand.name), 'A');
    await stand.until('shut now', async () => (await lit()).length === 0, groupReason);
    t.deepEqual(await dark(), DOWNLINKS);
    stand.cables(['A0', 'A2'], true);
    await stand.until('all lit', async () => (await lit()).length === 4, groupReason);
    await stand.untilHome();
    t.deepEqual(await dark(), []);
  },
);

test.serial('R4.6 killed while its ports are dark: doctor tells, and cleanup lights them', async (t) => {
  t.timeout(120_000);
  stand.cables(['A0'], false);
  await stand.until('shut', async () => (await dark()).length === 4, groupReason);
  await stand.signal('SIGKILL');
  t.deepEqual(await stand.shutPorts(), [], 'the kernel knows nothing of it');
  // The operator takes one of them out of service meanwhile.
  await redis(4, 'HSET', 'PORT|A4', 'admin_status', 'down');
  const words = ['cleanup', '--config', stand.configFile()];
  const dry = await stand.cli([...words, '--dry-run']);
  t.true(dry.stdout.includes('would be undone: shut: A1 A2 A3\n'), dry.stdout + dry.stderr);
  // The hardware comes after the databases.
  await stand.until('all lasers are off', async () => (await lit()).length === 0, lit);
  const doctor = await stand.cli(['doctor', '--config', stand.configFile()]);
  t.regex(doctor.stdout, /WARNING +SONiC +A4 is admin down in CONFIG_DB/);
  const done = await stand.cli(words);
  t.is(done.code, 0, done.stdout + done.stderr);
  await stand.until('lit again', async () => (await lit()).join() === 'A1,A2,A3', lit);
  const { ports } = JSON.parse(readFileSync(join(stand.directory('A'), 'state/ports.json'), 'utf8'));
  t.deepEqual(ports, []);
  await redis(4, 'HSET', 'PORT|A4', 'admin_status', 'up');
  stand.cables(['A0'], true);
  await stand.start();
  await stand.untilHome();
});
