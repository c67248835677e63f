/** Against the real lldpd (Debian's): two of them on the two ends of a cable, in namespaces of their own. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { Lldpcli } from '../../../src/agent/lldp/index.ts';
import type { NeighbourTable } from '../../../src/agent/lldp/parse.ts';
import { systemClock } from '../../../src/model/clock.ts';

const id = `lldp${process.pid}`;
const names = { leaf: `${id}a`, spine: `${id}b` };
const directory = mkdtempSync(join(tmpdir(), 'peerless-lldp-'));
const daemons: ChildProcess[] = [];
const socketOf = (node: keyof typeof names) => join(directory, `${node}.sock`);
const ip = (...words: string[]) => execFileSync('ip', words, { encoding: 'utf8' });
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const lldpcli = (node: keyof typeof names, ...words: string[]) =>
  execFileSync('lldpcli', ['-u', socketOf(node), ...words], { encoding: 'utf8' });

async function until(what: () => boolean | Promise<boolean>, ms = 60_000): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await pause(200)) if (await what()) return true;
  return false;
}

async function startDaemon(node: keyof typeof names): Promise<ChildProcess> {
  rmSync(socketOf(node), { force: true });
  const daemon = spawn('ip', ['netns', 'exec', names[node], 'lldpd', '-d', '-u', socketOf(node)], { stdio: 'ignore' });
  daemons.push(daemon);
  if (!(await until(() => existsSync(socketOf(node))))) throw new Error('lldpd did not start');
  await until(() => {
    try {
      lldpcli(node, 'configure', 'system', 'hostname', `${node}-1`);
      return true;
    } catch {
      return false;
    }
  });
  lldpcli(node, 'configure', 'lldp', 'tx-interval', '1');
  lldpcli(node, 'configure', 'lldp', 'portidsubtype', 'ifname');
  return daemon;
}

/** The daemon has a second process without privileges, which ends with it. */
async function end(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  const gone = new Promise((resolve) => daemon.once('exit', resolve));
  daemon.kill('SIGTERM');
  await gone;
}

const childrenOf = (pid: number): string[] =>
  execFileSync('ps', ['-o', 'pid=,stat=,comm=', '--ppid', String(pid)], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes('lldpcli'));

test.before(() => {
  // lldpd's unprivileged half must reach its sockets.
  chmodSync(directory, 0o755);
  for (const netns of Object.values(names)) ip('netns', 'add', netns);
  ip('-n', names.leaf, 'link', 'add', 'A0', 'type', 'veth', 'peer', 'name', 'swp7', 'netns', names.spine);
  ip('-n', names.leaf, 'link', 'set', 'A0', 'up');
  ip('-n', names.spine, 'link', 'set', 'swp7', 'up');
});

test.after.always(async () => {
  for (const daemon of daemons) await end(daemon);
  for (const netns of Object.values(names)) ip('netns', 'del', netns);
  rmSync(directory, { recursive: true, force: true });
});

test.serial("LLDP: the neighbour's name and port are read from lldpd, by one child however often", async (t) => {
  t.timeout(180_000);
  const source = new Lldpcli(socketOf('leaf'), systemClock, quiet);
  t.is(await source.look(), undefined, 'there is no lldpd yet');
  t.deepEqual(childrenOf(process.pid), [], 'and no child was started in vain');
  const daemon = await startDaemon('leaf');
  await startDaemon('spine');
  let table: NeighbourTable | undefined;
  const named = async (): Promise<boolean> => {
    table = await source.look();
    return table?.get('A0')?.[0]?.systemName === 'spine-1';
  };
  t.true(await until(named));
  t.like(table?.get('A0'), [{ systemName: 'spine-1', portId: 'swp7' }]);
  t.is(childrenOf(process.pid).length, 1);

  t.log('lldpd goes: the look ends without an answer, the child is gone, no zombie is left');
  await end(daemon);
  t.is(await source.look(), undefined);
  t.true(await until(() => childrenOf(process.pid).length === 0), childrenOf(process.pid).join());

  t.log('and comes back');
  await startDaemon('leaf');
  t.true(await until(named));
  source.close();
  t.true(await until(() => childrenOf(process.pid).length === 0));
});

test.serial('LLDP: no lldpcli, one that hangs, one that ends, one that talks nonsense: nobody is shown', async (t) => {
  t.timeout(60_000);
  const socket = join(directory, 'some.sock');
  writeFileSync(socket, '');
  const program = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    return path;
  };
  for (const path of [
    join(directory, 'missing'),
    program('hangs', 'exec sleep 1000'),
    program('ends', 'exit 3'),
    program('nonsense', 'while read line; do echo "{ \\"x\\": 1 }"; done'),
  ]) {
    const said: string[] = [];
    const source = new Lldpcli(socket, systemClock, { ...quiet, info: (_, message) => said.push(message) }, path);
    t.is(await source.look(), undefined, path);
    t.is(await source.look(), undefined, `${path}, again`);
    source.close();
    t.deepEqual(said, ['lldpd does not answer: may we use its socket?'], 'said once');
  }
  t.true(
    await until(
      () => !execFileSync('ps', ['-o', 'stat=', '--ppid', String(process.pid)], { encoding: 'utf8' }).includes('Z'),
    ),
  );
});
