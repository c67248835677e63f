/** What the table over the kernel's XFRM keeps and does by itself, without the machine: memory, looks, marks, what is refused. */
import test from 'ava';
import type { Address } from '../../../../src/model/address.ts';
import type { ListedAssociation } from '../../../../src/vswitch-bridge/encryption/xfrm/codec/association.ts';
import { PeerEntry } from '../../../../src/vswitch-bridge/encryption/xfrm/entry.ts';
import { XfrmTable } from '../../../../src/vswitch-bridge/encryption/xfrm/table.ts';
import { VirtualClock } from '../../../simulation/clock.ts';
import { A, B } from '../hosts.ts';
import { FakeMemory, FakeXfrm } from './fake-kernel.ts';

const KEY = new Uint8Array(36).fill(7);
const SPI = 0x80112233;
const log = { debug() {}, info() {}, warn() {}, error() {} };

async function opened(kernel = new FakeXfrm(A, () => undefined), memory = new FakeMemory()) {
  const clock = new VirtualClock();
  const lost: number[] = [];
  const nothing = () => undefined;
  const told = { unreadable: nothing, readable: nothing, forged: nothing, plain: nothing, held: nothing };
  const table = await XfrmTable.open({
    ends: { local: A, port: 4500 },
    ...{ kernel, memory, clock, log, defer: queueMicrotask },
    events: { ...told, control: nothing, lost: (peer) => void lost.push(peer) },
  });
  const run = async (time: number): Promise<void> => {
    const end = clock.now() + time;
    do for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    while (clock.step(end));
  };
  return { table, kernel, memory, clock, lost, run };
}

/** How often its SAs are listed from now on. */
function looksAt(kernel: FakeXfrm): () => number {
  let looks = 0;
  const { associations } = kernel;
  kernel.associations = () => {
    looks++;
    return associations.call(kernel);
  };
  return () => looks;
}

test('a key that is read under no more is not waited for: the kernel is looked at rarely again', async (t) => {
  const { table, kernel, run } = await opened();
  const peer = table.add(B);
  table.addReceive(peer, SPI, KEY);
  await run(1000);
  const looks = looksAt(kernel);
  await run(5000);
  t.true(looks() >= 9, 'while its first packet is waited for');
  table.removeReceive(peer, SPI);
  await run(1000);
  const before = looks();
  await run(60_000);
  t.true(looks() - before <= 13, `${looks() - before}`);
});

test('an SA that is made anew under the same SPI counts from the beginning', (t) => {
  const entry = new PeerEntry(1, B);
  const counted = (packets: bigint) =>
    ({
      spi: SPI,
      sequence: {},
      traffic: { packets, bytes: 0n, replayed: 0, forged: 0 },
    }) as unknown as ListedAssociation;
  const [without, within] = [new Map<number, string>(), new Map([[SPI, 'a']])];
  entry.settled({ inbound: within, outbound: without, current: undefined });
  entry.observe('in', counted(10n), 0);
  entry.settled({ inbound: without, outbound: without, current: undefined });
  entry.settled({ inbound: within, outbound: without, current: undefined });
  entry.observe('in', counted(3n), 1);
  t.is(entry.traffic(1).received.encrypted, 13n);
});

test('what is to be remembered is written twice a second, also for who speaks all the time', async (t) => {
  const { table, memory, run } = await opened();
  const peer = table.add(B);
  for (let time = 0; time < 20; time++) {
    table.setMemo(peer, Uint8Array.of(time));
    await run(100);
  }
  t.true(Number.parseInt(memory.peers.get(B)!.memo || '0', 16) >= 13, memory.peers.get(B)!.memo);
});

test('of a peer whose SA was refused nothing is remembered, and with it its policies go', async (t) => {
  const { table, kernel, memory, lost, run } = await opened();
  kernel.refuse = (request) => (request.op === 'add-sa' && request.sa.source === A ? 'ENOMEM' : undefined);
  const peer = table.add(B);
  table.setMemo(peer, Uint8Array.of(1));
  table.addReceive(peer, SPI, KEY);
  table.setSend(peer, { mode: 'encrypt', spi: SPI, key: KEY });
  await run(100);
  t.deepEqual(table.problems(), [`${B}: ENOMEM`]);
  t.is(kernel.states.size, 0);
  table.setMemo(peer, Uint8Array.of(2));
  await run(1000);
  t.deepEqual(lost, [peer, peer]);
  // A number may have been used: the next agent begins with other salts.
  t.deepEqual([...memory.peers], []);
  t.deepEqual((await opened(kernel, memory)).table.adopted, []);
  table.remove(peer);
  await run(100);
  t.is(kernel.policyList.size, 2, 'what blocks everybody');
});

test('a policy that the kernel refuses when an agent begins anew is a problem, and that peer begins anew', async (t) => {
  const before = await opened();
  const peer = before.table.add(B);
  before.table.addReceive(peer, SPI, KEY);
  before.table.setSend(peer, { mode: 'encrypt', spi: SPI, key: KEY });
  await before.run(100);
  before.table.close({ keep: true });
  const { kernel, memory } = before;
  kernel.refuse = (request) => (request.op === 'set-policy' && request.policy.template ? 'ENOMEM' : undefined);
  const { table, lost, run } = await opened(kernel, memory);
  t.deepEqual(table.problems(), [`${B}: ENOMEM`]);
  t.is(kernel.states.size, 0);
  await run(600);
  t.deepEqual(lost, [table.adopted[0]!.peer]);
});

test('marks are asked for once a turn, however many peers come', async (t) => {
  const { table, kernel, run } = await opened();
  let asked = 0;
  kernel.marks = (marks) => {
    asked++;
    kernel.marked = marks;
  };
  const peers = Array.from({ length: 200 }, (_, at) => table.add(`10.20.2.${at}` as Address));
  await run(10);
  t.is(kernel.marked.size, 200);
  for (const peer of peers.slice(50)) table.remove(peer);
  await run(10);
  t.is(kernel.marked.size, 50);
  t.is(asked, 2);
});

test('keys that come all the time do not put off the look at the kernel', async (t) => {
  const { table, kernel, run } = await opened();
  const peer = table.add(B);
  const looks = looksAt(kernel);
  for (let time = 0; time < 25; time++) {
    table.addReceive(peer, SPI + time * 256, KEY);
    await run(200);
  }
  t.true(looks() >= 8, `${looks()}`);
});

test('a peer that says nothing under a new key does not have the kernel looked at twice a second for ever', async (t) => {
  const { table, kernel, run } = await opened();
  table.addReceive(table.add(B), SPI, KEY);
  const looks = looksAt(kernel);
  await run(10_000);
  t.true(looks() >= 18, `${looks()}`);
  await run(1000);
  const before = looks();
  await run(60_000);
  t.true(looks() - before <= 13, `${looks() - before}`);
});
