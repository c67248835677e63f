/** Against the kernel, in namespaces: the table's sinks, the underlay's events, the layout that the host role makes. */
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { AF, LinuxSocket, SOCK, SOL } from 'linux-sockets';
import {
  eventually,
  innerAddress,
  innerMac,
  ip,
  macOf,
  pause,
  Rack,
  remoteAddress,
} from '../../../lab/tunnels/rack.ts';
import type { Address, Mac } from '../../../src/model/address.ts';
import { systemClock } from '../../../src/model/clock.ts';
import type { Log } from '../../../src/model/log.ts';
import { type NeighbourChange, TunnelNeighbours } from '../../../src/vswitch-bridge/neighbours/index.ts';

const logOf = (t: ExecutionContext): Log => ({
  debug: () => undefined,
  info: () => undefined,
  warn: (fields, message) => t.log(message, fields),
  error: (fields, message) => t.log(message, fields),
});

interface Story {
  readonly rack: Rack;
  readonly neighbours: TunnelNeighbours;
  readonly changes: NeighbourChange[];
}

async function play(
  t: ExecutionContext,
  which: { count?: number; proactive?: boolean; hold?: boolean; poll?: number },
  run: (story: Story) => Promise<void>,
): Promise<void> {
  t.timeout(60_000);
  const rack = await Rack.open(which.count ?? 2);
  try {
    const neighbours = await TunnelNeighbours.open({
      netns: rack.near,
      clock: systemClock,
      log: logOf(t),
      source: '10.20.1.1' as Address,
      proactive: which.proactive ?? true,
      poll: which.poll ?? 5_000,
      hold: { enabled: which.hold ?? true, lifetime: 1_000, perNeighbour: 256, total: 8_192 },
    });
    const changes: NeighbourChange[] = [];
    neighbours.addSink({ name: 'test', apply: (change) => void changes.push(change) });
    try {
      await run({ rack, neighbours, changes });
    } finally {
      await neighbours.close();
    }
  } finally {
    await rack.close();
  }
}

const reachable = ({ neighbours, rack }: Story) =>
  eventually(() => neighbours.view().filter(({ state }) => state === 'reachable').length === rack.count);

const NEW_MAC = '02:00:00:00:0a:0b' as Mac;

test.serial(
  'R2.1 R2.2 the kernel table has the tunnel ends alone, never permanent, and they go on living',
  async (t) => {
    await play(t, { poll: 200 }, async (story) => {
      const { rack, neighbours } = story;
      ip(rack.near, 'neigh add 10.20.1.200 lladdr 02:00:00:00:00:99 nud stale dev u0');
      rack.addTunnels();
      await reachable(story);
      await eventually(() => (rack.ip('neigh show dev u0').match(/REACHABLE/g) ?? []).length === 2);
      t.notRegex(rack.ip('neigh show dev u0'), /PERMANENT/);
      // Refreshed by unicast, and only those of tunnels.
      const before = rack.questions.length;
      await eventually(() => rack.questions.length >= before + 6);
      t.true(rack.questions.slice(before).every(({ unicast }) => unicast));
      t.deepEqual([...new Set(rack.questions.map(({ target }) => target))].sort(), [
        remoteAddress(0),
        remoteAddress(1),
      ]);
      t.is(neighbours.view().length, 2);
      rack.removeTunnels();
      await eventually(() => neighbours.view().length === 0);
    });
  },
);

test.serial('R2.2 sinks are told before the kernel is, each in the turn of the answer', async (t) => {
  await play(t, {}, async ({ rack, neighbours, changes }) => {
    const kernelThen: string[] = [];
    neighbours.addSink({ name: 'looks', apply: () => void kernelThen.push(rack.ip('neigh show dev u0')) });
    rack.addTunnels();
    await eventually(() => changes.length >= 2);
    t.true(kernelThen[0] === '' || !kernelThen[0]!.includes(changes[0]!.to.mac));
    t.is(changes[0]!.to.mac, rack.mac);
  });
});

test.serial('R2.2 what somebody made permanent is left alone', async (t) => {
  await play(t, { count: 1 }, async (story) => {
    ip(story.rack.near, `neigh add ${remoteAddress(0)} lladdr 02:00:00:00:00:99 nud permanent dev u0`);
    await pause(50);
    story.rack.addTunnels();
    await reachable(story);
    t.regex(story.rack.ip('neigh show dev u0'), /02:00:00:00:00:99 PERMANENT/);
  });
});

test.serial('the ToR has another MAC and says so: sinks and kernel are corrected, in that turn', async (t) => {
  await play(t, {}, async (story) => {
    const { rack, changes } = story;
    rack.addTunnels();
    await reachable(story);
    changes.length = 0;
    rack.changeMac(NEW_MAC, true);
    await eventually(() => changes.filter(({ why }) => why === 'changed').length === 2);
    t.true(changes.every(({ to }) => to.mac === NEW_MAC));
    await eventually(() => (rack.ip('neigh show dev u0').match(new RegExp(NEW_MAC, 'g')) ?? []).length === 2);
    rack.burst(5);
    await eventually(() => rack.arrivals.length === 10);
    t.true(rack.arrivals.every(({ destinationMac }) => destinationMac === NEW_MAC));
  });
});

test.serial(
  'the underlay moves: no stale header after the event, all are asked at once, packets wait meanwhile',
  async (t) => {
    await play(t, {}, async (story) => {
      const { rack, neighbours, changes } = story;
      rack.addTunnels();
      await reachable(story);
      rack.changeMac(NEW_MAC, false);
      rack.arpDelay = 200;
      const ifindex = neighbours.view()[0]!.ifindex;
      const before = rack.questions.length;
      changes.length = 0;
      neighbours.underlayChanged(ifindex);
      // Nothing was awaited: the sinks have let go of the old headers, and the kernel has.
      t.deepEqual(
        changes.map(({ op, why }) => `${op} ${why}`),
        ['removed invalidated', 'removed invalidated'],
      );
      t.notRegex(rack.ip('neigh show dev u0'), /lladdr/);
      rack.burst(50);
      await eventually(() => rack.arrivals.length === 100);
      t.true(rack.arrivals.every(({ destinationMac }) => destinationMac === NEW_MAC));
      t.deepEqual(rack.outcome(), { lost: 0, inOrder: true });
      t.true(rack.questions.slice(before, before + 2).every(({ unicast }) => !unicast));
    });
  },
);

test.serial('carrier goes and comes back: down, then asked at once', async (t) => {
  await play(t, {}, async (story) => {
    const { rack, neighbours, changes } = story;
    rack.addTunnels();
    await reachable(story);
    changes.length = 0;
    ip(rack.far, 'link set u0 down');
    await eventually(() => neighbours.view().every(({ state }) => state === 'down'));
    t.is(changes.filter(({ why }) => why === 'invalidated').length, 2);
    ip(rack.far, 'link set u0 up');
    await reachable(story);
  });
});

test.serial('R2.1 follows the route: on the link, by a gateway, and back', async (t) => {
  await play(t, { count: 2 }, async ({ rack, neighbours }) => {
    const gateway = remoteAddress(1);
    ip(rack.near, `link add vy type vxlan id 8 local 10.20.1.1 remote 10.99.0.1 dstport 4790`);
    ip(rack.near, 'link set vy up');
    await eventually(() => neighbours.unroutable().includes('10.99.0.1' as Address));
    ip(rack.near, `route add 10.99.0.0/16 via ${gateway}`);
    await eventually(() =>
      neighbours.view().some(({ address, state }) => address === gateway && state === 'reachable'),
    );
    t.deepEqual(neighbours.view()[0]!.remotes, ['10.99.0.1' as Address]);
    ip(rack.near, `route replace 10.99.0.0/16 via ${remoteAddress(0)}`);
    await eventually(() => neighbours.view()[0]?.address === remoteAddress(0));
    ip(rack.near, 'route del 10.99.0.0/16');
    await eventually(() => neighbours.view().length === 0);
    t.deepEqual(neighbours.unroutable(), ['10.99.0.1' as Address]);
  });
});

test.serial('R2.1 by neighbour discovery where the underlay is IPv6; first packets wait there too', async (t) => {
  t.timeout(60_000);
  const rack = await Rack.open(1);
  try {
    for (const [netns, last] of [
      [rack.near, 1],
      [rack.far, 2],
    ] as const) {
      execFileSync('ip', ['netns', 'exec', netns, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=0']);
      execFileSync('ip', ['netns', 'exec', netns, 'sysctl', '-qw', 'net.ipv6.conf.u0.disable_ipv6=0']);
      ip(netns, `addr add 2001:db8::${last}/64 dev u0 nodad`);
      ip(netns, `link add vx type vxlan id 7 local 2001:db8::${last} remote 2001:db8::${3 - last} dstport 4789`);
      ip(netns, `addr add 10.201.0.${last}/24 dev vx`);
      ip(netns, 'link set vx up');
    }
    const open = (proactive: boolean) =>
      TunnelNeighbours.open({
        netns: rack.near,
        clock: systemClock,
        log: logOf(t),
        source: '2001:db8::1' as Address,
        proactive,
        poll: 1_000,
        hold: { enabled: true, lifetime: 1_000, perNeighbour: 256, total: 8_192 },
      });
    const far = macOf(rack.far, 'u0');
    const reactive = await open(false);
    try {
      const ping = ['netns', 'exec', rack.near, 'ping', '-c', '1', '-w', '3', '10.201.0.2'];
      // The far end may speak of its own accord after the flush, and then nothing need wait.
      for (let attempt = 0; attempt < 10 && !reactive.counters().hold!.sent; attempt++) {
        ip(rack.near, 'neigh flush dev u0');
        await t.notThrowsAsync(promisify(execFile)('ip', ping));
      }
      t.true(reactive.counters().hold!.sent! > 0);
      t.is(reactive.view()[0]!.mac, far);
    } finally {
      await reactive.close();
    }
    ip(rack.near, 'neigh flush dev u0');
    const proactive = await open(true);
    try {
      await eventually(() => proactive.view()[0]?.state === 'reachable');
      t.is(proactive.view()[0]!.mac, far);
      t.regex(rack.ip('-6 neigh show dev u0'), new RegExp(`2001:db8::2 lladdr ${far} (router )?REACHABLE`));
    } finally {
      await proactive.close();
    }
  } finally {
    await rack.close();
  }
});

test.serial(
  'R2.3 frames to all remotes of a device wait for those that nobody has asked yet, not for dead ones',
  async (t) => {
    await play(t, { count: 3, proactive: false }, async ({ rack, neighbours }) => {
      rack.addTunnels({ bridge: true });
      for (let index = 0; index < 3; index++) {
        const entry = ['fdb', 'append', '00:00:00:00:00:00', 'dev', 'vx', 'dst', remoteAddress(index)];
        execFileSync('bridge', ['-n', rack.near, ...entry]);
      }
      await eventually(() => neighbours.view().length === 3);
      rack.arpDelay = 100;
      await pause(50);
      const frame = 'neigh replace 10.200.0.99 lladdr 02:00:00:00:09:99 nud permanent dev br0';
      ip(rack.near, frame);
      rack.sendTo('10.200.0.99', 3);
      await eventually(() => rack.arrivals.length === 9);
      // One that comes while those before it leave may wait once more.
      const sent = neighbours.counters().hold!.sent ?? 0;
      t.true(sent >= 3, `${sent}`);
      // One dies: after it has failed, nobody's frames wait for it.
      rack.silent.add(remoteAddress(2));
      neighbours.underlayChanged(neighbours.view()[0]!.ifindex);
      rack.sendTo('10.200.0.99', 1);
      await eventually(() => neighbours.view().some(({ state }) => state === 'failed'));
      await eventually(() => rack.arrivals.length >= 11);
      const { held } = neighbours.counters().hold!;
      rack.sendTo('10.200.0.99', 1);
      await eventually(() => rack.arrivals.length >= 13);
      t.is(neighbours.counters().hold!.held, held);
    });
  },
);

test.serial(
  'R2.3 R2.6 a device whose remote comes with the packet (external): tunnels stand in routes, packets wait',
  async (t) => {
    await play(t, { count: 2, proactive: false }, async ({ rack, neighbours }) => {
      rack.arpDelay = 100;
      ip(rack.near, 'link add vx type vxlan external dstport 4789');
      ip(rack.near, 'addr add 10.203.0.1/24 dev vx');
      ip(rack.near, 'link set vx up');
      for (let index = 0; index < 2; index++) {
        const to = `10.200.0.${10 + index}`;
        ip(rack.near, `route add ${to}/32 encap ip id 7 dst ${remoteAddress(index)} dev vx src 10.203.0.1`);
        ip(rack.near, `neigh add ${to} lladdr 02:00:00:00:01:${10 + index} nud permanent dev vx`);
      }
      await eventually(() => neighbours.view().length === 2);
      rack.burst(100);
      await eventually(() => rack.arrivals.length === 200);
      t.deepEqual(rack.outcome(), { lost: 0, inOrder: true });
      t.is(neighbours.counters().hold!.held, 200);
      ip(rack.near, 'route del 10.200.0.11/32');
      await eventually(() => neighbours.view().length === 1);
      ip(rack.near, 'link del vx');
      await eventually(() => neighbours.view().length === 0);
    });
  },
);

test.serial('R2.3 a segment train that waited arrives as the datagrams that it was made of', async (t) => {
  const UDP_SEGMENT = 103;
  await play(t, { count: 1, proactive: false }, async ({ rack, neighbours }) => {
    rack.arpDelay = 100;
    rack.addTunnels();
    await eventually(() => neighbours.view().length === 1);
    ip(rack.far, 'link add vx type vxlan id 7 local 10.20.1.10 dstport 4789');
    ip(rack.far, `link set vx address ${innerMac(0)}`);
    ip(rack.far, `addr add ${innerAddress(0)}/24 dev vx`);
    ip(rack.far, 'link set vx up');
    const open = (netns: string) => LinuxSocket.open({ family: AF.INET, type: SOCK.DGRAM, protocol: 0, netns });
    const receiver = open(rack.far);
    const sender = open(rack.near);
    try {
      receiver.setBuffer('receive', 8 << 20);
      receiver.bind({ family: 'ipv4', address: innerAddress(0), port: 6_000 });
      sender.setOption(SOL.UDP, UDP_SEGMENT, 1_000);
      const sent = randomBytes(40_500);
      sender.send({ data: sent, to: { family: 'ipv4', address: innerAddress(0), port: 6_000 } });
      const got: Buffer[] = [];
      await eventually(() => {
        got.push(...receiver.receiveBatch().map(({ data }) => data));
        return got.length >= 41;
      });
      t.true(Buffer.concat(got).equals(sent));
      // One frame for the program and for us.
      t.is(neighbours.counters().hold!.held, 1);
      t.is(neighbours.counters().hold!.sent, 1);
    } finally {
      receiver.close();
      sender.close();
    }
  });
});

test.serial('R2.3 a way without MACs: nothing waits for what nobody will ever tell', async (t) => {
  await play(t, { count: 1 }, async ({ rack, neighbours }) => {
    rack.addTunnels();
    ip(rack.near, 'tuntap add dev line mode tun');
    ip(rack.near, 'link set line up');
    ip(rack.near, `route add ${remoteAddress(0)}/32 dev line`);
    await eventually(() => neighbours.view().length === 0);
    t.deepEqual(neighbours.unroutable(), []);
    rack.burst(20);
    await pause(100);
    const hold = () => neighbours.counters().hold!;
    await eventually(() => hold().waiting === 0 && hold().held === hold().sent);
    t.is(hold().expired, 0);
  });
});

test.serial('R2.3 the interface by which packets wait is removed by somebody: another takes its place', async (t) => {
  await play(t, { count: 1, proactive: false }, async ({ rack, neighbours }) => {
    rack.addTunnels();
    await eventually(() => neighbours.view().length === 1);
    const door = () => /^(\d+): plnbh0/m.exec(rack.ip('link'))?.[1];
    const before = door();
    ip(rack.near, 'link del plnbh0');
    await eventually(() => door() !== undefined && door() !== before);
    const held = () => neighbours.counters().hold!.sent ?? 0;
    for (let attempt = 0; attempt < 50 && held() === 0; attempt++) {
      ip(rack.near, 'neigh flush dev u0');
      const { length } = rack.arrivals;
      rack.sendTo('10.200.0.10', 1);
      await eventually(() => rack.arrivals.length > length);
    }
    t.true(held() > 0);
  });
});

test.serial('an agent that leaves takes its program, its interfaces and its setting of lo along', async (t) => {
  const rack = await Rack.open(1);
  try {
    rack.addTunnels();
    const setting = () =>
      execFileSync('ip', ['netns', 'exec', rack.near, 'sysctl', '-n', 'net.ipv4.conf.lo.forwarding'], {
        encoding: 'utf8',
      });
    const before = setting();
    const neighbours = await TunnelNeighbours.open({
      netns: rack.near,
      clock: systemClock,
      log: logOf(t),
      proactive: true,
      poll: 1_000,
      hold: { enabled: true, lifetime: 1_000, perNeighbour: 256, total: 8_192 },
    });
    t.regex(rack.ip('link'), /plnbh0/);
    await neighbours.close();
    t.notRegex(rack.ip('link'), /plnbh/);
    t.is(setting(), before);
    const shown = execFileSync('ip', ['netns', 'exec', rack.near, 'tc', 'filter', 'show', 'dev', 'vx', 'egress']);
    t.is(shown.toString(), '');
  } finally {
    await rack.close();
  }
});
