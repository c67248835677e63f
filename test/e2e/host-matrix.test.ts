/**
 * The same packets by every path that can carry them: the slow path alone, the tunnel, rewriting with each field; offloads
 * on and off. To each kind of destination, by each protocol: the same verdict, the same octets, and where there is a fast
 * path, 99 of 100 packets by it.
 */
import test, { type ExecutionContext } from 'ava';
import { HostLab, PUBLIC, type TcpAnswer, type UdpReceipt, type UdpSent } from '../../lab/hosts/index.ts';

const PATHS = [
  { mode: 'off', keyField: 'ip-id', offloads: true },
  { mode: 'tunnel', keyField: 'ip-id', offloads: true },
  { mode: 'tunnel', keyField: 'ip-id', offloads: false },
  { mode: 'rewrite', keyField: 'ip-id', offloads: true },
  { mode: 'rewrite', keyField: 'ip-id', offloads: false },
  { mode: 'rewrite', keyField: 'dscp', offloads: true },
  { mode: 'rewrite', keyField: 'option', offloads: true },
] as const;

const SERVICE = '10.200.255.10';
const PORT = 8080;
/** Whom c1 talks to, and by which address and port. */
const WAYS = [
  { what: 'same host', to: 'c3', by: '10.200.1.3', port: PORT },
  { what: 'other host', to: 'c2', by: '10.200.2.2', port: PORT },
  { what: 'other network, same host', to: 'g1', by: '10.210.1.2', port: PORT },
  { what: 'other network, other host', to: 'g2', by: '10.210.2.2', port: PORT },
  { what: 'service', to: 'c2', by: SERVICE, port: 80 },
  { what: 'public', to: 'public', by: PUBLIC.address, port: PORT },
] as const;
type Way = (typeof WAYS)[number];

const NETWORKS = [
  { name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' },
  { name: 'green', vni: 300, subnet: '10.210.0.0/16', gateway: '10.210.0.1' },
];
const INSTANCES = [
  { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
  { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
  { name: 'c3', host: 1, network: 'blue', address: '10.200.1.3' },
  { name: 'g1', host: 1, network: 'green', address: '10.210.1.2' },
  { name: 'g2', host: 2, network: 'green', address: '10.210.2.2' },
];

const service = (protocol: 'tcp' | 'udp') => ({
  name: protocol,
  network: 'blue',
  address: SERVICE,
  port: 80,
  protocol,
  backends: [`10.200.2.2:${PORT}`],
});

/** What may never pass, whichever path is taken: by port, by destination, by what is opened from outside. */
const RULES = [
  { name: 'no-telnet', direction: 'in', to: '10.200.2.2', protocol: 'tcp', ports: [23], action: 'deny' },
  { name: 'not-there', direction: 'out', to: '10.210.2.2', protocol: 'udp', ports: [9999], action: 'deny' },
];

let labs = 0;

for (const { mode, keyField, offloads } of PATHS) {
  const title = `${mode}${mode === 'rewrite' ? ` ${keyField}` : ''}, offloads ${offloads ? 'on' : 'off'}`;
  test.serial(`R1.2 R1.6 R3.2 R3.7 ${title}: every destination by every protocol`, async (t) => {
    t.timeout(240_000);
    const lab = await HostLab.up({
      name: `mx${labs++}x${process.pid}`,
      networks: NETWORKS,
      instances: INSTANCES,
      offloads,
    });
    try {
      for (const { name, address } of lab.hosts) {
        const snat = NETWORKS.map((network) => ({ network: network.name, to: '0.0.0.0/0', address }));
        const policy = { default: 'allow', rules: RULES };
        const services = [service('tcp'), service('udp')];
        lab.agent(name).configure(lab.configuration(name, { policy, services, snat, fastPath: { mode, keyField } }));
        await lab.agent(name).start();
      }
      for (const way of WAYS) {
        await tcp(t, lab, way);
        await udp(t, lab, way, 1);
        await udp(t, lab, way, 8);
        if (way.what !== 'service') t.is(await lab.ping('c1', way.by, 20, ['-s', '1300', '-i', '0.01']), 20, way.what);
      }
      await refused(t, lab);
      if (mode !== 'off') await carried(t, lab, mode);
    } finally {
      await lab.down();
    }
  });
}

async function tcp(t: ExecutionContext, lab: HostLab, { what, to, by, port }: Way): Promise<void> {
  await lab.station(to).request('listenTcp', { port: PORT });
  const request = { to: by, port, bytes: 8_000_000, patience: 60_000 };
  const answer = await lab.station('c1').request<TcpAnswer>('sendTcp', request);
  await lab.station(to).request('closeTcp', { port: PORT });
  t.is(answer.outcome, 'done', `TCP to ${what}`);
}

async function udp(t: ExecutionContext, lab: HostLab, { what, to, by, port }: Way, segment: number): Promise<void> {
  await lab.station(to).request('listenUdp', { port: PORT, echo: true });
  const request = { to: by, port, size: 1200, wait: 5000 };
  // The first of a connection open it: the rest goes on the same port.
  const opening = await lab.station('c1').request<UdpSent>('sendUdp', { ...request, count: 2 });
  const rest = { ...request, count: 200, segment, sourcePort: opening.port };
  const sent = await lab.station('c1').request<UdpSent>('sendUdp', rest);
  const receipt = await lab.station(to).request<UdpReceipt>('receiptOf', { port: PORT, close: true });
  t.deepEqual([sent.answered, receipt.corrupted], [200, 0], `UDP by ${segment} to ${what}`);
}

async function refused(t: ExecutionContext, lab: HostLab): Promise<void> {
  const telnet = await lab.tcp('c1', 'c2', { port: 23, bytes: 1000, patience: 1500 });
  t.not(telnet.outcome, 'done', 'a port that is denied');
  const there = await lab.udp('c1', 'g2', { port: 9999, count: 20, wait: 500 });
  t.is(there.received, 0, 'a destination that is denied');
}

type Counts = Readonly<Record<string, number>>;
interface Program {
  readonly counts: Counts;
  readonly slow: Counts;
  readonly rewrite: Counts;
}

const sum = (counts: Counts): number => Object.values(counts).reduce((all, count) => all + count, 0);

/** What the slow path is for, and no part of the comparison: openings and ends, neighbours, hosts' own talk. */
const SLOW_BY_NATURE = ['state', 'other-protocol', 'host', 'options', 'segmented-udp'];

async function carried(t: ExecutionContext, lab: HostLab, mode: 'tunnel' | 'rewrite'): Promise<void> {
  let rewritten = 0;
  for (const { name } of lab.hosts) {
    const { stdout } = await lab.agent(name).cli(['host', 'stats', '--json']);
    const { programs } = (JSON.parse(stdout) as { fastPath: { programs: Record<string, Program> } }).fastPath;
    for (const entrance of ['from_instance', 'nic_ingress']) {
      const { counts, slow, rewrite } = programs[entrance]!;
      const fallen = sum(slow) - SLOW_BY_NATURE.reduce((all, reason) => all + (slow[reason] ?? 0), 0);
      t.true(counts.hit! > 300, `${entrance} of ${name}: ${JSON.stringify(counts)}`);
      t.true(fallen <= 20 + counts.hit! / 99, `${entrance} of ${name}: ${JSON.stringify(slow)} of ${counts.hit}`);
      rewritten += rewrite?.sent ?? 0;
    }
  }
  t.is(rewritten > 300, mode === 'rewrite', `${rewritten} rewritten`);
}
