/**
 * A lab of two or three overlay hosts in network namespaces, for tests, benches and demonstrations.
 *
 * ```ts
 * const lab = await HostLab.up({
 *   name: `abc${process.pid}`,
 *   networks: [{ name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' }],
 *   instances: [
 *     { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
 *     { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
 *   ],
 * });
 * try {
 *   for (const host of lab.hosts) {
 *     lab.agent(host.name).configure(lab.configuration(host.name, { policy: { default: 'allow' } }));
 *     await lab.agent(host.name).start();
 *   }
 *   const udp = await lab.udp('c1', 'c2', { port: 7000, count: 200, size: 1200, wait: 500 }); // udp.lost, udp.answered
 *   const tcp = await lab.tcp('c1', 'c2', { port: 7001, bytes: 10_000_000 }); // tcp.outcome === 'done'
 *   await lab.ping('c1', '10.200.0.1');
 * } finally {
 *   await lab.down();
 * }
 * ```
 *
 * - Hosts h1, h2 ... are namespaces NAME-h1 ... with the underlay device eth0 (MAC 02:20:00:00:00:0N). Topology
 *   `segment`: 10.20.1.N/24 on one bridge, gateway 10.20.1.254. Topology `routed`: 10.20.N.1/24, each behind a router
 *   (10.20.N.254). Or they are namespaces that stand already, as the servers of a standing lab of switches (`serversOf`).
 * - NAME-fabric is the bridge or router (ports h1, h2 ..., public); NAME-public is 198.51.100.10, the world outside,
 *   which knows the way to the hosts and none to the networks: talk to it by `lab.station('public')`.
 * - Instances are namespaces NAME-c1 ... with eth0 (their address, a default route by the network's gateway, MAC
 *   0a:VNI:address) and `veth-c1` in the host. MTU 1450 unless told otherwise.
 * - Agents run `bin/peerless` as built, with the host's network namespace and the machine's /sys (bpffs is mounted there
 *   when it isn't). Files and log are in `agent.directory`, the control socket is `agent.socket`.
 * - Programs that talk for an instance start with the first exchange and stay until `down`.
 */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { interfaceIndex, withNetns } from 'linux-sockets';
import { outcome, run } from '../processes.ts';
import { directoryOf } from '../state.ts';
import { batch } from '../topology/build.ts';
import { HostAgent, removePins } from './agents.ts';
import { buildFabric, buildInstance, makeNamespace, removeNamespaces } from './build.ts';
import {
  fabricOf,
  type HostLabOptions,
  type LabInstance,
  type LabNetwork,
  type PlannedHost,
  type PlannedInstance,
  PUBLIC,
  planHost,
  planInstance,
  publicOf,
} from './plan.ts';
import {
  exchangeTcp,
  exchangeUdp,
  Station,
  type TcpAnswer,
  type TcpRequest,
  type UdpRequest,
  type UdpResult,
} from './station.ts';

export type { HostAgent } from './agents.ts';
export type { HostLabOptions, LabInstance, LabNetwork, PlannedHost, PlannedInstance } from './plan.ts';
export { PUBLIC } from './plan.ts';
export { serversOf } from './servers.ts';
export type { Station, TcpAnswer, TcpRequest, UdpReceipt, UdpRequest, UdpResult, UdpSent } from './station.ts';

const ROUTER = ['net.ipv4.conf.all.send_redirects=0'];

export class HostLab {
  readonly name: string;
  readonly hosts: readonly PlannedHost[];
  readonly networks: readonly LabNetwork[];
  readonly fabric: string;
  readonly public: string;
  readonly #options: HostLabOptions;
  /** None: they stood before. */
  readonly #made: readonly PlannedHost[];
  readonly #instances = new Map<string, PlannedInstance>();
  readonly #stations = new Map<string, Station>();
  readonly #agents = new Map<string, HostAgent>();

  static async up(options: HostLabOptions): Promise<HostLab> {
    const lab = new HostLab(options);
    try {
      await lab.#build();
    } catch (error) {
      await lab.down();
      throw error;
    }
    return lab;
  }

  private constructor(options: HostLabOptions) {
    const { name, hosts = 2, underlay = {} } = options;
    if (!/^[a-z][a-z0-9]{0,19}$/.test(name)) throw new Error(`a lab is not named ${name}`);
    this.name = name;
    this.#options = options;
    this.networks = options.networks ?? [];
    const count = typeof hosts === 'number' ? hosts : 0;
    this.#made = Array.from({ length: count }, (_, at) => planHost(name, at + 1, underlay.topology ?? 'segment'));
    this.hosts =
      typeof hosts === 'number'
        ? this.#made
        : hosts.map((host, at): PlannedHost => ({ ...host, name: `h${at + 1}`, number: at + 1 }));
    this.fabric = fabricOf(name);
    this.public = publicOf(name);
  }

  async #build(): Promise<void> {
    const { underlay = {}, offloads = true, instances = [] } = this.#options;
    const made = this.#made;
    for (const { netns } of made) await makeNamespace(netns, ROUTER);
    if (made.length > 0) {
      await buildFabric(this.name, made, underlay.topology ?? 'segment', underlay.mtu ?? 1500, offloads);
    }
    for (const instance of instances) await this.addInstance(instance);
  }

  async down(): Promise<void> {
    for (const agent of this.#agents.values()) {
      await agent.kill();
      await agent.endWorker();
    }
    for (const station of this.#stations.values()) await station.stop();
    for (const { netns } of this.hosts) removePins(netns);
    await removeNamespaces(this.name);
    for (const agent of this.#agents.values()) agent.forget();
    rmSync(directoryOf(this.name), { recursive: true, force: true });
  }

  host(name: string): PlannedHost {
    return found(
      this.hosts.find((host) => host.name === name),
      name,
    );
  }

  instance(name: string): PlannedInstance {
    return found(this.#instances.get(name), name);
  }

  get instances(): readonly PlannedInstance[] {
    return [...this.#instances.values()];
  }

  /** Its namespace, veth and addresses; no agent is told. */
  async addInstance(instance: LabInstance): Promise<PlannedInstance> {
    const planned = planInstance(this.name, instance, this.networks, this.#options);
    this.#instances.set(planned.name, planned);
    await buildInstance(planned, this.host(`h${planned.host}`));
    return planned;
  }

  async removeInstance(name: string): Promise<void> {
    const { netns, host, interface: device } = this.instance(name);
    await this.#stations.get(name)?.stop();
    this.#stations.delete(name);
    this.#instances.delete(name);
    // With its namespace it would go at some later time, and its name would be taken until then.
    await outcome(['ip', '-n', this.host(`h${host}`).netns, 'link', 'delete', device]);
    await run(['ip', 'netns', 'delete', netns]);
  }

  agent(host: string): HostAgent {
    let agent = this.#agents.get(host);
    if (!agent) {
      agent = new HostAgent(this.name, this.host(host));
      this.#agents.set(host, agent);
    }
    return agent;
  }

  /** What a host's file says of this lab: its own instances, the others' as remotes by /32; `more` is laid over it. */
  configuration(hostName: string, more: object = {}): object {
    const host = this.host(hostName);
    const others = this.hosts.filter(({ name }) => name !== hostName);
    const behind = (other: PlannedHost, network: string): string[] =>
      this.instances
        .filter((instance) => instance.host === other.number && instance.network === network)
        .map(({ address }) => `${address}/32`);
    const remotes = others
      .flatMap((other) =>
        this.networks.map(({ name }) => ({ host: other.address, network: name, addresses: behind(other, name) })),
      )
      .filter(({ addresses }) => addresses.length > 0);
    return {
      role: 'host',
      underlay: { address: host.address, device: host.device },
      networks: this.networks.map((network) => ({ encapsulation: 'vxlan', ...network })),
      instances: this.instances
        .filter((instance) => instance.host === host.number)
        .map(({ name, network, address, interface: device }) => ({ name, network, address, interface: device })),
      remotes: remotes.filter(({ addresses }) => addresses.length > 0),
      control: { socket: this.agent(hostName).socket, metrics: null },
      stateDirectory: join(this.agent(hostName).directory, 'state'),
      ...more,
    };
  }

  /** Of an instance, of a host (`h1`), or `public`. */
  netnsOf(name: string): string {
    if (name === 'public') return this.public;
    return this.#instances.get(name)?.netns ?? this.host(name).netns;
  }

  addressOf(name: string): string {
    if (name === 'public') return PUBLIC.address;
    return this.#instances.get(name)?.address ?? this.host(name).address;
  }

  station(name: string): Station {
    let station = this.#stations.get(name);
    if (!station) {
      station = new Station(this.netnsOf(name));
      this.#stations.set(name, station);
    }
    return station;
  }

  /** @param by another address than the receiver's own, as that of a service */
  udp(from: string, to: string, request: UdpRequest, by = this.addressOf(to)): Promise<UdpResult> {
    return exchangeUdp(this.station(from), this.station(to), by, request);
  }

  tcp(from: string, to: string, request: TcpRequest, by = this.addressOf(to)): Promise<TcpAnswer> {
    return exchangeTcp(this.station(from), this.station(to), by, request);
  }

  /** How many of `count` echo requests were answered within a second each. */
  async ping(from: string, address: string, count = 1, options: readonly string[] = []): Promise<number> {
    const { stdout } = await outcome(
      this.inside(from, ['ping', '-n', '-i', '0.05', '-W', '1', '-c', `${count}`, ...options, address]),
    );
    return Number(/(\d+) received/.exec(stdout)?.[1] ?? 0);
  }

  inside(name: string, command: readonly string[]): string[] {
    return ['nsenter', `--net=/run/netns/${this.netnsOf(name)}`, ...command];
  }

  /** Commands of iproute2, each a line without the leading `ip`. */
  ip(name: string, ...lines: string[]): Promise<string> {
    return batch(this.netnsOf(name), lines);
  }

  ifindex(name: string, device: string): number {
    return withNetns(this.netnsOf(name), () => interfaceIndex(device));
  }
}

function found<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new Error(`nothing in the lab is named ${name}`);
  return value;
}
