/** Upgrades from versions that had what outlives the agent elsewhere. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { withNetns } from 'linux-sockets';
import type { HostPartContext } from '../../../src/agent/host/part.ts';
import { endWorker, prepareBackend, standsBackend } from '../../../src/agent/host/parts/encryption-backends.ts';
import { bringXfrm, formerXfrm } from '../../../src/agent/host/parts/former-places.ts';
import { type HostConfig, parseConfig } from '../../../src/config/index.ts';
import { quietLog } from '../network/overlay.ts';

const NETNS = `nvf${process.pid}`;
test.before(() => void execFileSync('ip', ['netns', 'add', NETNS]));
test.after.always(() => void execFileSync('ip', ['netns', 'del', NETNS]));

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-former-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function configOf(folder: string): HostConfig {
  const result = parseConfig(
    `role: host
underlay: { address: 10.20.1.1, device: bond0 }
encryption: { keys: { directory: ${folder} } }
control: { socket: ${folder}/h1.sock }
`,
    'F',
  );
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.config as HostConfig;
}

/** As a packet worker does: it ends when it is told to, and closes the connection last. */
function listen(t: ExecutionContext, path: string): Server {
  const server = createServer((socket) => {
    socket.on('data', () => {
      server.close();
      socket.end();
    });
  }).listen(path);
  t.teardown(() => server.close());
  return server;
}

test.serial('a worker of this network namespace ends, wherever it listens, before another is started', async (t) => {
  const folder = folderOf(t);
  const config = configOf(folder);
  const former = join(folder, 'overlay-worker.sock');
  const worker = listen(t, former);
  t.true(standsBackend(config));
  await prepareBackend({ config, log: quietLog() } as unknown as HostPartContext);
  t.false(worker.listening);
  t.false(existsSync(former));
  t.false(standsBackend(config));
  listen(t, former);
  await endWorker(config);
  t.false(existsSync(former));
});

test.serial('a worker of another network namespace is left alone', async (t) => {
  const folder = folderOf(t);
  const config = configOf(folder);
  const worker = withNetns(NETNS, () => listen(t, join(folder, 'overlay-worker.sock')));
  t.false(standsBackend(config));
  await prepareBackend({ config, log: quietLog() } as unknown as HostPartContext);
  await endWorker(config);
  t.true(worker.listening);
});

test.serial('what the kernel was told comes along with who holds the port here, and only that', (t) => {
  const folder = folderOf(t);
  const config = configOf(folder);
  const former = join(folder, 'xfrm');
  const hold = (child: ChildProcess): void => {
    t.teardown(() => child.kill());
    mkdirSync(former, { recursive: true });
    writeFileSync(join(former, 'holder.pid'), `${child.pid}\n`);
  };
  hold(withNetns(NETNS, () => spawn('/bin/sleep', ['infinity'], { stdio: 'ignore' })));
  t.deepEqual(formerXfrm(config), []);
  t.false(standsBackend(config));
  hold(spawn('/bin/sleep', ['infinity'], { stdio: 'ignore' }));
  t.true(standsBackend(config));
  bringXfrm(config);
  t.false(existsSync(former));
  t.true(existsSync(join(folder, 'h1-xfrm', 'holder.pid')));
});
