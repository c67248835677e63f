/**
 * The same two hosts with an instance each, four times over: what is measured differs only in how packets get from one
 * instance to the other.
 *
 * - `bare`: routed, no overlay: the instance's address is known to the underlay's hosts.
 * - `plain`: today's practice: a bridge, the kernel's VXLAN, nftables with connection tracking.
 * - `slow`, `tunnel`, `rewrite`: our agent with that fast path.
 */
import { HostLab } from '../../lab/hosts/index.ts';
import { run, waitUntil } from '../../lab/processes.ts';

export const KINDS = ['bare', 'plain', 'slow', 'tunnel', 'rewrite'] as const;
export type Kind = (typeof KINDS)[number];

export const OURS: readonly Kind[] = ['slow', 'tunnel', 'rewrite'];
const NETWORK = { name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' };
const INSTANCES = [
  { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
  { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
] as const;
export const FAR = INSTANCES[1].address;

export interface Ground {
  readonly kind: Kind;
  readonly lab: HostLab;
}

/** Rules that stand in the way of nothing, as many as are asked for, in sixteen shapes. */
const idleRules = (count: number): object[] =>
  Array.from({ length: count }, (_, at) => ({
    name: `idle${at}`,
    from: `172.${16 + (at >> 12)}.${(at >> 4) & 255}.${(at & 15) << 4}/${28 + (at & 3)}`,
    to: at & 4 ? 'any' : '192.0.2.0/24',
    protocol: at & 8 ? 'udp' : 'tcp',
    ports: [1 + (at % 1000)],
    action: 'deny',
  }));

/** Of the agent's start: ten thousand rules are read, checked and written. ms */
const PATIENCE = 90_000;

/** @param label tells grounds of one kind apart: two characters at most */
export async function makeGround(kind: Kind, { rules = 20, label = '' } = {}): Promise<Ground> {
  const name = `bn${kind}${label}${process.pid}`;
  const lab = await HostLab.up({ name, networks: [NETWORK], instances: [...INSTANCES] });
  try {
    if (kind === 'bare') await layRoutes(lab);
    else if (kind === 'plain') await layVxlan(lab);
    else await startAgents(lab, kind, rules);
    if (!(await waitUntil(async () => (await lab.ping('c1', FAR, 3)) === 3, 10_000, 200))) {
      throw new Error(`${kind}: the instances do not reach each other`);
    }
    return { kind, lab };
  } catch (error) {
    await lab.down();
    throw error;
  }
}

/** Each host routes its own instance, and knows where the other's is. */
async function layRoutes(lab: HostLab): Promise<void> {
  for (const [at, { name, number }] of lab.hosts.entries()) {
    const own = lab.instances.find(({ host }) => host === number)!;
    const other = lab.instances.find(({ host }) => host !== number)!;
    await lab.ip(
      name,
      `address add ${NETWORK.gateway}/32 dev ${own.interface}`,
      `route add ${own.address}/32 dev ${own.interface}`,
      `route add ${other.address}/32 via ${lab.hosts[1 - at]!.address}`,
    );
    await sysctls(lab, name, ['net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0']);
    // Instances take the whole network for their own segment: here it is behind the host.
    await lab.ip(own.name, `route replace ${other.address}/32 via ${NETWORK.gateway} dev eth0`);
  }
}

async function layVxlan(lab: HostLab): Promise<void> {
  for (const [at, { name, number, address, device }] of lab.hosts.entries()) {
    const own = lab.instances.find(({ host }) => host === number)!;
    await lab.ip(
      name,
      'link add br0 mtu 1450 type bridge',
      `link add vx0 mtu 1450 type vxlan id ${NETWORK.vni} local ${address} dstport 4789 dev ${device}`,
      'link set vx0 master br0 up',
      `link set ${own.interface} master br0`,
      'link set br0 up',
    );
    const flood = ['bridge', 'fdb', 'append', '00:00:00:00:00:00', 'dev', 'vx0', 'dst', lab.hosts[1 - at]!.address];
    await run(lab.inside(name, flood));
    await sysctls(lab, name, ['net.bridge.bridge-nf-call-iptables=1']);
    const ruleset = `table ip plain {
      chain forward {
        type filter hook forward priority 0; policy accept;
        ct state established,related accept
        tcp dport 23 drop
        ct state new accept
      }
    }`;
    // nft opens its input by name, which a socket pair has none of.
    await run(lab.inside(name, ['sh', '-c', 'cat | /usr/sbin/nft -f -']), ruleset);
  }
}

async function sysctls(lab: HostLab, name: string, settings: readonly string[]): Promise<void> {
  await run(lab.inside(name, ['sysctl', '-qw', ...settings]));
}

async function startAgents(lab: HostLab, kind: Kind, rules: number): Promise<void> {
  for (const { name } of lab.hosts) {
    const more = {
      fastPath: { mode: kind === 'slow' ? 'off' : kind, keyField: 'ip-id' },
      policy: { default: 'allow', rules: idleRules(rules) },
    };
    lab.agent(name).configure(lab.configuration(name, more));
    await lab.agent(name).start(PATIENCE);
  }
}
