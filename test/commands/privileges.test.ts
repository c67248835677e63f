/** What a started agent may do is what its role needs, in each of its threads; and it does its work with it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Diagnosis } from '../../src/cli/diagnosis.ts';
import { PEERLESS, run } from './program.ts';

const NETNS = `rvp${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), 'peerless-privileges-'));
const ip = (words: string) => execFileSync('ip', words.split(' '));

const TOR = `role: tor # a switch
routerId: 10.255.0.1
hostRoutes: { prefixes: [10.10.10.0/24], ports: [A2] }
portLink: [{ name: fabric, uplinks: [A0], downlinks: [A2], startupDelay: 0s }]
bgp: { asn: 65001, neighbors: [{ address: 192.0.2.1, remoteAs: 65000, passwordFile: ${folder}/key }] }
`;
const HOST = `role: "host"
underlay: { address: 192.0.2.2, device: A0 }
networks: [{ name: blue, vni: 100, subnet: 10.200.0.0/16, gateway: 10.200.0.1 }]
remotes: [{ host: 192.0.2.1, network: blue, addresses: [10.200.2.0/24] }]
fastPath: { mode: tunnel }
encryption: { policy: off }
`;

/** capabilities(7), by number. */
const [CHOWN, BIND, ADMIN, RAW, PTRACE, PERFMON, BPF] = [0n, 10n, 12n, 13n, 19n, 38n, 39n].map((bit) => 1n << bit) as [
  bigint,
  bigint,
  bigint,
  bigint,
  bigint,
  bigint,
  bigint,
];
const SWITCH = CHOWN | BIND | ADMIN | RAW;
/** CAP_DAC_OVERRIDE */
const OVERRIDE = 1n << 1n;

interface Running {
  readonly child: ChildProcess;
  readonly socket: string;
  readonly file: string;
  said(): string;
}

/** Ready when its socket answers. `owner`: of its folder and its file, which are closed to others. */
async function start(
  t: ExecutionContext,
  name: string,
  text: string,
  words: (file: string) => string[],
  owner?: number,
): Promise<Running> {
  const own = join(folder, name);
  mkdirSync(own);
  const file = join(own, 'peerless.yaml');
  const socket = join(own, 'control.sock');
  writeFileSync(file, `${text}control: { socket: ${socket}, metrics: null }\nstateDirectory: ${own}/state\n`);
  if (owner !== undefined) {
    for (const [path, mode] of [
      [own, 0o700],
      [file, 0o600],
    ] as const) {
      chownSync(path, owner, owner);
      chmodSync(path, mode);
    }
  }
  // Not `ip netns exec`: it hides the file system of BPF.
  const child = spawn('nsenter', [`--net=/run/netns/${NETNS}`, PEERLESS, 'agent', ...words(file)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (more: string) => (said += more));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  t.teardown(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  for (let tries = 0; (await run(['status', '--socket', socket])).code !== 0; tries++) {
    if (child.exitCode !== null || tries > 100) throw new Error(`the agent does not answer:\n${said}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { child, socket, file, said: () => said };
}

const capabilities = (path: string, set: 'Eff' | 'Prm' | 'Bnd' | 'Inh'): bigint =>
  BigInt(`0x${new RegExp(`^Cap${set}:\\s*([0-9a-f]+)$`, 'm').exec(readFileSync(path, 'utf8'))![1]}`);

function ofAllThreads(pid: number): { effective: bigint[]; bounding: bigint[]; grants: string[] } {
  const files = readdirSync(`/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}/status`);
  const each = (set: 'Eff' | 'Bnd') => [...new Set(files.map((file) => capabilities(file, set)))];
  const grants = files.map((file) => /^NoNewPrivs:\s*(\d)$/m.exec(readFileSync(file, 'utf8'))![1]!);
  return { effective: each('Eff'), bounding: each('Bnd'), grants: [...new Set(grants)] };
}

async function doctorSays(agent: Running): Promise<Diagnosis[]> {
  const { out } = await run(['doctor', '--json', '--config', agent.file, '--socket', agent.socket]);
  return (JSON.parse(out) as { checks: Diagnosis[] }).checks.filter(({ check }) => check === 'privileges');
}

test.before(() => {
  ip(`netns add ${NETNS}`);
  for (const port of ['A0', 'A2']) {
    ip(`-n ${NETNS} link add ${port} type veth peer name p${port}`);
    for (const end of [port, `p${port}`]) ip(`-n ${NETNS} link set ${end} up`);
  }
  ip(`-n ${NETNS} address add 192.0.2.2/30 dev A0`);
  writeFileSync(join(folder, 'key'), 'secret\n', { mode: 0o600 });
});

test.after.always(() => {
  ip(`netns del ${NETNS}`);
  rmSync(folder, { recursive: true });
});

test.serial('a switch keeps what ports, routes and packets need, and works with it', async (t) => {
  const agent = await start(t, 'tor', TOR, (file) => ['--config', file]);
  const pid = agent.child.pid!;
  t.deepEqual(ofAllThreads(pid), { effective: [SWITCH], bounding: [SWITCH], grants: ['1'] });
  t.true(readdirSync(`/proc/${pid}/task`).length > 1);
  // The group opens and shuts a port by netlink, and BGP has a socket on its port with the key of a file that only root reads.
  ip(`-n ${NETNS} link set pA0 down`);
  let shut = false;
  for (let tries = 0; !shut && tries < 100; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    shut = / state DOWN /.test(execFileSync('ip', ['-n', NETNS, 'link', 'show', 'A2'], { encoding: 'utf8' }));
  }
  t.true(shut, agent.said());
  ip(`-n ${NETNS} link set pA0 up`);
  const listening = execFileSync('ip', ['netns', 'exec', NETNS, 'ss', '-Hltn', 'sport = :179'], { encoding: 'utf8' });
  t.regex(listening, /LISTEN/);
  const [said, ...more] = await doctorSays(agent);
  t.deepEqual(more, []);
  t.like(said, { verdict: 'fine' });
  t.regex(said!.message, /CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, CAP_CHOWN and nothing else/);
});

test.serial('a host keeps what its programs need, too, and loads them', async (t) => {
  const agent = await start(t, 'host', HOST, (file) => [`--config=${file}`]);
  const { effective, grants } = ofAllThreads(agent.child.pid!);
  t.is(effective.length, 1);
  t.is(effective[0]! & ~PTRACE, SWITCH | PERFMON | BPF);
  t.deepEqual(grants, ['1']);
  const { out } = await run(['host', 'status', '--json', '--socket', agent.socket]);
  t.notRegex(out, /EPERM|EACCES|not permitted|denied/i);
  t.notRegex(agent.said(), /EPERM|EACCES|not permitted|denied/i);
});

test.serial("in another user's folder it can read its configuration, and write there", async (t) => {
  const agent = await start(t, 'nobodys', TOR, (file) => ['--config', file], 65534);
  t.deepEqual(ofAllThreads(agent.child.pid!).effective, [SWITCH | OVERRIDE]);
  const set = ['portlink', 'set', 'fabric', '--description', 'ours', '--socket', agent.socket];
  t.is((await run(set)).code, 0, agent.said());
  t.regex(readFileSync(agent.file, 'utf8'), /description: ours/);
  const [said] = await doctorSays(agent);
  t.like(said, { verdict: 'warning' });
  t.regex(said!.remedy!, /its folder have to be root's/);
});

test.serial('--keep-privileges keeps them all, and doctor says so', async (t) => {
  const agent = await start(t, 'kept', TOR, (file) => ['--keep-privileges', '-c', file]);
  t.deepEqual(ofAllThreads(agent.child.pid!).effective, [capabilities('/proc/self/status', 'Eff')]);
  const [said] = await doctorSays(agent);
  t.like(said, { verdict: 'warning' });
  t.regex(said!.message, /may do more than its role needs/);
});

test("the unit's bounds are the starter's", (t) => {
  const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
  const unit = (path: string) => /^CapabilityBoundingSet=(.*)$/m.exec(read(path))![1]!.split(' ');
  const wanted = [...read('bin/privileges.sh').matchAll(/^( +)want \d+ +# (CAP_\w+)/gm)];
  const names = (indent: number) => wanted.filter(([, space]) => space!.length === indent).map(([, , name]) => name);
  t.deepEqual(unit('packaging/peerless.service').toSorted(), names(2).toSorted());
  t.deepEqual(
    unit('packaging/peerless-host.conf').toSorted(),
    names(4)
      .filter((name) => name !== 'CAP_SYS_PTRACE')
      .toSorted(),
  );
});
