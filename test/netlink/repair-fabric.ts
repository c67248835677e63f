/**
 * G sends to A all the time, and is never told anything. The server has a link to each switch (A2, B2) and answers by the
 * one that it has. Switches are a kernel with our installers: what the agent would do is done by hand.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { withNetns } from 'linux-sockets';
import type { HostRoute } from '../../src/model/hosts.ts';
import { GuardMemory } from '../../src/netlink/frames/index.ts';
import { Kernel, type RepairOptions, type RepairPath } from '../../src/netlink/index.ts';
import { address, announce, type Box, eventually, inBoxes, mac, withdraw } from './helpers.ts';

export const SERVER = { v4: '10.10.10.2', v6: '2001:db8:10::2' };
const GATEWAY = { v4: '198.51.100.1', v6: '2001:db8:ff::1' };
const HARDWARE = '02:00:00:00:00:02';

export interface Fabric {
  readonly g: Box;
  readonly a: Box;
  readonly b: Box;
  readonly server: Box;
}

let indices = 20_000 + (process.pid % 500) * 20;

function wire(one: Box, port: string, other: Box, otherPort: string): void {
  // Two ends with the same index in their namespaces hear of each other's carrier late.
  const mine = indices++;
  one.ip(`link add ${port} index ${mine} type veth peer name ${otherPort} index ${indices++} netns ${other.netns}`);
  one.ip(`link set ${port} up`);
  other.ip(`link set ${otherPort} up`);
}

export function sysctl(box: Box, ...settings: string[]): void {
  execFileSync('ip', ['netns', 'exec', box.netns, 'sysctl', '-qw', ...settings]);
}

export const setting = (box: Box, family: string, port: string): string =>
  withNetns(box.netns, () =>
    readFileSync(`/proc/sys/net/${family}/conf/${port}/ignore_routes_with_linkdown`, 'latin1').trim(),
  );

function build({ g, a, b, server }: Fabric): void {
  wire(g, 'g1', a, 'A0');
  wire(g, 'g2', b, 'B0');
  wire(server, 'eth0', a, 'A2');
  wire(server, 'eth1', b, 'B2');
  for (const box of [g, a, b]) {
    sysctl(box, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.conf.all.rp_filter=0');
  }
  g.ip('addr add 192.0.2.1/30 dev g1');
  g.ip('addr add 192.0.2.5/30 dev g2');
  g.ip('addr add 2001:db8:1::1/64 dev g1 nodad');
  g.ip('addr add 2001:db8:2::1/64 dev g2 nodad');
  g.ip(`addr add ${GATEWAY.v4}/32 dev lo`);
  g.ip(`addr add ${GATEWAY.v6}/128 dev lo nodad`);
  a.ip('addr add 192.0.2.2/30 dev A0');
  a.ip('addr add 2001:db8:1::2/64 dev A0 nodad');
  b.ip('addr add 192.0.2.6/30 dev B0');
  b.ip('addr add 2001:db8:2::2/64 dev B0 nodad');
  a.ip('route add default via 192.0.2.1');
  b.ip('route add default via 192.0.2.5');
  a.ip('-6 route add default via 2001:db8:1::1');
  b.ip('-6 route add default via 2001:db8:2::1');
  g.ip(`route add ${SERVER.v4}/32 via 192.0.2.2`);
  g.ip(`-6 route add ${SERVER.v6}/128 via 2001:db8:1::2`);
  for (const [box, port] of [
    [a, 'A2'],
    [b, 'B2'],
  ] as const) {
    box.ip(`addr add 10.10.10.254/24 dev ${port}`);
    box.ip(`addr add 2001:db8:10::fe/64 dev ${port} nodad`);
    box.ip(`link set ${port} address 02:00:00:00:00:fe`);
  }
  server.ip(`addr add ${SERVER.v4}/32 dev lo`);
  server.ip(`addr add ${SERVER.v6}/128 dev lo nodad`);
  sysctl(server, 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.eth0.rp_filter=0', 'net.ipv4.conf.eth1.rp_filter=0');
  for (const port of ['eth0', 'eth1']) {
    server.ip(`link set ${port} down`);
    server.ip(`link set ${port} address ${HARDWARE}`);
  }
  use(server, 'eth0');
}

/** The server's team has this link active now, and the other one is unplugged. */
export function use(server: Box, port: string | undefined): void {
  for (const each of ['eth0', 'eth1']) server.ip(`link set ${each} ${each === port ? 'up' : 'down'}`);
  if (port === undefined) return;
  server.ip(`route replace default via 10.10.10.254 dev ${port} onlink src ${SERVER.v4}`);
  server.ip(`-6 route replace default via 2001:db8:10::fe dev ${port} onlink src ${SERVER.v6}`);
  server.ip(`neigh replace 10.10.10.254 lladdr 02:00:00:00:00:fe dev ${port} nud permanent`);
  server.ip(`-6 neigh replace 2001:db8:10::fe lladdr 02:00:00:00:00:fe dev ${port} nud permanent`);
}

/** As `use`, until the switches have seen it: the kernel leaves routes of a dead link out when it has told of the carrier. */
export async function plug({ a, b, server }: Fabric, port: 'eth0' | 'eth1'): Promise<void> {
  use(server, port);
  const dead = (box: Box, link: string): boolean => box.ip(`link show ${link}`).includes('NO-CARRIER');
  await eventually(() => dead(a, 'A2') === (port === 'eth1') && dead(b, 'B2') === (port === 'eth0'));
}

export interface Answers {
  readonly v4: number;
  readonly v6: number;
}

/** How many of `count` whole packets of this many octets, that may not be fragmented, are answered. */
export function ping({ g }: Fabric, octets = 100, count = 5): Answers {
  const run = (family: string, from: string, to: string, header: number): number => {
    // For the last answer ping waits no longer than its interval, once there was one.
    const size = `${octets - header - 8}`;
    const options = ['-q', '-M', 'do', '-c', `${count}`, '-i', '0.2', '-W', '2', '-s', size];
    try {
      const text = execFileSync('ip', ['netns', 'exec', g.netns, 'ping', family, ...options, '-I', from, to], {
        encoding: 'utf8',
      });
      return Number(/(\d+) received/.exec(text)![1]);
    } catch (error) {
      return Number(/(\d+) received/.exec((error as { stdout: string }).stdout)?.[1] ?? Number.NaN);
    }
  };
  return { v4: run('-4', GATEWAY.v4, SERVER.v4, 20), v6: run('-6', GATEWAY.v6, SERVER.v6, 40) };
}

export function counts(box: Box, port: string): { rx: number; tx: number } {
  const [link] = JSON.parse(box.ip(`-j -s link show ${port}`));
  return { rx: link.stats64.rx.packets, tx: link.stats64.tx.packets };
}

const memoryOf = (store: { text?: string }): GuardMemory =>
  new GuardMemory({
    store: { read: () => store.text, write: (text) => Object.assign(store, { text }) },
    boot: 'this',
    onError: (error) => {
      throw error;
    },
  });

export const optionsFor = (store: { text?: string }): RepairOptions => ({
  device: 'rep0',
  table: 254,
  metric: { 4: 2, 6: 2 },
  protocol: 205,
  exit: { hosts: 20_102, shadows: 20_101 },
  memory: memoryOf(store),
  onError: (error) => {
    throw error;
  },
});

export const TO_B = { source: address('192.0.2.2'), destination: address('192.0.2.6') };
export const TO_A = { source: address('192.0.2.6'), destination: address('192.0.2.2') };

export interface Switch {
  readonly box: Box;
  readonly kernel: Kernel;
  readonly path: RepairPath;
  readonly hosts: ReturnType<Kernel['hostRoutes']>;
  readonly routes: readonly HostRoute[];
  readonly store: { text?: string };
}

export async function startSwitch(box: Box, port: string, store: { text?: string } = {}): Promise<Switch> {
  const kernel = await Kernel.open({ netns: box.netns });
  const path = await kernel.repairPath(optionsFor(store));
  const hosts = kernel.hostRoutes();
  const { ifindex } = kernel.port(port)!;
  const common = { interface: port, ifindex, mac: mac(HARDWARE), level: 0 } as const;
  const routes = [SERVER.v4, SERVER.v6].map((each) => ({ ...common, address: address(each) }));
  return { box, kernel, path, hosts, routes, store };
}

export async function own({ hosts, path, routes }: Switch): Promise<void> {
  path.hosts.apply(announce(...routes));
  hosts.apply(announce(...routes));
  await hosts.settled();
}

export async function disown({ hosts, path }: Switch): Promise<void> {
  hosts.apply(withdraw(SERVER.v4, SERVER.v6));
  path.hosts.apply(withdraw(SERVER.v4, SERVER.v6));
  await hosts.settled();
}

export async function backUp({ path, routes }: Switch, tunnel = TO_B): Promise<void> {
  path.setTunnel('twin', tunnel);
  for (const route of routes) path.install(route, 'twin');
  path.flush();
  await eventually(() => routes.every((route) => path.has(route.address)));
}

export async function inFabric(run: (fabric: Fabric, a: Switch, b: Switch) => Promise<void>): Promise<void> {
  await inBoxes(4, async (g, a, b, server) => {
    const fabric = { g: g!, a: a!, b: b!, server: server! };
    build(fabric);
    const switches: Switch[] = [];
    try {
      for (const [box, port] of [
        [fabric.a, 'A2'],
        [fabric.b, 'B2'],
      ] as const) {
        switches.push(await startSwitch(box, port));
      }
      await run(fabric, switches[0]!, switches[1]!);
    } finally {
      for (const { kernel } of switches) kernel.close();
    }
  });
}

export const backupsOf = ({ a }: Fabric): string[] =>
  ['-4', '-6'].flatMap((family) =>
    a
      .ip(`${family} route show table main`)
      .split('\n')
      .filter((line) => line.includes('dev rep0') && line.includes('metric')),
  );
