/** The marks that tell peers apart and the policies, in a real kernel: how often they are loaded, and who takes them away. */
import { execFileSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import type { Address } from '../../../../src/model/address.ts';
import { systemClock } from '../../../../src/model/clock.ts';
import { XfrmDriver } from '../../../../src/vswitch-bridge/encryption/xfrm/driver.ts';
import { inboundPolicy } from '../../../../src/vswitch-bridge/encryption/xfrm/projection.ts';
import { rulesFor, TABLE } from '../../../../src/vswitch-bridge/encryption/xfrm/rules.ts';
import { load } from '../../../../src/vswitch-bridge/slowpath/policy/nft.ts';
import { watchForRemoval } from '../../../../src/vswitch-bridge/slowpath/policy/removed-table.ts';

const A = '192.0.2.1' as Address;
const B = '192.0.2.2' as Address;
const ENDS = { local: A, port: 4500 };
const log = { debug() {}, info() {}, warn() {}, error() {} };
const ip = (...argv: string[]) => execFileSync('ip', argv, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
let serial = 0;

function opened(t: ExecutionContext) {
  const netns = `xfrmr${process.pid}n${++serial}`;
  ip('netns', 'add', netns);
  t.teardown(() => void ip('netns', 'del', netns));
  ip('-n', netns, 'link', 'set', 'lo', 'up');
  ip('-n', netns, 'address', 'add', `${A}/32`, 'dev', 'lo');
  const loaded: ReadonlyMap<Address, number>[] = [];
  const lost: string[] = [];
  const driver = XfrmDriver.open({
    ends: ENDS,
    arrivals: { control() {}, plain() {}, unreadable() {} },
    isOurs: () => false,
    lost: (reason) => void lost.push(reason),
    loadMarks: async (marks) => {
      loaded.push(marks);
      await load(rulesFor(ENDS, marks), { netns });
    },
    ...{ log, netns },
  });
  t.teardown(() => driver.close());
  return { netns, driver, loaded, lost };
}

test.serial('marks that are asked for while others are loaded are one load, with the last of them', async (t) => {
  const { driver, loaded } = opened(t);
  driver.marks(new Map([[B, 1]]));
  await driver.marked();
  for (let mark = 2; mark <= 50; mark++) {
    driver.marks(new Map([[B, mark]]));
    if (mark === 25) await Promise.resolve();
  }
  await driver.marked();
  t.true(loaded.length <= 3, `${loaded.length}`);
  t.deepEqual(loaded.at(-1), new Map([[B, 50]]));
});

test.serial('who flushes the ruleset finds the marks there again', async (t) => {
  const { netns, driver, loaded } = opened(t);
  const nft = (...argv: string[]) => execFileSync('ip', ['netns', 'exec', netns, '/usr/sbin/nft', ...argv]).toString();
  const heard: string[] = [];
  const options = { table: TABLE, clock: systemClock, log, netns };
  const removed = () => {
    heard.push('removed');
    driver.markAgain();
  };
  t.teardown(watchForRemoval({ ...options, removed }));
  driver.marks(new Map([[B, 0x7e000001]]));
  await driver.marked();
  nft('add', 'table', 'ip', 'other');
  nft('flush', 'ruleset');
  const end = performance.now() + 20_000;
  const stands = () => nft('list', 'ruleset').includes(`${B} : 0x7e000001`);
  while (!stands() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  t.true(stands());
  t.deepEqual(heard, ['removed']);
  t.is(loaded.length, 2);
});

test.serial(
  'who deletes a policy of ours is heard; what we delete ourselves, and what others delete of theirs, is not',
  async (t) => {
    const { netns, driver, lost } = opened(t);
    const peer = { address: B, mark: 1 };
    const set = () => driver.apply([{ op: 'set-policy', policy: inboundPolicy(ENDS, peer) }]);
    const dropped = (...which: string[]) => ip('-n', netns, 'xfrm', 'policy', 'delete', ...which, 'dir', 'in');
    const theirs = ['src', '192.0.2.9/32', 'dst', `${A}/32`];
    ip('-n', netns, 'xfrm', 'policy', 'add', ...theirs, 'dir', 'in', 'action', 'block');
    set();
    driver.apply([{ op: 'delete-policy', id: inboundPolicy(ENDS, peer) }]);
    dropped(...theirs);
    set();
    dropped('src', `${B}/32`, 'dst', `${A}/32`, 'proto', 'udp', 'dport', '4789');
    const end = performance.now() + 20_000;
    while (lost.length === 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
    t.deepEqual(lost, [`another program has deleted the policy for what comes in from ${B}`]);
  },
);
