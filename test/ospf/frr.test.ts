import test from 'ava';
import { address, type Frr, host, Lab, run, sleep, type TestSpeaker, until } from './lab.ts';

// A busy machine keeps a process from speaking for seconds.
const P2P = { name: 'A0', area: address('0.0.0.0'), network: 'point-to-point', hello: 1000, dead: 12_000 } as const;
/** Where it is waited for: until somebody counts as dead, until a DR is elected. */
const SOON_DEAD = { ...P2P, dead: 4_000 };

const frrConfig = (
  lines = '',
  iface = ' ip ospf network point-to-point',
  { dead }: { readonly dead: number } = P2P,
) => `
interface G0
 ip ospf hello-interval 1
 ip ospf dead-interval ${dead / 1000}
${iface}
router ospf
 ospf router-id 10.255.0.254
 network 192.0.2.0/24 area 0
 default-information originate always metric 5
 timers throttle spf 0 10 100
${lines}
`;

/** G with FRR and one switch, a cable between them. */
async function pair(lab: Lab, config = frrConfig()) {
  const g = lab.namespace('g');
  const a = lab.namespace('a');
  lab.cable([g, 'G0', '192.0.2.1/30'], [a, 'A0', '192.0.2.2/30']);
  const frr = await lab.frr(g, config);
  return { g, a, frr };
}

const fullAtFrr = (frr: Frr) => until('FRR is Full', () => frr.show('show ip ospf neighbor').includes('Full/'));

test.serial(
  'R4.2 R4.3 R4.5 FRR, point-to-point: Full, a /32 per host with us as next hop, default learnt',
  async (t) => {
    const lab = new Lab();
    t.teardown(() => lab.close());
    const { g, a, frr } = await pair(lab);
    const pcap = lab.capture(g, 'G0');
    await sleep(500);
    const peer = lab.speaker(a, { routerId: '10.255.0.1', interfaces: [{ ...P2P, retransmit: 60_000 }] });
    peer.speaker.start();
    peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
    await peer.full('A0');
    peer.speaker.settled();
    await fullAtFrr(frr);
    const report = peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.2')] });
    t.is(report.packets, 1);
    t.true(report.firstByteAt! <= report.lastByteAt!);
    for (const each of ['10.10.10.1', '10.10.10.2']) {
      await until(`${each} at G`, () => frr.kernelRoute(each).includes('via 192.0.2.2'));
    }
    t.regex(frr.show('show ip route 10.10.10.2'), /Known via "ospf"/);
    t.is(frr.kernelRoute('10.10.10.0/24'), '', 'the subnet is never announced');
    const fallback = await until('the default route', () => peer.routes.get('0.0.0.0/0'));
    t.deepEqual(fallback.nextHops, [{ via: address('192.0.2.1'), interface: 'A0' }]);

    await sleep(1500);
    peer.speaker.apply({ withdrawn: [address('10.10.10.2')], announced: [] });
    await until('10.10.10.2 gone from G', () => frr.kernelRoute('10.10.10.2') === '');
    t.not(frr.kernelRoute('10.10.10.1'), '');

    // FRR drops silently what comes within a second of its predecessor; RxmtInterval of 60 s would show.
    await sleep(1500);
    peer.speaker.apply({ withdrawn: [address('10.10.10.1')], announced: [] });
    await sleep(300);
    const back = Date.now();
    peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
    await until('10.10.10.1 back at G', () => frr.kernelRoute('10.10.10.1') !== '', 15_000);
    t.log(`re-announced 0.3 s after its flush: back after ${Date.now() - back} ms`);
    await sleep(1500);
    peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.7')] });
    await sleep(300);
    const gone = Date.now();
    peer.speaker.apply({ withdrawn: [address('10.10.10.7')], announced: [] });
    await until('10.10.10.7 gone from G', () => frr.kernelRoute('10.10.10.7') === '', 15_000);
    t.log(`withdrawn 0.3 s after its announcement: gone after ${Date.now() - gone} ms`);

    // Bad packets are counted, and the adjacency lives on.
    const before = peer.changes.length;
    inject(lab, g);
    await until('the bad packets', () => (peer.speaker.counters()['drop.bad-checksum'] ?? 0) > 0);
    await sleep(1500);
    t.is(peer.changes.length, before);
    t.true(peer.speaker.adjacencyUp('A0'));
    const counters = peer.speaker.counters();
    for (const reason of ['drop.truncated', 'drop.bad-version', 'drop.bad-checksum', 'drop.area-mismatch']) {
      t.true((counters[reason] ?? 0) > 0, `${reason}: ${JSON.stringify(counters)}`);
    }

    await peer.speaker.stop();
    await until('everything is gone from G', () => frr.kernelRoute('10.10.10.1') === '');
    await sleep(300);
    const ours =
      'ip.src==192.0.2.2 && (_ws.malformed || ospf.checksum.status==0 || ospf.v2.lsa.chksum.status==0 || ospf.lsa.chksum.status==0)';
    t.is(tshark(pcap, 'ip.src==192.0.2.2 && _ws.malformed'), '', 'nothing of ours is malformed');
    t.is(tshark(pcap, 'ip.src==192.0.2.2 && _ws.expert.severity==8388608'), '', ours);
    t.is(tshark(pcap, 'ip.src==192.0.2.2 && (ip.ttl!=1 || ip.dsfield!=0xc0)'), '');
    t.not(tshark(pcap, 'ip.src==192.0.2.2 && ospf.msg==4'), '');
  },
);

test.serial('FRR, broadcast: DR and Backup elected, Full, hosts and default both ways', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { a, frr } = await pair(lab, frrConfig('', ' ip ospf network broadcast', SOON_DEAD));
  const peer = lab.speaker(a, {
    routerId: '10.255.0.1',
    interfaces: [{ ...SOON_DEAD, network: 'broadcast', priority: 5 }],
  });
  peer.speaker.start();
  peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
  await peer.full('A0');
  await fullAtFrr(frr);
  await until('10.10.10.1 at G', () => frr.kernelRoute('10.10.10.1').includes('via 192.0.2.2'));
  const fallback = await until('the default route', () => peer.routes.get('0.0.0.0/0'));
  t.deepEqual(fallback.nextHops, [{ via: address('192.0.2.1'), interface: 'A0' }]);
  t.true(['DR', 'Backup'].includes(peer.speaker.interfaces()[0]!.state));
  peer.speaker.apply({ withdrawn: [address('10.10.10.1')], announced: [] });
  await until('10.10.10.1 gone from G', () => frr.kernelRoute('10.10.10.1') === '');
});

test.serial('FRR, MD5: Full; with the wrong key never a neighbour', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const md5 =
    ' ip ospf network point-to-point\n ip ospf authentication message-digest\n ip ospf message-digest-key 7 md5 s3cret';
  const { a, frr } = await pair(lab, frrConfig('', md5));
  const key = (secret: string) => ({ type: 'md5', keyId: 7, secret: Buffer.from(secret) }) as const;
  const wrong = lab.speaker(a, { routerId: '10.255.0.1', interfaces: [{ ...P2P, authentication: key('wrong') }] });
  wrong.speaker.start();
  await until('refusals', () => (wrong.speaker.counters()['drop.bad-auth'] ?? 0) >= 2);
  t.deepEqual(wrong.speaker.neighbors(), []);
  await wrong.speaker.stop();
  const peer = lab.speaker(a, { routerId: '10.255.0.1', interfaces: [{ ...P2P, authentication: key('s3cret') }] });
  peer.speaker.start();
  peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
  await peer.full('A0');
  await until('10.10.10.1 at G', () => frr.kernelRoute('10.10.10.1').includes('via 192.0.2.2'));
});

test.serial('R4.2 stub links: FRR routes the /32 the same', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { a, frr } = await pair(lab);
  const peer = lab.speaker(a, {
    routerId: '10.255.0.1',
    interfaces: [P2P],
    announce: { as: 'stub-link', metric: 20, metricType: 2 },
  });
  peer.speaker.start();
  peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1'), host('10.10.10.2')] });
  await peer.full('A0');
  await until('10.10.10.2 at G', () => frr.kernelRoute('10.10.10.2').includes('via 192.0.2.2'));
  peer.speaker.apply({ withdrawn: [address('10.10.10.2')], announced: [] });
  await until('10.10.10.2 gone from G', () => frr.kernelRoute('10.10.10.2') === '');
  t.not(frr.kernelRoute('10.10.10.1'), '');
});

test.serial('R4.2 NSSA: hosts as type 7, taken by the border', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const config = frrConfig(' area 0.0.0.1 nssa').replace(
    'network 192.0.2.0/24 area 0',
    'network 192.0.2.0/24 area 0.0.0.1',
  );
  const { a, frr } = await pair(lab, config);
  const peer = lab.speaker(a, {
    routerId: '10.255.0.1',
    interfaces: [{ ...P2P, area: address('0.0.0.1') }],
    announce: { as: 'nssa', metric: 20, metricType: 2 },
  });
  peer.speaker.start();
  peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1'), host('10.10.10.2')] });
  await peer.full('A0');
  await until('10.10.10.2 at G', () => frr.kernelRoute('10.10.10.2').includes('via 192.0.2.2'));
  peer.speaker.apply({ withdrawn: [address('10.10.10.2')], announced: [] });
  await until('10.10.10.2 gone from G', () => frr.kernelRoute('10.10.10.2') === '');
  t.not(frr.kernelRoute('10.10.10.1'), '');
  t.true(peer.speaker.lsdb().every(({ type }) => type !== 5));
});

test.serial('R4.7 killed and started again: the table is back, and stale LSAs are flushed', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { a, frr } = await pair(lab);
  const setup = { routerId: '10.255.0.1', interfaces: [P2P] };
  const first = lab.speaker(a, setup);
  first.speaker.start();
  first.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1'), host('10.10.10.2'), host('10.10.10.3')] });
  await first.full('A0');
  await until('10.10.10.3 at G', () => frr.kernelRoute('10.10.10.3') !== '');
  await sleep(1200);
  first.kill();
  const second = lab.speaker(a, setup);
  second.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
  second.speaker.start();
  await second.full('A0');
  await until('10.10.10.1 at G', () => frr.kernelRoute('10.10.10.1') !== '');
  second.speaker.apply({ withdrawn: [], announced: [host('10.10.10.2')] });
  second.speaker.settled();
  await until('10.10.10.3 is gone', () => frr.kernelRoute('10.10.10.3') === '');
  await until('10.10.10.2 at G', () => frr.kernelRoute('10.10.10.2') !== '');
  await until('10.10.10.1 at G', () => frr.kernelRoute('10.10.10.1') !== '');
  t.false(frr.show('show ip ospf database external self-originate').includes('10.10.10.3'));
  const ours = second.speaker
    .lsdb()
    .filter(({ type, selfOriginated, age }) => type === 5 && selfOriginated && age < 3600);
  t.deepEqual(ours.map(({ linkStateId }) => linkStateId).sort(), [address('10.10.10.1'), address('10.10.10.2')]);
});

function tshark(file: string, filter: string): string {
  return run('tshark', '-r', file, '-Y', filter).trim();
}

/** Raw packets from G's side: shorter than a header, a wrong version, a wrong checksum, another area. */
function inject(lab: Lab, namespace: string): void {
  const script = `
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 89)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('192.0.2.1'))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return 0xffff - ((total + (total >> 16)) & 0xffff)
def hello(area, version=2, spoil=0):
    body = struct.pack('!IHBBIII', 0xfffffffc, 1, 2, 1, 12, 0, 0)
    head = struct.pack('!BBH4s4sHH', version, 1, 24 + len(body), socket.inet_aton('10.255.0.254'), area, 0, 0)
    sum = (checksum(head + body) + spoil) & 0xffff
    return head[:12] + struct.pack('!HH', sum, 0) + bytes(8) + body
for packet in [b'short', hello(bytes(4), version=3), hello(bytes(4), spoil=7), hello(bytes([0, 0, 0, 9])), bytes(300)]:
    s.sendto(packet, ('224.0.0.5', 0))
`;
  lab.inside(namespace, 'python3', '-c', script);
}

test.serial('R4.6 the uplink loses carrier: the adjacency is gone at once, and back when the link is', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { g, a, frr } = await pair(lab);
  const peer = lab.speaker(a, { routerId: '10.255.0.1', interfaces: [P2P] });
  peer.speaker.start();
  peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
  await peer.full('A0');
  await until('the default route', () => peer.routes.has('0.0.0.0/0'));
  await until('10.10.10.1 at G', () => frr.kernelRoute('10.10.10.1') !== '');
  run('ip', '-n', g, 'link', 'set', 'G0', 'down');
  await until('carrier is lost', () => {
    peer.links.refresh();
    return peer.links.port('A0')?.carrier === false;
  });
  t.false(peer.speaker.adjacencyUp('A0'));
  t.is(peer.speaker.interfaces()[0]!.state, 'Down');
  t.like(peer.changes.at(-1), { from: 'Full', to: 'Down', reason: 'InterfaceDown' });
  await until('no default route any more', () => !peer.routes.has('0.0.0.0/0'));
  run('ip', '-n', g, 'link', 'set', 'G0', 'up');
  await until('carrier is back', () => {
    peer.links.refresh();
    return peer.links.port('A0')?.carrier === true;
  });
  await peer.full('A0');
  await until('10.10.10.1 at G', () => frr.kernelRoute('10.10.10.1') !== '');
  await until('the default route', () => peer.routes.has('0.0.0.0/0'));
  peer.speaker.neighborDown(address('192.0.2.1'), 'bfd');
  t.like(peer.changes.at(-1), { from: 'Full', to: 'Down', reason: 'bfd' });
  await peer.full('A0');
});

test.serial('a thousand hosts: announced, withdrawn in one turn, acknowledged', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { a, frr } = await pair(lab);
  const peer = lab.speaker(a, { routerId: '10.255.0.1', interfaces: [P2P], prefixes: ['10.10.0.0/16'] });
  peer.speaker.start();
  await peer.full('A0');
  await fullAtFrr(frr);
  await sleep(1500);
  const hosts = Array.from({ length: 1000 }, (_, index) => host(`10.10.${index >> 8}.${index & 255}`));
  t.is(peer.speaker.apply({ withdrawn: [], announced: hosts }).packets, 25);
  const routes = () => lab.inside(frr.namespace, 'ip', 'route', 'show', 'proto', 'ospf').split('\n').length;
  await until('a thousand routes at G', () => routes() > 1000);
  await sleep(1500);
  const before = peer.speaker.counters()['tx.retransmissions'] ?? 0;
  const report = peer.speaker.apply({ withdrawn: hosts.map(({ address: each }) => each), announced: [] });
  t.is(report.packets, 25);
  await until('no host left at G', () => routes() < 10);
  await until('all acknowledged', () => peer.speaker.neighbors()[0]!.retransmissions === 0);
  t.is((peer.speaker.counters()['tx.retransmissions'] ?? 0) - before, 0);
});

test.serial(
  'R4.5 R4.7 two switches around FRR: a host moves, each sees the claims of the other, one dies',
  async (t) => {
    const lab = new Lab();
    t.teardown(() => lab.close());
    const [g, a, b] = ['g', 'a', 'b'].map((name) => lab.namespace(name)) as [string, string, string];
    lab.cable([g, 'G0', '192.0.2.1/30'], [a, 'A0', '192.0.2.2/30']);
    lab.cable([g, 'G1', '192.0.2.5/30'], [b, 'B0', '192.0.2.6/30']);
    const second =
      'interface G1\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n ip ospf network point-to-point\n';
    const frr = await lab.frr(g, second + frrConfig());
    const one = lab.speaker(a, { routerId: '10.255.0.1', interfaces: [P2P] });
    const two = lab.speaker(b, { routerId: '10.255.0.2', interfaces: [{ ...SOON_DEAD, name: 'B0' }] });
    for (const { speaker } of [one, two]) speaker.start();
    one.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1'), host('10.10.10.2')] });
    await one.full('A0');
    await two.full('B0');
    await until('10.10.10.2 through A', () => frr.kernelRoute('10.10.10.2').includes('via 192.0.2.2'));
    await until('the twin at B', () => two.routes.has('10.10.10.2/32'));
    await until('the claim of A at B', () => claim(two, '10.10.10.2')?.level === 0);
    t.is(claim(two, '10.10.10.2')?.from, '10.255.0.1');

    // B hears the server before A has lost it: the newer claim is the better metric.
    two.speaker.apply({ withdrawn: [], announced: [host('10.10.10.2', 1)] });
    await until('10.10.10.2 through B', () => frr.kernelRoute('10.10.10.2').includes('via 192.0.2.6'));
    await until('the claim of B at A', () => claim(one, '10.10.10.2')?.level === 1);
    one.speaker.apply({ withdrawn: [address('10.10.10.2')], announced: [] });
    await until('no claim of A at B', () => claim(two, '10.10.10.2')?.level === undefined);
    t.true(frr.kernelRoute('10.10.10.2').includes('via 192.0.2.6'));
    t.false(two.routes.has('10.10.10.2/32'), 'never a route for a host of ours');

    two.kill();
    await until('10.10.10.2 is gone with B', () => frr.kernelRoute('10.10.10.2') === '');
    await until('no claim of B at A', () => claim(one, '10.10.10.2')?.level === undefined);
    t.true(frr.kernelRoute('10.10.10.1').includes('via 192.0.2.2'));
  },
);

function claim(peer: TestSpeaker, text: string) {
  return peer.claims.filter(({ address: each }) => each === text).at(-1);
}

test.serial(
  'FRR, an unnumbered link: both ends have the /32 of their loopback, hosts and default come through',
  async (t) => {
    const lab = new Lab();
    t.teardown(() => lab.close());
    const g = lab.namespace('g');
    const a = lab.namespace('a');
    lab.cable([g, 'G0', '192.0.2.1/32'], [a, 'A0', '192.0.2.2/32']);
    const frr = await lab.frr(g, frrConfig());
    const peer = lab.speaker(a, { routerId: '10.255.0.1', interfaces: [P2P] });
    peer.speaker.start();
    peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
    await peer.full('A0');
    await until('10.10.10.1 at G', () => frr.kernelRoute('10.10.10.1').includes('via 192.0.2.2'));
    const fallback = await until('the default route', () => peer.routes.get('0.0.0.0/0'));
    t.deepEqual(fallback.nextHops, [{ via: address('192.0.2.1'), interface: 'A0' }]);
  },
);
