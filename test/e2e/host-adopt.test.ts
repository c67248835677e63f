/**
 * `adopt: true` on hosts whose networks another has laid out: flannel's, and a script's with bridges and a tunnel in each.
 * The agent's rules hold there and its fast path carries their packets; what stood before it came stands when it has gone.
 */
import test, { type ExecutionContext } from 'ava';
import type { HostLab } from '../../lab/hosts/index.ts';
import { outcome, run, waitUntil } from '../../lab/processes.ts';
import { flannelLab, handMadeBridge } from '../vswitch/network/layouts-of-others.ts';

/** What flannel takes for VXLAN, and what iproute2 takes when nothing is said. */
const PORT = 8472;
const HOSTS = ['h1', 'h2'] as const;

let lab: HostLab;
let stood: Readonly<Record<string, string>>;

test.before(async () => {
  lab = await flannelLab(`had${process.pid}`, {
    networks: [{ name: 'hand', vni: 9, subnet: '10.9.0.0/16' }],
    instances: [
      { name: 'x1', host: 1, network: 'hand', address: '10.9.1.2' },
      { name: 'x2', host: 2, network: 'hand', address: '10.9.2.2' },
    ],
  });
  await handMadeBridge(lab, PORT);
  for (const name of HOSTS) {
    await masquerade(name);
    lab.agent(name).configure({
      role: 'host',
      underlay: { address: lab.host(name).address, device: lab.host(name).device },
      adopt: true,
      policy: {
        default: 'allow',
        rules: [{ name: 'no-telnet', direction: 'in', protocol: 'tcp', ports: [23], action: 'deny' }],
      },
      fastPath: { mode: 'tunnel' },
      stateDirectory: `${lab.agent(name).directory}/state`,
      control: { socket: lab.agent(name).socket },
    });
  }
  await everybodySpeaks();
  stood = await picture('h1');
  await Promise.all(HOSTS.map((name) => lab.agent(name).start()));
});

test.after.always(() => lab?.down());

/** As flannel does for what leaves its network. */
const masquerade = (name: string): Promise<string> =>
  run(
    lab.inside(name, ['sh', '-c', 'cat | /usr/sbin/nft -f -']),
    `table ip flannel-ipv4 {
      chain postrtg {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.244.0.0/16 ip daddr 10.244.0.0/16 return
        ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade
      }
    }\n`,
  );

/** A host knows an instance that another has attached when that has spoken to it. */
async function everybodySpeaks(): Promise<void> {
  for (const [host, address] of [
    ['h1', '10.244.1.5'],
    ['h1', '10.244.1.6'],
    ['h2', '10.244.2.5'],
    ['h1', '10.9.1.2'],
    ['h2', '10.9.2.2'],
  ] as const) {
    if (!(await waitUntil(async () => (await lab.ping(host, address)) === 1, 10_000, 50))) {
      throw new Error(`${host} does not reach ${address}`);
    }
  }
}

/** All that the other has made on a host, without what the kernel learns and forgets by itself. */
async function picture(name: string): Promise<Record<string, string>> {
  const inside = async (...command: string[]): Promise<string> =>
    (await outcome(lab.inside(name, command))).stdout
      .split('\n')
      .map((line) => line.replace(/ (valid_lft|qlen|state (UP|UNKNOWN)) ?.*/, ''))
      .toSorted()
      .join('\n');
  const settings = ['net.ipv4.ip_forward', 'net.ipv4.conf', 'net.bridge', 'net.netfilter.nf_conntrack_tcp_be_liberal'];
  return {
    links: await inside('ip', '-o', 'link'),
    addresses: await inside('ip', '-o', 'address'),
    routes: await inside('ip', 'route', 'show', 'table', 'all'),
    rules: await inside('ip', 'rule'),
    neighbours: await inside('ip', 'neigh', 'show', 'nud', 'permanent'),
    forwarding: (await inside('bridge', 'fdb', 'show')).replaceAll(/^.*(?<!permanent)$\n?/gm, ''),
    nftables: await inside('/usr/sbin/nft', 'list', 'ruleset'),
    programs: await inside('bpftool', 'net', 'show'),
    settings: await inside('sysctl', '-a', '-e', '-r', settings.join('|')),
  };
}

async function ask<T>(t: ExecutionContext, host: string, ...words: string[]): Promise<T> {
  const { code, stdout, stderr } = await lab.agent(host).cli([...words, '--json']);
  t.is(code, 0, `${words.join(' ')}: ${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

interface Item {
  readonly name: string;
  readonly origin: string;
  readonly state?: string;
}

test.serial('R1.1: what another has laid out is in the table, as its own', async (t) => {
  const networks = await ask<Item[]>(t, 'h1', 'host', 'networks');
  t.deepEqual(networks.map(({ name, origin }) => `${name} ${origin}`).toSorted(), ['flannel.1 kernel', 'vx9 kernel']);
  const instances = await ask<Item[]>(t, 'h1', 'host', 'instances');
  t.deepEqual(instances.map(({ name, state }) => `${name} ${state}`).toSorted(), [
    'veth-p1 up',
    'veth-p2 up',
    'veth-x1 up',
  ]);
  const { stdout } = await lab.agent('h1').cli(['status']);
  t.notRegex(stdout, /WARNING/, stdout);
});

interface Way {
  readonly source: string;
  readonly destination: string;
  readonly kind: string;
  readonly packets: number;
}

for (const [what, from, to] of [
  ['a routed network (flannel)', 'p1', 'p3'],
  ['a bridged network', 'x1', 'x2'],
  ['one host', 'p1', 'p2'],
] as const) {
  test.serial(`R1.3 R3.1: in ${what} the fast path carries the packets`, async (t) => {
    const count = 300;
    const sent = await lab.udp(from, to, { port: 7000, count, interval: 1, size: 500, wait: 3000 });
    t.like(sent, { answered: count, lost: 0, corrupted: 0 });
    t.like(await lab.tcp(from, to, { port: 8080, bytes: 5_000_000 }), { outcome: 'done' });
    const { egress, ingress } = await ask<{ egress: Way[]; ingress: Way[] }>(t, 'h1', 'host', 'cache');
    const [own, other] = [lab.addressOf(from), lab.addressOf(to)];
    const carried = (ways: readonly Way[], source: string, destination: string, kind: string): number =>
      ways
        .filter((way) => way.source === source && way.destination === destination && way.kind === kind)
        .reduce((sum, { packets }) => sum + packets, 0);
    const near = to === 'p2';
    const out = carried(near ? ingress : egress, own, other, near ? 'deliver' : 'tunnel');
    const back = carried(ingress, other, own, 'deliver');
    t.true(out > count && back > count, `${out} there, ${back} back, by the fast path`);
  });
}

test.serial('R1.2 R3.8: rules hold in networks of others, also those that come while packets flow', async (t) => {
  t.not((await lab.tcp('p1', 'p3', { port: 23, bytes: 100, patience: 500 })).outcome, 'done');
  t.like(await lab.udp('x1', 'x2', { port: 7001, sourcePort: 7002, count: 20, wait: 3000 }), { answered: 20 });
  const stop = ['host', 'rules', 'add', 'stop', '--direction', 'out', '--from', '10.9.1.2', '--action', 'deny'];
  const { code, stderr } = await lab.agent('h1').cli(stop);
  t.is(code, 0, stderr);
  t.like(await lab.udp('x1', 'x2', { port: 7001, sourcePort: 7002, count: 20, wait: 300 }), { received: 0 });
  t.is((await lab.agent('h1').cli(['host', 'rules', 'remove', 'stop'])).code, 0);
  t.like(await lab.udp('x1', 'x2', { port: 7001, sourcePort: 7002, count: 20, wait: 3000 }), { answered: 20 });
});

test.serial('R1.1: an instance that the other attaches later, and takes away', async (t) => {
  const planned = await lab.addInstance({ name: 'p4', host: 1, network: 'pods1', address: '10.244.1.7' });
  await lab.ip('h1', `link set ${planned.interface} master cni0`);
  t.true(await waitUntil(async () => (await lab.ping('h1', planned.address)) === 1, 10_000, 50));
  const isThere = async (): Promise<boolean> =>
    (await ask<Item[]>(t, 'h1', 'host', 'instances')).some(({ name }) => name === planned.interface);
  t.true(await waitUntil(isThere, 10_000, 100));
  t.like(await lab.udp('p4', 'p3', { port: 7003, count: 20, wait: 3000 }), { answered: 20 });
  await lab.removeInstance('p4');
  t.true(await waitUntil(async () => !(await isThere()), 10_000, 100));
});

test.serial('stopped, and killed and cleaned up: all that stood stands, nothing more, and they talk', async (t) => {
  const agent = lab.agent('h1');
  await agent.stop();
  t.deepEqual(await picture('h1'), stood);
  t.is(await lab.ping('p1', '10.244.2.5', 3), 3);
  await agent.start();
  t.is(await lab.ping('x1', '10.9.2.2', 3), 3);
  await agent.kill();
  const { code, stdout, stderr } = await agent.cli(['cleanup', '--config', agent.configFile, '--purge']);
  t.is(code, 0, stderr);
  t.regex(stdout, /the programs of the fast path/);
  t.deepEqual(await picture('h1'), stood);
  t.is(await lab.ping('p1', '10.244.2.5', 3), 3);
  t.is(await lab.ping('x1', '10.9.2.2', 3), 3);
});
