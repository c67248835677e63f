/** R4.1: what a storm has put into the kernel's neighbour table goes out of it, and nothing else does. */
import test from 'ava';
import { ETH_P, type LinuxSocket } from 'linux-sockets';
import { NetlinkError } from 'rtnetlink-ts';
import { arpRequest, gratuitousArp } from '../../lab/team/arp.ts';
import type { HostKernel } from '../../src/hostroutes/options.ts';
import type { Placement } from '../../src/hostroutes/sources/placement.ts';
import { Weeding } from '../../src/hostroutes/sources/weeding.ts';
import type { Address, Mac } from '../../src/model/address.ts';
import { ETHERNET_HEADER, encodeNd, makeFrame, ndLength } from '../../src/netlink/frames/index.ts';
import { HeldClock } from './clock.ts';
import { address, mac } from './helpers.ts';
import { inside, ip, Lab, PREFIXES, send, until } from './lab.ts';

const GATEWAY = '10.10.10.254';
const QUIET = { interval: 60_000, retries: 2, timeout: 100 };
const ARP_ONLY = { arp: true, neighbours: false, bgp: false, kernel: false, static: [] };
/** One host a port: whoever else speaks there is a stranger. */
const POLICY = { prefixes: PREFIXES, probe: QUIET, sources: ARP_ONLY, limits: { perPort: 1, total: 100 } };
const STRANGERS = 40;

const strangerMac = (index: number) => `02:66:00:00:00:${index.toString(16).padStart(2, '0')}` as Mac;

function solicitation(index: number): Uint8Array {
  const packet = {
    type: 'solicitation',
    source: address(`2001:db8::66:${index + 1}`),
    destination: address('ff02::1'),
    target: address('2001:db8::fe'),
    linkLayer: strangerMac(index),
    router: false,
    solicited: false,
    override: false,
  } as const;
  const frame = makeFrame('33:33:00:00:00:01' as Mac, strangerMac(index), 0x86dd, ndLength(packet));
  encodeNd(packet, frame, ETHERNET_HEADER);
  return frame;
}

/**
 * More than a storm needs, of addresses each of which makes an entry in the kernel. The second in which so many make a
 * storm lasts as long as the machine takes to send them; from then on time passes by hand.
 */
async function storm(lab: Lab, wire: LinuxSocket, clock: HeldClock): Promise<boolean> {
  clock.hold();
  const frames = Array.from({ length: STRANGERS }, (_, index) => [
    { data: arpRequest(strangerMac(index), `10.10.10.${100 + index}`, GATEWAY) },
    { data: solicitation(index) },
  ]).flat();
  for (let sent = 0; sent < 6_000; sent += frames.length) {
    wire.sendBatch(frames);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return until(() => lab.routes.counters()['storms.now'] === 1);
}

/** In the rounds of a storm that nobody keeps up: the third is its last. */
async function inTheRounds(clock: HeldClock, what: () => boolean): Promise<boolean> {
  for (let round = 0; round < 2; round++) {
    clock.advance(1_000);
    if (await until(what, 10_000)) return true;
  }
  return false;
}

const neighbours = (lab: Lab, device: string): string[] =>
  ['-4', '-6']
    .flatMap((family) => ip('-n', lab.tor, family, 'neighbour', 'show', 'dev', device).split('\n'))
    .flatMap((line) => line.split(' ')[0] || [])
    .filter((each) => !each.startsWith('fe80:'))
    .sort();

test.serial('R4.1 a storm on a routed port: forged neighbours go out of the kernel, of both families', async (t) => {
  const clock = new HeldClock();
  const lab = new Lab(false, clock);
  try {
    await lab.start(POLICY);
    lab.addHost('A1', '10.10.10.1/24');
    send(lab.hosts.A1, 'ping', '-c', '1', '-W', '1', GATEWAY);
    ip('-n', lab.tor, 'neighbour', 'add', '10.10.10.7', 'lladdr', mac(7), 'dev', 'A1', 'nud', 'permanent');
    // As the agent writes those of its hosts.
    ip('-n', lab.tor, 'neighbour', 'add', '10.10.10.6', 'lladdr', mac(6), 'dev', 'A1', 'nud', 'stale', 'extern_learn');
    t.true(await until(() => lab.model.has(address('10.10.10.1'))));
    const wires = { A1: lab.wire('A1'), A2: lab.wire('A2') };
    wires.A2.send({ data: arpRequest(strangerMac(200), '10.10.10.8', GATEWAY) });
    t.true(await until(() => neighbours(lab, 'A2').includes('10.10.10.8')));
    t.true(await storm(lab, wires.A1, clock));
    const kept = '10.10.10.1,10.10.10.6,10.10.10.7';
    t.true(await inTheRounds(clock, () => neighbours(lab, 'A1').join() === kept), neighbours(lab, 'A1').join());
    t.deepEqual(neighbours(lab, 'A2'), ['10.10.10.8'], 'no storm there');
    t.true(lab.routes.counters()['neighbours.weeded']! >= 2 * STRANGERS - 1);

    // For IPv4 the kernel listens no more; neighbour discovery makes entries as long as the storm lasts.
    wires.A1.send({ data: solicitation(0) });
    wires.A1.send({ data: arpRequest(strangerMac(0), '10.10.10.100', GATEWAY) });
    t.true(await until(() => neighbours(lab, 'A1').includes('2001:db8::66:1')));
    t.false(neighbours(lab, 'A1').includes('10.10.10.100'));
    t.true(await inTheRounds(clock, () => !neighbours(lab, 'A1').includes('2001:db8::66:1')), 'in the next round');
    t.is(lab.routes.counters()['neighbours.weeding.failed'], 0);
    clock.advance(4_000);
    t.is(lab.routes.counters()['storms.now'], 0);
  } finally {
    lab.close();
  }
});

test.serial('R4.1 a storm on a member of a bridge: neighbours behind its other members stay', async (t) => {
  const clock = new HeldClock();
  const lab = new Lab(true, clock);
  try {
    await lab.start(POLICY);
    const wires = { A1: lab.wire('A1'), A2: lab.wire('A2') };
    wires.A1.send({ data: gratuitousArp(mac(1), '10.10.10.1') });
    wires.A1.send({ data: arpRequest(mac(1), '10.10.10.1', GATEWAY) });
    wires.A2.send({ data: gratuitousArp(mac(2), '10.10.10.2') });
    t.true(await until(() => lab.model.size === 2));
    // Not known either, but nobody speaks too much there.
    wires.A2.send({ data: arpRequest(strangerMac(200), '10.10.10.8', GATEWAY) });
    t.true(await until(() => neighbours(lab, 'br0').join() === '10.10.10.1,10.10.10.8'));
    t.true(await storm(lab, wires.A1, clock));
    const kept = '10.10.10.1,10.10.10.8';
    t.true(await inTheRounds(clock, () => neighbours(lab, 'br0').join() === kept), neighbours(lab, 'br0').join());
    t.true(lab.routes.counters()['neighbours.weeded']! >= STRANGERS);
  } finally {
    lab.close();
  }
});

test.serial('R4.1 in a storm a known host has its answers, for others too where the kernel gave them', async (t) => {
  for (const proxied of [true, false]) {
    const clock = new HeldClock();
    const lab = new Lab(false, clock);
    try {
      inside(lab.tor, 'sysctl', '-qw', `net.ipv4.conf.A1.proxy_arp=${Number(proxied)}`);
      await lab.start(POLICY);
      const wires = { A1: lab.wire('A1', ETH_P.ARP), A2: lab.wire('A2') };
      wires.A1.send({ data: gratuitousArp(mac(1), '10.10.10.1') });
      wires.A2.send({ data: gratuitousArp(mac(2), '10.10.10.2') });
      t.true(await until(() => lab.model.size === 2));
      t.true(await storm(lab, wires.A1, clock));
      const answered = () => lab.routes.counters()['frames.answered'] ?? 0;
      t.is(answered(), 0);
      while (wires.A1.receiveBatch().length > 0);
      // Himself, nobody, another port's, an address of no prefix, us; and a stranger asks.
      for (const target of ['10.10.10.1', '10.10.10.99', '10.10.10.2', '192.0.2.77', GATEWAY])
        wires.A1.send({ data: arpRequest(mac(1), '10.10.10.1', target) });
      for (let each = 0; each < 200; each++)
        wires.A1.send({ data: arpRequest(strangerMac(0), '10.10.10.100', '10.10.10.2') });
      const expected = proxied ? ['10.10.10.2', '10.10.10.254', '192.0.2.77'] : ['10.10.10.254'];
      const replies = new Set<string>();
      t.true(
        await until(() => {
          for (const { data } of wires.A1.receiveBatch())
            if (data[21] === 2 && data[41] === 1) replies.add(data.subarray(28, 32).join('.'));
          return answered() >= expected.length && replies.size >= expected.length;
        }),
      );
      t.deepEqual([...replies].sort(), expected);
      t.is(answered(), expected.length);
      lab.routes.stop();
      t.is(inside(lab.tor, 'cat', '/proc/sys/net/ipv4/conf/A1/proxy_arp').trim(), String(Number(proxied)));
    } finally {
      lab.close();
    }
  }
});

test('R4.1 a kernel that can not be read is asked again in the next round; one weeding at a time', async (t) => {
  const asked: ((result: number | Error) => void)[] = [];
  const port = { name: 'A1', ifindex: 7 };
  const strangers: boolean[] = [];
  const kernel = {
    port: (name: string) => (name === 'A1' ? port : undefined),
    neighbours: {
      weed: (ifindex: number, isStranger: (address: Address, mac: Mac) => boolean) =>
        new Promise<number>((resolve, reject) => {
          t.is(ifindex, 7);
          strangers.push(isStranger(address('10.10.10.1'), mac(1)), isStranger(address('10.10.10.9'), mac(9)));
          asked.push((result) => (typeof result === 'number' ? resolve(result) : reject(result)));
        }),
    },
  } as unknown as HostKernel;
  const placement = { neighbourInterfaces: () => [port], downlinkOf: () => port } as unknown as Placement;
  const weeding = new Weeding({ kernel, placement, isKnown: (_, each) => each === '10.10.10.1' });
  weeding.weed('A9');
  weeding.weed('A1');
  weeding.weed('A1');
  t.is(asked.length, 1);
  t.deepEqual(strangers, [false, true]);
  asked[0]!(new NetlinkError({ request: 'RTM_GETNEIGH', errno: 105, code: 'ENOBUFS' } as never));
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(weeding.count, { 'neighbours.weeded': 0, 'neighbours.weeding.failed': 1 });
  weeding.weed('A1');
  t.is(asked.length, 2);
  asked[1]!(5);
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(weeding.count, { 'neighbours.weeded': 5, 'neighbours.weeding.failed': 1 });
});
