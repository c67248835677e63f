import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { OverlayWorker, overlayMtu } from '../src/index.ts';
import {
  encrypt,
  inside,
  ip,
  KEY_A,
  KEY_B,
  type Lab,
  lab,
  optionsOf,
  plain,
  run,
  SPI_A,
  SPI_B,
  until,
  VNI,
} from './support.ts';

const INSTANCE = fileURLToPath(new URL('./instance.ts', import.meta.url));
const NODE = [process.execPath, '--conditions=source', '--disable-warning=ExperimentalWarning', INSTANCE];

/** A server in B's instance, and a client in A's. */
async function server(t: ExecutionContext, { b }: Lab): Promise<void> {
  const child = spawn('ip', ['netns', 'exec', b.instance, ...NODE, 'serve'], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => void child.kill());
  await new Promise((resolve) => child.stdout.once('data', resolve));
}
const client = async ({ a }: Lab, ...words: string[]) => (await run(a.instance, ...NODE, ...words)).text.trim();

/** Loss of a real network is not what is tested: what comes must be right, and nearly all must come. */
function nearly(t: ExecutionContext, text: string, count: number): void {
  const [, back, wrong] = /^(\d+) back, (\d+) wrong$/.exec(text) ?? [];
  t.is(wrong, '0', text);
  t.true(Number(back) >= count * 0.9, text);
}

async function everything(t: ExecutionContext, network: Lab): Promise<void> {
  await server(t, network);
  const { b } = network;
  t.is((await run(network.a.instance, 'ping', '-c', '3', '-i', '0.05', b.address)).code, 0);
  t.is((await run(network.a.instance, 'ping', '-c', '3', '-i', '0.05', 'fd00::2')).code, 0);
  t.is(await client(network, 'tcp', b.address, String(64 << 20)), 'same');
  t.is(await client(network, 'tcp', 'fd00::2', String(16 << 20)), 'same');
  for (const size of ['64', '1200']) nearly(t, await client(network, 'udp', b.address, '400', size), 400);
  nearly(t, await client(network, 'udp', 'fd00::2', '200', '1001'), 200);
  // UDP_SEGMENT: the sender's kernel hands over datagrams in one frame.
  for (const size of ['100', '1380']) nearly(t, await client(network, 'segments', b.address, '400', size), 400);
  t.deepEqual(network.a.refused, []);
  t.deepEqual(b.refused, []);
  t.is(ip('-6', '-n', b.netns, 'addr', 'show', 'dev', `pltn${VNI}`), '', 'the host itself does not speak there');
}

test.serial('R0.2 encrypted: ping, TCP, UDP and UDP_SEGMENT of IPv4 and IPv6 arrive as they were sent', async (t) => {
  const network = await lab(t);
  encrypt(network);
  await everything(t, network);
  const traffic = network.a.worker.table.traffic(network.peerOfA);
  t.true(traffic.sent.encrypted > 10_000n);
  t.is(traffic.sent.plain, 0n);
  t.is(traffic.sequence, traffic.sent.encrypted);
  t.true(traffic.lastTcp !== undefined && traffic.lastOther !== undefined && traffic.lastSent !== undefined);
  const frames = network.a.worker.table.counters().get('sent_frames')!;
  t.true(frames < traffic.sent.encrypted / 4n, 'the TAP gives large frames, the worker cuts them');
  const out = network.b.worker.table.counters().get('received_frames')!;
  t.true(out < traffic.sent.encrypted / 2n, 'and puts them together again');
});

test.serial('R0.2 plain in ESP: the same arrives, and each packet told the version', async (t) => {
  const network = await lab(t);
  plain(network);
  await everything(t, network);
  t.deepEqual(network.b.heard.find(({ kind }) => kind === 'plain')?.what, { version: 3, fp12: 0xabc, off: true });
  t.is(network.a.worker.table.traffic(network.peerOfA).sent.encrypted, 0n);
});

test.serial('R0.2 plain with ESP skipped: the same arrives, and the VXLAN header told the version', async (t) => {
  const network = await lab(t, { overrides: { plainForm: 'vxlan' } });
  plain(network, { version: 255, fp12: 0x123, off: false });
  await everything(t, network);
  t.deepEqual(network.b.heard.find(({ kind }) => kind === 'plain')?.what, { version: 255, fp12: 0x123, off: false });
});

test.serial(
  'MTU: a full packet of the overlay is one packet of the underlay, a longer one is fragments, TCP is cut to fit',
  async (t) => {
    const network = await lab(t, { instanceMtu: 1500 });
    encrypt(network);
    await server(t, network);
    const fragmented = () => network.a.worker.table.counters().get('fragmented')!;
    const ping = (size: number) =>
      run(network.a.instance, 'ping', '-c', '1', '-M', 'do', '-s', String(size - 28), network.b.address);
    t.is((await ping(overlayMtu(1500))).code, 0);
    t.is(fragmented(), 0n);
    t.is((await ping(overlayMtu(1500) + 1)).code, 0);
    t.is(fragmented(), 1n);
    t.is((await ping(1500)).code, 0);
    t.is(fragmented(), 2n);
    // TCP of 1,500-octet packets: frames that came as GSO fit after all.
    t.is(await client(network, 'tcp', network.b.address, String(8 << 20)), 'same');
    const { sent } = network.a.worker.table.traffic(network.peerOfA);
    t.true(fragmented() * 4n < sent.encrypted, `${fragmented()} of ${sent.encrypted} in fragments`);
    nearly(t, await client(network, 'udp', network.b.address, '100', '1472'), 100);
  },
);

test.serial('an underlay of 9,000 octets carries packets of the overlay that fill it', async (t) => {
  const network = await lab(t, { mtu: 9000 });
  encrypt(network);
  await server(t, network);
  t.is(await client(network, 'tcp', network.b.address, String(32 << 20)), 'same');
  t.is(network.a.worker.table.counters().get('fragmented'), 0n);
});

test.serial(
  'held until there is a key: in order, within bounds and for their time; a drop empties the queue',
  async (t) => {
    const hold = { packets: 8, bytes: 64 * 1024, lifetime: 60_000 };
    const network = await lab(t, { overrides: { hold } });
    const { a, b, peerOfA, peerOfB } = network;
    // Neighbours are known, so that what is held is what is sent below.
    const mac = (netns: string) => /link\/ether ([0-9a-f:]+)/.exec(ip('-n', netns, 'link', 'show', 'eth0'))![1]!;
    for (const [from, to] of [[a, b] as const, [b, a] as const]) {
      inside(from.instance, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1');
      ip('-n', from.instance, 'neigh', 'replace', to.address, 'lladdr', mac(to.instance), 'dev', 'eth0');
    }
    await until('silence', () => true);
    const before = a.worker.table.traffic(peerOfA);
    const pings = run(a.instance, 'ping', '-c', '5', '-i', '0.02', '-W', '10', b.address);
    await until('five held', () => a.worker.table.traffic(peerOfA).held >= Math.min(8, before.held + 5));
    t.is(a.heard.filter(({ kind }) => kind === 'held').length, 1, 'told once: when the queue began to fill');
    t.is(a.worker.table.traffic(peerOfA).sequence, 0n);
    b.worker.table.addReceive(peerOfB, SPI_A, KEY_A);
    a.worker.table.addReceive(peerOfA, SPI_B, KEY_B);
    b.worker.table.setSend(peerOfB, { mode: 'encrypt', spi: SPI_B, key: KEY_B });
    await new Promise((resolve) => setTimeout(resolve, 50));
    a.worker.table.setSend(peerOfA, { mode: 'encrypt', spi: SPI_A, key: KEY_A });
    const { text } = await pings;
    t.regex(text, / 5 received/);
    t.deepEqual(
      [...text.matchAll(/icmp_seq=(\d)/g)].map(([, number]) => number),
      ['1', '2', '3', '4', '5'],
    );
    t.is(a.worker.table.traffic(peerOfA).held, 0);

    a.worker.table.setSend(peerOfA, { mode: 'hold' });
    await run(a.instance, 'ping', '-c', '20', '-i', '0.01', '-W', '1', b.address);
    const full = a.worker.table.traffic(peerOfA);
    t.is(full.held, 8);
    // Now and then a neighbour's own question is among them.
    const beyond = (full.refused['hold-full'] ?? 0n) - (before.refused['hold-full'] ?? 0n);
    t.true(beyond >= 12n && beyond < 20n, `${beyond} beyond the bound`);
    a.worker.table.setSend(peerOfA, { mode: 'drop' });
    await until('emptied', () => a.worker.table.traffic(peerOfA).held === 0);
    t.is(a.worker.table.traffic(peerOfA).refused['hold-discarded'], 8n);
    await run(a.instance, 'ping', '-c', '1', '-W', '1', b.address);
    t.true((a.worker.table.traffic(peerOfA).refused['by-mode'] ?? 0n) >= 1n);
  },
);

test.serial('what is held longer than its lifetime is dropped', async (t) => {
  const network = await lab(t, { overrides: { hold: { packets: 100, bytes: 64 * 1024, lifetime: 100 } } });
  await run(network.a.instance, 'ping', '-c', '2', '-i', '0.01', '-W', '1', network.b.address);
  await until('expired', () => {
    const { held, refused } = network.a.worker.table.traffic(network.peerOfA);
    return held === 0 && (refused['hold-expired'] ?? 0n) > 0n;
  });
  t.pass();
});

test.serial('R0.2 keys change under load: no packet is lost, no sequence number comes twice', async (t) => {
  const network = await lab(t);
  const { a, b, peerOfA, peerOfB } = network;
  encrypt(network);
  await server(t, network);
  let finished = false;
  const echo = client(network, 'udp', b.address, '1500', '600').then((text) => {
    finished = true;
    return text;
  });
  let turn = 0;
  while (!finished && turn < 200) {
    turn++;
    for (const [from, of, to, at, bit] of [
      [a, peerOfA, b, peerOfB, 0],
      [b, peerOfB, a, peerOfA, 0x80],
    ] as const) {
      const spi = (0x80200000 | (turn << 8) | bit) >>> 0;
      const key = Buffer.alloc(36, turn + bit);
      to.worker.table.addReceive(at, spi, key);
      // The receiver holds it before the sender uses it, as the machine sees to.
      await to.worker.peers();
      from.worker.table.setSend(of, { mode: 'encrypt', spi, key });
      if (turn > 4) to.worker.table.removeReceive(at, (0x80200000 | ((turn - 4) << 8) | bit) >>> 0);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  t.is(await echo, '1500 back, 0 wrong');
  t.true(turn > 10);
  const traffic = a.worker.table.traffic(peerOfA);
  t.is(traffic.sequence, traffic.sent.encrypted, 'the number went on over all keys');
  t.deepEqual(b.worker.table.traffic(peerOfB).refused, {});
});

test.serial(
  'the agent is killed: packets go on, and its successor finds worker, peers, memo and networks',
  async (t) => {
    const network = await lab(t);
    const { a, b, peerOfA } = network;
    encrypt(network);
    a.worker.table.setMemo(peerOfA, Buffer.from('what the machine knew'));
    await a.worker.peers();
    a.worker.detach();
    t.is((await run(a.instance, 'ping', '-c', '10', '-i', '0.02', b.address)).code, 0);
    const again = await OverlayWorker.open({ ...optionsOf(a), through: ['/bin/false'] });
    t.true(again.adopted);
    t.is(again.pid, a.worker.pid);
    t.deepEqual(again.networks, [{ vni: VNI, device: `pltn${VNI}` }]);
    t.deepEqual(
      again.table.adopted.map((peer) => ({ ...peer, memo: Buffer.from(peer.memo).toString() })),
      [{ peer: peerOfA, address: b.underlay, memo: 'what the machine knew', receive: [SPI_B] }],
    );
    t.true(again.table.traffic(peerOfA).sent.encrypted >= 10n);
    t.throws(() => again.table.add(b.underlay), { message: /already/ });
    // The number of a peer is not used again.
    again.table.remove(peerOfA);
    const fresh = again.table.add(b.underlay);
    t.true(fresh > peerOfA);
    t.is(again.table.traffic(fresh).sequence, 0n);
    again.table.addReceive(fresh, SPI_B, KEY_B);
    again.table.setSend(fresh, { mode: 'encrypt', spi: SPI_A + 1, key: Buffer.alloc(36, 9) });
    again.addMember(VNI, b.underlay);
    b.worker.table.addReceive(network.peerOfB, SPI_A + 1, Buffer.alloc(36, 9));
    t.is((await run(a.instance, 'ping', '-c', '3', '-i', '0.1', b.address)).code, 0);
    a.worker = again;
  },
);

test.serial('a TAP that somebody deletes is told, and made anew when asked for', async (t) => {
  const lost: number[] = [];
  const network = await lab(t, { overrides: { networkLost: (vni) => lost.push(vni) } });
  const { a, b } = network;
  encrypt(network);
  ip('-n', a.netns, 'link', 'del', `pltn${VNI}`);
  await until('told', () => lost[0] === VNI);
  await a.worker.setNetwork({ vni: VNI, device: `pltn${VNI}`, bridge: 'br0' });
  t.is((await run(a.instance, 'ping', '-c', '3', '-i', '0.1', b.address)).code, 0);
  await a.worker.removeNetwork(VNI);
  t.throws(() => ip('-n', a.netns, 'link', 'show', `pltn${VNI}`));
  await t.throwsAsync(a.worker.removeNetwork(VNI), { code: 'ENOENT' });
});

test.serial(
  'a device whose MTU is smaller than was told, and one without offloads: slower, and all arrives',
  async (t) => {
    const network = await lab(t);
    const { a, b } = network;
    encrypt(network);
    await server(t, network);
    ip('-n', a.netns, 'link', 'set', 'u0', 'mtu', '1280');
    t.is(await client(network, 'tcp', b.address, String(4 << 20)), 'same');
    t.true(a.worker.table.counters().get('sent_one_by_one')! > 100n);
    ip('-n', a.netns, 'link', 'set', 'u0', 'mtu', '1500');
    for (const { netns } of [a, b])
      inside(netns, 'ethtool', '-K', 'u0', 'tx', 'off', 'rx', 'off', 'gso', 'off', 'gro', 'off');
    t.is(await client(network, 'tcp', b.address, String(4 << 20)), 'same');
    t.is(a.worker.table.refused().sending, undefined);
  },
);

test.serial('a kernel tunnel that has the VXLAN port: all but plain VXLAN works, and it is told', async (t) => {
  const network = await lab(t);
  const { a } = network;
  t.true(a.worker.plainBound);
  await a.worker.stop();
  ip('-n', a.netns, 'link', 'add', 'x0', 'type', 'vxlan', 'id', '7', 'dstport', '4789', 'local', a.underlay);
  ip('-n', a.netns, 'link', 'set', 'x0', 'up');
  const through = ['ip', 'netns', 'exec', a.netns];
  const worker = await OverlayWorker.open({ ...optionsOf(a), through });
  t.false(worker.plainBound);
  worker.detach();
  const again = await OverlayWorker.open({ ...optionsOf(a), through: ['/bin/false'] });
  t.is(again.pid, worker.pid);
  await again.stop();
  t.false(existsSync(a.socket));
  await t.throwsAsync(OverlayWorker.open({ ...optionsOf(a), plainForm: 'vxlan', through }), { code: 'ENOTCONN' });
  t.true(await OverlayWorker.end(a.socket));
  t.false(await OverlayWorker.end(a.socket));
});

test.serial('a worker outlives a process that is killed, and ends when told', async (t) => {
  const network = await lab(t);
  const { a } = network;
  await a.worker.stop();
  const socket = `${a.socket}.other`;
  const script = `
    import { OverlayWorker } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)};
    const nothing = () => {};
    const events = { unreadable: nothing, readable: nothing, forged: nothing, plain: nothing, held: nothing, control: nothing };
    const worker = await OverlayWorker.open({ ...${JSON.stringify({ ...optionsOf(a), socket })}, events, refused: nothing, networkLost: nothing, closed: nothing });
    process.stdout.write(String(worker.pid));
    process.kill(process.pid, 'SIGKILL');
  `;
  const child = await run(a.netns, process.execPath, '--input-type=module', '--conditions=source', '-e', script);
  const pid = Number(child.text);
  t.true(pid > 1, child.text);
  const found = await OverlayWorker.open({ ...optionsOf(a), socket, through: ['/bin/false'] });
  t.is(found.pid, pid);
  await found.stop();
  await until('it has ended', () => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });
  await t.throwsAsync(OverlayWorker.open({ ...optionsOf(a), socket, local: '203.0.113.9' }), {
    message: /the ESP port: errno 99/,
  });
});
