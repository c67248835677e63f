/** What the underlay sees of a flow: its source port, its DSCP and its ECN field. */
import { spawn } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import { LinuxSocket } from 'linux-sockets';
import { SOURCE_PORTS } from '../src/index.ts';
import { closed, innerOf, seal } from './esp.ts';
import { checksum, frameOf } from './frames.ts';
import { encrypt, inside, ip, KEY_A, type Lab, lab, plain, run, SPI_A, until, VNI } from './support.ts';

const [IPPROTO_IP, IP_TOS, IPPROTO_IPV6, IPV6_TCLASS] = [0, 1, 41, 67] as const;
const PORT = 7100;

interface Seen {
  readonly tos: number;
  readonly source: number;
}

/** What passes a device and comes from an address, by tcpdump: TOS and UDP source port of each packet. */
async function capture(
  t: ExecutionContext,
  netns: string,
  device: string,
  from: string,
  filter: string,
): Promise<() => Seen[]> {
  const words = ['-n', '-v', '-l', '--immediate-mode', '-i', device, 'udp', 'and', 'src', from, ...filter.split(' ')];
  const packet = new RegExp(`tos 0x([0-9a-f]+)[^\\n]*\\n\\s+${from.replaceAll('.', '\\.')}\\.(\\d+) > `, 'g');
  const child = spawn('ip', ['netns', 'exec', netns, 'tcpdump', ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => void child.kill());
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await new Promise<void>((resolve, reject) => {
    let said = '';
    child.stderr.on('data', (chunk) => {
      said += chunk;
      if (said.includes('listening on')) resolve();
    });
    child.once('exit', () => reject(new Error(said)));
  });
  return () =>
    [...text.matchAll(packet)].map(([, tos, source]) => ({
      tos: Number.parseInt(tos!, 16),
      source: Number(source),
    }));
}

function sender(t: ExecutionContext, { a, b }: Lab, v6: boolean) {
  const socket = LinuxSocket.open({ family: v6 ? 10 : 2, type: 2, protocol: 17, netns: a.instance });
  t.teardown(() => socket.close());
  socket.connect(
    v6 ? { family: 'ipv6', address: 'fd00::2', port: PORT } : { family: 'ipv4', address: b.address, port: PORT },
  );
  return {
    send: (data: Buffer) => socket.send({ data }),
    mark: (tos: number) => socket.setOption(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, tos),
  };
}

/** Payloads that have come to B's instance, by IPv4 or IPv6, in their order. */
function listener(t: ExecutionContext, { b }: Lab): Buffer[] {
  const socket = LinuxSocket.open({ family: 10, type: 2, protocol: 17, netns: b.instance });
  t.teardown(() => socket.close());
  socket.bind({ family: 'ipv6', address: '::', port: PORT });
  socket.setBuffer('receive', 8 << 20);
  const got: Buffer[] = [];
  socket.onReadable(() => {
    for (const { data } of socket.receiveBatch()) got.push(Buffer.from(data));
  });
  return got;
}

/** Nobody asks for a neighbour any more: what leaves is what the test sends. */
function quiet({ a, b }: Lab): void {
  const mac = (netns: string) => /link\/ether ([0-9a-f:]+)/.exec(ip('-n', netns, 'link', 'show', 'eth0'))![1]!;
  for (const [from, to, v6] of [[a, b, 'fd00::2'] as const, [b, a, 'fd00::1'] as const]) {
    for (const address of [to.address, v6]) {
      ip(
        '-n',
        from.instance,
        'neigh',
        'replace',
        address,
        'lladdr',
        mac(to.instance),
        'dev',
        'eth0',
        'nud',
        'permanent',
      );
    }
  }
}

/** What is done meanwhile waits for the process, all of it at once. */
function whileAsleep(pid: number, work: () => void): void {
  process.kill(pid, 'SIGSTOP');
  try {
    work();
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

/** 1 octet of flow, 4 of number. */
function datagram(flow: number, number: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes[0] = flow;
  bytes.writeUInt32BE(number, 1);
  return bytes;
}

for (const [form, dial, destination] of [
  ['encrypted', encrypt, 4500],
  ['plain VXLAN', (network: Lab) => plain(network), 4789],
] as const) {
  test.serial(
    `R0.2 ${form}: flows leave from several UDP ports, one flow from one, and each in its order`,
    async (t) => {
      const network = await lab(t, { overrides: { plainForm: 'vxlan' } });
      dial(network);
      t.is(network.a.worker.sourcePorts, SOURCE_PORTS.count);
      quiet(network);
      for (const { instance } of network.hosts) inside(instance, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1');
      const got = listener(t, network);
      const flows = Array.from({ length: 40 }, () => sender(t, network, false));
      const seen = await capture(t, network.a.netns, 'u0', network.a.underlay, `and dst port ${destination}`);
      for (let number = 0; number < 10; number++) flows[0]!.send(datagram(0, number, 100));
      await until('one flow', () => got.length === 10 && seen().length >= 1);
      const of = () => [...new Set(seen().map(({ source }) => source))];
      const [port] = of();
      t.deepEqual(of(), [port]);
      t.true(port! >= SOURCE_PORTS.first && port! < SOURCE_PORTS.first + SOURCE_PORTS.count);
      // Each round is one turn of the worker; TOS, and in the later ones size, changes within a flow.
      for (let round = 10; round < 40; round += 5) {
        whileAsleep(network.a.worker.pid, () => {
          for (let number = round; number < round + 5; number++) {
            flows.forEach((flow, index) => {
              flow.mark((number % 2) * 4);
              flow.send(datagram(index, number, 300 - (round < 25 ? 0 : (number * 37) % 200)));
            });
          }
        });
        await until('a round', () => got.length === 10 + (round - 5) * flows.length);
      }
      const numbers = flows.map((_, index) => got.filter((bytes) => bytes[0] === index).map((b) => b.readUInt32BE(1)));
      for (const [index, of] of numbers.entries()) {
        t.deepEqual(
          of,
          [...of].sort((one, other) => one - other),
          `flow ${index}`,
        );
      }
      await until('captured', () => of().length >= 6);
      t.deepEqual(network.b.worker.table.traffic(network.peerOfB).refused, {});
    },
  );

  test.serial(`R0.2 ${form}: the underlay sees the inner DSCP and ECN, of IPv4 and of IPv6`, async (t) => {
    const network = await lab(t, { overrides: { plainForm: 'vxlan' } });
    dial(network);
    quiet(network);
    listener(t, network);
    const seen = await capture(t, network.a.netns, 'u0', network.a.underlay, `and dst port ${destination}`);
    for (const [v6, tos] of [
      [false, 0xb8],
      [true, 0x28],
      [false, 0x02],
      [true, 0x01],
    ] as const) {
      const before = seen().filter((packet) => packet.tos === tos).length;
      const flow = sender(t, network, v6);
      flow.mark(tos);
      // More than one batch of a large frame has room for would not tell more than two of them do.
      for (let number = 0; number < 3; number++) flow.send(datagram(1, number, 200));
      await until(`TOS ${tos}`, () => seen().filter((packet) => packet.tos === tos).length > before);
    }
    t.pass();
  });
}

test.serial('R0.2 large frames of TCP with ECN tell it to the underlay too', async (t) => {
  const network = await lab(t);
  encrypt(network);
  const { a, b } = network;
  for (const { instance } of [a, b]) inside(instance, 'sysctl', '-qw', 'net.ipv4.tcp_ecn=1');
  const seen = await capture(t, a.netns, 'u0', a.underlay, 'and dst port 4500 and greater 4000');
  const server = run(b.instance, 'iperf3', '-s', '-1');
  await until('the server', () => inside(b.instance, 'ss', '-Hltn').includes(':5201'));
  t.is((await run(a.instance, 'iperf3', '-c', b.address, '-n', '4M')).code, 0);
  await server;
  await until('large ones', () => seen().length > 0);
  t.deepEqual([...new Set(seen().map(({ tos }) => tos))], [0x02]);
});

test.serial(
  'R0.2 a mark of congestion on the way reaches the instance; over what can bear none the packet is dropped',
  async (t) => {
    const network = await lab(t);
    encrypt(network);
    const { a, b } = network;
    const socket = LinuxSocket.open({ family: 2, type: 2, protocol: 17, netns: a.netns });
    t.teardown(() => socket.close());
    socket.bind({ family: 'ipv4', address: a.underlay, port: 0 });
    socket.setOption(IPPROTO_IP, IP_TOS, 0x03);
    const seen = await capture(t, b.netns, 'v0', '10.1.0.1', 'and dst port 5201');
    let sequence = 1000n;
    const send = (tos: number) => {
      const frame = frameOf({
        ...{ v6: false, tcp: false, tags: 0, options: 0, source: 9, sequence: 0, id: 1, dontFragment: true, flags: 0 },
        payload: Buffer.from('marked on the way'),
      });
      frame[15] = tos;
      frame.writeUInt16BE(0, 24);
      frame.writeUInt16BE(checksum(frame.subarray(14, 34)), 24);
      socket.send({
        data: seal(SPI_A, KEY_A, sequence++, closed(innerOf(VNI, frame))),
        to: { family: 'ipv4', address: b.underlay, port: 4500 },
      });
    };
    send(0xba);
    await until('delivered', () => seen().length === 1);
    t.is(seen()[0]!.tos, 0xbb);
    send(0xb8);
    await until('refused', () => b.worker.table.refused().ecn === 1n);
    t.is(seen().length, 1);
  },
);
