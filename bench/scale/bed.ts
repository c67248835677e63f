/**
 * The bed of the scale benchmarks: a gateway G (an unmodified FRR, two links), our agent on a switch A with dozens of
 * ports, and S, which plays all servers behind them.
 *
 *     G [GA] --- [U1]  A  [swp1] --- [s1]  S
 *       [GB] --- [U2]     [swp2] --- [s2]
 *                          ...        ...
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { startFrr } from '../../lab/gateway/daemons.ts';
import { gatewayFrr } from '../../lab/gateway/frr.ts';
import { Helper } from '../../lab/helper.ts';
import { LinkSetter } from '../../lab/netlink.ts';
import {
  gone,
  isRunning,
  type ProcessRecord,
  run,
  signal,
  sleep,
  startDetached,
  stop,
  waitUntil,
} from '../../lab/processes.ts';
import { batch } from '../../lab/topology/build.ts';
import { GATEWAY, type Protocol, TORS } from '../../lab/topology/plan.ts';
import { agentCounters, agentFailovers, agentStatus } from '../../lab/tor/peerless.ts';
import type { FailoverView, StatusView } from '../../src/agent/api.ts';
import { type Sighting, tapRoutes } from '../wiretap.ts';
import { downlink, downlinkIndex, PREFIX, serverIndex, serverPort, UPLINKS } from './plan.ts';

export interface BedOptions {
  readonly protocol: Protocol;
  readonly ports: number;
  readonly hosts: number;
  /** Executable of the agent. */
  readonly agent: string;
  /** Folder for a CPU profile of the agent (read it with Chromium's DevTools or speedscope). */
  readonly profile?: string | undefined;
}

export type Counters = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What the kernel says of the agent's process. */
export interface Usage {
  /** Seconds of processor time so far, user and system. */
  readonly cpu: number;
  /** The part of it in the kernel. */
  readonly system: number;
  /** MiB. */
  readonly resident: number;
}

let beds = 0;

export class ScaleBed {
  readonly options: BedOptions;
  readonly directory: string;
  readonly #name: string;
  readonly #listeners = new Set<(sighting: Sighting, link: string) => void>();
  readonly #taps: { close(): void }[] = [];
  #gateway: ProcessRecord[] = [];
  #agent: ProcessRecord | undefined;
  #servers: Helper | undefined;
  #serverLinks: LinkSetter | undefined;
  #gatewayLinks: LinkSetter | undefined;

  static async open(options: BedOptions): Promise<ScaleBed> {
    const bed = new ScaleBed(options);
    try {
      await bed.#build();
      await bed.#startAgent();
    } catch (error) {
      await bed.close();
      throw error;
    }
    return bed;
  }

  private constructor(options: BedOptions) {
    this.options = options;
    this.#name = `scale${process.pid}x${++beds}`;
    this.directory = `/run/peerless-bench/${this.#name}`;
  }

  namespace(node: 'G' | 'A' | 'S'): string {
    return `${this.#name}-${node}`;
  }

  get pid(): number {
    return this.#agent!.pid;
  }

  /** Host routes in what arrives at G, with the name of G's port. */
  onSighting(listener: (sighting: Sighting, link: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  place(at: readonly (readonly [host: number, port: number])[], speak = true): Promise<void> {
    return this.#servers!.request('place', { at, speak });
  }

  silence(hosts: readonly number[]): Promise<void> {
    return this.#servers!.request('silence', hosts);
  }

  /** The server's end of a downlink: down takes the carrier of the switch's port. */
  setDownlinks(ports: readonly number[], up: boolean): void {
    this.#serverLinks!.apply(ports.map((port) => ({ ifindex: serverIndex(port), up })));
  }

  /** G's end of an uplink. */
  setUplink(uplink: 0 | 1, up: boolean): void {
    this.#gatewayLinks!.apply([{ ifindex: UPLINKS[uplink].peerIndex, up }]);
  }

  status = (): Promise<StatusView | undefined> => agentStatus(this.directory);
  counters = (): Promise<Counters> => agentCounters(this.directory);
  failovers = (last: number): Promise<readonly FailoverView[]> => agentFailovers(this.directory, last);

  usage(): Usage {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    const system = Number(fields[12]) / 100;
    const cpu = Number(fields[11]) / 100 + system;
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return { cpu, system, resident: Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024 };
  }

  /** Host routes in A's kernel. */
  async kernelHosts(): Promise<number> {
    const routes = await run(['ip', '-n', this.namespace('A'), 'route', 'show', 'proto', '201']);
    return routes.split('\n').filter((line) => line.startsWith('10.')).length;
  }

  /** Downlinks that somebody has shut. */
  async shutPorts(): Promise<number> {
    const links = JSON.parse(await run(['ip', '-n', this.namespace('A'), '-j', 'link', 'show'])) as {
      ifname: string;
      flags: string[];
    }[];
    return links.filter(({ ifname, flags }) => ifname.startsWith('swp') && !flags.includes('UP')).length;
  }

  /** Sessions, adjacencies and the port-link group are up. */
  async ready(): Promise<void> {
    const sessions = this.options.protocol === 'both' ? 4 : 2;
    const up = await waitUntil(
      async () => {
        const status = await this.status();
        const ups = status?.sessions.filter(({ state }) => state === 'Established' || state === 'Full').length;
        return ups === sessions && status!.groups.every(({ state }) => state === 'up');
      },
      60_000,
      200,
    );
    if (!up)
      throw new Error(`the sessions did not come up: see ${this.directory}: ${JSON.stringify(await this.status())}`);
  }

  async close(): Promise<void> {
    if (this.#agent && isRunning(this.#agent)) {
      // A profile is written when the process ends by itself; ten thousand withdrawals take their time.
      signal(this.#agent, 'SIGTERM');
      await gone([this.#agent], 10_000);
      await stop([this.#agent]);
    }
    await this.#servers?.stop();
    await stop(this.#gateway);
    for (const tap of this.#taps) tap.close();
    this.#serverLinks?.close();
    this.#gatewayLinks?.close();
    for (const node of ['G', 'A', 'S'] as const) {
      await run(['ip', 'netns', 'delete', this.namespace(node)]).catch(() => undefined);
    }
    if (!process.env.PEERLESS_BENCH_KEEP) rmSync(this.directory, { recursive: true, force: true });
  }

  async #build(): Promise<void> {
    const { protocol, ports, hosts } = this.options;
    mkdirSync(`${this.directory}/G`, { recursive: true });
    const [gateway, tor, servers] = [this.namespace('G'), this.namespace('A'), this.namespace('S')];
    for (const namespace of [gateway, tor, servers]) {
      await run(['ip', 'netns', 'add', namespace]);
      const settings = ['net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1'];
      settings.push('net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0');
      await run(['ip', 'netns', 'exec', namespace, 'sysctl', '-q', '-w', ...settings]);
    }
    const numbers = Array.from({ length: ports }, (_, port) => port);
    await batch(tor, [
      'link set lo up',
      ...UPLINKS.map(
        ({ name, ifindex, peer, peerIndex }) =>
          `link add ${name} index ${ifindex} type veth peer name ${peer} index ${peerIndex} netns ${gateway}`,
      ),
      ...numbers.map(
        (port) =>
          `link add ${downlink(port)} index ${downlinkIndex(port)} type veth peer name ${serverPort(port)} index ${serverIndex(port)} netns ${servers}`,
      ),
      ...UPLINKS.map(({ name, tor }) => `address add ${TORS[tor].address}/30 dev ${name}`),
      ...[...UPLINKS.map(({ name }) => name), ...numbers.map(downlink)].map((port) => `link set ${port} up`),
    ]);
    await batch(gateway, [
      'link set lo up',
      ...UPLINKS.flatMap(({ peer, tor }) => [`address add ${TORS[tor].peer}/30 dev ${peer}`, `link set ${peer} up`]),
    ]);
    await batch(servers, ['link set lo up', ...numbers.map((port) => `link set ${serverPort(port)} up`)]);
    this.#serverLinks = new LinkSetter(servers, (errno) => console.error(`link refused: errno ${errno}`));
    this.#gatewayLinks = new LinkSetter(gateway, (errno) => console.error(`link refused: errno ${errno}`));
    this.#servers = Helper.start('./servers', import.meta.url, [servers, String(ports), String(hosts)]);
    for (const { peer } of UPLINKS) {
      this.#taps.push(
        tapRoutes(gateway, peer, (sighting) => {
          for (const listener of this.#listeners) listener(sighting, peer);
        }),
      );
    }
    // Both links lead to one switch here: one AS.
    const configuration = gatewayFrr(protocol, 'fast');
    const { bgpd } = configuration;
    const oneSwitch = bgpd?.replaceAll(`remote-as ${TORS.B.asn}`, `remote-as ${TORS.A.asn}`);
    this.#gateway = await startFrr({ node: 'G', namespace: gateway }, `${this.directory}/G`, {
      ...configuration,
      ...(oneSwitch === undefined ? {} : { bgpd: oneSwitch }),
    });
  }

  async #startAgent(): Promise<void> {
    const { protocol, ports, profile, agent } = this.options;
    const downlinks = [`swp[1-${ports}]`];
    const uplinks = UPLINKS.map(({ name }) => name);
    const timers = { hello: '1s', dead: '4s' };
    const configuration = {
      role: 'tor',
      routerId: TORS.A.routerId,
      hostRoutes: { prefixes: [PREFIX], ports: downlinks, returning: { mode: 'never' } },
      portLink: [{ name: 'fabric', uplinks, downlinks, minUplinks: 2, startupDelay: '1s', recoveryDelay: '1s' }],
      ...(protocol === 'bgp'
        ? {}
        : {
            ospf: {
              interfaces: uplinks.map((name) => ({ name, area: '0.0.0.0', network: 'point-to-point', ...timers })),
            },
          }),
      ...(protocol === 'ospf'
        ? {}
        : {
            bgp: {
              asn: TORS.A.asn,
              neighbors: UPLINKS.map(({ tor }) => ({
                address: TORS[tor].peer,
                remoteAs: GATEWAY.asn,
                timers: { keepalive: '1s', hold: '3s' },
              })),
            },
          }),
      control: { socket: `${this.directory}/control.sock`, metrics: null },
      stateDirectory: `${this.directory}/state`,
    };
    writeFileSync(`${this.directory}/peerless.yaml`, stringify(configuration, { aliasDuplicateObjects: false }));
    const command = ['ip', 'netns', 'exec', this.namespace('A'), 'env'];
    if (profile) command.push(`NODE_OPTIONS=--cpu-prof --cpu-prof-dir=${profile}`);
    command.push(agent, 'agent', '--config', `${this.directory}/peerless.yaml`);
    this.#agent = await startDetached('agent', command, `${this.directory}/agent.log`);
    if (!(await waitUntil(async () => (await this.status()) !== undefined, 20_000))) {
      throw new Error(`the agent did not start: see ${this.directory}/agent.log`);
    }
    await sleep(500);
  }
}
