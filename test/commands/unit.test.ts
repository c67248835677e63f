/** What systemd runs before the agent must let it start: a switch without failover is worse than one that spares a port. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';

const root = new URL('../../', import.meta.url).pathname;
const ip = (words: string) => execFileSync('ip', words.split(' '), { encoding: 'utf8' });

const CONFIGURATION = `role: tor
routerId: 10.255.0.1
hostRoutes: { prefixes: [10.10.10.0/24], ports: [A2, A3] }
portLink: [{ name: fabric, uplinks: [A0], downlinks: [A2, A3] }]
`;
const LISTEN = "require('net').createServer((s) => s.resume()).listen(22, '0.0.0.0', () => console.log('up'))";
const CONNECT = "require('net').connect(22, '10.10.10.254', () => console.log('up'))";

async function program(t: ExecutionContext, netns: string, source: string): Promise<void> {
  const words = ['netns', 'exec', netns, process.execPath, '-e', source];
  const child = spawn('ip', words, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', () => reject(new Error(`${source} ended`)));
  });
}

test.serial(
  'the unit starts the agent while somebody is logged in through a downlink, and before all ports are there',
  async (t) => {
    const [tor, server] = [`rvu${process.pid}t`, `rvu${process.pid}s`];
    const directory = mkdtempSync(join(tmpdir(), 'peerless-unit-'));
    for (const netns of [tor, server]) {
      ip(`netns add ${netns}`);
      ip(`-n ${netns} link set lo up`);
    }
    t.teardown(() => {
      for (const netns of [tor, server]) ip(`netns del ${netns}`);
      rmSync(directory, { recursive: true });
    });
    ip(`-n ${tor} link add A2 type veth peer name C4 netns ${server}`);
    for (const [netns, port, address] of [
      [tor, 'A2', '10.10.10.254/24'],
      [server, 'C4', '10.10.10.2/24'],
    ]) {
      ip(`-n ${netns} address add ${address} dev ${port}`);
      ip(`-n ${netns} link set ${port} up`);
    }
    await program(t, tor, LISTEN);
    await program(t, server, CONNECT);

    const file = join(directory, 'peerless.yaml');
    const unit = readFileSync(join(root, 'packaging/peerless.service'), 'utf8');
    const checks = [...unit.matchAll(/^ExecStartPre=\/usr\/bin\/peerless (.*)$/gm)].map(([, words]) =>
      words!.split(' ').map((word) => (word === '/etc/peerless/peerless.yaml' ? file : word)),
    );
    t.true(checks.length > 0 && checks.every((words) => words.includes(file)));
    const runAll = () =>
      checks.map((words) =>
        spawnSync('ip', ['netns', 'exec', tor, join(root, 'bin/peerless'), ...words], { encoding: 'utf8' }),
      );
    writeFileSync(file, CONFIGURATION);
    for (const { status, stderr } of runAll()) t.is(status, 0, stderr);
    writeFileSync(file, CONFIGURATION.replace('uplinks', 'uplink'));
    t.true(runAll().some(({ status }) => status === 2));
  },
);

test('an agent that dies again and again is started again and again, in time for its neighbours and without a busy loop', (t) => {
  const unit = readFileSync(join(root, 'packaging/peerless.service'), 'utf8');
  const section = (name: string) => unit.split(/^(?=\[)/m).find((part) => part.startsWith(`[${name}]`)) ?? '';
  // Elsewhere than in [Unit] systemd ignores it, and gives up after five starts in ten seconds.
  t.regex(section('Unit'), /^StartLimitIntervalSec=0$/m);
  t.regex(section('Service'), /^Restart=always$/m);
  const pause = Number(/^RestartSec=(\d+)ms$/m.exec(section('Service'))?.[1]);
  t.true(pause >= 250 && pause <= 1000, `${pause} ms`);
});
