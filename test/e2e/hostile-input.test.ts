/** What the malicious and the mistaken send, from both sides of a running switch. */
import test from 'ava';
import { sleep } from '../../lab/processes.ts';
import { arpRequest, gratuitousArp } from '../../lab/team/arp.ts';
import { namespaceOf, SERVERS } from '../../lab/topology/plan.ts';
import { Stand } from './stand.ts';

let stand: Stand;

test.before(async (t) => {
  t.timeout(120_000);
  stand = await Stand.up({ protocol: 'both', gateway: 'frr' });
  await stand.untilHome();
});

test.after.always(() => stand?.down());

const dotted = (address: string): Buffer => Buffer.from(address.split('.').map(Number));

/** An IPv4 packet of protocol OSPF from G's address at GA to all OSPF routers, in an Ethernet frame. */
function ospfFrame(payload: Uint8Array, source = '192.0.2.1'): Buffer {
  const ip = Buffer.alloc(20);
  ip[0] = 0x45;
  ip.writeUInt16BE(20 + payload.length, 2);
  ip[8] = 1;
  ip[9] = 89;
  dotted(source).copy(ip, 12);
  dotted('224.0.0.5').copy(ip, 16);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += ip.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  ip.writeUInt16BE(~sum & 0xffff, 10);
  return Buffer.concat([
    Buffer.from('01005e000005', 'hex'),
    Buffer.from('020000000099', 'hex'),
    Buffer.from('0800', 'hex'),
    ip,
    payload,
  ]);
}

/** RFC 2328 §A.3.1 with a right checksum, whatever the rest is. */
function ospfPacket(type: number, body: Uint8Array, edit: (packet: Buffer) => void = () => undefined): Buffer {
  const packet = Buffer.alloc(24 + body.length);
  packet[0] = 2;
  packet[1] = type;
  packet.writeUInt16BE(packet.length, 2);
  dotted('10.255.0.254').copy(packet, 4);
  packet.set(body, 24);
  edit(packet);
  let sum = 0;
  for (let at = 0; at < packet.length; at += 2) {
    if (at < 16 || at >= 24) sum += at + 1 < packet.length ? packet.readUInt16BE(at) : packet[at]! << 8;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(~sum & 0xffff, 12);
  return packet;
}

const sumOf = (counters: Record<string, number>, part: RegExp): number =>
  Object.entries(counters).reduce((sum, [name, value]) => (part.test(name) ? sum + value : sum), 0);

test.serial("malformed OSPF from G's side: counted, and nothing else happens", async (t) => {
  t.timeout(120_000);
  const before = await stand.counters();
  const failovers = (await stand.failovers()).length;
  const noise = (length: number) => Buffer.from(Array.from({ length }, (_, at) => (at * 73 + length) & 0xff));
  const frames = [
    ...[0, 1, 12, 23, 24, 60, 400].map((length) => ospfFrame(noise(length))),
    ...[1, 2, 3, 4, 5, 6, 255].map((type) => ospfFrame(ospfPacket(type, noise(7)))),
    ospfFrame(ospfPacket(4, Buffer.from('ffffffff', 'hex'))),
    ospfFrame(ospfPacket(4, Buffer.concat([Buffer.from('00000001', 'hex'), noise(36)]))),
    ospfFrame(ospfPacket(5, noise(20 * 5))),
    ospfFrame(ospfPacket(1, noise(20), (packet) => packet.writeUInt16BE(2000, 2))),
    ospfFrame(ospfPacket(1, noise(20), (packet) => packet.writeUInt32BE(7, 8))),
    ospfFrame(ospfPacket(1, noise(20)), '203.0.113.9'),
  ];
  // The checksum of a router that is unknown, with authentication that is not configured.
  frames.push(ospfFrame(ospfPacket(2, noise(8), (packet) => packet.writeUInt16BE(2, 14))));
  const lost = await stand.probing(async () => {
    for (let round = 0; round < 20; round++) {
      stand.sendFrames('G', 'GA', frames);
      await sleep(50);
    }
  });
  for (const [server, { lost: count }] of Object.entries(lost)) t.is(count, 0, `${server} lost packets`);
  const after = await stand.counters();
  t.true(
    sumOf(after.ospf!, /drop|discard|malformed|error/) - sumOf(before.ospf!, /drop|discard|malformed|error/) >= 200,
    JSON.stringify({ before: before.ospf, after: after.ospf }),
  );
  t.true((await stand.status()).sessions.every(({ up }) => up));
  t.is((await stand.failovers()).length, failovers);
  t.deepEqual(await stand.shutPorts(), []);
});

test.serial("strangers and garbage on BGP's port: the session does not notice", async (t) => {
  t.timeout(120_000);
  const session = (await stand.status()).sessions.find(({ protocol }) => protocol === 'bgp')!;
  const script = `
    const { connect } = require('node:net');
    const from = process.argv[1];
    const open = Buffer.from('ffffffffffffffffffffffffffffffff001d0104fde80003c000020100', 'hex');
    const texts = [
      Buffer.from('GET / HTTP/1.0\\r\\n\\r\\n'),
      Buffer.alloc(4096, 0xff),
      Buffer.from('ffffffffffffffffffffffffffffffff000001', 'hex'),
      Buffer.from('ffffffffffffffffffffffffffffffffffff01', 'hex'),
      open,
      open.subarray(0, 20),
      Buffer.concat([open, Buffer.from('ffffffffffffffffffffffffffffffff001702000400000000', 'hex')]),
    ];
    let left = texts.length;
    for (const text of texts) {
      const socket = connect({ host: '192.0.2.2', port: 179, localAddress: from });
      let over = false;
      const end = () => { if (over) return; over = true; socket.destroy(); if (--left === 0) console.log('done'); };
      socket.on('connect', () => socket.write(text));
      socket.on('error', end);
      socket.on('close', end);
      socket.on('data', () => undefined);
      setTimeout(end, 1500);
    }`;
  const lost = await stand.probing(async () => {
    for (const from of ['192.0.2.1', '198.51.100.1']) {
      const { code, stdout, stderr } = await stand.exec('G', process.execPath, '-e', script, from);
      t.is(code, 0, stderr);
      t.regex(stdout, /done/);
    }
  });
  for (const [server, { lost: count }] of Object.entries(lost)) t.is(count, 0, `${server} lost packets`);
  const now = (await stand.status()).sessions.find(({ protocol }) => protocol === 'bgp')!;
  t.is(now.state, 'Established');
  t.true(Math.abs(Date.parse(now.since) - Date.parse(session.since)) < 100, 'it is the same session');
  t.deepEqual(await stand.shutPorts(), []);
});

test.serial('a flood of ARP from one server: bounded, counted, and no other server notices', async (t) => {
  t.timeout(120_000);
  const before = await stand.counters();
  const mac = SERVERS[0]!.mac;
  const frames: Buffer[] = [];
  for (let count = 0; count < 200; count++) {
    // Outside the prefixes; inside them, addresses of nobody; broken.
    frames.push(gratuitousArp(mac, `10.66.${count}.7`));
    frames.push(gratuitousArp(mac, `10.10.10.${60 + (count % 150)}`));
    const broken = Buffer.from(arpRequest(mac, '10.10.10.1', '10.10.10.254'));
    broken[18 + (count % 2)] = count & 0xff;
    frames.push(broken, broken.subarray(0, 14 + (count % 28)));
  }
  frames.push(gratuitousArp(mac, '0.0.0.0'), gratuitousArp(mac, '255.255.255.255'), gratuitousArp(mac, '224.0.0.5'));
  frames.push(gratuitousArp(mac, '127.0.0.1'), gratuitousArp('ff:ff:ff:ff:ff:ff', '10.10.10.77'));
  // Ours and the gateway's own: nobody may take them.
  frames.push(gratuitousArp(mac, '10.10.10.254'), gratuitousArp(mac, '192.0.2.1'), gratuitousArp(mac, '10.255.0.1'));
  const lost = await stand.probing(async () => {
    for (let round = 0; round < 10; round++) {
      stand.sendFromServer('C3', frames);
      await sleep(100);
    }
  });
  for (const server of ['C4', 'C1', 'C2'] as const) t.is(lost[server].lost, 0, `${server} lost packets`);
  const kernel = await stand.kernelHosts();
  t.is(kernel['10.10.10.2'], 'A2');
  for (const address of ['10.10.10.254', '192.0.2.1', '10.255.0.1', '0.0.0.0', '224.0.0.5']) t.false(address in kernel);
  t.false(Object.keys(kernel).some((address) => address.startsWith('10.66.')));
  t.deepEqual(await stand.shutPorts(), []);
  const after = await stand.counters();
  t.log(JSON.stringify(after.hostroutes));
  t.notDeepEqual(after.hostroutes, before.hostroutes);
  await stand.until(
    'addresses of nobody are gone again',
    async () => {
      const left = Object.keys(await stand.kernelHosts()).toSorted();
      return left.join() === '10.10.10.1,10.10.10.2';
    },
    () => stand.kernelHosts(),
  );
  await stand.until('at G too', async () => {
    const atG = (await stand.routes('G')).filter(({ dst }) => dst.startsWith('10.10.10.'));
    return atG.length === 4;
  });
});

test.serial('nothing that was told or logged is a defect of the program', (t) => {
  for (const tor of ['A', 'B'] as const) t.deepEqual(stand.defects(tor), [], namespaceOf(stand.name, tor));
});
