/**
 * The bed of the wire benchmarks: a gateway G (an unmodified FRR), one switch A that is either our agent or FRR doing
 * the same job, a box S that plays all servers. Namespaces are named after the process that made them.
 *
 *     G [GA] --- [A0] A [A1] --- [s1] S
 *                       [A2] --- [s2]
 *                       [T1], [T2]  taps, whose carrier is set by ioctl as a driver would
 */
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { AF, ioctl, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { stringify } from 'yaml';
import { startFrr } from '../lab/gateway/daemons.ts';
import { gatewayFrr, torFrr } from '../lab/gateway/frr.ts';
import { moduleCommand } from '../lab/helper.ts';
import { LinkSetter } from '../lab/netlink.ts';
import { type ProcessRecord, run, sleep, startDetached, stop, waitUntil } from '../lab/processes.ts';
import { gratuitousArp } from '../lab/team/arp.ts';
import { batch } from '../lab/topology/build.ts';
import { GATEWAY, SUBNET, TORS } from '../lab/topology/plan.ts';
import { agentFailovers, agentStatus } from '../lab/tor/peerless.ts';
import type { FailoverView } from '../src/agent/api.ts';
import { type Sighting, tapRoutes } from './wiretap.ts';

export type Wire = 'ospf' | 'bgp';
export type Way = 'peerless' | 'frr';

/** All hosts of the benchmarks; the redistributor of today's practice believes in 10.10.10.0/24 only. */
const PREFIX = '10.10.0.0/16';

const IFINDEX = { A0: 1101, A1: 1111, A2: 1121, GA: 1102, s1: 1112, s2: 1122 } as const;
const TAPS = ['T1', 'T2'] as const;
const TUNSETIFF = 0x400454ca;
const TUNSETCARRIER = 0x400454e2;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;

export const hostAddress = (index: number): string => `10.10.${16 + (index >> 8)}.${index & 255}`;
export const hostMac = (index: number): string => `02:00:00:01:${hex(index >> 8)}:${hex(index & 255)}`;
const hex = (octet: number): string => octet.toString(16).padStart(2, '0');

let beds = 0;

export class Rig {
  readonly protocol: Wire;
  readonly #name: string;
  readonly #directory: string;
  readonly #agent: string;
  readonly #taps = new Map<string, number>();
  readonly #listeners = new Set<(sighting: Sighting) => void>();
  #gateway: ProcessRecord[] = [];
  #switch: ProcessRecord[] = [];
  #tap: { close(): void } | undefined;
  #speaker: LinuxSocket | undefined;
  #servers: LinkSetter | undefined;

  /** @param agent path of the executable to measure */
  static async open(protocol: Wire, agent: string): Promise<Rig> {
    const rig = new Rig(protocol, agent);
    try {
      await rig.#build();
    } catch (error) {
      await rig.close();
      throw error;
    }
    return rig;
  }

  private constructor(protocol: Wire, agent: string) {
    this.protocol = protocol;
    this.#agent = agent;
    this.#name = `bench${process.pid}x${++beds}`;
    this.#directory = `/run/peerless-bench/${this.#name}`;
  }

  namespace(node: 'G' | 'A' | 'S'): string {
    return `${this.#name}-${node}`;
  }

  onSighting(listener: (sighting: Sighting) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Runs a switch of this kind while `work` does; the next one begins with empty tables.
   *
   * @param options `redistribute`: FRR has the lab's redistributor beside it, which learns hosts by itself; else a script
   * that deletes the routes of a port that loses its carrier
   */
  async withSwitch<T>(way: Way, work: () => Promise<T>, options: { readonly redistribute?: boolean } = {}): Promise<T> {
    await this.#emptySwitch();
    this.#switch = way === 'frr' ? await this.#startFrr(options.redistribute ?? false) : [await this.#startAgent()];
    try {
      await this.#sessionUp();
      return await work();
    } finally {
      await stop(this.#switch);
      this.#switch = [];
    }
  }

  /** Gratuitous ARPs out of S's port, in bursts as a rack would speak. */
  async speak(port: 's1' | 's2', hosts: readonly (readonly [address: string, mac: string])[]): Promise<void> {
    for (let start = 0; start < hosts.length; start += 50) {
      for (const [address, mac] of hosts.slice(start, start + 50)) this.speakNow(port, address, mac);
      await sleep(2);
    }
  }

  speakNow(port: 's1' | 's2', address: string, mac: string): void {
    const to = { family: 'packet', ifindex: IFINDEX[port], protocol: 0x0806 } as const;
    this.#speaker!.send({ data: gratuitousArp(mac, address), to });
  }

  /** A gratuitous ARP that comes in at a tap. */
  speakOnTap(tap: (typeof TAPS)[number], address: string, mac: string): void {
    writeSync(this.#taps.get(tap)!, gratuitousArp(mac, address));
  }

  /** Kernel host routes for FRR to redistribute: what our agent learns by itself. */
  async setKernelRoutes(port: string, addresses: readonly string[]): Promise<void> {
    await run(['ip', '-n', this.namespace('A'), 'route', 'flush', 'dev', port, 'proto', 'static']);
    await batch(
      this.namespace('A'),
      addresses.map((address) => `route replace ${address}/32 dev ${port} proto static`),
    );
  }

  /** The far end of A1 or A2: down takes the carrier of A's port. */
  setLink(port: 's1' | 's2', up: boolean): void {
    this.#servers!.apply([{ ifindex: IFINDEX[port], up }]);
  }

  setCarrier(tap: (typeof TAPS)[number], up: boolean): void {
    const value = Buffer.alloc(4);
    value.writeInt32LE(up ? 1 : 0);
    ioctl(this.#taps.get(tap)!, TUNSETCARRIER, value);
  }

  failovers(last: number): Promise<readonly FailoverView[]> {
    return agentFailovers(this.#directory, last);
  }

  async close(): Promise<void> {
    await stop([...this.#switch, ...this.#gateway]);
    this.#tap?.close();
    this.#speaker?.close();
    this.#servers?.close();
    for (const fd of this.#taps.values()) closeSync(fd);
    for (const node of ['G', 'A', 'S'] as const) {
      await run(['ip', 'netns', 'delete', this.namespace(node)]).catch(() => undefined);
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #build(): Promise<void> {
    mkdirSync(this.#directory, { recursive: true });
    const [gateway, tor, servers] = [this.namespace('G'), this.namespace('A'), this.namespace('S')];
    for (const namespace of [gateway, tor, servers]) {
      await run(['ip', 'netns', 'add', namespace]);
      const settings = ['net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1'];
      settings.push('net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0');
      await run(['ip', 'netns', 'exec', namespace, 'sysctl', '-q', '-w', ...settings]);
    }
    await batch(tor, [
      'link set lo up',
      `link add A0 index ${IFINDEX.A0} type veth peer name GA index ${IFINDEX.GA} netns ${gateway}`,
      `link add A1 index ${IFINDEX.A1} type veth peer name s1 index ${IFINDEX.s1} netns ${servers}`,
      `link add A2 index ${IFINDEX.A2} type veth peer name s2 index ${IFINDEX.s2} netns ${servers}`,
      `address add ${TORS.A.address}/30 dev A0`,
      ...['A0', 'A1', 'A2'].map((port) => `link set ${port} up`),
    ]);
    await batch(gateway, ['link set lo up', `address add ${TORS.A.peer}/30 dev GA`, 'link set GA up']);
    // Every address of the hosts is local here: the kernel answers the agent's questions for all of them.
    const local = ['10.10.10.0/24', '10.10.16.0/20'].map((prefix) => `route add local ${prefix} dev lo`);
    await batch(servers, ['link set lo up', 'link set s1 up', 'link set s2 up', ...local]);
    for (const tap of TAPS)
      this.#taps.set(
        tap,
        withNetns(tor, () => openTap(tap)),
      );
    await batch(
      tor,
      TAPS.map((tap) => `link set ${tap} up`),
    );
    this.#speaker = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns: servers });
    this.#servers = new LinkSetter(servers, (errno) => console.error(`link refused: errno ${errno}`));
    this.#tap = tapRoutes(gateway, 'GA', (sighting) => {
      if (sighting.protocol === this.protocol) for (const listener of this.#listeners) listener(sighting);
    });
    mkdirSync(`${this.#directory}/G`, { recursive: true });
    const configuration = onlyA(gatewayFrr(this.protocol, 'fast'));
    this.#gateway = await startFrr({ node: 'G', namespace: gateway }, `${this.#directory}/G`, configuration);
  }

  async #startAgent(): Promise<ProcessRecord> {
    const configuration = {
      role: 'tor',
      routerId: TORS.A.routerId,
      hostRoutes: {
        prefixes: [PREFIX],
        ports: ['A1', 'A2', ...TAPS],
        limits: { perPort: 4096 },
        returning: { mode: 'never' },
      },
      ...(this.protocol === 'ospf'
        ? {
            ospf: { interfaces: [{ name: 'A0', area: '0.0.0.0', network: 'point-to-point', hello: '1s', dead: '4s' }] },
          }
        : {
            bgp: {
              asn: TORS.A.asn,
              neighbors: [{ address: TORS.A.peer, remoteAs: GATEWAY.asn, timers: { keepalive: '1s', hold: '3s' } }],
            },
          }),
      control: { socket: `${this.#directory}/control.sock`, metrics: null },
      stateDirectory: `${this.#directory}/state`,
    };
    rmSync(`${this.#directory}/state`, { recursive: true, force: true });
    writeFileSync(`${this.#directory}/peerless.yaml`, stringify(configuration));
    const command = ['ip', 'netns', 'exec', this.namespace('A'), this.#agent, 'agent'];
    const record = await startDetached(
      'agent',
      [...command, '--config', `${this.#directory}/peerless.yaml`],
      `${this.#directory}/agent.log`,
    );
    if (!(await waitUntil(async () => (await agentStatus(this.#directory)) !== undefined, 20_000))) {
      throw new Error(`the agent did not start: see ${this.#directory}/agent.log`);
    }
    return record;
  }

  async #startFrr(redistribute: boolean): Promise<ProcessRecord[]> {
    const directory = `${this.#directory}/A`;
    mkdirSync(directory, { recursive: true });
    const configuration = Object.fromEntries(
      Object.entries(torFrr('A', this.protocol)).map(([daemon, text]) => [daemon, text.replaceAll(SUBNET, PREFIX)]),
    );
    const records = await startFrr({ node: 'A', namespace: this.namespace('A') }, directory, configuration);
    const [module, programArguments]: [string, string[]] = redistribute
      ? ['../lab/tor/redistributor', [this.#name, 'A', 'A1', 'A2']]
      : ['./carrier-script', [this.namespace('A')]];
    const { file, nodeArguments } = moduleCommand(module, import.meta.url);
    const command = [process.execPath, ...nodeArguments, file, ...programArguments];
    return [...records, await startDetached('script', command, `${directory}/script.log`)];
  }

  /** Speaks as a host that nobody measures, until G hears of it. */
  async #sessionUp(): Promise<void> {
    const address = hostAddress(4095);
    let seen = false;
    const forget = this.onSighting((sighting) => {
      if (sighting.address === address && sighting.kind === 'announce') seen = true;
    });
    let round = 0;
    const up = await waitUntil(
      async () => {
        if (round++ % 10 === 0) {
          this.speakNow('s2', address, hostMac(4095));
          await batch(this.namespace('A'), [`route replace ${address}/32 dev A2 proto static`]);
        }
        return seen;
      },
      30_000,
      100,
    );
    forget();
    if (!up) throw new Error(`no announcement reached the gateway: see ${this.#directory}`);
    await sleep(1500);
  }

  async #emptySwitch(): Promise<void> {
    const namespace = this.namespace('A');
    for (const port of ['s1', 's2'] as const) this.setLink(port, true);
    for (const tap of TAPS) this.setCarrier(tap, true);
    await run(['ip', '-n', namespace, 'nexthop', 'flush']);
    for (const port of ['A1', 'A2', ...TAPS]) await run(['ip', '-n', namespace, 'route', 'flush', 'dev', port]);
    await run(['ip', '-n', namespace, 'neigh', 'flush', 'all']);
    // Ends an adjacency that the last switch left behind, instead of after its dead interval.
    await batch(namespace, ['link set A0 down', 'link set A0 up']);
    await sleep(1200);
  }
}

function openTap(name: string): number {
  const fd = openSync('/dev/net/tun', 'r+');
  const request = Buffer.alloc(40);
  request.write(name, 'latin1');
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI, 16);
  ioctl(fd, TUNSETIFF, request);
  return fd;
}

/** The lab's gateway has two switches; here it has one. */
function onlyA(configuration: ReturnType<typeof gatewayFrr>): ReturnType<typeof gatewayFrr> {
  const { ospfd, ...rest } = configuration;
  return ospfd === undefined ? rest : { ...rest, ospfd: ospfd.replace(/interface GB\n(?: .*\n)*!\n/, '') };
}
