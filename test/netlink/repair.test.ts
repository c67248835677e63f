import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test from 'ava';
import { withNetns } from 'linux-sockets';
import { AF, type Route } from 'rtnetlink-ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import { GuardMemory } from '../../src/netlink/frames/index.ts';
import { findRepair, Kernel, type RepairOptions, type RepairPath, removeRepair } from '../../src/netlink/index.ts';
import { address, announce, type Box, eventually, inBoxes, mac, withdraw } from './helpers.ts';

/**
 * G sends to A all the time, and is never told anything. The server has a link to each switch (A2, B2) and answers by the
 * one that it has. Switches are a kernel with our installers: what the agent would do is done by hand.
 */
const SERVER = { v4: '10.10.10.2', v6: '2001:db8:10::2' };
const GATEWAY = { v4: '198.51.100.1', v6: '2001:db8:ff::1' };
const HARDWARE = '02:00:00:00:00:02';

interface Fabric {
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

function sysctl(box: Box, ...settings: string[]): void {
  execFileSync('ip', ['netns', 'exec', box.netns, 'sysctl', '-qw', ...settings]);
}

const setting = (box: Box, family: string, port: string): string =>
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
function use(server: Box, port: string | undefined): void {
  for (const each of ['eth0', 'eth1']) server.ip(`link set ${each} ${each === port ? 'up' : 'down'}`);
  if (port === undefined) return;
  server.ip(`route replace default via 10.10.10.254 dev ${port} onlink src ${SERVER.v4}`);
  server.ip(`-6 route replace default via 2001:db8:10::fe dev ${port} onlink src ${SERVER.v6}`);
  server.ip(`neigh replace 10.10.10.254 lladdr 02:00:00:00:00:fe dev ${port} nud permanent`);
  server.ip(`-6 neigh replace 2001:db8:10::fe lladdr 02:00:00:00:00:fe dev ${port} nud permanent`);
}

interface Answers {
  readonly v4: number;
  readonly v6: number;
}

/** How many of `count` whole packets of this many octets, that may not be fragmented, are answered. */
function ping({ g }: Fabric, octets = 100, count = 5): Answers {
  const run = (family: string, from: string, to: string, header: number): number => {
    const options = ['-q', '-M', 'do', '-c', `${count}`, '-i', '0.02', '-W', '2', '-s', `${octets - header - 8}`];
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

function counts(box: Box, port: string): { rx: number; tx: number } {
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

const optionsFor = (store: { text?: string }): RepairOptions => ({
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

const TO_B = { source: address('192.0.2.2'), destination: address('192.0.2.6') };
const TO_A = { source: address('192.0.2.6'), destination: address('192.0.2.2') };

interface Switch {
  readonly box: Box;
  readonly kernel: Kernel;
  readonly path: RepairPath;
  readonly hosts: ReturnType<Kernel['hostRoutes']>;
  readonly routes: readonly HostRoute[];
  readonly store: { text?: string };
}

async function startSwitch(box: Box, port: string, store: { text?: string } = {}): Promise<Switch> {
  const kernel = await Kernel.open({ netns: box.netns });
  const path = await kernel.repairPath(optionsFor(store));
  const hosts = kernel.hostRoutes();
  const { ifindex } = kernel.port(port)!;
  const common = { interface: port, ifindex, mac: mac(HARDWARE), level: 0 } as const;
  const routes = [SERVER.v4, SERVER.v6].map((each) => ({ ...common, address: address(each) }));
  return { box, kernel, path, hosts, routes, store };
}

async function own({ hosts, path, routes }: Switch): Promise<void> {
  path.hosts.apply(announce(...routes));
  hosts.apply(announce(...routes));
  await hosts.settled();
}

async function disown({ hosts, path }: Switch): Promise<void> {
  hosts.apply(withdraw(SERVER.v4, SERVER.v6));
  path.hosts.apply(withdraw(SERVER.v4, SERVER.v6));
  await hosts.settled();
}

async function backUp({ path, routes }: Switch, tunnel = TO_B): Promise<void> {
  path.setTunnel('twin', tunnel);
  for (const route of routes) path.install(route, 'twin');
  path.flush();
  await eventually(() => routes.every((route) => path.has(route.address)));
}

async function inFabric(run: (fabric: Fabric, a: Switch, b: Switch) => Promise<void>): Promise<void> {
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

const backupsOf = ({ a }: Fabric): string[] =>
  ['-4', '-6'].flatMap((family) =>
    a
      .ip(`${family} route show table main`)
      .split('\n')
      .filter((line) => line.includes('dev rep0') && line.includes('metric')),
  );

test.serial('R4.5 the server link fails and the gateway is never told: A reaches the server through B', async (t) => {
  await inFabric(async (fabric, a, b) => {
    await own(a);
    await backUp(a);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'by its own link');
    t.is(counts(fabric.a, 'rep0').tx, 0);

    use(fabric.server, 'eth1');
    await own(b);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'the kernel alone: A has done nothing yet');
    t.is(counts(fabric.a, 'rep0').tx, 10);
    t.is(counts(fabric.b, 'rep0').rx, 10);

    await disown(a);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'A has withdrawn the host');
    a.path.remove(address(SERVER.v4));
    a.path.remove(address(SERVER.v6));
    a.path.flush();
    await eventually(() => backupsOf(fabric).length === 0);
    t.deepEqual(ping(fabric, 100, 2), { v4: 0, v6: 0 }, 'without the backup G would have had to move');
  });
});

test.serial('R4.5 one VM behind a port whose carrier stays: with its route gone the backup is next', async (t) => {
  await inFabric(async (fabric, a, b) => {
    await own(a);
    await backUp(a);
    await own(b);
    await disown(a);
    // The server still has both links here, as the host of a VM has.
    fabric.server.ip('link set eth1 up');
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 });
    t.is(counts(fabric.b, 'rep0').rx, 10);
  });
});

test.serial('R4.5 both links of the server are dead: one pass through the tunnel, then nothing', async (t) => {
  await inFabric(async (fabric, a, b) => {
    // Each has a backup over the other, as if each had lost the server while the other stood by.
    await own(a);
    await backUp(a, TO_B);
    await own(b);
    await backUp(b, TO_A);
    use(fabric.server, undefined);
    await eventually(() => !a.kernel.port('A2')!.carrier && !b.kernel.port('B2')!.carrier);
    const before = { g1: counts(fabric.g, 'g1'), g2: counts(fabric.g, 'g2') };
    t.deepEqual(ping(fabric), { v4: 0, v6: 0 });
    for (const [name, each] of [
      ['A', a],
      ['B', b],
    ] as const) {
      const { arrived, sent } = each.path.counters();
      t.deepEqual({ arrived, sent }, name === 'A' ? { arrived: 0, sent: 10 } : { arrived: 10, sent: 0 }, name);
    }
    // To A, from A as tunnelled, to B; a few of neighbour discovery besides.
    t.true(counts(fabric.g, 'g1').tx - before.g1.tx < 20);
    t.true(counts(fabric.g, 'g2').tx - before.g2.tx < 20);
    t.true(counts(fabric.g, 'g2').rx - before.g2.rx < 10, 'nothing comes back from B');

    await disown(a);
    await disown(b);
    t.deepEqual(ping(fabric, 100, 2), { v4: 0, v6: 0 });
    t.like(b.path.counters(), { arrived: 14, sent: 0 }, 'with both routes gone nothing goes round either');
  });
});

test.serial('R4.5 whole packets of 1,500 octets that may not be fragmented pass a fabric of 1,500', async (t) => {
  await inFabric(async (fabric, a, b) => {
    await own(a);
    await backUp(a);
    use(fabric.server, 'eth1');
    await own(b);
    t.deepEqual(ping(fabric, 1500), { v4: 5, v6: 5 });
    t.deepEqual(ping(fabric, 1500), { v4: 5, v6: 5 }, 'no path MTU was learned either');
    for (const port of ['g1', 'g2']) fabric.g.ip(`link set ${port} mtu 1536`);
    fabric.a.ip('link set A0 mtu 1536');
    fabric.b.ip('link set B0 mtu 1536');
    const before = counts(fabric.a, 'A0').tx;
    t.deepEqual(ping(fabric, 1500), { v4: 5, v6: 5 });
    t.true(counts(fabric.a, 'A0').tx - before < 15, 'and in one piece where the fabric has 36 octets more');
  });
});

test.serial('R4.5 a filter of the reverse path that is loose everywhere does not stop what comes out', async (t) => {
  await inFabric(async (fabric, a, b) => {
    sysctl(fabric.b, 'net.ipv4.conf.all.rp_filter=2');
    await own(a);
    await backUp(a);
    use(fabric.server, 'eth1');
    await own(b);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 });
  });
});

test.serial('R4.5 the other end has another address: one message moves all backups', async (t) => {
  await inFabric(async (fabric, a, b) => {
    await own(a);
    await backUp(a, { ...TO_B, destination: address('192.0.2.99') });
    use(fabric.server, 'eth1');
    await own(b);
    t.deepEqual(ping(fabric, 100, 2), { v4: 0, v6: 0 });
    a.path.setTunnel('twin', TO_B);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 });
  });
});

test.serial('R4.5 killed and started again: the backups stand, and are known to the next life', async (t) => {
  await inFabric(async (fabric, a, b) => {
    await own(a);
    await backUp(a);
    a.kernel.close();
    use(fabric.server, 'eth1');
    await own(b);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'nobody is there on A');

    const next = await startSwitch(fabric.a, 'A2', a.store);
    try {
      t.deepEqual([...next.path.adopted].sort(), [SERVER.v4, SERVER.v6]);
      t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'taken over as it was');
      await backUp(next);
      t.is(next.path.counters()['RTM_NEWROUTE EEXIST'], undefined);
      next.path.remove(address(SERVER.v4));
      next.path.flush();
      await eventually(() => !next.path.has(address(SERVER.v4)));
      t.is(backupsOf(fabric).length, 1, 'IPv6 is left');

      t.is(setting(fabric.a, 'ipv4', 'A2'), '1');
      await next.path.leave();
      t.is(setting(fabric.a, 'ipv4', 'A2'), '0');
      t.is(setting(fabric.a, 'ipv6', 'A2'), '0');
      t.deepEqual(backupsOf(fabric), []);
      t.false(fabric.a.ip('link show').includes('rep0'));
      t.false(fabric.a.ip('rule show').includes('rep0'));
      t.false(fabric.a.ip('-6 rule show').includes('rep0'));
    } finally {
      next.kernel.close();
    }
  });
});

test.serial(
  'R4.5 somebody sets the device down, or deletes it: it is made again with all that led over it',
  async (t) => {
    await inFabric(async (fabric, a, b) => {
      await own(a);
      await backUp(a);
      use(fabric.server, 'eth1');
      await own(b);
      for (const offence of ['link set rep0 down', 'link del rep0']) {
        fabric.a.ip(offence);
        const there = (): boolean => {
          try {
            return backupsOf(fabric).length === 2;
          } catch {
            return false;
          }
        };
        await eventually(there);
        t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, offence);
      }
    });
  },
);

test.serial('R4.5 what a dead agent left of the repair path is found, and removed', async (t) => {
  await inFabric(async (fabric, a) => {
    await own(a);
    await backUp(a);
    a.kernel.close();
    const box = await Kernel.open({ netns: fabric.a.netns });
    try {
      const found = await findRepair(box.rtnetlink, 205);
      t.is(found.backups.routes.length, 2);
      t.is(found.backups.objects.length, 2);
      t.is(found.exitRoutes.length, 2);
      t.is(found.rules.length, 6);
      t.deepEqual(
        found.devices.map(({ name }) => name),
        ['rep0'],
      );
      await removeRepair(box.rtnetlink, found);
      const left = await findRepair(box.rtnetlink, 205);
      t.deepEqual(left, { backups: { objects: [], routes: [] }, exitRoutes: [], rules: [], devices: [] });
      const routes: Route[] = await box.rtnetlink.dumpRoutes({ family: AF.INET, protocol: 201 });
      t.is(routes.length, 1, 'and nothing else');
    } finally {
      box.close();
    }
  });
});

test.serial('R4.5 a device of that name that is not ours is left alone', async (t) => {
  await inBoxes(1, async (box) => {
    box!.ip('link add rep0 type vxlan external gpe dstport 4790');
    const kernel = await Kernel.open({ netns: box!.netns });
    try {
      await t.throwsAsync(kernel.repairPath(optionsFor({})), { message: /rep0 is there already, and is not ours/ });
      t.true(box!.ip('link show').includes('rep0'));
    } finally {
      kernel.close();
    }
  });
});

/** G sends into B's tunnel as an intruder would, by a device of its own. */
function inject({ g }: Fabric, to: string): void {
  g.ip('rule add iif lo lookup 77 priority 1');
  g.ip(`route add ${to}/32 table 77 encap ip id 7 src 192.0.2.5 dst 192.0.2.6 dev evil0`);
  try {
    execFileSync('ip', ['netns', 'exec', g.netns, 'ping', '-q', '-c', '3', '-i', '0.02', '-W', '1', to]);
  } catch {
    // It is what arrives at the other end that counts.
  } finally {
    g.ip('rule del priority 1');
    g.ip('route flush table 77');
  }
}

test.serial(
  'R4.5 who injects packets reaches hosts behind this switch; with the filter of the docs nobody but the twin does',
  async (t) => {
    await inFabric(async (fabric, a, b) => {
      const { g } = fabric;
      use(fabric.server, 'eth1');
      await own(b);
      g.ip('link add evil0 type vxlan external gpe dstport 4790');
      g.ip('link set evil0 up');
      const delivered = (): number => counts(fabric.b, 'B2').tx;
      const forwarded = (): number => counts(fabric.b, 'B0').tx;

      let before = delivered();
      inject(fabric, SERVER.v4);
      t.true(delivered() - before >= 3, 'a host behind the switch');
      before = forwarded();
      inject(fabric, '203.0.113.7');
      t.true(forwarded() - before < 3, 'nothing is sent on into the fabric');
      t.is(b.path.counters().arrived, 6);

      const docs = readFileSync(new URL('../../docs/shadow.md', import.meta.url), 'utf8');
      const filter = /```[a-z]*\n(table inet peerless \{[\s\S]*?)```/.exec(docs)![1]!;
      // The example is for A: the other end is B's there.
      const rules = filter.replace('192.0.2.6', '192.0.2.2').replace('"A0"', '"B0"');
      execFileSync('ip', ['netns', 'exec', fabric.b.netns, '/usr/sbin/nft', '-f', '-'], { input: rules });
      before = delivered();
      inject(fabric, SERVER.v4);
      t.true(delivered() - before < 3, 'the filter');
      t.is(b.path.counters().arrived, 6);

      await own(a);
      await backUp(a);
      t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'and what A sends passes');
    });
  },
);
