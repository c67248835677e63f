/**
 * The driver and a real kernel, in namespaces of its own. Where the kernel has no ESP (as in the virtual machines that this is
 * built on) its refusal is what is looked at; policies, the port and the sockets are real either way.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { AF, LinuxSocket, SOCK, SystemCallError } from 'linux-sockets';
import type { Address } from '../../../../src/model/address.ts';
import { systemClock } from '../../../../src/model/clock.ts';
import type { SaId } from '../../../../src/vswitch-bridge/encryption/xfrm/codec/structures.ts';
import { parseStatistics, XfrmDriver } from '../../../../src/vswitch-bridge/encryption/xfrm/driver.ts';
import { PortHolder } from '../../../../src/vswitch-bridge/encryption/xfrm/holder.ts';
import { openXfrmWorker } from '../../../../src/vswitch-bridge/encryption/xfrm/index.ts';
import {
  associationOf,
  blockAll,
  inboundPolicy,
  outboundPolicy,
  policyIds,
} from '../../../../src/vswitch-bridge/encryption/xfrm/projection.ts';
import {
  blockPlainText,
  leftInKernel,
  removeFromKernel,
  xfrmLacks,
} from '../../../../src/vswitch-bridge/encryption/xfrm/requests.ts';
import { noRules, rulesFor } from '../../../../src/vswitch-bridge/encryption/xfrm/rules.ts';

const A = '192.0.2.1' as Address;
const B = '192.0.2.2' as Address;
const ENDS = { local: A, port: 4500 };
const PEER = { address: B, mark: 0x7e000001 };
const log = { debug() {}, info() {}, warn() {}, error() {} };
let serial = 0;

const ip = (...argv: string[]) => execFileSync('ip', argv, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

/** Two namespaces, a cable between them. */
function cable(t: ExecutionContext): { readonly a: string; readonly b: string } {
  const [a, b] = ['a', 'b'].map((end) => `xfrm${process.pid}${end}${++serial}`) as [string, string];
  for (const name of [a, b]) {
    ip('netns', 'add', name);
    t.teardown(() => void ip('netns', 'del', name));
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
  ip('link', 'add', 'u0', 'netns', a, 'type', 'veth', 'peer', 'name', 'u0', 'netns', b);
  for (const [name, address] of [
    [a, A],
    [b, B],
  ] as const) {
    ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'u0');
    ip('-n', name, 'link', 'set', 'u0', 'up');
  }
  return { a, b };
}

function udp(t: ExecutionContext, netns: string, address: Address, port = 0): LinuxSocket {
  const socket = LinuxSocket.open({ family: AF.INET, type: SOCK.DGRAM, protocol: 17, netns });
  t.teardown(() => socket.close());
  socket.bind({ family: 'ipv4', address, port });
  return socket;
}

const until = async (what: string, holds: () => boolean): Promise<void> => {
  const end = performance.now() + 20_000;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

function driver(t: ExecutionContext, netns: string, isOurs: (id: SaId) => boolean = () => true) {
  const heard: string[] = [];
  const opened = XfrmDriver.open({
    ends: ENDS,
    arrivals: {
      control: (from, bytes) => void heard.push(`control ${from} ${Buffer.from(bytes).toString('hex')}`),
      plain: (from, { version, fp12, off }) => void heard.push(`plain ${from} ${version} ${fp12} ${off}`),
      unreadable: (from, spi) => void heard.push(`unreadable ${from} ${spi.toString(16)}`),
    },
    isOurs,
    lost: (reason) => void heard.push(`lost: ${reason}`),
    loadMarks: async (marks) => {
      if (marks.size > 1) throw new Error('no room');
    },
    log,
    netns,
  });
  t.teardown(() => opened.close());
  return { driver: opened, heard };
}

test.serial(
  'a kernel without ESP says so, in words, and the back end is not opened: nothing goes in plain text',
  async (t) => {
    const { a } = cable(t);
    const lacks = await xfrmLacks(a);
    const directory = mkdtempSync(join(tmpdir(), 'peerless-xfrm-'));
    t.teardown(() => rm(directory, { recursive: true }));
    const open = openXfrmWorker({
      ...{ ends: ENDS, directory, loadRules: async () => undefined, clock: systemClock, log, netns: a },
    });
    const events = { unreadable() {}, readable() {}, forged() {}, plain() {}, held() {}, control() {} };
    const { driver: kernel } = driver(t, a);
    const refused = kernel.apply([
      { op: 'add-sa', sa: associationOf(ENDS, PEER, 'in', 0x80112233, new Uint8Array(36)) },
    ]);
    if (lacks === undefined) {
      t.log('this kernel has ESP');
      t.deepEqual(refused, []);
      t.is((await kernel.associations()).length, 1);
      return;
    }
    t.regex(lacks, /^the kernel has no (ESP|rfc4106)/);
    t.regex(refused[0]?.reason ?? '', /^the kernel has no (ESP|rfc4106)/);
    const error = await t.throwsAsync(open(events, () => undefined));
    t.is(error?.message, `backend xfrm: ${lacks}`);
    t.deepEqual(await kernel.associations(), []);
  },
);

test.serial('policies: the kernel has what was asked for, lists it as it was, and lets go of it', async (t) => {
  const { a } = cable(t);
  const { driver: kernel } = driver(t, a);
  const wanted = [...blockAll(ENDS), inboundPolicy(ENDS, PEER), outboundPolicy(ENDS, PEER, 0x80112233)];
  t.deepEqual(kernel.apply(wanted.map((policy) => ({ op: 'set-policy', policy }))), []);
  const sorted = (list: readonly object[]) => list.map((each) => JSON.stringify(sortedKeys(each))).sort();
  t.deepEqual(sorted(await kernel.policies()), sorted(wanted));
  t.regex(ip('-n', a, 'xfrm', 'policy'), /src 192\.0\.2\.1\/32 dst 192\.0\.2\.2\/32 proto udp dport 4789/);
  const blocked = outboundPolicy(ENDS, PEER, undefined);
  t.deepEqual(kernel.apply([{ op: 'set-policy', policy: blocked }]), [], 'one is changed in its place');
  t.is((await kernel.policies()).length, 4);
  t.is(await leftInKernel(ENDS, a), 4);
  t.deepEqual(kernel.apply(policyIds(ENDS, PEER).map((id) => ({ op: 'delete-policy', id }))), []);
  t.regex(
    kernel.apply([{ op: 'delete-policy', id: policyIds(ENDS, PEER)[0]! }])[0]?.reason ?? '',
    /XFRM_MSG_DELPOLICY: ENOENT/,
  );
  t.is(await removeFromKernel(ENDS, a), 2);
  t.is(await removeFromKernel(ENDS, a), 0);
  kernel.marks(new Map([[B, 1]]));
  await kernel.marked();
  kernel.marks(
    new Map([
      [B, 1],
      [A, 2],
    ]),
  );
  await t.throwsAsync(kernel.marked(), { message: 'no room' });
});

const sortedKeys = (value: unknown): unknown =>
  typeof value === 'object' && value !== null
    ? Object.fromEntries(
        Object.entries(value)
          .sort(([one], [other]) => (one < other ? -1 : 1))
          .map(([key, inner]) => [key, sortedKeys(inner)]),
      )
    : value;

test.serial('plain VXLAN neither leaves nor is taken, whatever else passes', async (t) => {
  const { a, b } = cable(t);
  const outside = udp(t, b, B, 4789);
  const other = udp(t, b, B, 4790);
  const inside = udp(t, a, A, 4789);
  const heard: string[] = [];
  for (const [name, socket] of Object.entries({ outside, other, inside })) {
    socket.onReadable(() => {
      for (const { data } of socket.receiveBatch(8)) heard.push(`${name} ${data.toString()}`);
    });
  }
  const sender = udp(t, a, A);
  const send = (socket: LinuxSocket, to: Address, port: number, text: string) =>
    socket.send({ data: Buffer.from(text), to: { family: 'ipv4', address: to, port } });
  send(sender, B, 4789, 'before');
  await until('before', () => heard.includes('outside before'));
  await blockPlainText(ENDS, a);
  // As the kernel's own tunnel would.
  t.throws(() => send(sender, B, 4789, 'after'), { instanceOf: SystemCallError, message: /EPERM/ });
  send(sender, B, 4790, 'beside');
  const { driver: kernel } = driver(t, a);
  kernel.apply([
    { op: 'set-policy', policy: inboundPolicy(ENDS, PEER) },
    { op: 'set-policy', policy: outboundPolicy(ENDS, PEER, 0x80112233) },
  ]);
  // A policy that names an SA that is not there lets nothing out either.
  try {
    send(sender, B, 4789, 'without an SA');
  } catch (error) {
    t.true(error instanceof SystemCallError);
  }
  send(udp(t, b, B), A, 4789, 'from outside');
  send(udp(t, b, B), A, 4791, 'to nobody');
  await until('the other port', () => heard.includes('other beside'));
  const counted = () => statisticsOf(a);
  await until('counted', () => (counted()['plain-refused'] ?? 0n) > 0n);
  t.deepEqual(heard, ['outside before', 'other beside']);
  t.true((counted()['not-sent'] ?? 0n) >= 1n);
});

test.serial("the kernel's own VXLAN obeys: blocked on its way out, refused on its way in without ESP", async (t) => {
  const { a, b } = cable(t);
  for (const [name, local, remote, address] of [
    [a, A, B, '10.9.0.1/24'],
    [b, B, A, '10.9.0.2/24'],
  ] as const) {
    ip(
      '-n',
      name,
      'link',
      'add',
      'vx',
      'type',
      'vxlan',
      'id',
      '100',
      'dstport',
      '4789',
      'local',
      local,
      'remote',
      remote,
    );
    ip('-n', name, 'address', 'add', address, 'dev', 'vx');
    ip('-n', name, 'link', 'set', 'vx', 'up');
  }
  const reaches = () => spawnSync('ip', ['netns', 'exec', a, 'ping', '-c1', '-W1', '10.9.0.2']).status === 0;
  await until('it is reached', reaches);
  await blockPlainText(ENDS, a);
  t.false(reaches());
  t.true((statisticsOf(a)['not-sent'] ?? 0n) >= 1n);
  await removeFromKernel(ENDS, a);
  await until('it is reached again', reaches);
  const { driver: kernel } = driver(t, a);
  kernel.apply([{ op: 'set-policy', policy: inboundPolicy(ENDS, PEER) }]);
  t.false(reaches());
  t.true((statisticsOf(a)['plain-refused'] ?? 0n) >= 1n);

  // The second lock, for when somebody has flushed the policies.
  await removeFromKernel(ENDS, a);
  const before = statisticsOf(a);
  nft(a, rulesFor(ENDS, new Map()));
  t.false(reaches());
  const dropped = () =>
    [...listed(a).matchAll(/ipsec missing counter packets (\d+)/g)].map(([, count]) => Number(count));
  t.true(dropped()[1]! >= 1, 'out');
  ip('netns', 'exec', b, 'ping', '-c1', '-W1', '192.0.2.1');
  spawnSync('ip', ['netns', 'exec', b, 'ping', '-c1', '-W1', '10.9.0.1']);
  t.true(dropped()[0]! >= 1, 'in');
  t.deepEqual(statisticsOf(a), before, 'XFRM had no part in it');
  nft(a, noRules());
  await until('it is reached at last', reaches);
});

const nft = (netns: string, text: string) =>
  execFileSync('ip', ['netns', 'exec', netns, '/usr/sbin/nft', '-f', '-'], { input: text });
const listed = (netns: string) =>
  execFileSync('ip', ['netns', 'exec', netns, '/usr/sbin/nft', 'list', 'ruleset']).toString();

/** /proc/net is the reader's namespace's: of another, by a process in it. */
const statisticsOf = (netns: string) =>
  parseStatistics(execFileSync('ip', ['netns', 'exec', netns, 'cat', '/proc/net/xfrm_stat']).toString());

test.serial(
  'beside the data: control packets, plain ones and unknown versions are heard, what can be read is not',
  async (t) => {
    const { a, b } = cable(t);
    const { driver: kernel, heard } = driver(t, a);
    kernel.watch(new Set([0x01234]));
    const sender = udp(t, b, B);
    const send = (hex: string, port = 4500) =>
      sender.send({ data: Buffer.from(hex, 'hex'), to: { family: 'ipv4', address: A, port } });
    const body = '00000001'.repeat(8);
    send(`80123400${body}`);
    send(`80123401${body}`);
    send(`80123500${body}`);
    send(`90123401${body}`);
    send(`00000000${body}`);
    send(`70000000${body}`);
    send(`a0000001${body}`, 4501);
    send('a0');
    send(`a0000002${body}`);
    send(`a0000001${body}`);
    await until('control', () => heard.some((each) => each.startsWith('control')));
    t.deepEqual(heard, [`unreadable ${B} 80123500`, `plain ${B} 1 564 true`, `control ${B} a0000001${body}`]);
    const answer = udp(t, b, B, 4500);
    const got: string[] = [];
    answer.onReadable(() => {
      for (const { data, from } of answer.receiveBatch(8))
        got.push(`${from?.family === 'ipv4' ? from.port : 0} ${data.toString('hex')}`);
    });
    kernel.sendControl(B, Buffer.from('a0000001ff', 'hex'));
    await until('the answer', () => got.length > 0);
    t.deepEqual(got, ['4500 a0000001ff']);
  },
);

test.serial(
  'somebody who flushes SAs or policies is heard; what we do ourselves, and what others do to theirs, is not',
  async (t) => {
    const { a } = cable(t);
    const { driver: kernel, heard } = driver(t, a, () => false);
    kernel.apply(blockAll(ENDS).map((policy) => ({ op: 'set-policy', policy })));
    kernel.apply(blockAll(ENDS).map((id) => ({ op: 'delete-policy', id })));
    await xfrmLacks(a);
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.deepEqual(heard, []);
    kernel.apply(blockAll(ENDS).map((policy) => ({ op: 'set-policy', policy })));
    ip('-n', a, 'xfrm', 'policy', 'flush');
    await until('policies', () => heard.length > 0);
    t.regex(heard[0]!, /^lost: XFRM_MSG_FLUSHPOLICY/);
  },
);

test.serial('marks: nftables takes them, as often as they change', (t) => {
  const { a } = cable(t);
  const load = (text: string) => nft(a, text);
  const list = () => listed(a);
  load(rulesFor(ENDS, new Map([[B, PEER.mark]])));
  load(
    rulesFor(
      ENDS,
      new Map([
        [B, PEER.mark],
        ['192.0.2.3' as Address, 0x7e000002],
      ]),
    ),
  );
  t.regex(list(), /192\.0\.2\.2 : 0x7e000001, 192\.0\.2\.3 : 0x7e000002/);
  t.regex(list(), /ip daddr 192\.0\.2\.1 udp dport 4500 meta mark set ip saddr map @peers/);
  load(noRules());
  load(noRules());
  t.is(list().trim(), '');
});

test.serial('a driver that can not be opened keeps nothing open', async (t) => {
  const { a } = cable(t);
  const open = () => readdirSync('/proc/self/fd').length;
  const attempt = () =>
    XfrmDriver.open({
      ends: { ...ENDS, local: '192.0.2.77' as Address },
      arrivals: { control: () => undefined, plain: () => undefined, unreadable: () => undefined },
      isOurs: () => false,
      lost: () => undefined,
      loadMarks: async () => undefined,
      log,
      netns: a,
    });
  const before = open();
  for (let attempts = 0; attempts < 20; attempts++) {
    t.throws(attempt, { instanceOf: SystemCallError, code: 'EADDRNOTAVAIL' });
  }
  await until('all of it is closed', () => open() < before + 20);
});

test.serial('the port of ESP stays open without the agent, and goes over to the next', async (t) => {
  const { a } = cable(t);
  const directory = mkdtempSync(join(tmpdir(), 'peerless-xfrm-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const fail = (error: Error) => t.fail(error.message);
  const bound = () => /192\.0\.2\.1:4500/.test(execFileSync('ip', ['netns', 'exec', a, 'ss', '-uln']).toString());
  const first = driver(t, a);
  new PortHolder(directory).begin(first.driver.espPort, fail);
  const pid = () => Number(readFileSync(join(directory, 'holder.pid'), 'utf8'));
  const one = pid();
  await until('it runs', () => readFileSync(`/proc/${one}/cmdline`, 'latin1').startsWith('/bin/sleep'));
  await first.driver.close();
  t.true(bound());
  const second = driver(t, a);
  new PortHolder(directory).begin(second.driver.espPort, fail);
  await until(
    'the first has ended',
    () => !existsSync(`/proc/${one}`) || /^State:\s+Z/m.test(readFileSync(`/proc/${one}/status`, 'utf8')),
  );
  await second.driver.close();
  t.true(bound());
  const two = pid();
  await until('it runs', () => readFileSync(`/proc/${two}/cmdline`, 'latin1').startsWith('/bin/sleep'));
  new PortHolder(directory).end();
  await until('nobody has it', () => !bound());
  t.false(existsSync(join(directory, 'holder.pid')));
});
