import test from 'ava';
import { AF, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { PUBLIC, type UdpReceipt, type UdpSent } from '../../../lab/hosts/index.ts';
import { run as command, waitUntil } from '../../../lab/processes.ts';
import type { Address } from '../../../src/model/address.ts';
import * as layout from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { indexKey } from '../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { ethernet, ipv4, type Packet, readIp, readTunnelled, vxlan } from './support/frames.ts';
import { type FastHost, type Ground, makeGround, nft } from './support/ground.ts';

const PASS = 0xffffffff;
const REDIRECT = 7;
const SHOT = 2;
const SKB = { bytes: 192, mark: 8, ifindex: 40 };
const ROUNDS = 20_000;
/** Of the underlay, and nobody's. */
const STRANGER = '10.20.1.77';
/** Ethernet and IPv6 headers: shorter ones the kernel refuses to run. */
const LEAST = 54;

const BLUE = { c1: '10.200.1.2', c2: '10.200.2.2' };
let ground: Ground;
let h2: FastHost;

/** The same addresses in two networks, on the same two hosts. */
test.serial.before(async () => {
  ground = await makeGround(`bps${process.pid}`, [
    { name: 'c1', host: 1, network: 'blue', address: BLUE.c1 },
    { name: 'c2', host: 2, network: 'blue', address: BLUE.c2 },
    { name: 'r1', host: 1, network: 'red', address: BLUE.c1 },
    { name: 'r2', host: 2, network: 'red', address: BLUE.c2 },
  ]);
  h2 = ground.hosts.h2!;
});
test.serial.after.always(() => ground?.close());

test.serial('R1.1: equal tuples in two networks are two connections; each gets its own', async (t) => {
  const { lab } = ground;
  const same = { to: BLUE.c2, port: 6000, sourcePort: 7000, interval: 1 };
  for (const name of ['c2', 'r2']) await lab.station(name).request('listenUdp', { port: 6000, echo: true });
  const [blue, red] = await Promise.all([
    lab.station('c1').request<UdpSent>('sendUdp', { ...same, count: 400, size: 600, wait: 2000 }),
    lab.station('r1').request<UdpSent>('sendUdp', { ...same, count: 300, size: 900, wait: 2000 }),
  ]);
  t.is(blue.answered, 400);
  t.is(red.answered, 300);
  const c2 = await lab.station('c2').request<UdpReceipt>('receiptOf', { port: 6000, close: false });
  const r2 = await lab.station('r2').request<UdpReceipt>('receiptOf', { port: 6000, close: true });
  t.like(c2, { received: 400, duplicates: 0, corrupted: 0, bytes: 400 * 600 });
  t.like(r2, { received: 300, duplicates: 0, corrupted: 0, bytes: 300 * 900 });
  t.true(h2.counts('nic_ingress').hit! >= 500);
});

/** Numbers that look random and are the same in every run. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Bits, lengths, ends and headers changed: most become nonsense, some another packet. */
function spoil(frame: Buffer, roll: (below: number) => number): Buffer {
  const spoiled = Buffer.from(frame);
  for (let change = roll(4); change >= 0; change -= 1) {
    const at = roll(3) === 0 ? roll(spoiled.length) : roll(Math.min(spoiled.length, 100));
    spoiled[at] = roll(2) === 0 ? roll(256) : spoiled[at]! ^ (1 << roll(8));
  }
  return roll(3) === 0 ? spoiled.subarray(0, LEAST + roll(spoiled.length - LEAST)) : spoiled;
}

function run(host: FastHost, name: layout.ProgramName, frame: Buffer, ifindex: number, mark = 0) {
  const context = Buffer.alloc(SKB.bytes);
  context.writeUInt32LE(ifindex, SKB.ifindex);
  context.writeUInt32LE(mark, SKB.mark);
  return withNetns(ground.lab.netnsOf(host.name), () => host.loaded.program(name).run(frame, { context }));
}

test.serial(
  'R1.1, R3.2: whatever comes by the underlay, only what belongs to a known connection is delivered, and to nobody else',
  async (t) => {
    const { lab } = ground;
    const eth0 = lab.ifindex('h2', 'eth0');
    const known = await lab
      .station('c1')
      .request<UdpSent>('sendUdp', { to: BLUE.c2, port: 6000, sourcePort: 7001, count: 3, wait: 2000 });
    t.is(known.answered, 3);
    const flow: Packet = { saddr: BLUE.c1, daddr: BLUE.c2, protocol: 17, sport: 7001, dport: 6000 };
    const [h1Address, own] = [lab.addressOf('h1'), lab.addressOf('h2')];
    const inner = ethernet(ipv4(flow, Buffer.alloc(64, 1)));
    const good = vxlan(100, inner, h1Address, own);
    t.is(run(h2, 'nic_ingress', good, eth0).result, REDIRECT, 'the connection itself');
    const bases = [
      good,
      vxlan(200, inner, h1Address, own),
      vxlan(100, vxlan(100, inner, h1Address, own), h1Address, own),
      vxlan(100, ethernet(ipv4({ ...flow, protocol: 6 }, Buffer.alloc(64))), h1Address, own),
      vxlan(100, ethernet(ipv4({ ...flow, protocol: 1 }, Buffer.alloc(64))), h1Address, own),
      vxlan(100, inner, STRANGER, own),
      vxlan(100, inner, h1Address, '10.20.1.1'),
      vxlan(100, inner, h1Address, own, 4790),
      inner,
    ];
    const roll = dice(1);
    const outcomes = { [PASS]: 0, [REDIRECT]: 0, [SHOT]: 0 } as Record<number, number>;
    for (let round = 0; round < ROUNDS; round += 1) {
      const frame = spoil(bases[round % bases.length]!, roll);
      const { result, data } = run(h2, 'nic_ingress', frame, eth0);
      outcomes[result] = (outcomes[result] ?? 0) + 1;
      if (result === PASS) {
        if (!data.equals(frame)) t.fail(`changed and left to the kernel: ${frame.toString('hex')}`);
        continue;
      }
      const read = readTunnelled(frame, own);
      const matches = read && read.host === h1Address && isKnown(read, flow) && read.vni === 100;
      if (result !== REDIRECT || !matches) t.fail(`${result}: ${frame.toString('hex')}`);
      const left = readIp(data, 0);
      if (!left || !isKnown(left, flow) || data.length !== frame.length - 50)
        t.fail(`delivered as ${data.toString('hex')}`);
    }
    t.true(outcomes[REDIRECT]! > 100 && outcomes[PASS]! > 1000, JSON.stringify(outcomes));
  },
);

/** Connections that the tests here have made are one bit away from each other. */
const PORTS = [7000, 7001, 7002];
const portOf = (port: number): number => (PORTS.includes(port) ? 7000 : port);

const isKnown = (read: Packet, flow: Packet): boolean =>
  read.saddr === flow.saddr &&
  read.daddr === flow.daddr &&
  read.protocol === flow.protocol &&
  portOf(read.sport) === portOf(flow.sport) &&
  portOf(read.dport) === portOf(flow.dport);

test.serial(
  'R1.1, R3.2: whatever an instance sends, only its own connections are sent on, in its own network',
  async (t) => {
    const { lab } = ground;
    const port = lab.ifindex('h2', 'veth-c2');
    const known = await lab
      .station('c1')
      .request<UdpSent>('sendUdp', { to: BLUE.c2, port: 6000, sourcePort: 7002, count: 3, wait: 2000 });
    t.is(known.answered, 3);
    const flow: Packet = { saddr: BLUE.c2, daddr: BLUE.c1, protocol: 17, sport: 6000, dport: 7002 };
    const good = ethernet(ipv4(flow, Buffer.alloc(64, 1)));
    t.is(run(h2, 'from_instance', good, port).result, REDIRECT);
    const own = lab.addressOf('h2');
    const bases = [
      good,
      ethernet(ipv4({ ...flow, protocol: 6 }, Buffer.alloc(64))),
      ethernet(ipv4({ ...flow, protocol: 1 }, Buffer.alloc(64))),
      vxlan(200, good, own, lab.addressOf('h1')),
      vxlan(100, good, BLUE.c2, BLUE.c1),
    ];
    const roll = dice(2);
    let sent = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const frame = spoil(bases[round % bases.length]!, roll);
      // A mark that only the programs may set is worth nothing.
      const { result, data } = run(h2, 'from_instance', frame, port, roll(4) === 0 ? 0x71000000 | roll(4096) : 0);
      if (result === PASS) {
        if (!data.equals(frame)) t.fail(`changed and left to the kernel: ${frame.toString('hex')}`);
        continue;
      }
      sent += 1;
      const read = readIp(frame, 0);
      if (result !== REDIRECT || !read || !isKnown(read, flow)) t.fail(`${result}: ${frame.toString('hex')}`);
      const outer = readTunnelled(data, lab.addressOf('h1'));
      if (outer?.vni !== 100 || outer.host !== own || !isKnown(outer, flow)) t.fail(`sent as ${data.toString('hex')}`);
    }
    t.true(sent > 100, `${sent}`);
  },
);

test.serial(
  'R3.1: a tunnel packet of a host that this one has never sent to begins nothing, and changes nothing that is known',
  async (t) => {
    const { lab } = ground;
    const own = lab.addressOf('h2');
    const eth0 = lab.ifindex('h2', 'eth0');
    const opening = { to: BLUE.c2, port: 6000, sourcePort: 7400, count: 3, wait: 2000 };
    t.is((await lab.station('c1').request<UdpSent>('sendUdp', opening)).answered, 3);
    const flow: Packet = { saddr: BLUE.c1, daddr: BLUE.c2, protocol: 17, sport: 7400, dport: 6000 };
    const from = (host: string, packet: Packet) => vxlan(100, ethernet(ipv4(packet, Buffer.alloc(64, 1))), host, own);
    const known = () =>
      h2.records().filter(({ connection }) => connection.direction.some(({ key }) => key.sport === flow.sport));
    const [before, records] = [h2.counts('nic_ingress'), known()];
    t.true(records.length > 0);
    for (let sport = 20_000; sport < 20_500; sport += 1) {
      const frame = from(STRANGER, { ...flow, sport });
      const { result, data, context } = run(h2, 'nic_ingress', frame, eth0);
      t.is(result, PASS);
      t.true(data.equals(frame));
      t.is(context.readUInt32LE(SKB.mark), 0);
    }
    t.is(run(h2, 'nic_ingress', from(STRANGER, flow), eth0).result, PASS);
    const after = h2.counts('nic_ingress');
    t.is(after.made! - before.made!, 0);
    t.is(after.stranger! - before.stranger!, 501);
    t.deepEqual(known(), records);
    t.is(run(h2, 'nic_ingress', from(lab.addressOf('h1'), flow), eth0).result, REDIRECT);
    t.is(run(h2, 'nic_ingress', from(lab.addressOf('h1'), { ...flow, sport: 20_000 }), eth0).result, PASS);
    t.is(h2.counts('nic_ingress').made! - after.made!, 1, 'of the host that it sends to it makes one');
  },
);

test.serial('R3.6: records that are left are stepped over, taken again in time, and never anybody’s', (t) => {
  const { lab } = ground;
  const { peers } = h2.loaded.tables;
  const own = lab.addressOf('h2');
  const eth0 = lab.ifindex('h2', 'eth0');
  const bytesOf = (address: string) => Buffer.from(address.split('.').map(Number));
  const startOf = (address: string) => Math.imul(bytesOf(address).readUInt32LE(0), 0x9e3779b1) >>> 22;
  const put = (index: number, what: Buffer | number) => {
    const bytes = typeof what === 'number' ? Buffer.alloc(layout.peer.size) : what;
    if (typeof what === 'number') bytes.writeUInt32LE(what >>> 0, 0);
    peers.set(indexKey(index & (layout.PEERS - 1)), bytes);
  };
  const holderOf = (index: number) => peers.get(indexKey(index & (layout.PEERS - 1)))!.subarray(0, 4);
  let sport = 30_000;
  const from = (host: string) => {
    const flow: Packet = { saddr: BLUE.c1, daddr: BLUE.c2, protocol: 17, sport: sport++, dport: 6000 };
    const before = h2.counts('nic_ingress');
    const frame = vxlan(100, ethernet(ipv4(flow, Buffer.alloc(64, 1))), host, own);
    t.is(run(h2, 'nic_ingress', frame, eth0).result, PASS);
    const after = h2.counts('nic_ingress');
    return after.made! > before.made! ? 'known' : after.stranger! > before.stranger! ? 'stranger' : 'neither';
  };
  // Of nobody who speaks by himself.
  const met = '10.20.1.98' as Address;
  const first = startOf(met);
  const record = layout.peer.encode({ address: met });
  put(first, record);
  t.is(from(met), 'known');
  for (const mark of [layout.PEER_LEFT, layout.PEER_LEAVING]) {
    put(first, mark);
    t.is(from(met), 'stranger');
    put(first + 1, record);
    t.is(from(met), 'known', 'it stands behind');
    put(first + 1, 0);
  }
  put(first, 0);
  for (const forged of ['254.255.255.255', '255.255.255.255']) {
    put(startOf(forged), bytesOf(forged).readUInt32LE(0));
    t.is(from(forged), 'stranger', forged);
    put(startOf(forged), 0);
  }
  const send = (to: string) => {
    const inner = ethernet(
      ipv4({ saddr: BLUE.c2, daddr: BLUE.c1, protocol: 17, sport: 1, dport: 2 }, Buffer.alloc(64)),
    );
    t.is(run(h2, 'nic_egress', vxlan(100, inner, own, to), eth0).result, PASS);
  };
  const another = '10.20.1.99' as Address;
  const start = startOf(another);
  put(start, layout.PEER_LEAVING);
  put(start + 1, layout.PEER_LEFT);
  send(another);
  t.deepEqual(holderOf(start + 1), bytesOf(another), 'what is being left is not taken yet');
  const made = layout.peer.decode(peers.get(indexKey((start + 1) & (layout.PEERS - 1)))!);
  t.is(made.local, own as Address);
  t.true(made.last_sent > 0n, 'it was sent to');
  send(another);
  t.is(h2.peers().filter(({ address }) => address === another).length, 1, 'one record each');
  for (const index of [start, start + 1]) put(index, 0);
});

test.serial('R3.1: an instance that sends tunnel packets to the public world makes no host known', async (t) => {
  const { lab } = ground;
  const counters = 'table ip seen { chain c { type filter hook postrouting priority 300; udp dport 4789 ip daddr';
  await nft(lab, 'h1', `${counters} ${PUBLIC.address} counter\n}\n}`);
  const socket = LinuxSocket.open({ family: AF.INET, type: SOCK.DGRAM, protocol: 17, netns: lab.netnsOf('c1') });
  try {
    const data = vxlan(100, ethernet(Buffer.alloc(64)), BLUE.c1, PUBLIC.address).subarray(42);
    socket.sendBatch([{ data, to: { family: 'ipv4', address: PUBLIC.address, port: 4789 } }]);
    const left = async () => /packets 1 /.test(await command(lab.inside('h1', ['/usr/sbin/nft', 'list', 'ruleset'])));
    t.true(await waitUntil(left, 3000, 50), 'it left, in the host’s name');
  } finally {
    socket.close();
  }
  const hosts = ground.hosts.h1!.peers().map(({ address }) => address as string);
  t.deepEqual(hosts, [lab.addressOf('h2')]);
});

test.serial('R3.2: a tunnel of an instance’s own makes no record, so that no exit takes it for the host’s', (t) => {
  const port = ground.lab.ifindex('h2', 'veth-c2');
  const forged = vxlan(
    200,
    ethernet(ipv4({ saddr: BLUE.c2, daddr: BLUE.c1, protocol: 17, sport: 1, dport: 2 }, Buffer.alloc(9))),
    BLUE.c2,
    ground.lab.addressOf('h1'),
  );
  const before = h2.counts('from_instance').made!;
  const { result, context } = run(h2, 'from_instance', forged, port);
  t.is(result, PASS);
  t.is(context.readUInt32LE(SKB.mark), 0);
  t.is(h2.counts('from_instance').made, before);
});

test.serial('R3.1: what a tunnel of another port or kind has wrapped teaches no way to the public side', async (t) => {
  const { lab } = ground;
  const h1 = ground.hosts.h1!;
  const opening = { to: BLUE.c2, port: 6000, sourcePort: 7600, count: 3, wait: 2000 };
  t.is((await lab.station('c1').request<UdpSent>('sendUdp', opening)).answered, 3);
  const recordOf = () =>
    h1.records().find(({ connection }) => {
      const { key } = connection.direction[0]!;
      return key.sport === 7600 && key.saddr === BLUE.c1 && key.protocol === 17;
    })!;
  const { slot, connection } = recordOf();
  const inner = ethernet(
    ipv4({ saddr: BLUE.c1, daddr: BLUE.c2, protocol: 17, sport: 7600, dport: 6000 }, Buffer.alloc(64)),
  );
  const wrapped = vxlan(100, inner, lab.addressOf('h1'), lab.addressOf('h2'), 8472);
  const doubted = h1.counts('nic_egress').doubted!;
  t.is(run(h1, 'nic_egress', wrapped, lab.ifindex('h1', 'eth0'), 0x71000000 | (slot << 1)).result, PASS);
  t.is(h1.counts('nic_egress').doubted, doubted + 1);
  t.is(recordOf().connection.direction[0]!.exit.kind, connection.direction[0]!.exit.kind);
});

test.serial(
  'R3.1: what leaves with a mark that is not its own, or changed beyond belief, teaches nothing',
  async (t) => {
    const { lab } = ground;
    const flow: Packet = { saddr: BLUE.c1, daddr: BLUE.c2, protocol: 17, sport: 7500, dport: 6000 };
    // Of its own: what the tests before have sent in its name never came to an exit.
    const opening = { to: BLUE.c2, port: 6000, sourcePort: 7500, count: 3, wait: 2000 };
    t.is((await lab.station('c1').request<UdpSent>('sendUdp', opening)).answered, 3);
    // What the tests before this one sent has left records that differ from this one in a bit.
    const found = h2.records().find(({ connection }) => {
      const { key } = connection.direction[0]!;
      const same = (['saddr', 'daddr', 'sport', 'dport', 'protocol'] as const).every(
        (each) => key[each] === flow[each],
      );
      return same && key.vni === 100;
    })!;
    const before = found.connection.direction[0]!.exit;
    t.not(before.kind, 0, 'learned when the connection was made');
    const roll = dice(3);
    const good = ethernet(ipv4(flow, Buffer.alloc(64, 1)));
    const bases = [
      good,
      ethernet(ipv4({ ...flow, protocol: 1 }, Buffer.alloc(64))),
      ethernet(ipv4({ ...flow, daddr: '10.200.9.9' }, Buffer.alloc(64))),
    ];
    for (let round = 0; round < 5000; round += 1) {
      const frame = spoil(bases[1 + (round % 2)]!, roll);
      const mark = 0x72000000 | (found.slot << 1);
      t.is(run(h2, 'to_instance', frame, lab.ifindex('h2', 'veth-c2'), mark).result, PASS);
      t.is(run(h2, 'to_instance', good, lab.ifindex('h2', 'veth-r2'), 0x72000000 | roll(1 << 24)).result, PASS);
    }
    const after = h2.records().find(({ slot }) => slot === found.slot)!.connection.direction[0]!.exit;
    t.deepEqual({ ...after, learned: 0n }, { ...before, learned: 0n });
  },
);
