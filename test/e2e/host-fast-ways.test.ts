/**
 * The fast path behind the agent's own slow path: every way that policy knows, and what of it the programs carried. Same
 * host, other host, other network on either, services near, far and one's own, the public world.
 */
import test, { type ExecutionContext } from 'ava';
import { HostLab, PUBLIC, type TcpAnswer, type UdpReceipt } from '../../lab/hosts/index.ts';
import { run, waitUntil } from '../../lab/processes.ts';
import { ethernet, ipv4, type Packet, vxlan } from '../vswitch/fastpath/support/frames.ts';

const ETHERNET_IP_UDP = 42;

let lab: HostLab;
let last: Counts = { hit: 0, slow: 0 };

test.before(async () => {
  lab = await HostLab.up({
    name: `hfw${process.pid}`,
    networks: [
      { name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' },
      { name: 'green', vni: 300, subnet: '10.210.0.0/16', gateway: '10.210.0.1' },
    ],
    instances: [
      { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
      { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
      { name: 'c3', host: 1, network: 'blue', address: '10.200.1.3' },
      { name: 'g1', host: 1, network: 'green', address: '10.210.1.2' },
      { name: 'g2', host: 2, network: 'green', address: '10.210.2.2' },
    ],
  });
  const service = (name: string, address: string, backend: string) => ({
    name,
    network: 'blue',
    address,
    port: 80,
    backends: [backend],
  });
  for (const { name, address } of lab.hosts) {
    lab.agent(name).configure(
      lab.configuration(name, {
        services: [
          service('far', '10.200.255.10', '10.200.2.2:8080'),
          service('near', '10.200.255.11', '10.200.1.3:8080'),
          service('own', '10.200.255.12', '10.200.1.2:8080'),
        ],
        snat: ['blue', 'green'].map((network) => ({ network, to: '0.0.0.0/0', address })),
        fastPath: { mode: 'tunnel' },
      }),
    );
  }
  await Promise.all(lab.hosts.map(({ name }) => lab.agent(name).start()));
});
test.after.always(() => lab?.down());

interface Counts {
  readonly hit: number;
  readonly slow: number;
}

/** Of the programs at which packets enter a host. */
async function entered(t: ExecutionContext): Promise<Counts> {
  const sum = { hit: 0, slow: 0 };
  const answers = await Promise.all(lab.hosts.map(({ name }) => lab.agent(name).cli(['host', 'stats', '--json'])));
  for (const { code, stdout } of answers) {
    t.is(code, 0, stdout);
    for (const program of programs(JSON.parse(stdout))) {
      sum.hit += program.counts.hit ?? 0;
      // Neighbours, and what the hosts say to each other, are not the fast path's affair.
      const { 'other-protocol': other = 0, host = 0, options = 0 } = program.slow;
      sum.slow += Object.values(program.slow).reduce((all, count) => all + count, 0) - other - host - options;
    }
  }
  return sum;
}

interface Program {
  readonly counts: Readonly<Record<string, number>>;
  readonly slow: Readonly<Record<string, number>>;
}

function programs(tree: unknown): Program[] {
  if (tree === null || typeof tree !== 'object') return [];
  const of = tree as Record<string, Program | object>;
  const here = ['from_instance', 'nic_ingress'].filter((name) => name in of).map((name) => of[name] as Program);
  return here.length > 0 ? here : Object.values(of).flatMap(programs);
}

async function stream(t: ExecutionContext, to: string, by: string, port: number): Promise<void> {
  await lab.station(to).request('listenTcp', { port: 8080 });
  const answer = await lab
    .station('c1')
    .request<TcpAnswer>('sendTcp', { to: by, port, bytes: 30_000_000, patience: 60_000 });
  await lab.station(to).request('closeTcp', { port: 8080 });
  t.is(answer.outcome, 'done');
}

const WAYS = [
  ['an instance of the same host', 'c3', '10.200.1.3', 8080],
  ['an instance of another host', 'c2', '10.200.2.2', 8080],
  ['another network on the same host', 'g1', '10.210.1.2', 8080],
  ['another network on another host', 'g2', '10.210.2.2', 8080],
  ['a service with its backend on another host', 'c2', '10.200.255.10', 80],
  ['a service with its backend on the same host', 'c3', '10.200.255.11', 80],
  ['a service whose backend is the client itself', 'c1', '10.200.255.12', 80],
  ['the public world', 'public', PUBLIC.address, 8080],
] as const;

for (const [what, to, by, port] of WAYS) {
  test.serial(
    `R1.2, R1.3, R3.1: to ${what}: after the first packets 99 of 100 take the fast path, unchanged`,
    async (t) => {
      const before = last;
      await stream(t, to, by, port);
      const after = await entered(t);
      last = after;
      const [hit, slow] = [after.hit - before.hit, after.slow - before.slow];
      // A handshake and two ends at each program on the way are conntrack's.
      t.true(slow <= 32 + hit / 99, `${hit} fast, ${slow} slow`);
      t.true(hit > 200, `${hit} fast, ${slow} slow`);
      t.is(to === 'public' ? 20 : await lab.ping('c1', by, 20, ['-s', '1000']), 20);
    },
  );
}

test.serial(
  'R1.3, R3.7: a deny that is inserted while packets flow ends them, also where one network is routed to another',
  async (t) => {
    const { code, stderr } = await lab
      .agent('h1')
      .cli(['host', 'rules', 'add', 'stop', '--direction', 'out', '--to', '10.210.2.2/32', '--action', 'deny']);
    t.is(code, 0, stderr);
    t.is(await lab.ping('c1', '10.210.2.2', 3), 0);
    t.is(await lab.ping('c1', '10.200.2.2', 3), 3);
    t.is((await lab.agent('h1').cli(['host', 'rules', 'remove', 'stop'])).code, 0);
    t.is(await lab.ping('c1', '10.210.2.2', 3), 3);
  },
);

test.serial('R1.1: a tunnel that an instance builds itself reaches no other network', async (t) => {
  const inner: Packet = { saddr: '10.210.1.2', daddr: '10.210.2.2', protocol: 17, sport: 1, dport: 7777 };
  const frame = vxlan(300, ethernet(ipv4(inner, Buffer.alloc(40)), lab.instance('g2').mac), '0.0.0.0', '0.0.0.0');
  const octets = frame.subarray(ETHERNET_IP_UDP).toString('hex');
  const send = (from: string) =>
    run(
      lab.inside(from, [
        process.execPath,
        '-e',
        `
      const socket = require('node:dgram').createSocket('udp4');
      socket.send(Buffer.from('${octets}', 'hex'), 4789, '${lab.addressOf('h2')}', () => socket.close());`,
      ]),
    );
  const arrived = async () => {
    const { received, corrupted } = await lab
      .station('g2')
      .request<UdpReceipt>('receiptOf', { port: 7777, close: false });
    return received + corrupted;
  };
  await lab.station('g2').request('listenUdp', { port: 7777, echo: false });
  await send('h1');
  t.true(await waitUntil(async () => (await arrived()) === 1, 10_000), 'from the host itself it is a tunnel’s');
  await send('c1');
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.is(await arrived(), 1);
});
