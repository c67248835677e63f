import test, { type ExecutionContext } from 'ava';
import { PUBLIC, type TcpAnswer, type UdpReceipt, type UdpSent } from '../../../lab/hosts/index.ts';
import * as layout from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { indexKey } from '../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { added, type Counts, type Ground, makeGround, SERVICE } from './support/ground.ts';

const INSTANCES = [
  { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
  { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
  { name: 'c3', host: 1, network: 'blue', address: '10.200.1.3' },
];
/** Where the other end is, by which address it is talked to, and which programs carry the two directions. */
const WAYS: Readonly<
  Record<string, { to: string; by: string; carriers: readonly (readonly [string, layout.ProgramName])[] }>
> = {
  'same host': { to: 'c3', by: '10.200.1.3', carriers: [['h1', 'from_instance']] },
  'other host by tunnel': {
    to: 'c2',
    by: '10.200.2.2',
    carriers: [
      ['h1', 'from_instance'],
      ['h1', 'nic_ingress'],
      ['h2', 'from_instance'],
      ['h2', 'nic_ingress'],
    ],
  },
  'service on another host': {
    to: 'c2',
    by: SERVICE,
    carriers: [
      ['h1', 'from_instance'],
      ['h1', 'nic_ingress'],
      ['h2', 'from_instance'],
      ['h2', 'nic_ingress'],
    ],
  },
  'public, source translated': {
    to: 'public',
    by: PUBLIC.address,
    carriers: [
      ['h1', 'from_instance'],
      ['h1', 'nic_ingress'],
    ],
  },
};
/** Handshakes, ends, ARP. */
const SLOW = ['state', 'other-protocol', 'host', 'options'];

for (const offloads of [true, false]) {
  const title = `offloads ${offloads ? 'on' : 'off'}`;
  test.serial(
    `R1.3, R3.1, R3.2, ${title}: what follows the first packets takes the fast path both ways, unchanged`,
    async (t) => {
      const ground = await makeGround(`bpw${offloads ? 'y' : 'n'}${process.pid}`, INSTANCES, { offloads });
      try {
        for (const [way, { to, by, carriers }] of Object.entries(WAYS)) {
          for (const kind of ['tcp', 'udp', 'udp segments', 'icmp'] as const) {
            if (kind === 'icmp' && by === SERVICE) continue;
            const before = carriers.map(([host, program]) => ground.hosts[host]!.counts(program));
            await exchange(t, ground, kind, to, by);
            for (const [at, [host, program]] of carriers.entries()) {
              const after = ground.hosts[host]!.counts(program);
              const counts = Object.fromEntries(
                Object.entries(after).map(([name, count]) => [name, count - before[at]![name]!]),
              );
              const whole = offloads && kind === 'udp segments' && host === 'h2' && program === 'nic_ingress';
              if (!whole) fast(t, counts, `${way}, ${kind}: ${program} of ${host}`);
              else
                t.true(
                  counts['segmented-udp']! > 0,
                  'datagrams in one piece are left to the kernel, which can cut them',
                );
            }
          }
        }
      } finally {
        await ground.close();
      }
    },
  );
}

test.serial(
  'R3.2: what does not fit into the tunnel is left to the kernel, untouched; what fits is fast',
  async (t) => {
    const ground = await makeGround(`bpwm${process.pid}`, INSTANCES, { mtu: 1500 });
    try {
      const send = (request: object) =>
        ground.lab.station('c1').request<UdpSent>('sendUdp', { to: '10.200.2.2', port: 5353, wait: 500, ...request });
      await ground.lab.station('c2').request('listenUdp', { port: 5353, echo: true });
      const { port: sourcePort } = await send({ count: 3, wait: 3000 });
      // The kernel answers "fragmentation needed", or drops; either way it is not ours to send.
      const long = await added(ground.hosts.h1!, 'from_instance', () => send({ count: 50, size: 1423, sourcePort }));
      t.is(long.hit, 0);
      t.true(long.mtu! > 0 && long.mtu! + long.fragment! >= 50, JSON.stringify(long));
      const short = await added(ground.hosts.h1!, 'from_instance', async () => {
        t.is((await send({ count: 50, size: 1422, sourcePort, wait: 3000 })).answered, 50);
      });
      t.true(short.hit! >= 48, JSON.stringify(short));
      t.is(short.mtu, 0);
    } finally {
      await ground.close();
    }
  },
);

test.serial(
  'R3.2: a host that is asked for by ARP just then is sent to by the fast path at once, and no packet is too long for it',
  async (t) => {
    const ground = await makeGround(`bpwn${process.pid}`, INSTANCES);
    try {
      const { lab } = ground;
      const { loaded } = ground.hosts.h1!;
      const send = (request: object) =>
        lab.station('c1').request<UdpSent>('sendUdp', { to: '10.200.2.2', port: 5353, wait: 3000, ...request });
      await lab.station('c2').request('listenUdp', { port: 5353, echo: true });
      const { port: sourcePort } = await send({ count: 5 });
      await lab.ip('h1', `neigh del ${lab.addressOf('h2')} dev ${lab.host('h1').device}`);
      // As after a change of routes: they are asked for again.
      for (const { index, ...peer } of ground.hosts.h1!.peers())
        loaded.tables.peers.set(indexKey(index), layout.peer.encode({ ...peer, route_checked: 0n }));
      const counts = await added(ground.hosts.h1!, 'from_instance', async () => {
        t.is((await send({ count: 20, size: 1300, sourcePort })).answered, 20);
      });
      t.is(counts.mtu, 0, JSON.stringify(counts));
      t.true(counts.hit! >= 19, JSON.stringify(counts));
      const [peer] = ground.hosts.h1!.peers();
      t.is(peer!.mtu, 1500);
    } finally {
      await ground.close();
    }
  },
);

/** At least 99 of 100 packets that may be fast were. */
function fast(t: ExecutionContext, counts: Counts, where: string): void {
  const slow = Object.entries(counts).filter(([name, count]) => count > 0 && isReason(name));
  const left = slow.reduce((sum, [name, count]) => (SLOW.includes(name) ? sum : sum + count), 0);
  t.true(counts.hit! > 15, `${where}: ${JSON.stringify(counts)}`);
  t.true(left <= counts.hit! / 99, `${where}: ${JSON.stringify(slow)} of ${counts.hit}`);
  t.true(counts.state! <= 40, `${where}: ${JSON.stringify(slow)}`);
}

const isReason = (name: string) =>
  /^[a-z-]+$/.test(name) &&
  !['packets', 'hit', 'miss', 'made', 'learned', 'changed', 'merged', 'expired'].includes(name);

async function exchange(t: ExecutionContext, { lab }: Ground, kind: string, to: string, by: string): Promise<void> {
  const service = by === SERVICE;
  const [from, other] = [lab.station('c1'), lab.station(to)];
  if (kind === 'icmp') {
    t.is(await lab.ping('c1', by, 40, ['-s', '1200', '-i', '0.01']), 40);
  } else if (kind === 'tcp') {
    await other.request('listenTcp', { port: 8080 });
    const answer = await from.request<TcpAnswer>('sendTcp', {
      to: by,
      port: service ? 80 : 8080,
      bytes: 10_000_000,
      patience: 30_000,
    });
    await other.request('closeTcp', { port: 8080 });
    t.is(answer.outcome, 'done', `${to} by ${by}`);
  } else {
    await other.request('listenUdp', { port: 5353, echo: true });
    const port = service ? 53 : 5353;
    const segment = kind === 'udp segments' ? 8 : 1;
    // The first exchange opens the connection, on the port that all of it uses.
    const opening = await from.request<UdpSent>('sendUdp', { to: by, port, count: 2, wait: 2000 });
    const all = await from.request<UdpSent>('sendUdp', {
      to: by,
      port,
      count: 160,
      interval: 3,
      size: 1200,
      segment,
      sourcePort: opening.port,
      wait: 3000,
    });
    const receipt = await other.request<UdpReceipt>('receiptOf', { port: 5353, close: true });
    t.is(all.answered, 160, `${kind} to ${by}`);
    t.is(receipt.corrupted, 0);
  }
}
