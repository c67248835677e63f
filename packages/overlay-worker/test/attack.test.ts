import { execFileSync, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { LinuxSocket } from 'linux-sockets';
import { OverlayWorker } from '../src/index.ts';
import { COMMAND, frame as frameOfControl, u32 } from '../src/protocol.ts';
import { closed, innerOf, seal, wrap } from './esp.ts';
import { frameOf } from './frames.ts';
import {
  encrypt,
  type Host,
  ip,
  KEY_A,
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

/** A sender of raw datagrams in a host's namespace, from its underlay address or another. */
function attacker(t: ExecutionContext, from: Host, address = from.underlay) {
  const socket = LinuxSocket.open({ family: 2, type: 2, protocol: 17, netns: from.netns });
  t.teardown(() => socket.close());
  socket.bind({ family: 'ipv4', address, port: 0 });
  return (to: Host, bytes: Buffer, port = 4500) =>
    socket.send({ data: bytes, to: { family: 'ipv4', address: to.underlay, port } });
}

const frame = frameOf({
  ...{ v6: false, tcp: false, tags: 0, options: 0, source: 9, sequence: 0, id: 1, dontFragment: true, flags: 0 },
  payload: Buffer.from('forged'),
});
const text = closed(innerOf(VNI, frame));

async function refusal(t: ExecutionContext, host: Host, reason: string, send: () => void): Promise<void> {
  const before = host.worker.table.refused()[reason] ?? 0n;
  const delivered = host.worker.table.counters().get('received_frames')!;
  send();
  await until(reason, () => (host.worker.table.refused()[reason] ?? 0n) === before + 1n);
  t.is(host.worker.table.counters().get('received_frames'), delivered, `${reason}: nothing was delivered`);
}

const quiet = ({ a, b }: Lab) => {
  for (const { instance } of [a, b]) ip('-n', instance, 'link', 'set', 'eth0', 'down');
};

test.serial(
  'R0.2 replayed, forged, truncated, malformed, wrong peer: each is refused and counted by its name',
  async (t) => {
    const network = await lab(t);
    const { a, b, peerOfB } = network;
    encrypt(network);
    quiet(network);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const send = attacker(t, a);
    const fresh = (sequence: bigint) => seal(SPI_A, KEY_A, sequence, text);
    const good = fresh(1000n);
    const { encrypted } = b.worker.table.traffic(peerOfB).received;
    send(b, good);
    await until('delivered', () => b.worker.table.traffic(peerOfB).received.encrypted === encrypted + 1n);
    await refusal(t, b, 'replayed', () => send(b, good));
    send(b, fresh(900n));
    await until(
      'an older one is no replay',
      () => b.worker.table.traffic(peerOfB).received.encrypted === encrypted + 2n,
    );
    await refusal(t, b, 'replayed', () => send(b, fresh(900n)));
    send(b, fresh((5n << 32n) + 7n));
    await until('64 bits', () => b.worker.table.traffic(peerOfB).received.encrypted === encrypted + 3n);
    await refusal(t, b, 'replayed', () => send(b, fresh((5n << 32n) - 100_000n)));
    await refusal(t, b, 'replayed', () => send(b, fresh(0n)));
    for (const at of [16, 40, good.length - 1]) {
      const forged = fresh((5n << 32n) + 100n + BigInt(at));
      forged[at]! ^= 0x10;
      await refusal(t, b, 'forged', () => send(b, forged));
    }
    await until('told', () => b.heard.some(({ kind, what }) => kind === 'forged' && what === SPI_A));
    const key = Buffer.alloc(36, 0x77);
    await refusal(t, b, 'forged', () => send(b, seal(SPI_A, key, (5n << 32n) + 500n, text)));
    send(b, fresh((5n << 32n) + 500n));
    await until(
      'a forged one did not move the window',
      () => b.worker.table.traffic(peerOfB).received.encrypted === encrypted + 4n,
    );
    const contrary = fresh((5n << 32n) + 600n);
    contrary[7]! ^= 1;
    await refusal(t, b, 'malformed', () => send(b, contrary));
    const padded = Buffer.from(text);
    padded[padded.length - 1] = 6;
    await refusal(t, b, 'malformed', () => send(b, seal(SPI_A, KEY_A, (5n << 32n) + 601n, padded)));
    for (const length of [0 + 2, 7, 12, 33]) await refusal(t, b, 'truncated', () => send(b, good.subarray(0, length)));
    await refusal(t, b, 'no-key', () => send(b, seal(SPI_B, KEY_A, 1n, text)));
    await until('told', () => b.heard.some(({ kind, what }) => kind === 'unreadable' && what === SPI_B));
    const wrongPort = Buffer.from(innerOf(VNI, frame));
    wrongPort[3]! ^= 1;
    await refusal(t, b, 'not-vxlan', () => send(b, seal(SPI_A, KEY_A, (5n << 32n) + 602n, closed(wrongPort))));
    await refusal(t, b, 'network-unknown', () =>
      send(b, seal(SPI_A, KEY_A, (5n << 32n) + 603n, closed(innerOf(7, frame)))),
    );
    const behind = async () => (await b.worker.macs(VNI)).filter(({ peer }) => peer === a.underlay).length;
    t.not(await behind(), 0);
    b.worker.removeMember(VNI, a.underlay);
    t.is(await behind(), 0, 'nothing is sent there any more');
    await refusal(t, b, 'wrong-network', () => send(b, seal(SPI_A, KEY_A, (5n << 32n) + 604n, text)));
    await b.worker.setNetwork({ vni: VNI, device: `pltn${VNI}`, bridge: 'br0', routed: true });
    await refusal(t, b, 'wrong-network', () => send(b, seal(SPI_A, KEY_A, (5n << 32n) + 606n, text)));
    await b.worker.setNetwork({ vni: 101, device: 'pltn101', routed: true });
    b.worker.addMember(101, a.underlay);
    await b.worker.peers();
    const delivered = () => b.worker.table.counters().get('received_frames')!;
    const before = delivered();
    send(b, seal(SPI_A, KEY_A, (5n << 32n) + 607n, text));
    await until('taken: it is in a network that is routed to this one', () => delivered() === before + 1n);
    await b.worker.removeNetwork(101);
    await refusal(t, b, 'wrong-network', () => send(b, seal(SPI_A, KEY_A, (5n << 32n) + 608n, text)));
    ip('-n', a.netns, 'addr', 'add', '192.0.2.66/24', 'dev', 'u0');
    await refusal(t, b, 'unknown-peer', () => attacker(t, a, '192.0.2.66')(b, fresh((5n << 32n) + 605n)));
    for (const spi of [0, 0x70000000, 0xb0000001])
      await refusal(t, b, 'unknown-form', () => send(b, wrap(spi, 1, text)));
  },
);

test.serial(
  'downgrade: plain text is told to the agent and refused, in both forms, while it is not accepted',
  async (t) => {
    const network = await lab(t);
    const { a, b, peerOfB } = network;
    encrypt(network);
    quiet(network);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const send = attacker(t, a);
    const told = () => b.heard.filter(({ kind }) => kind === 'plain').map(({ what }) => what);
    await refusal(t, b, 'plain-refused', () => send(b, wrap(0x91234501, 1, text)));
    await until('told', () => told().length === 1);
    t.deepEqual(told(), [{ version: 0x12, fp12: 0x345, off: true }]);
    const vxlan = (word: string) => Buffer.concat([Buffer.from(`${word}00006400`, 'hex'), frame]);
    await refusal(t, b, 'plain-refused', () => send(b, vxlan('08123458'), 4789));
    await refusal(t, b, 'plain-refused', () => send(b, vxlan('08000000'), 4789));
    await refusal(t, b, 'unknown-form', () => send(b, vxlan('08123450'), 4789));
    await until('told', () => told().length === 3);
    t.deepEqual(told().slice(1), [
      { version: 0x12, fp12: 0x345, off: false },
      { version: 0, fp12: 0, off: false },
    ]);
    b.worker.table.setAcceptPlain(peerOfB, true);
    await b.worker.peers();
    send(b, wrap(0x91234501, 2, text));
    await until('accepted', () => b.worker.table.traffic(peerOfB).received.plain === 1n);
  },
);

test.serial('plain text that is not allowed at all: no entry can send or deliver it', async (t) => {
  const network = await lab(t, { overrides: { plainAllowed: false } });
  const { a, b } = network;
  plain(network);
  await run(a.instance, 'ping', '-c', '2', '-i', '0.05', '-W', '1', b.address);
  t.true((a.worker.table.refused()['plain-forbidden'] ?? 0n) > 0n);
  t.is(a.worker.table.counters().get('sent_plain'), 0n);
  quiet(network);
  await refusal(t, b, 'plain-refused', () => attacker(t, a)(b, wrap(0x90000000, 1, text)));
});

test.serial('control packets go up and out word for word, and a flood of them is bounded', async (t) => {
  const network = await lab(t);
  const { a, b, peerOfA, peerOfB } = network;
  const hello = Buffer.concat([Buffer.from('a0000001', 'hex'), Buffer.from('hello')]);
  a.worker.table.sendControl(peerOfA, hello);
  await until('it came', () => b.heard.some(({ kind }) => kind === 'control'));
  t.deepEqual(
    b.heard.find(({ kind }) => kind === 'control'),
    { kind: 'control', peer: peerOfB, what: hello.toString('hex') },
  );
  const send = attacker(t, a);
  for (let number = 0; number < 500; number++) send(b, hello);
  await until('bounded', () => (b.worker.table.refused()['control-overflow'] ?? 0n) > 200n);
  t.true(b.heard.filter(({ kind }) => kind === 'control').length < 300);
});

test.serial('noise on the control socket is refused or ends the connection, never the worker', async (t) => {
  const { a } = await lab(t);
  const types = fc.constantFrom(...Object.values(COMMAND).filter((type) => type !== COMMAND.stop), 0, 0x81, 0xffff);
  const body = fc.uint8Array({ maxLength: 80 });
  const known = fc.constantFrom(u32(0, 1), u32(0, 0), u32(100), u32(4096, 1), u32(0xffffffff, 1));
  const messages = fc.sample(fc.tuple(types, known, body), 2000);
  for (let at = 0; at < messages.length; at += 100) {
    const socket = connect(a.socket);
    // The worker may close while we still write.
    socket.on('error', () => {});
    socket.resume();
    for (const [type, first, rest] of messages.slice(at, at + 100))
      socket.write(frameOfControl(type, 1, [first, rest]));
    if (at % 300 === 0) socket.write(Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    const closing = new Promise((resolve) => socket.once('close', resolve));
    socket.end();
    await closing;
  }
  const again = await OverlayWorker.open({ ...optionsOf(a), through: ['/bin/false'] });
  t.is(again.pid, a.worker.pid);
  t.true(Array.isArray(await again.peers()));
  await again.stop();
});

test.serial('an event comes at once when it is new, and again only when its slot is armed again', async (t) => {
  const network = await lab(t);
  const { a, b, peerOfB } = network;
  encrypt(network);
  const readable = () => b.heard.filter(({ kind }) => kind === 'readable').length;
  await run(a.instance, 'ping', '-c', '5', '-i', '0.05', b.address);
  await until('told', () => readable() === 1);
  b.worker.table.armReceive(peerOfB, SPI_A);
  await b.worker.peers();
  await run(a.instance, 'ping', '-c', '5', '-i', '0.05', b.address);
  await until('told again', () => readable() === 2);
  await run(a.instance, 'ping', '-c', '2', '-i', '0.05', b.address);
  t.is(readable(), 2);
});

test.serial('R0.2 tshark reads ESP, UDP, VXLAN and the inner packet, encrypted and plain', async (t) => {
  const network = await lab(t);
  const { a, b } = network;
  encrypt(network);
  const file = join(a.socket, '..', 'capture.pcap');
  const capture = spawn(
    'ip',
    ['netns', 'exec', b.netns, 'tcpdump', '--immediate-mode', '-Z', 'root', '-U', '-i', 'u0', '-w', file, 'udp'],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  await new Promise((resolve) => capture.stderr.once('data', resolve));
  await run(a.instance, 'ping', '-c', '2', '-i', '0.1', '-s', '1000', b.address);
  plain(network);
  await run(a.instance, 'ping', '-c', '2', '-i', '0.1', '-s', '1001', b.address);
  await new Promise((resolve) => setTimeout(resolve, 300));
  capture.kill();
  await new Promise((resolve) => capture.once('close', resolve));
  const hex = `0x${KEY_A.toString('hex')}`;
  const uat = `uat:esp_sa:"IPv4","${a.underlay}","${b.underlay}","0x${SPI_A.toString(16)}","AES-GCM with 16 octet ICV [RFC4106]","${hex}","NULL",""`;
  const out = execFileSync(
    'tshark',
    [
      ...[
        '-r',
        file,
        '-o',
        'esp.enable_encryption_decode:TRUE',
        '-o',
        'esp.enable_null_encryption_decode_heuristic:TRUE',
        '-o',
        uat,
      ],
      ...[
        '-Y',
        `ip.src==${a.underlay} && icmp`,
        '-T',
        'fields',
        '-e',
        'frame.protocols',
        '-e',
        'vxlan.vni',
        '-e',
        'esp.spi',
        '-e',
        'icmp.seq',
      ],
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const lines = out.trim().split('\n');
  t.true(lines.length >= 2, out);
  for (const line of lines)
    t.regex(line, /^eth:ethertype:ip:udp:udpencap:esp:udp:vxlan:eth:ethertype:ip:icmp:data\t100\t/);
  t.true(
    lines.some((line) => line.includes(`0x${SPI_A.toString(16)}`)),
    out,
  );
  t.log(out);
});
