/**
 * Two overlay hosts with a slow path laid by hand (bridge, VXLAN, nftables, conntrack) and the programs on top, without an
 * agent: what is seen here is the data path's own doing. After `fast` nothing is written but instances and rules.
 */
import { BpfLink, type BpfProgram, interfaceIndex, withNetns } from 'linux-sockets';
import { HostLab, type HostLabOptions, type LabInstance, type LabNetwork } from '../../../../lab/hosts/index.ts';
import { run } from '../../../../lab/processes.ts';
import { type Mac, parseAddress } from '../../../../src/model/address.ts';
import type { OverlayNetwork, PolicyRule } from '../../../../src/model/overlay.ts';
import { type Loaded, loadPrograms } from '../../../../src/vswitch-bridge/fastpath/loader/objects.ts';
import * as layout from '../../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { indexKey, sumOverCpus } from '../../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { compileRules } from '../../../../src/vswitch-bridge/fastpath/rules/compile.ts';
import { RuleTable } from '../../../../src/vswitch-bridge/fastpath/rules/table.ts';

export const BLUE: LabNetwork = { name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' };
/** The same subnet again. */
export const RED: LabNetwork = { name: 'red', vni: 200, subnet: BLUE.subnet };
export const SERVICE = '10.201.0.10';

const MS = 1_000_000n;
const SECOND = 1000n * MS;

export const SETTINGS = {
  layout: layout.LAYOUT_VERSION,
  mode: layout.MODE.tunnel as number,
  features: 3,
  key_field: 0,
  vxlan_port: 4789,
  reserved: 0,
  connection_mask: 0,
  /** Free, opening, established, closing, closed: for TCP, UDP, ICMP. */
  timeout: [1, 2, 3].flatMap(() => [0n, 10n * SECOND, 120n * SECOND, 60n * SECOND, 10n * SECOND]),
  lifetime_send: 30n * SECOND,
  lifetime_receive: 60n * SECOND,
  slow_interval: 10n * SECOND,
  slow_idle: 50n * MS,
  slow_force: 20n * SECOND,
  route_interval: SECOND,
  rewrite: Array<bigint>(8).fill(0n),
};

/** By the names of `layout.h`; what is 0 is absent. */
export type Counts = Readonly<Record<string, number>>;

const REWRITE_NAMES = layout.REWRITE_STATISTICS.map((name) => `rewrite ${name}`);
const NAMES: readonly string[] = [...layout.STATISTICS, ...layout.SLOW_REASONS, ...REWRITE_NAMES];

/** A power of two. */
const CONNECTIONS = Number(process.env.CONNECTIONS ?? 8192);

export class FastHost {
  readonly name: string;
  readonly #lab: HostLab;
  readonly loaded: Loaded;
  readonly table: RuleTable;
  readonly #links: BpfLink[] = [];

  constructor(lab: HostLab, name: string) {
    this.#lab = lab;
    this.name = name;
    this.loaded = loadPrograms({}, { connections: CONNECTIONS, flows: CONNECTIONS * 4 });
    this.table = new RuleTable(this.loaded.tables);
  }

  settings(more: Partial<typeof SETTINGS> = {}): void {
    const host = this.#lab.host(this.name);
    const value = {
      ...SETTINGS,
      underlay_address: parseAddress(host.address)!,
      underlay_ifindex: this.#lab.ifindex(this.name, host.device),
      connection_mask: this.loaded.tables.connections.maxEntries - 1,
      ...more,
    };
    const bytes = Buffer.alloc(layout.config.size);
    layout.config.write(bytes, 0, value);
    this.loaded.tables.config.set(indexKey(0), bytes);
  }

  /** In force when this returns, as the agent would do it. */
  rules(rules: readonly PolicyRule[], fallback: 'allow' | 'deny' = 'allow'): void {
    const networks = new Map(this.#lab.networks.map((network) => [network.name, network as unknown as OverlayNetwork]));
    const policy = { default: fallback, initiate: 'both', rules } as const;
    this.table.install(rules, compileRules(policy, networks));
  }

  attach(): void {
    this.#on(this.#lab.host(this.name).device, 'nic_ingress', 'nic_egress');
    for (const one of this.#lab.instances) {
      if (this.#lab.host(this.name).number !== one.host) continue;
      const vni = this.#lab.networks.find(({ name }) => name === one.network)!.vni;
      const value = { vni, address: parseAddress(one.address)!, mac: one.mac as Mac, flags: 7 };
      const bytes = Buffer.alloc(layout.instance.size);
      layout.instance.write(bytes, 0, value);
      this.loaded.tables.instances.set(indexKey(this.#lab.ifindex(this.name, one.interface)), bytes);
      this.#on(one.interface, 'from_instance', 'to_instance');
    }
  }

  #on(device: string, ingress: layout.ProgramName, egress: layout.ProgramName): void {
    const attach = (program: BpfProgram, direction: 'ingress' | 'egress') =>
      withNetns(this.#lab.netnsOf(this.name), () => BpfLink.attach(program, interfaceIndex(device), direction));
    this.#links.push(attach(this.loaded.program(ingress), 'ingress'));
    this.#links.push(attach(this.loaded.program(egress), 'egress'));
  }

  counts(program: layout.ProgramName): Counts {
    const sums = sumOverCpus(this.loaded.tables.statistics, layout.PROGRAMS.indexOf(program));
    return Object.fromEntries(sums.map((sum, at) => [NAMES[at]!, sum]));
  }

  /** Connections, with their slots. */
  records(): { slot: number; connection: layout.Connection }[] {
    const { connections } = this.loaded.tables;
    const found = [];
    for (let slot = 1; slot < connections.maxEntries; slot += 1) {
      const connection = layout.connection.decode(connections.get(indexKey(slot))!, 0);
      if (connection.state !== 0) found.push({ slot, connection });
    }
    return found;
  }

  peers(): (layout.Peer & { index: number })[] {
    const { peers } = this.loaded.tables;
    const all = Array.from({ length: peers.maxEntries }, (_, index) => ({
      index,
      ...layout.peer.decode(peers.get(indexKey(index))!, 0),
    }));
    return all.filter(({ address }) => address !== '0.0.0.0');
  }

  /** As if it had ended: its slot is free, its keys lead nowhere. */
  forget({ slot, connection }: { slot: number; connection: layout.Connection }): void {
    const bytes = layout.connection.encode({ ...connection, state: 0, generation: connection.generation + 1 });
    this.loaded.tables.connections.set(indexKey(slot), bytes);
  }

  /** Programs whose maps are read by nobody else. */
  close(): void {
    for (const link of this.#links.splice(0)) link.close();
    this.loaded.close();
  }
}

/** Counters that do not go on: what was sent last may be under way, on a busy machine. */
export async function still<T>(read: () => T): Promise<T> {
  let now = read();
  for (let looks = 0; looks < 100; looks += 1) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const before = JSON.stringify(now);
    now = read();
    if (JSON.stringify(now) === before) break;
  }
  return now;
}

/** What `during` added to each counter. */
export async function added(
  host: FastHost,
  program: layout.ProgramName,
  during: () => Promise<unknown>,
): Promise<Counts> {
  const before = host.counts(program);
  await during();
  const after = await still(() => host.counts(program));
  return Object.fromEntries(Object.entries(after).map(([name, count]) => [name, count - before[name]!]));
}

export interface Ground {
  readonly lab: HostLab;
  readonly hosts: Readonly<Record<string, FastHost>>;
  close(): Promise<void>;
}

export async function makeGround(
  name: string,
  instances: readonly LabInstance[],
  options: Pick<HostLabOptions, 'mtu' | 'offloads'> = {},
): Promise<Ground> {
  const networks = [BLUE, RED].filter((network) => instances.some((one) => one.network === network.name));
  const lab = await HostLab.up({ name, networks, instances, ...options });
  const hosts: Record<string, FastHost> = {};
  const close = async () => {
    for (const host of Object.values(hosts)) host.close();
    await lab.down();
  };
  try {
    for (const { name: host } of lab.hosts) {
      await laySlowPath(lab, host, options.mtu ?? 1450);
      hosts[host] = new FastHost(lab, host);
      hosts[host].settings();
      hosts[host].rules([]);
      hosts[host].attach();
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { lab, hosts, close };
}

export async function laySlowPath(lab: HostLab, name: string, mtu = 1450): Promise<void> {
  const host = lab.host(name);
  const others = lab.hosts.filter((other) => other.name !== name);
  const octets = host.address.split('.').map((octet) => Number(octet).toString(16).padStart(2, '0'));
  for (const network of lab.networks) {
    const bridge = `plbr${network.vni}`;
    const port = `pltn${network.vni}`;
    await lab.ip(
      name,
      `link add ${bridge} address 0e:50:${octets.join(':')} mtu ${mtu} type bridge`,
      `link add ${port} mtu ${mtu} type vxlan id ${network.vni} local ${host.address} dstport 4789 dev ${host.device}`,
      `link set ${port} master ${bridge}`,
      `link set ${port} up`,
      `link set ${bridge} up`,
      ...(network.gateway ? [`address add ${network.gateway}/16 dev ${bridge}`] : []),
      ...lab.instances
        .filter((one) => one.host === host.number && one.network === network.name)
        .map((one) => `link set ${one.interface} master ${bridge}`),
    );
    const away = lab.instances.filter((one) => one.host !== host.number && one.network === network.name);
    for (const one of away)
      await lab.ip(name, `neigh replace ${one.address} lladdr ${one.mac} dev ${bridge} nud permanent`);
    for (const other of others) {
      const entry = ['bridge', 'fdb', 'append', '00:00:00:00:00:00', 'dev', port, 'dst', other.address];
      await run(lab.inside(name, entry));
    }
  }
  const settings = [
    'net.ipv4.ip_forward=1',
    'net.bridge.bridge-nf-call-iptables=1',
    'net.netfilter.nf_conntrack_tcp_be_liberal=1',
  ];
  for (const setting of [...settings, 'net.ipv4.conf.all.rp_filter=0'])
    await run(lab.inside(name, ['sysctl', '-qw', setting]));
  await nft(lab, name, policyOf(lab, host.address));
}

/** Public SNAT, one service with a backend on h2, and no ARP for the gateway across the tunnel. */
function policyOf(lab: HostLab, own: string): string {
  const backend = lab.instances.find((one) => one.host === 2)?.address ?? '10.200.2.2';
  return `
    table bridge ground {
      chain from { type filter hook prerouting priority -300; iifname "pltn100" arp daddr ip 10.200.0.1 drop; }
      chain towards { type filter hook postrouting priority 0; oifname "pltn100" arp daddr ip 10.200.0.1 drop; }
    }
    table ip ground {
      chain judge { type filter hook prerouting priority -150; }
      chain services {
        type nat hook prerouting priority -100;
        ip daddr ${SERVICE} tcp dport 80 dnat to ${backend}:8080
        ip daddr ${SERVICE} udp dport 53 dnat to ${backend}:5353
      }
      chain public { type nat hook postrouting priority 100; oifname "eth0" ip saddr 10.200.0.0/16 meta l4proto { tcp, udp, icmp } snat to ${own}:20000-30000; }
    }`;
}

/**
 * `where`: a host, an instance, or `fabric`. By its path: npm's folder has another program of that name. It opens its input
 * by name, which a socket pair has none of.
 */
export function nft(lab: HostLab, where: string, text: string): Promise<string> {
  const netns = where === 'fabric' ? lab.fabric : lab.netnsOf(where);
  return run(['nsenter', `--net=/run/netns/${netns}`, 'sh', '-c', 'cat | /usr/sbin/nft -f -'], `${text}\n`);
}
