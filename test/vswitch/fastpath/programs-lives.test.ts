import test from 'ava';
import type { UdpReceipt, UdpSent } from '../../../lab/hosts/index.ts';
import { run, waitUntil } from '../../../lab/processes.ts';
import { indexKey, raise } from '../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { added, type FastHost, type Ground, makeGround, nft, SETTINGS } from './support/ground.ts';

const MS = 1_000_000n;
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let ground: Ground;
let h1: FastHost;
let h2: FastHost;

test.serial.before(async () => {
  ground = await makeGround(`bpl${process.pid}`, [
    { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
    { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
    { name: 'c3', host: 1, network: 'blue', address: '10.200.1.3' },
  ]);
  h1 = ground.hosts.h1!;
  h2 = ground.hosts.h2!;
  await ground.lab.station('c2').request('listenUdp', { port: 6000, echo: true });
});
test.serial.after.always(() => ground?.close());
test.serial.afterEach.always(() => {
  for (const host of [h1, h2]) host.settings();
});

const send = (request: object): Promise<UdpSent> =>
  ground.lab.station('c1').request<UdpSent>('sendUdp', { to: '10.200.2.2', port: 6000, wait: 2000, ...request });
/** A connection both of whose ways are known. */
async function opened(): Promise<number> {
  const { port, answered } = await send({ count: 3 });
  if (answered !== 3) throw new Error(`${answered} of 3`);
  return port;
}

test.serial('R1.4: a connection ends by itself when its state has lasted too long, and begins anew', async (t) => {
  const timeout = SETTINGS.timeout.map((of) => (of === 120_000n * MS ? 300n * MS : of));
  for (const host of [h1, h2]) host.settings({ timeout });
  const sourcePort = await opened();
  const busy = await added(h1, 'from_instance', () => send({ count: 100, sourcePort }));
  t.is(busy.made, 0, 'traffic keeps it alive, on the fast path too');
  t.true(busy.hit! >= 99);
  await wait(800);
  const anew = await added(h1, 'from_instance', () => send({ count: 2, sourcePort }));
  t.is(anew.made, 1);
  const then = await added(h1, 'from_instance', () => send({ count: 10, sourcePort }));
  t.is(then.hit, 10, JSON.stringify(then));
});

test.serial('R1.4: TCP is followed from the handshake to both ends, whichever path carries it', async (t) => {
  const stateOf = () =>
    h1.records().find(({ connection }) => connection.direction[0]!.key.dport === 6010)?.connection.state;
  const done = ground.lab.tcp('c1', 'c2', { port: 6010, bytes: 300_000_000 });
  t.true(await waitUntil(() => stateOf() === 2, 20_000, 5), 'established');
  t.is((await done).outcome, 'done');
  t.true(await waitUntil(() => stateOf() === 4, 20_000, 5), 'closed');
});

test.serial(
  'R3.6: what was not used for longer than its lifetime is learned anew; sending ends before receiving',
  async (t) => {
    const sourcePort = await opened();
    for (const host of [h1, h2]) host.settings({ lifetime_send: 300n * MS, lifetime_receive: 3_600_000n * MS });
    await wait(700);
    let receiver = {};
    const sender = await added(h1, 'from_instance', async () => {
      receiver = await added(h2, 'nic_ingress', () => send({ count: 20, sourcePort }));
    });
    t.is(sender.aged, 1);
    t.true(sender.hit! >= 18);
    t.like(receiver, { aged: 0 });
  },
);

test.serial(
  'R1.2, R1.4: now and then a packet goes the slow way, so that conntrack and the bridges remember',
  async (t) => {
    const sourcePort = await opened();
    h1.settings({ slow_interval: 200n * MS, slow_idle: 0n, slow_force: 200n * MS });
    const counts = await added(h1, 'from_instance', () => send({ count: 600, sourcePort }));
    t.true(counts.keepalive! >= 2 && counts.keepalive! <= 20, JSON.stringify(counts));
    t.is(counts.hit! + counts.keepalive!, 600);
  },
);

test.serial(
  'R1.3: conntrack’s end does not end a connection of the fast path; back on the slow path it is let through',
  async (t) => {
    const sourcePort = await opened();
    await run(ground.lab.inside('h1', ['conntrack', '-F']));
    await run(ground.lab.inside('h2', ['conntrack', '-F']));
    t.is((await send({ count: 50, sourcePort })).answered, 50);
    raise(h1.loaded.tables.generations, 0);
    raise(h2.loaded.tables.generations, 0);
    const counts = await added(h1, 'from_instance', async () =>
      t.is((await send({ count: 50, sourcePort })).answered, 50),
    );
    t.true(counts.aged! >= 1 && counts.hit! >= 45, JSON.stringify(counts));
  },
);

test.serial('R3.8: a changed port, a changed peer: the next packet learns its way anew, and no other', async (t) => {
  const sourcePort = await opened();
  const local = await ground.lab.udp('c1', 'c3', { port: 6001, count: 3, wait: 2000 });
  raise(h1.loaded.tables.port_generation, ground.lab.ifindex('h1', 'veth-c1') & 65_535);
  const back = await added(h1, 'nic_ingress', () => send({ count: 20, sourcePort }));
  t.is(back['port-changed'], 1, JSON.stringify(back));
  t.true(back.hit! >= 18);
  const peer = h1.peers().find(({ address }) => address === ground.lab.addressOf('h2'))!;
  raise(h1.loaded.tables.peer_generation, peer.index);
  const out = await added(h1, 'from_instance', () => send({ count: 20, sourcePort }));
  t.is(out['peer-changed'], 1, JSON.stringify(out));
  const beside = await added(h1, 'from_instance', () =>
    ground.lab.udp('c1', 'c3', { port: 6001, count: 3, sourcePort: local.port, wait: 2000 }),
  );
  t.is(beside['peer-changed'], 0);
});

test.serial(
  'R3.8: an instance that the agent takes out is not delivered to, nor sent for, from that moment',
  async (t) => {
    const sourcePort = await opened();
    const ifindex = ground.lab.ifindex('h1', 'veth-c1');
    const value = h1.loaded.tables.instances.get(indexKey(ifindex))!;
    h1.loaded.tables.instances.delete(indexKey(ifindex));
    raise(h1.loaded.tables.port_generation, ifindex & 65_535);
    const out = await added(h1, 'from_instance', () => send({ count: 20, sourcePort }));
    t.is(out.hit, 0);
    t.true(out['unknown-port']! >= 20);
    h1.loaded.tables.instances.set(indexKey(ifindex), value);
    t.is((await send({ count: 20, sourcePort })).answered, 20);
  },
);

test.serial(
  'R1.2, R3.8: what the slow path lets through no more ends in the fast path too, though nobody told it',
  async (t) => {
    const sourcePort = await opened();
    h1.settings({ slow_interval: 200n * MS, slow_idle: 0n, slow_force: 200n * MS });
    await nft(ground.lab, 'h1', `add rule ip ground judge udp sport ${sourcePort} drop`);
    const during = await added(h1, 'from_instance', () => send({ count: 2000, sourcePort, wait: 0 }));
    t.true(during.hit! > 0 && during.aged! >= 1, JSON.stringify(during));
    const after = await added(h1, 'from_instance', () => send({ count: 50, sourcePort, wait: 0 }));
    t.is(after.hit, 0);
    await nft(ground.lab, 'h1', 'flush chain ip ground judge');
    t.is((await send({ count: 50, sourcePort })).answered, 50);
  },
);

test.serial('R1.3: without the port in the feature set everything goes on', async (t) => {
  for (const host of [h1, h2]) host.settings({ features: 1 });
  const sourcePort = await opened();
  const counts = await added(h1, 'from_instance', async () =>
    t.is((await send({ count: 100, sourcePort })).answered, 100),
  );
  t.true(counts.hit! >= 99);
});

test.serial(
  'R3.2: congestion is told through the tunnel as RFC 6040 has it: out as inside, in as on the way',
  async (t) => {
    const { lab } = ground;
    await nft(
      lab,
      'fabric',
      'table bridge way { chain c { type filter hook forward priority 0; udp dport 4789 ip ecn ect0 ip ecn set ce counter\n}\n}',
    );
    await nft(
      lab,
      'c2',
      'table ip seen { chain c { type filter hook input priority 0; ip protocol icmp ip ecn ce counter\n}\n}',
    );
    const counts = await added(h2, 'nic_ingress', async () =>
      t.is(await lab.ping('c1', '10.200.2.2', 20, ['-Q', '2']), 20),
    );
    t.true(counts.hit! >= 18, JSON.stringify(counts));
    t.regex(await run(lab.inside('c2', ['/usr/sbin/nft', 'list', 'ruleset'])), /ce counter packets (19|20) /);
    await nft(lab, 'fabric', 'delete table bridge way');
  },
);

test.serial('R1.4, R3.6: records outlive nothing: slots that have ended are taken again', async (t) => {
  const timeout = SETTINGS.timeout.map((of) => (of === 0n ? of : 1n * MS));
  h1.settings({ timeout, connection_mask: 15 });
  for (let round = 0; round < 40; round += 1) await send({ count: 1, wait: 500 });
  await wait(2100);
  const counts = await added(h1, 'from_instance', async () => {
    for (let round = 0; round < 10; round += 1) await send({ count: 1, wait: 500 });
  });
  t.true(counts.expired! > 0, JSON.stringify(counts));
  t.true(counts.made! > 0);
  const receipt = await ground.lab.station('c2').request<UdpReceipt>('receiptOf', { port: 6000, close: false });
  t.is(receipt.corrupted, 0);
});
