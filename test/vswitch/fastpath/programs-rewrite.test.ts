/** Rewrite mode on the wire: both hosts' programs agree on keys by themselves, with a slow path laid by hand below them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { AF, LinuxSocket, SOCK } from 'linux-sockets';
import type { UdpReceipt, UdpSent } from '../../../lab/hosts/index.ts';
import { waitUntil } from '../../../lab/processes.ts';
import { addressBytes } from '../../../src/model/address.ts';
import * as layout from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { indexKey, raise } from '../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { knownPeers } from '../../../src/vswitch-bridge/fastpath/peers.ts';
import { type FastHost, type Ground, makeGround, type SETTINGS } from './support/ground.ts';

const INSTANCES = [
  { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
  { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
];
const IPPROTO_UDP = 17;
const IPPROTO_RAW = 255;
let grounds = 0;

const rewriting = (host: FastHost, field: number, epoch: number, more: Partial<typeof SETTINGS> = {}): void =>
  host.settings({ mode: layout.MODE.rewrite, key_field: field, rewrite: [BigInt(epoch)], ...more });

async function onGround(
  t: ExecutionContext,
  keyField: keyof typeof layout.KEY_FIELD,
  options: object,
  work: (ground: Ground, h1: FastHost, h2: FastHost) => Promise<void>,
): Promise<void> {
  t.timeout(120_000);
  const ground = await makeGround(`rwt${grounds++}x${process.pid}`, INSTANCES, options);
  const [h1, h2] = [ground.hosts.h1!, ground.hosts.h2!];
  try {
    rewriting(h1, layout.KEY_FIELD[keyField], 7);
    rewriting(h2, layout.KEY_FIELD[keyField], 8);
    await work(ground, h1, h2);
  } finally {
    await ground.close();
  }
}

/** Until packets of that pair go rewritten both ways. */
async function agreed(t: ExecutionContext, { lab }: Ground, h1: FastHost, options: readonly string[] = []) {
  const rewritten = async () => {
    const before = h1.counts('from_instance')['rewrite sent']!;
    t.is(await lab.ping('c1', '10.200.2.2', 8, ['-i', '0.02', ...options]), 8);
    // An echo's first packet opens a connection, by the slow path.
    return h1.counts('from_instance')['rewrite sent']! >= before + 6;
  };
  t.true(await waitUntil(rewritten, 20_000, 100), 'the hosts agree on a key');
}

for (const keyField of ['ip-id', 'dscp', 'option'] as const) {
  for (const offloads of [true, false]) {
    test.serial(
      `R3.2 R3.3 keys in ${keyField}, offloads ${offloads ? 'on' : 'off'}: rewritten after the first round trips, payload intact`,
      async (t) => {
        await onGround(t, keyField, { offloads }, async (ground, h1, h2) => {
          const { lab } = ground;
          await agreed(t, ground, h1);
          const tcp = await lab.tcp('c1', 'c2', { port: 8080, bytes: 20_000_000, patience: 60_000 });
          t.is(tcp.outcome, 'done');
          for (const segment of [1, 8]) {
            const udp = await lab.udp('c1', 'c2', {
              port: 5353 + segment,
              count: 400,
              size: 1200,
              segment,
              wait: 5000,
            });
            t.deepEqual([udp.lost, udp.corrupted, udp.answered], [0, 0, 400], `segments of ${segment}`);
          }
          for (const [host, program, carried] of [
            [h1, 'from_instance', 'rewrite sent'],
            [h2, 'from_instance', 'rewrite sent'],
            [h1, 'nic_ingress', 'rewrite received'],
            [h2, 'nic_ingress', 'rewrite received'],
          ] as const) {
            const counts = host.counts(program);
            // Before there is a key, and now and then to renew it, by the tunnel.
            t.true(counts.hit! - counts[carried]! <= 30 + counts.hit! / 100, `${host.name} ${program}`);
            t.is(counts['rewrite unknown-key'], 0);
          }
        });
      },
    );
  }
}

test.serial('R3.2 the receiver gets addresses, TTL and DSCP as they were sent', async (t) => {
  await onGround(t, 'dscp', {}, async (ground, h1, h2) => {
    const marked = ['-Q', '0xb8', '-t', '33'];
    await agreed(t, ground, h1, marked);
    const before = h2.counts('nic_ingress')['rewrite received']!;
    const words = ['timeout', '60', 'tcpdump', '--immediate-mode', '-ni', 'eth0', '-v', '-c', '4', 'icmp[0]=8'];
    const [command, ...parameters] = ground.lab.inside('c2', words);
    const capture = spawn(command!, parameters, { stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, said] = ['', ''];
    capture.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    capture.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = once(capture, 'close');
    t.true(await waitUntil(() => said.includes('listening on'), 20_000, 10), said);
    t.is(await ground.lab.ping('c1', '10.200.2.2', 8, ['-i', '0.1', ...marked]), 8);
    await ended;
    const seen = stdout.split('\n').filter((line) => line.includes('tos'));
    t.is(seen.length, 4, stdout);
    for (const line of seen) t.regex(line, /tos 0xb8, ttl 33,/);
    t.is(stdout.match(/10\.200\.1\.2 > 10\.200\.2\.2/g)?.length, 4);
    t.true(h2.counts('nic_ingress')['rewrite received']! > before);
  });
});

/** IPv4 and UDP from host to host; the kernel fills the IP sum in. */
function forged(from: string, to: string, ports: readonly [number, number], id: number, tos: number, option: boolean) {
  const header = option ? 24 : 20;
  const packet = Buffer.alloc(header + 8 + 4);
  packet[0] = 0x40 | (header / 4);
  packet[1] = tos;
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE(id, 4);
  packet.writeUInt16BE(0x4000, 6);
  packet[8] = 64;
  packet[9] = IPPROTO_UDP;
  packet.set(addressBytes(from as never), 12);
  packet.set(addressBytes(to as never), 16);
  if (option) packet.writeUInt32BE((0x9e04 * 0x1_0000 + (id & 0x1ff)) >>> 0, 20);
  packet.writeUInt16BE(ports[0], header);
  packet.writeUInt16BE(ports[1], header + 2);
  packet.writeUInt16BE(12, header + 4);
  return packet;
}

for (const keyField of ['ip-id', 'dscp', 'option'] as const) {
  test.serial(
    `R3.2 R3.3 keys in ${keyField}: the host's own packets are never restored, whatever they carry`,
    async (t) => {
      await onGround(t, keyField, {}, async (ground, h1, h2) => {
        const { lab } = ground;
        await agreed(t, ground, h1);
        const [c1, c2, host] = [lab.station('c1'), lab.station('c2'), lab.station('h2')];
        await c2.request('listenUdp', { port: 6000, echo: true });
        await host.request('listenUdp', { port: 6000, echo: false });
        const sent = await c1.request<UdpSent>('sendUdp', {
          to: '10.200.2.2',
          port: 6000,
          count: 50,
          sourcePort: 6001,
          wait: 3000,
        });
        t.is(sent.answered, 50);
        const raw = LinuxSocket.open({
          family: AF.INET,
          type: SOCK.RAW,
          protocol: IPPROTO_RAW,
          netns: lab.netnsOf('h1'),
        });
        const many = 1024;
        const received = h2.counts('nic_ingress')['rewrite received']!;
        try {
          for (let number = 0; number < many; number++) {
            const packet = forged(
              '10.20.1.1',
              '10.20.1.2',
              [6001, 6000],
              (number * 64) & 0xffff,
              (number << 2) & 0xff,
              number % 2 === 1,
            );
            packet.writeUInt32BE(number, packet.length - 4);
            raw.sendBatch([{ data: packet, to: { family: 'ipv4', address: '10.20.1.2', port: 0 } }]);
            if (number % 64 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
          }
        } finally {
          raw.close();
        }
        const whole = () => host.request<UdpReceipt>('receiptOf', { port: 6000, close: false });
        const all = async () => {
          const { received: intact, corrupted } = await whole();
          return intact + corrupted === many;
        };
        t.true(await waitUntil(all, 5000, 50), `the host got what was for it: ${JSON.stringify(await whole())}`);
        const container = await c2.request<UdpReceipt>('receiptOf', { port: 6000, close: true });
        t.is(container.received + container.corrupted, 50, 'the instance got nothing of it');
        t.is(h2.counts('nic_ingress')['rewrite received'], received);
        t.true(h1.counts('nic_egress')['rewrite guarded']! > 100);
      });
    },
  );
}

test.serial('R3.2: what an instance sends to another host itself, by SNAT, is never taken for rewritten', async (t) => {
  await onGround(t, 'ip-id', {}, async (ground, h1) => {
    const { lab } = ground;
    await agreed(t, ground, h1);
    const hits = h1.counts('from_instance').hit!;
    // Each begins its IP IDs at random: half of them have a key's sign.
    for (let port = 7001; port <= 7012; port++) {
      t.is((await lab.tcp('c1', 'h2', { port, bytes: 200_000, patience: 20_000 }, '10.20.1.2')).outcome, 'done');
    }
    t.true(h1.counts('from_instance').hit! > hits, 'the fast path carried them');
  });
});

test.serial('R3.3 no key is left: those pairs use the tunnel, the others go on', async (t) => {
  await onGround(t, 'dscp', {}, async (ground, h1, h2) => {
    // A pair has one TTL: each of these needs a key of its own, and DSCP has 63.
    for (let ttl = 20; ttl < 120; ttl++) {
      t.is(await ground.lab.ping('c1', '10.200.2.2', 3, ['-i', '0.01', '-t', String(ttl)]), 3, `TTL ${ttl}`);
    }
    const probes = (ttl: number) => ground.lab.ping('c1', '10.200.2.2', 40, ['-i', '0.02', '-t', String(ttl)]);
    for (let ttl = 20; ttl < 120; ttl += 9) t.is(await probes(ttl), 40);
    t.true(h2.counts('nic_ingress')['rewrite keys-out']! > 0);
    t.true(h1.counts('from_instance')['rewrite sent']! > 0);
  });
});

test.serial(
  'R3.3 R3.8 a receiver that lost its keys says so: the pair is back in the tunnel, and then agrees anew',
  async (t) => {
    await onGround(t, 'ip-id', {}, async (ground, h1, h2) => {
      await agreed(t, ground, h1);
      const stream = ground.lab.tcp('c1', 'c2', { port: 8080, bytes: 300_000_000, patience: 60_000 });
      await new Promise((resolve) => setTimeout(resolve, 300));
      const { restored } = h2.loaded.tables;
      const nothing = Buffer.alloc(layout.restored.size);
      for (const { index } of knownPeers(h2.loaded.tables.peers)) {
        const first = index * layout.KEYS_A_PEER;
        for (let key = 0; key < layout.KEYS_A_PEER; key++) restored.set(indexKey(first + key), nothing);
      }
      rewriting(h2, 0, 9);
      t.is((await stream).outcome, 'done');
      t.true(h2.counts('nic_ingress')['rewrite unknown-key']! > 0);
      t.true(h1.counts('nic_ingress')['rewrite voided']! > 0);
      await agreed(t, ground, h1);
    });
  },
);

test.serial(
  'R3.2 the other end is not in rewrite mode, or has another field: everything goes by the tunnel',
  async (t) => {
    await onGround(t, 'ip-id', {}, async (ground, h1, h2) => {
      for (const change of [() => h2.settings(), () => rewriting(h2, layout.KEY_FIELD.dscp, 9)]) {
        change();
        t.is((await ground.lab.tcp('c1', 'c2', { port: 8080, bytes: 2_000_000 })).outcome, 'done');
        t.is(await ground.lab.ping('c1', '10.200.2.2', 50, ['-i', '0.02']), 50);
        t.is(h1.counts('from_instance')['rewrite sent'], 0);
        t.is(h2.counts('from_instance')['rewrite sent'], 0);
      }
      t.true(h2.counts('nic_ingress')['rewrite mode-differs']! > 0);
    });
  },
);

test.serial(
  'R3.8 what came rewritten and needs the slow path gets the tunnel headers back: nothing is lost',
  async (t) => {
    await onGround(t, 'ip-id', {}, async (ground, h1, h2) => {
      const { lab } = ground;
      await agreed(t, ground, h1);
      const port = lab.ifindex('h2', 'veth-c2');
      let on = true;
      const disturb = (async () => {
        while (on) {
          raise(h2.loaded.tables.port_generation, port & (layout.PORTS - 1));
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      })();
      const udp = await lab.udp('c1', 'c2', { port: 5353, count: 1000, size: 1200, wait: 5000 });
      const tcp = await lab.tcp('c1', 'c2', { port: 8080, bytes: 50_000_000, patience: 60_000 });
      on = false;
      await disturb;
      t.deepEqual([udp.lost, udp.corrupted, udp.answered], [0, 0, 1000]);
      t.is(tcp.outcome, 'done');
      t.true(h2.counts('nic_ingress')['rewrite received-slow']! > 5);
    });
  },
);
