/** `upWhen: [nexthop]` against a real kernel at the other end: IPv4, IPv6, unnumbered, behind a bridge. */
import { execFileSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import { AF, LinuxSocket, SOCK } from 'linux-sockets';
import type { Address, Mac } from '../../src/model/address.ts';
import { systemClock } from '../../src/model/clock.ts';
import type { Log } from '../../src/model/log.ts';
import {
  ARP_LENGTH,
  BROADCAST,
  ETHERNET_HEADER,
  ETHERTYPE,
  encodeArp,
  makeFrame,
} from '../../src/netlink/frames/index.ts';
import { Kernel } from '../../src/netlink/index.ts';
import { NextHopDriver, type SeenHop } from '../../src/portlink/index.ts';

const ip = (...words: string[]) => execFileSync('ip', words, { encoding: 'utf8' });
const inside = (netns: string, ...words: string[]) => execFileSync('ip', ['netns', 'exec', netns, ...words]);
const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} };

async function until(what: () => boolean, limit = 20_000): Promise<boolean> {
  const end = Date.now() + limit;
  while (!what()) {
    if (Date.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return true;
}

const DROP = ['action', 'mirred', 'egress', 'redirect', 'dev', 'sink'];

const GATEWAY_MAC = '02:00:00:00:00:01' as Mac;
let benches = 0;

/** A0 in `tor`, cabled to `ge0` in `gateway`; unequal ifindexes, so that carriers are told at once. */
class Bench {
  readonly tor = `vdn${process.pid}x${benches}t`;
  readonly gateway = `vdn${process.pid}x${benches++}g`;
  readonly verdicts: { ok: boolean; reason: string; at: number }[] = [];
  readonly saved: (readonly SeenHop[])[] = [];
  kernel!: Kernel;
  driver!: NextHopDriver;

  constructor() {
    for (const netns of [this.tor, this.gateway]) {
      ip('netns', 'add', netns);
      inside(netns, 'sysctl', '-qw', 'net.ipv6.conf.default.dad_transmits=0', 'net.ipv6.conf.all.dad_transmits=0');
      ip('-n', netns, 'link', 'set', 'lo', 'up');
    }
    ip('-n', this.tor, 'link', 'add', 'A0', 'index', '71', 'type', 'veth', 'peer', 'name', 'ge0', 'index', '72');
    ip('-n', this.tor, 'link', 'set', 'ge0', 'netns', this.gateway);
    ip('-n', this.gateway, 'link', 'set', 'ge0', 'address', GATEWAY_MAC, 'up');
    ip('-n', this.tor, 'link', 'set', 'A0', 'up');
    // Stays down: what is led there is gone.
    ip('-n', this.gateway, 'link', 'add', 'sink', 'type', 'veth', 'peer', 'name', 'sink1');
  }

  async start(hops: readonly string[]): Promise<void> {
    this.kernel = await Kernel.open({ netns: this.tor });
    const { kernel, tor: netns } = this;
    this.driver = new NextHopDriver({
      links: kernel,
      clock: systemClock,
      log: quiet,
      netns,
      store: { load: () => [], save: (seen) => this.saved.push(seen) },
      onVerdict: (port, at) => this.verdicts.push({ ...this.driver.verdict(port)!, at }),
    });
    kernel.onChange((change) => this.driver.portChanged(change));
    this.driver.watch(new Map([['A0', { hops: hops as Address[], configured: true }]]));
  }

  alive = () => until(() => /answers/.test(this.driver.verdict('A0')?.reason ?? ''));
  dead = () => until(() => this.driver.verdict('A0')?.ok === false);

  /** Nothing passes in either direction; the carrier stays. */
  silence(): number {
    inside(this.gateway, 'tc', 'qdisc', 'add', 'dev', 'ge0', 'clsact');
    for (const direction of ['egress', 'ingress']) {
      inside(
        this.gateway,
        ...['tc', 'filter', 'add', 'dev', 'ge0', direction, 'protocol', 'all', 'u32', 'match', 'u32', '0', '0'],
        ...DROP,
      );
    }
    return systemClock.now();
  }

  speak(): void {
    inside(this.gateway, 'tc', 'qdisc', 'del', 'dev', 'ge0', 'clsact');
  }

  close(): void {
    this.driver?.close();
    this.kernel?.close();
    for (const netns of [this.tor, this.gateway]) ip('netns', 'del', netns);
  }
}

async function diesAndLives(t: ExecutionContext, bench: Bench, hop: string): Promise<void> {
  t.true(await bench.alive(), `${hop} answers: ${JSON.stringify(bench.driver.counters())}`);
  t.deepEqual(
    bench.saved.at(-1)?.map(({ port, address, mac }) => [port, address, mac]),
    [['A0', hop, GATEWAY_MAC]],
  );
  const at = bench.silence();
  t.true(await bench.dead());
  const verdict = bench.verdicts.at(-1)!;
  t.regex(verdict.reason, /did not answer 3 (ARP requests|neighbour solicitations) \(600 ms\)/);
  t.log(`${hop}: silent for ${(verdict.at - at).toFixed(0)} ms when the verdict fell`);
  bench.speak();
  t.true(await bench.alive(), 'lives again by itself');
}

test.serial('R4.6 IPv4: an uplink that is up but dead is noticed, and lives again by itself', async (t) => {
  const bench = new Bench();
  t.teardown(() => bench.close());
  ip('-n', bench.tor, 'address', 'add', '192.0.2.2/30', 'dev', 'A0');
  ip('-n', bench.gateway, 'address', 'add', '192.0.2.1/30', 'dev', 'ge0');
  await bench.start(['192.0.2.1']);
  await diesAndLives(t, bench, '192.0.2.1');
  ip('-n', bench.gateway, 'link', 'set', 'ge0', 'down');
  t.true(await bench.dead());
  t.is(bench.driver.verdict('A0')!.reason, 'the port is down');
  ip('-n', bench.gateway, 'link', 'set', 'ge0', 'up');
  t.true(await bench.alive(), 'after a loss of carrier');
});

test.serial('R4.6 unnumbered IPv4: the hop is asked without an address of ours on the uplink', async (t) => {
  const bench = new Bench();
  t.teardown(() => bench.close());
  ip('-n', bench.gateway, 'address', 'add', '10.255.0.254/32', 'dev', 'lo');
  await bench.start(['10.255.0.254']);
  await diesAndLives(t, bench, '10.255.0.254');
});

test.serial('R4.6 no IPv4 at all: an IPv6 link-local next hop', async (t) => {
  const bench = new Bench();
  t.teardown(() => bench.close());
  ip('-n', bench.gateway, 'address', 'add', 'fe80::1/64', 'dev', 'ge0', 'nodad');
  await bench.start(['fe80::1']);
  await diesAndLives(t, bench, 'fe80::1');
});

test.serial('R4.6 an uplink that is a member of a bridge, which has the address', async (t) => {
  const bench = new Bench();
  t.teardown(() => bench.close());
  ip('-n', bench.tor, 'link', 'add', 'br0', 'address', '02:00:00:00:00:fe', 'type', 'bridge', 'forward_delay', '0');
  ip('-n', bench.tor, 'link', 'set', 'A0', 'master', 'br0');
  ip('-n', bench.tor, 'link', 'set', 'br0', 'up');
  ip('-n', bench.tor, 'address', 'add', '192.0.2.2/30', 'dev', 'br0');
  ip('-n', bench.gateway, 'address', 'add', '192.0.2.1/30', 'dev', 'ge0');
  await bench.start(['192.0.2.1']);
  await diesAndLives(t, bench, '192.0.2.1');
});

test.serial('what a hop says to all unasked is no sign of life', async (t) => {
  const bench = new Bench();
  t.teardown(() => bench.close());
  ip('-n', bench.tor, 'address', 'add', '192.0.2.2/30', 'dev', 'A0');
  ip('-n', bench.gateway, 'address', 'add', '192.0.2.1/30', 'dev', 'ge0');
  // It hears nothing of us, but we hear it.
  inside(bench.gateway, 'tc', 'qdisc', 'add', 'dev', 'ge0', 'clsact');
  const drop = ['protocol', 'all', 'u32', 'match', 'u32', '0', '0', ...DROP];
  await bench.start(['192.0.2.1']);
  t.true(await bench.alive());
  inside(bench.gateway, 'tc', 'filter', 'add', 'dev', 'ge0', 'ingress', ...drop);
  const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns: bench.gateway });
  t.teardown(() => socket.close());
  const frame = makeFrame(BROADCAST, GATEWAY_MAC, ETHERTYPE.arp, ARP_LENGTH);
  const us = { senderMac: GATEWAY_MAC, senderAddress: '192.0.2.1' as Address };
  const to = { targetMac: BROADCAST, targetAddress: '192.0.2.1' as Address };
  encodeArp({ operation: 'reply', ...us, ...to }, frame, ETHERNET_HEADER);
  const say = { data: frame, to: { family: 'packet', ifindex: 72, protocol: 0 } } as const;
  const shouting = setInterval(() => socket.send(say), 100);
  t.teardown(() => clearInterval(shouting));
  t.true(await bench.dead());
  t.true((bench.driver.counters()['frames.ignored.not-to-us'] ?? 0) > 0, 'it was heard');
});

test.serial('the gateways of routes through an uplink are found, the default route first', async (t) => {
  const bench = new Bench();
  t.teardown(() => bench.close());
  ip('-n', bench.tor, 'address', 'add', '192.0.2.2/29', 'dev', 'A0');
  ip('-n', bench.tor, 'route', 'add', '10.1.0.0/16', 'via', '192.0.2.3');
  ip('-n', bench.tor, 'route', 'add', 'default', 'via', '192.0.2.1');
  ip('-n', bench.tor, '-6', 'route', 'add', 'default', 'via', 'fe80::1', 'dev', 'A0');
  await bench.start([]);
  t.deepEqual(await bench.kernel.gatewaysVia(71), ['192.0.2.1', 'fe80::1', '192.0.2.3']);
  t.deepEqual(await bench.kernel.gatewaysVia(1), []);
  t.deepEqual(bench.driver.verdict('A0'), { ok: true, reason: 'not judged: no next hop is known' });
});
