/** The projection against one real kernel: what it adopts, mends, leaves and takes away. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { withNetns } from 'linux-sockets';
import { Rtnetlink } from 'rtnetlink-ts';
import { systemClock } from '../../../src/model/clock.ts';
import type { OverlayState } from '../../../src/model/overlay.ts';
import {
  findLayout,
  NetworkProjection,
  type SysctlMemory,
  type SysctlRecord,
} from '../../../src/vswitch-bridge/slowpath/network/index.ts';
import { readStanding } from '../../../src/vswitch-bridge/slowpath/network/read.ts';
import { instance, MAC, network, overlay, type Parts, quietLog, remote } from './overlay.ts';

let made = 0;

class Box {
  readonly netns = `nvr${process.pid}x${made++}`;
  readonly rtnetlink: Rtnetlink;
  readonly #record: { value: SysctlRecord } = { value: {} };
  readonly memory: SysctlMemory = {
    read: () => this.#record.value,
    write: (value) => {
      this.#record.value = structuredClone(value);
    },
  };

  constructor(t: ExecutionContext) {
    execFileSync('ip', ['netns', 'add', this.netns]);
    t.teardown(() => execFileSync('ip', ['netns', 'del', this.netns]));
    this.ip('link set lo up', 'link add eth0 mtu 1500 type veth peer name far', 'link set far up', 'link set eth0 up');
    this.ip('address add 10.20.1.1/24 dev eth0');
    this.rtnetlink = Rtnetlink.open({ netns: this.netns });
    t.teardown(() => this.rtnetlink.close());
  }

  ip(...lines: string[]): string {
    return execFileSync('ip', ['-n', this.netns, '-batch', '-'], { input: `${lines.join('\n')}\n`, encoding: 'utf8' });
  }

  veth(name: string): void {
    this.ip(`link add ${name} type veth peer name p-${name.slice(5)}`, `link set p-${name.slice(5)} up`);
  }

  sysctl(path: string, value?: string): string {
    const file = `/proc/sys/net/${path}`;
    if (value !== undefined) execFileSync('ip', ['netns', 'exec', this.netns, 'sh', '-c', `echo ${value} > ${file}`]);
    return withNetns(this.netns, () => readFileSync(file, 'utf8').trim());
  }

  async open(t: ExecutionContext, state: OverlayState): Promise<NetworkProjection> {
    const { netns, memory } = this;
    const projection = await NetworkProjection.open({ clock: systemClock, log: quietLog(), netns, state, memory });
    t.teardown(() => projection.close());
    return projection;
  }

  async standing(): Promise<string[]> {
    return [...(await readStanding(this.rtnetlink)).objects.keys()].sort();
  }

  master(device: string): string | undefined {
    const [link] = JSON.parse(
      execFileSync('ip', ['-n', this.netns, '-j', 'link', 'show', device], { encoding: 'utf8' }),
    );
    return link.master;
  }
}

async function eventually(
  t: ExecutionContext,
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = performance.now() + 15_000;
  while (!(await condition())) {
    if (performance.now() > end) return t.fail(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  t.pass();
}

const BLUE = network('blue', 100, '10.200.0.0/16', '10.200.0.1');
const PARTS: Parts = {
  networks: [
    BLUE,
    network('green', 200, '10.201.0.0/16', '10.201.0.1'),
    network('red', 300, '10.200.0.0/16', '10.200.0.1'),
  ],
  instances: [
    instance('c1', 'blue', '10.200.1.2', { mac: MAC('02:00:00:00:01:02') }),
    instance('c2', 'green', '10.201.1.2'),
  ],
  remotes: [
    remote('10.20.1.2', 'blue', '10.200.2.0/24'),
    remote('10.20.1.3', 'blue', '10.200.3.0/24'),
    remote('10.20.1.2', 'red', '10.200.2.0/24'),
    remote('10.20.1.2', 'green', '10.201.2.0/24'),
  ],
};

test.serial(
  'R1.6: a killed agent’s layout is adopted by the next: nothing is made anew, nothing is touched',
  async (t) => {
    const box = new Box(t);
    box.veth('veth-c1');
    const state = overlay(PARTS);
    const first = await box.open(t, state);
    t.deepEqual(first.view().problems, []);
    const before = await box.standing();
    const links = await box.rtnetlink.dumpLinks();
    t.true(before.length > 25);
    // As a killed agent leaves it: nothing is said to the kernel.
    await first.close();
    const second = await box.open(t, state);
    t.deepEqual(await box.standing(), before);
    t.is(second.counters().removed, 0);
    t.deepEqual(
      (await box.rtnetlink.dumpLinks()).map(({ name, ifindex, master, carrierChanges }) => [
        name,
        ifindex,
        master,
        carrierChanges,
      ]),
      links.map(({ name, ifindex, master, carrierChanges }) => [name, ifindex, master, carrierChanges]),
    );
  },
);

test.serial(
  'what is no longer wanted after a restart goes, with settings of tunnels that are others now',
  async (t) => {
    const box = new Box(t);
    box.veth('veth-c1');
    box.veth('veth-c2');
    const first = await box.open(t, overlay(PARTS));
    t.is(box.master('veth-c2'), 'plbr200');
    await first.close();
    // Somebody has used our names, and a tunnel of ours had another port.
    box.ip('link del pltn100', 'link add pltn100 type vxlan id 100 local 10.20.1.1 dstport 8472');
    box.ip('link add plbr900 type veth peer name plbr901');
    const less = overlay({
      networks: [BLUE],
      instances: [instance('c2', 'blue', '10.200.1.3')],
      remotes: [remote('10.20.1.3', 'blue', '10.200.3.0/24')],
    });
    const second = await box.open(t, less);
    t.deepEqual(second.view().problems, []);
    t.is(box.master('veth-c1'), undefined);
    t.is(box.master('veth-c2'), 'plbr100');
    t.deepEqual(await findLayout(box.rtnetlink).then(({ devices }) => [...devices].sort()), ['plbr100', 'pltn100']);
    t.regex(
      execFileSync('ip', ['-n', box.netns, '-d', 'link', 'show', 'pltn100'], { encoding: 'utf8' }),
      /dstport 4789/,
    );
    const other = await NetworkProjection.open({ clock: systemClock, log: quietLog(), netns: box.netns, state: less });
    t.is(other.counters().removed, 0);
    await other.close();
  },
);

test.serial(
  'an instance’s device joins when it comes, again when it returns, and is left to whom it belongs',
  async (t) => {
    const box = new Box(t);
    const projection = await box.open(t, overlay(PARTS));
    const stateOf = (name: string) =>
      projection
        .view()
        .networks.flatMap(({ instances }) => instances)
        .find((each) => each.name === name)?.state;
    t.is(stateOf('c1'), 'waiting');
    box.veth('veth-c1');
    await eventually(t, 'it joins', () => box.master('veth-c1') === 'plbr100');
    await eventually(t, 'it is told', () => stateOf('c1') === 'joined');
    await eventually(t, 'its MAC stands', async () =>
      (await box.standing()).includes('bridge-entry veth-c1 02:00:00:00:01:02'),
    );
    box.ip('link del veth-c1');
    await eventually(t, 'it is missed', () => stateOf('c1') === 'waiting');
    box.veth('veth-c1');
    await eventually(t, 'it is back', () => box.master('veth-c1') === 'plbr100');
    // In another's bridge: not stolen, and said.
    box.ip('link add cni0 type bridge', 'link add veth-c2 type veth peer name p-c2', 'link set veth-c2 master cni0');
    await eventually(t, 'it is told', () => stateOf('c2') === 'elsewhere');
    t.is(box.master('veth-c2'), 'cni0');
    await eventually(t, 'why', () =>
      projection.view().problems.some((text) => text.includes('veth-c2 is a port of cni0')),
    );
    box.ip('link set veth-c2 nomaster');
    await eventually(t, 'it joins', () => box.master('veth-c2') === 'plbr200' && stateOf('c2') === 'joined');
    t.deepEqual(projection.view().problems, []);
  },
);

test.serial('what others remove is put back: devices, addresses, entries, routes, rules', async (t) => {
  const box = new Box(t);
  box.veth('veth-c1');
  await box.open(t, overlay(PARTS));
  const before = await box.standing();
  const harm = [
    'link del plbr100',
    'link del pltn200',
    'link set plbr300 down',
    'address del 10.201.0.1/16 dev plbr200',
    'route flush table 20200',
    'rule del priority 20202',
    'neigh flush nud permanent dev plbr200',
    'link set pltn300 nomaster',
    'link set veth-c1 nomaster',
    'link set plbr200 mtu 900',
  ];
  for (const command of harm) {
    box.ip(command);
    await eventually(
      t,
      command,
      async () =>
        JSON.stringify(await box.standing()) === JSON.stringify(before) &&
        box.master('veth-c1') === 'plbr100' &&
        /mtu 65450.*UP/s.test(box.ip('link show plbr200')),
    );
  }
  execFileSync('bridge', [
    '-n',
    box.netns,
    'fdb',
    'del',
    '00:00:00:00:00:00',
    'dev',
    'pltn100',
    'dst',
    '10.20.1.3',
    'self',
  ]);
  await eventually(t, 'fdb', async () => JSON.stringify(await box.standing()) === JSON.stringify(before));
});

test.serial(
  'changes of the table are followed while it runs; an instance moves from one network to another',
  async (t) => {
    const box = new Box(t);
    box.veth('veth-c1');
    const projection = await box.open(t, overlay({}));
    t.deepEqual(await box.standing(), []);
    const [blue, green, red] = PARTS.networks!;
    const c1 = instance('c1', 'blue', '10.200.1.2');
    await projection.apply(overlay({ networks: [blue!], instances: [c1] }), [
      { kind: 'network', op: 'added', item: blue! },
      { kind: 'instance', op: 'added', item: c1 },
    ]);
    t.is(box.master('veth-c1'), 'plbr100');
    t.true((await box.standing()).includes('route 20200 10.200.0.0/16 100'));
    // Another of the same subnet: both get tables of their own.
    await projection.apply(overlay({ networks: [blue!, red!], instances: [c1] }), [
      { kind: 'network', op: 'added', item: red! },
    ]);
    t.false((await box.standing()).some((key) => key.startsWith('route 20200')));
    t.is(box.sysctl('ipv4/fwmark_reflect'), '1');
    await projection.apply(overlay({ networks: [blue!, green!], instances: [c1] }), [
      { kind: 'network', op: 'removed', item: red! },
      { kind: 'network', op: 'added', item: green! },
    ]);
    const moved = instance('c1', 'green', '10.201.1.2');
    await projection.apply(overlay({ networks: [blue!, green!], instances: [moved] }), [
      { kind: 'instance', op: 'removed', item: c1 },
      { kind: 'instance', op: 'added', item: moved },
    ]);
    t.is(box.master('veth-c1'), 'plbr200');
    await projection.apply(overlay({}), [
      { kind: 'network', op: 'removed', item: blue! },
      { kind: 'network', op: 'removed', item: green! },
      { kind: 'instance', op: 'removed', item: moved },
    ]);
    t.deepEqual(await box.standing(), []);
    t.is(box.master('veth-c1'), undefined);
  },
);

test.serial('a refusal is told with its reason, the rest is done, and the next change tries again', async (t) => {
  const box = new Box(t);
  const projection = await box.open(t, overlay({}));
  const far = network('far', 5, '10.9.0.0/16', '10.9.0.1', { encapsulation: 'geneve' });
  const state = overlay({ networks: [BLUE, far], remotes: [remote('10.20.1.2', 'far', '10.9.2.0/24')] });
  const adding = projection.apply(state, [
    { kind: 'network', op: 'added', item: BLUE },
    { kind: 'network', op: 'added', item: far },
  ]);
  const error = await adding.then(
    () => undefined,
    (reason: AggregateError) => reason,
  );
  // A kernel that has geneve refuses nothing; this one names what it lacks.
  if (error) t.regex(error.message, /this kernel has no geneve devices/);
  t.true((await box.standing()).includes('link pltn100'));
  t.is(projection.view().problems.length > 0, error !== undefined);
  await projection.apply(overlay({ networks: [BLUE] }), [{ kind: 'network', op: 'removed', item: far }]);
  t.deepEqual(projection.view().problems, []);
});

test.serial(
  'settings are put back by the one who purges, over a restart; what others changed meanwhile is theirs',
  async (t) => {
    const box = new Box(t);
    box.sysctl('ipv4/conf/all/rp_filter', '1');
    box.sysctl('ipv4/conf/eth0/rp_filter', '0');
    box.sysctl('ipv4/ip_forward', '0');
    box.sysctl('ipv4/icmp_errors_use_inbound_ifaddr', '0');
    const first = await box.open(t, overlay(PARTS));
    t.deepEqual(
      [
        box.sysctl('ipv4/conf/all/rp_filter'),
        box.sysctl('ipv4/conf/eth0/rp_filter'),
        box.sysctl('ipv4/conf/plbr100/rp_filter'),
      ],
      ['0', '1', '0'],
    );
    t.is(box.sysctl('ipv4/ip_forward'), '1');
    t.is(box.sysctl('ipv6/conf/plbr100/disable_ipv6'), '1');
    await first.close();
    t.is(box.sysctl('ipv4/ip_forward'), '1');
    const second = await box.open(t, overlay(PARTS));
    box.sysctl('netfilter/nf_conntrack_tcp_be_liberal', '0');
    await second.close({ purge: true });
    t.deepEqual(await box.standing(), []);
    t.deepEqual([box.sysctl('ipv4/conf/all/rp_filter'), box.sysctl('ipv4/conf/eth0/rp_filter')], ['1', '0']);
    t.is(box.sysctl('ipv4/ip_forward'), '0');
    t.is(box.sysctl('ipv4/icmp_errors_use_inbound_ifaddr'), '0');
    t.deepEqual(box.memory.read(), {});
  },
);

test.serial(
  'an encrypted network’s tunnel port is the worker’s TAP: it takes packets of every size, and its hosts’ MACs are theirs',
  async (t) => {
    const box = new Box(t);
    const blue = { ...BLUE, encrypted: 'worker' } as const;
    const remotes = [remote('10.20.1.2', 'blue', '10.200.2.0/24')];
    // A kernel tunnel, behind which the kernel has encrypted, makes way. It has the room for that, and no more.
    const before = await box.open(t, overlay({ networks: [{ ...BLUE, encrypted: 'kernel' }], remotes }));
    t.true((await box.standing()).includes('link pltn100'));
    t.is(before.view().networks[0]?.tunnelMtu, 1500 - 95);
    await before.close();
    const projection = await box.open(t, overlay({ networks: [blue], remotes }));
    t.false((await box.standing()).includes('link pltn100'));
    box.ip('tuntap add dev pltn100 mode tap', 'link set pltn100 mtu 1406 master plbr100 up');
    const stands = ['bridge-entry pltn100 0e:50:0a:14:01:02', 'port pltn100'];
    await eventually(t, 'it joins', async () => {
      const standing = await box.standing();
      return stands.every((key) => standing.includes(key)) && box.ip('link show pltn100').includes('mtu 65450');
    });
    // The worker that is started anew makes it anew.
    box.ip('link del pltn100', 'tuntap add dev pltn100 mode tap', 'link set pltn100 up');
    await eventually(
      t,
      'again',
      async () => box.master('pltn100') === 'plbr100' && (await box.standing()).includes(stands[0]!),
    );
    t.deepEqual(projection.view().problems, []);
    await projection.close({ purge: true });
    t.is(box.master('pltn100'), undefined);
  },
);

test.serial(
  'a host that gets another underlay address has other tunnels and another router MAC, and IPv6 networks beside',
  async (t) => {
    const box = new Box(t);
    const six = network('six', 600, 'fd00:600::/64', 'fd00:600::1');
    const parts: Parts = {
      networks: [BLUE, six],
      remotes: [remote('10.20.1.2', 'blue', '10.200.2.0/24'), remote('10.20.1.2', 'six', 'fd00:600::2:0/112')],
    };
    const projection = await box.open(t, overlay(parts));
    t.deepEqual(projection.view().problems, []);
    t.true((await box.standing()).includes('neighbour plbr600 fe80::e50:a14:102'));
    t.is(box.sysctl('ipv6/conf/plbr600/disable_ipv6'), '0');
    box.ip('address add 10.20.1.9/24 dev eth0');
    await projection.apply(overlay({ ...parts, underlay: '10.20.1.9' }), []);
    t.deepEqual(projection.view().problems, []);
    t.regex(
      execFileSync('ip', ['-n', box.netns, '-d', 'link', 'show', 'pltn100'], { encoding: 'utf8' }),
      /local 10.20.1.9/,
    );
    t.regex(box.ip('link show plbr100'), /0e:50:0a:14:01:09/);
    // A new MAC takes a bridge's neighbours with it: they are put back.
    await eventually(
      t,
      'complete',
      async () => (await box.standing()).filter((key) => key.startsWith('neighbour')).length === 2,
    );
  },
);
