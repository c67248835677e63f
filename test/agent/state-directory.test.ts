import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { bringState, directoryInUse, forgetLock, holdDirectory } from '../../src/agent/state-directory.ts';
import { placesIn, switchName } from '../../src/config/places.ts';
import type { Log } from '../../src/model/log.ts';

function bench(t: ExecutionContext) {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-state-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const warnings: string[] = [];
  const log = { info: () => undefined, warn: (_: object, text: string) => warnings.push(text) } as unknown as Log;
  return { folder, log, warnings };
}

test('a state directory has one agent at a time; the second is told whose it is, and which', async (t) => {
  const { folder, log, warnings } = bench(t);
  const directory = join(folder, 'state');
  t.is(directoryInUse(directory), undefined);
  t.false(existsSync(directory), 'who only asks makes nothing');
  const first = await holdDirectory(directory, { configFile: '/etc/A.yaml' }, log);
  const { message } = (await t.throwsAsync(holdDirectory(directory, { configFile: '/etc/B.yaml' }, log)))!;
  t.true(message.includes(`pid ${process.pid}, /etc/A.yaml`), message);
  t.true(message.includes(directory), message);
  t.regex(message, /stop it, or give this one a stateDirectory of its own$/);
  t.is(directoryInUse(directory), message);
  first.release();
  t.is(directoryInUse(directory), undefined);
  (await holdDirectory(directory, { configFile: '/etc/B.yaml' }, log)).release();
  t.deepEqual(warnings, []);
});

test('an agent that is about to end is waited for', async (t) => {
  const { folder, log } = bench(t);
  const first = await holdDirectory(folder, { configFile: '/etc/A.yaml' }, log);
  const second = holdDirectory(folder, { configFile: '/etc/A.yaml' }, log);
  setTimeout(() => first.release(), 50);
  (await second).release();
  t.pass();
});

test('a lock that was purged meanwhile is nobody to the next', async (t) => {
  const { folder, log } = bench(t);
  const first = await holdDirectory(folder, { configFile: '/etc/A.yaml' }, log);
  forgetLock(folder);
  const second = await holdDirectory(folder, { configFile: '/etc/B.yaml' }, log);
  t.regex(directoryInUse(folder)!, /B\.yaml/);
  first.release();
  t.regex(directoryInUse(folder)!, /B\.yaml/);
  second.release();
});

test('R4.6 a directory that can not be made keeps no agent from starting, and is told', async (t) => {
  const { folder, log, warnings } = bench(t);
  writeFileSync(join(folder, 'file'), '');
  (await holdDirectory(join(folder, 'file/state'), { configFile: '/etc/A.yaml' }, log)).release();
  t.is(warnings.length, 1);
});

/** As before namespaces had directories of their own. */
function earlier(folder: string) {
  const base = join(folder, 'peerless');
  mkdirSync(join(base, 'cni'), { recursive: true });
  writeFileSync(join(base, 'ports.json'), 'A1');
  writeFileSync(join(base, 'drain.json'), 'A2');
  writeFileSync(join(base, 'instance-id'), '0123456789abcdef');
  return { base, own: (netns: string) => ({ ...placesIn(netns), stateDirectory: join(base, 'netns', netns) }) };
}

test('R4.6 what an earlier version remembered comes along into the directory of a namespace, once', (t) => {
  const { folder, log } = bench(t);
  const { base, own } = earlier(folder);
  for (const netns of ['A', 'B']) {
    const { stateDirectory } = own(netns);
    bringState(stateDirectory, log, own(netns), base);
    t.is(readFileSync(join(stateDirectory, 'ports.json'), 'utf8'), 'A1');
    t.false(existsSync(join(stateDirectory, 'cni')));
    for (const name of ['drain.json', 'instance-id'])
      t.is(existsSync(join(stateDirectory, name)), netns === 'A', `${name}: of one`);
  }
  t.is(readFileSync(join(own('A').stateDirectory, 'drain.json'), 'utf8'), 'A2');
  t.deepEqual(readdirSync(base).sort(), ['cni', 'drain.json', 'instance-id', 'netns', 'ports.json']);
  writeFileSync(join(base, 'ports.json'), 'of somebody else');
  bringState(own('A').stateDirectory, log, own('A'), base);
  t.is(readFileSync(join(own('A').stateDirectory, 'ports.json'), 'utf8'), 'A1');
});

test('what is older than this boot is no state of a new namespace; an id is', (t) => {
  const { folder, log, warnings } = bench(t);
  const { base, own } = earlier(folder);
  for (const name of ['drain.json', 'instance-id']) utimesSync(join(base, name), 0, 0);
  bringState(own('A').stateDirectory, log, own('A'), base);
  t.deepEqual(readdirSync(own('A').stateDirectory).sort(), ['instance-id', 'ports.json']);
  utimesSync(join(base, 'ports.json'), 0, 0);
  bringState(own('B').stateDirectory, log, own('B'), base);
  t.false(existsSync(own('B').stateDirectory));
  t.deepEqual(warnings, []);
});

test("the state of a namespace whose name ends in .new is nobody else's", (t) => {
  const { folder, log } = bench(t);
  const { base, own } = earlier(folder);
  for (const netns of ['A.new', 'A']) bringState(own(netns).stateDirectory, log, own(netns), base);
  t.is(readFileSync(join(own('A.new').stateDirectory, 'ports.json'), 'utf8'), 'A1');
  t.is(readFileSync(join(own('A').stateDirectory, 'ports.json'), 'utf8'), 'A1');
});

test('it does not when it is the state of the agent of the box, or another directory was chosen', async (t) => {
  const { folder, log, warnings } = bench(t);
  const { base, own } = earlier(folder);
  const chosen = join(folder, 'chosen');
  bringState(chosen, log, own('A'), base);
  t.false(existsSync(chosen));
  (await holdDirectory(base, { configFile: '/etc/peerless.yaml' }, log)).release();
  bringState(own('A').stateDirectory, log, own('A'), base);
  t.false(existsSync(own('A').stateDirectory), 'the lock outlives its agent, and says whose it is');
  bringState(own('B').stateDirectory, log, own('B'), join(folder, 'none'));
  t.deepEqual(warnings, []);
});

test('places: as ever outside of named namespaces, of their own in them, and short enough for a socket', (t) => {
  t.deepEqual(placesIn(undefined), {
    stateDirectory: '/var/lib/peerless',
    socket: '/run/peerless/peerless.sock',
  });
  t.deepEqual(placesIn('A'), {
    netns: 'A',
    stateDirectory: '/var/lib/peerless/netns/A',
    socket: '/run/peerless/netns/A.sock',
  });
  const long = 'n'.repeat(254);
  t.not(placesIn(`${long}1`).socket, placesIn(`${long}2`).socket);
  t.true(placesIn(`${long}1`).socket.length <= 107);
  t.not(switchName(placesIn('A')), switchName(placesIn('B')));
  t.true(switchName(placesIn('A')).endsWith(switchName(placesIn(undefined))));
});
