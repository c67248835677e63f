/** Agents of several network namespaces on one file system, whose configurations say nothing of where they keep things. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { StatusView } from '../../src/agent/api.ts';
import { AgentClient } from '../../src/cli/client.ts';
import { type Outcome, PEERLESS, run } from './program.ts';

const A = `wks${process.pid}a`;
const B = `wks${process.pid}b`;
const GATEWAY = '2001:db8::fe';
const folder = mkdtempSync(join(tmpdir(), 'peerless-namespaces-'));
const kept = (netns: string): string => join(folder, 'lib/peerless/netns', netns);
const ip = (words: string): string => execFileSync('ip', words.split(' '), { encoding: 'utf8' });
const agents = new Map<string, ChildProcess>();
let house: ChildProcess;

/** /var/lib and /run of the test's own, the same for all that is started in there. */
const inHouse = (words: readonly string[]): string[] => [`--mount=/proc/${house.pid}/ns/mnt`, '--', ...words];
const within = (netns: string, words: readonly string[]) => inHouse(['ip', 'netns', 'exec', netns, ...words]);
const peerless = (netns: string, ...words: string[]): Promise<Outcome> =>
  run(within(netns, [PEERLESS, ...words]), { file: 'nsenter' });
/** Not by a command, of which each takes half a second. */
const status = (netns: string): Promise<StatusView | undefined> =>
  new AgentClient(join(folder, 'run/peerless/netns', `${netns}.sock`))
    .get<StatusView>('/v1/status')
    .catch(() => undefined);

async function until<T>(what: string, look: () => T | Promise<T>): Promise<NonNullable<T>> {
  for (let tries = 0; tries < 1200; tries++) {
    const seen = await look();
    if (seen) return seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`in vain: ${what}`);
}

/** A file with the same name of all ports in both, and another router id. */
function configure(netns: string, more = ''): string {
  const file = join(folder, `${netns}.yaml`);
  writeFileSync(
    file,
    `role: tor
routerId: ${netns === A ? '10.255.0.1' : '10.255.0.2'}
hostRoutes: { prefixes: [10.10.10.0/24], ports: [A1] }
portLink: [{ name: fabric, uplinks: [A0], downlinks: [A1], startupDelay: 0s, recoveryDelay: 100ms }]
${more}`,
  );
  return file;
}

function launch(netns: string, more = ''): { readonly child: ChildProcess; said(): string } {
  const words = within(netns, [PEERLESS, 'agent', '--config', configure(netns, more)]);
  const child = spawn('nsenter', words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  return { child, said: () => said };
}

/** Ready when it answers those who ask in its namespace. */
async function start(netns: string, more = ''): Promise<void> {
  const { child, said } = launch(netns, more);
  agents.set(netns, child);
  await until(`an agent in ${netns}`, async () => {
    if (child.exitCode !== null) throw new Error(said());
    return (await status(netns))?.pid === child.pid;
  });
}

async function end(netns: string, signal: NodeJS.Signals): Promise<void> {
  const child = agents.get(netns)!;
  agents.delete(netns);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await gone;
}

const isOpen = (netns: string, port: string): boolean => /<[^>]*\bUP\b/.test(ip(`-n ${netns} link show ${port}`));
const set = (netns: string, port: string, state: 'up' | 'down') => ip(`-n ${netns} link set ${port} ${state}`);

test.before(async () => {
  for (const netns of [A, B]) {
    ip(`netns add ${netns}`);
    for (const port of ['A0', 'A1']) {
      ip(`-n ${netns} link add ${port} type veth peer name ${port}p`);
      for (const one of [port, `${port}p`]) set(netns, one, 'up');
    }
  }
  for (const made of ['lib/peerless', 'run/netns']) mkdirSync(join(folder, made), { recursive: true });
  const mounts = [
    `mount --rbind /run/netns ${folder}/run/netns`,
    `mount --rbind ${folder}/run /run`,
    `mount --bind ${folder}/lib /var/lib`,
  ];
  house = spawn(
    'unshare',
    ['--mount', '--propagation', 'private', 'sh', '-ec', [...mounts, 'echo made', 'exec sleep infinity'].join('\n')],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await new Promise<void>((resolve, reject) => {
    house.stdout!.once('data', () => resolve());
    house.once('exit', () => reject(new Error('no mount namespace of our own')));
  });
});

test.afterEach.always(async () => {
  for (const netns of [...agents.keys()]) await end(netns, 'SIGKILL');
  for (const netns of [A, B]) for (const port of ['A0p', 'A1']) set(netns, port, 'up');
  rmSync(join(folder, 'lib/peerless'), { recursive: true, force: true });
  mkdirSync(join(folder, 'lib/peerless'));
});

test.after.always(() => {
  house.kill('SIGKILL');
  for (const netns of [A, B]) ip(`netns del ${netns}`);
  rmSync(folder, { recursive: true });
});

test.serial('R4.6 each has its own memory and its own socket, also after a SIGKILL', async (t) => {
  await Promise.all([start(A), start(B)]);
  const [shown, hosts, outside] = await Promise.all([
    peerless(A, 'config', 'show'),
    peerless(B, 'hosts', '--json'),
    run(inHouse([PEERLESS, 'status']), { file: 'nsenter' }),
  ]);
  t.regex(shown.out, /^routerId: 10\.255\.0\.1$/m);
  t.true(shown.out.includes(`\nstateDirectory: /var/lib/peerless/netns/${A}\n`), shown.out);
  t.deepEqual(JSON.parse(hosts.out), []);
  t.is((await status(B))?.routerId, '10.255.0.2');
  t.is(outside.code, 3);
  for (const netns of [A, B]) t.true(outside.err.includes(`/run/peerless/netns/${netns}.sock`), outside.err);

  ip(`-n ${A} address add ${GATEWAY}/64 dev A1 nodad`);
  await until('A has it kept', () => ip(`netns exec ${A} sysctl -n net.ipv6.conf.A1.keep_addr_on_down`).trim() === '1');
  set(A, 'A0p', 'down');
  await until('A shuts A1', () => !isOpen(A, 'A1'));
  t.true(isOpen(B, 'A1'));
  await end(A, 'SIGKILL');
  await end(B, 'SIGKILL');
  set(A, 'A0p', 'up');
  // The operator's own: what A remembers of a port of this name is no business of B's.
  set(B, 'A1', 'down');
  await start(B);
  await until('the group of B', async () => (await status(B))?.groups[0]?.state === 'up');
  t.false(isOpen(B, 'A1'));
  t.false(isOpen(A, 'A1'));
  await start(A);
  await until('A opens A1 again', () => isOpen(A, 'A1'));
  t.true(ip(`-n ${A} -6 address show dev A1`).includes(GATEWAY), 'and it is the gateway again');
  t.false(isOpen(B, 'A1'));
});

test.serial(
  'R4.6 a port that an earlier version left shut is opened again, though the directory is another',
  async (t) => {
    set(A, 'A1', 'down');
    const since = Date.now();
    const ports = [{ port: 'A1', group: 'fabric', side: 'downlink', since, reason: 'A0 lost carrier' }];
    const before = join(folder, 'lib/peerless/ports.json');
    writeFileSync(before, JSON.stringify({ version: 1, ports, holds: {} }));
    await start(A);
    await until('A1 is opened', () => isOpen(A, 'A1'));
    t.true(existsSync(join(kept(A), 'lock')));
    t.true(existsSync(before), 'what was another’s may be');
  },
);

test.serial(
  'one directory for two agents is refused, with whose it is; commands find an agent on another socket',
  async (t) => {
    const state = `stateDirectory: ${folder}/state\n`;
    await start(A, `${state}control: { socket: ${folder}/a.sock }\n`);
    const { child, said } = launch(B, state);
    const code = await new Promise((resolve) => child.once('close', resolve));
    t.is(code, 1, said());
    t.regex(
      said(),
      new RegExp(`another agent \\(pid ${agents.get(A)!.pid}, .*${A}\\.yaml, in network namespace ${A}\\)`),
    );
    t.true(said().includes(`${folder}/state`), said());
    t.regex(said(), /give this one a stateDirectory of its own/);
    const [asked, cleanup] = await Promise.all([
      peerless(A, 'status', '--json'),
      peerless(B, 'cleanup', '--config', configure(B, state)),
    ]);
    t.is((JSON.parse(asked.out) as StatusView).routerId, '10.255.0.1');
    t.is(cleanup.code, 1);
    t.regex(cleanup.err, /another agent .* works with the state directory/);
    await end(A, 'SIGTERM');
    t.false(existsSync(join(folder, 'run/peerless/netns', `${A}.sock`)), 'nothing is left that leads nowhere');
    t.regex(readFileSync(join(folder, 'state/lock'), 'utf8'), /"pid"/);
  },
);
