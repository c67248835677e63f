/**
 * The whole system on one bench: the lab of switches (G, A, B and their servers), three of whose servers are overlay hosts
 * with containers. C3 and C4 are primary on A, C1 on B.
 */
import { join } from 'node:path';
import { ensureBase } from '../containers/image.ts';
import { Helper } from '../helper.ts';
import { HostAgent } from '../hosts/agents.ts';
import { labDown, labUp, type Progress } from '../index.ts';
import type { Pair, ProbeResult } from '../probe/prober.ts';
import { type Outcome, outcome, run, waitUntil } from '../processes.ts';
import { directoryOf, type GatewayKind, nodeDirectory } from '../state.ts';
import {
  GATEWAY_ADDRESS,
  namespaceOf,
  type Protocol,
  SERVERS,
  type ServerName,
  type TorName,
} from '../topology/plan.ts';
import {
  type ContainerHost,
  type RunningContainer,
  removeOverlayContainer,
  startOverlayContainer,
} from './containers.ts';
import { mirrorKeys } from './keys.ts';

const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname.replace('/dist/bin/', '/bin/');
export const OVERLAY_HOSTS = ['C1', 'C3', 'C4'] as const satisfies readonly ServerName[];
export type OverlayHostName = (typeof OVERLAY_HOSTS)[number];
const NETWORK = { name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1', encapsulation: 'vxlan' };
const DEVICE = 'bond0';
const PREFIX_LENGTH = 24;

export interface OverlayLabOptions {
  readonly name: string;
  readonly gateway: GatewayKind;
  readonly protocol: Protocol;
  readonly fastPath: 'off' | 'tunnel' | 'rewrite';
  /** Absent: nothing is encrypted. */
  readonly encryption?: 'available' | 'overlap' | 'strict';
  readonly onProgress: Progress;
}

interface OverlayHost extends ContainerHost {
  readonly name: OverlayHostName;
  readonly address: string;
  readonly agent: HostAgent;
  readonly keys: string;
}

export class OverlayLab {
  readonly name: string;
  readonly #options: OverlayLabOptions;
  readonly hosts: readonly OverlayHost[];
  readonly #containers = new Map<OverlayHostName, RunningContainer>();
  #probe: Helper | undefined;

  static async up(options: OverlayLabOptions): Promise<OverlayLab> {
    const lab = new OverlayLab(options);
    try {
      await lab.#build();
    } catch (error) {
      await lab.down();
      throw error;
    }
    return lab;
  }

  private constructor(options: OverlayLabOptions) {
    this.name = options.name;
    this.#options = options;
    this.hosts = OVERLAY_HOSTS.map((name, at) => {
      const { address, mac } = SERVERS.find((server) => server.name === name)!;
      const netns = namespaceOf(options.name, name);
      const planned = { name: `host-${name}`, number: at + 1, netns, device: DEVICE, address, mac };
      const agent = new HostAgent(options.name, { ...planned, prefixLength: PREFIX_LENGTH, gateway: GATEWAY_ADDRESS });
      const { directory, socket } = agent;
      return {
        name,
        address,
        netns,
        agent,
        directory,
        socket,
        range: `10.200.${at + 1}.0/24`,
        keys: join(directory, 'keys'),
      };
    });
  }

  async #build(): Promise<void> {
    const { name, gateway, protocol, onProgress } = this.#options;
    await labUp({ name, gateway, protocol, onProgress });
    const image = await ensureBase(onProgress);
    onProgress('starting the agents of C1, C3 and C4, and a container on each');
    if (this.#options.encryption) await this.#initKeys();
    for (const host of this.hosts) {
      host.agent.configure(this.#configuration(host));
      await host.agent.start();
      this.#containers.set(
        host.name,
        await startOverlayContainer(host, this.#containerOf(host.name), NETWORK.name, image),
      );
    }
    this.#probe = Helper.start('../probe/main', import.meta.url, [name]);
    await this.#probe.request('pairs', this.pairs());
  }

  #configuration(host: OverlayHost): object {
    const { fastPath, encryption } = this.#options;
    return {
      role: 'host',
      underlay: { address: host.address, device: DEVICE },
      networks: [NETWORK],
      remotes: this.hosts
        .filter((other) => other !== host)
        .map((other) => ({ host: other.address, network: NETWORK.name, addresses: [other.range] })),
      fastPath: { mode: fastPath, keyField: 'ip-id' },
      ...(encryption ? { encryption: { policy: encryption, keys: { directory: host.keys } } } : {}),
      stateDirectory: join(host.directory, 'state'),
      control: { socket: host.socket },
    };
  }

  /** The first key is made on one host and brought to the others, each of which has a store of its own. */
  async #initKeys(): Promise<void> {
    const [first, ...others] = this.hosts;
    await run([PEERLESS, 'keys', 'init', '--directory', first!.keys]);
    for (const { keys } of others) mirrorKeys(first!.keys, keys);
  }

  /** A new version is made on one host and reaches the others one after the other, `delay` ms apart. */
  async rotate(delay: number): Promise<void> {
    const [first, ...others] = this.hosts;
    await run([PEERLESS, 'keys', 'rotate', '--directory', first!.keys]);
    for (const { keys } of others) {
      await new Promise((resolve) => setTimeout(resolve, delay));
      mirrorKeys(first!.keys, keys);
    }
  }

  #containerOf(host: OverlayHostName): string {
    return `${this.name}-${host.toLowerCase()}`;
  }

  container(host: OverlayHostName): RunningContainer {
    return this.#containers.get(host)!;
  }

  /** Both kinds between the same hosts: `C1-C4` from host to host, `c1-c4` from container to container. */
  pairs(): Pair[] {
    return this.hosts.flatMap((near, at) =>
      this.hosts.slice(at + 1).flatMap((far): Pair[] => [
        { name: `${near.name}-${far.name}`, family: 4, near, far },
        {
          name: `${near.name}-${far.name}`.toLowerCase(),
          family: 4,
          near: this.container(near.name),
          far: this.container(far.name),
        },
      ]),
    );
  }

  /** Counts packets of `work`, one a millisecond each way between every pair, and `settle` ms more. */
  async probing(work: () => Promise<void>): Promise<readonly ProbeResult[]> {
    const probe = this.#probe!;
    await probe.request('begin');
    await work();
    return probe.request<ProbeResult[]>('end', 300);
  }

  /** Every pair has had answers lately. */
  async untilWhole(patience = 60_000): Promise<void> {
    let results: readonly ProbeResult[] = [];
    const whole = await waitUntil(
      async () => {
        results = await this.probing(() => new Promise((resolve) => setTimeout(resolve, 500)));
        return results.every(({ lost }) => lost === 0);
      },
      patience,
      100,
    );
    const broken = results
      .filter(({ lost }) => lost > 0)
      .map(({ server, direction, lost }) => `${server} ${direction} ${lost}`);
    if (!whole)
      throw new Error(
        `pairs that lose packets: ${broken.join(', ')}\n${this.hosts.map(({ agent }) => agent.log.slice(-2000)).join('\n')}`,
      );
  }

  /** As the operator of a ToR types it. */
  tor(tor: TorName, words: readonly string[]): Promise<Outcome> {
    const socket = join(nodeDirectory(this.name, tor), 'control.sock');
    return outcome(['ip', 'netns', 'exec', namespaceOf(this.name, tor), PEERLESS, ...words], {
      PEERLESS_SOCKET: socket,
      NO_COLOR: '1',
    });
  }

  async down(): Promise<void> {
    await this.#probe?.stop();
    for (const host of this.hosts) await removeOverlayContainer(host, this.#containerOf(host.name));
    for (const { agent } of this.hosts) await agent.stop();
    await labDown({ name: this.name, onProgress: this.#options.onProgress });
    for (const { agent } of this.hosts) agent.forget();
  }

  get directory(): string {
    return directoryOf(this.name);
  }
}
