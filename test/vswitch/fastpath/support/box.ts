/**
 * A host for the loader's tests: a network namespace with an underlay device and instances' devices, whose other ends stand
 * in a second namespace. No slow path: what is seen is what stands in the kernel, not packets.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { BpfMap, interfaceIndex, mountBpffs, tcxPrograms, withNetns } from 'linux-sockets';
import { type Prefix, parseAddress, parseMac } from '../../../../src/model/address.ts';
import { systemClock } from '../../../../src/model/clock.ts';
import type { OverlayInstance, OverlayPolicy, OverlayRemote, OverlayState } from '../../../../src/model/overlay.ts';
import { Kernel } from '../../../../src/netlink/index.ts';
import { type FastPath, type FastPathOptions, openFastPath } from '../../../../src/vswitch-bridge/fastpath/index.ts';
import { config } from '../../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { type MapName, readIndex } from '../../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { overlayNetworks } from './policy.ts';

let made = 0;

export const SETTINGS = {
  mode: 'tunnel',
  keyField: 'ip-id',
  lifetime: { send: 30_000, receive: 60_000 },
  checkInterval: 60_000,
  features: ['source-port', 'destination-port', 'ingress'],
  timeouts: { opening: 30_000, established: 600_000, closing: 10_000 },
} as const;

const ip = (...words: string[]) => execFileSync('ip', words, { stdio: ['ignore', 'pipe', 'pipe'] });

export async function until(condition: () => boolean): Promise<void> {
  for (let patience = 0; patience < 500 && !condition(); patience += 1) await sleep(20);
  if (!condition()) throw new Error('it did not come to that');
}

export class Box {
  readonly netns: string;
  readonly #away: string;
  readonly kernel: Kernel;
  readonly #open = new Set<FastPath>();

  static async make(t: ExecutionContext): Promise<Box> {
    mountBpffs('/sys/fs/bpf');
    made += 1;
    const netns = `fpload-${process.pid}-${made}`;
    for (const name of [netns, `${netns}-b`]) ip('netns', 'add', name);
    const box = new Box(netns, await Kernel.open({ netns }));
    t.teardown(() => box.remove());
    await box.device('u0');
    return box;
  }

  private constructor(netns: string, kernel: Kernel) {
    this.netns = netns;
    this.#away = `${netns}-b`;
    this.kernel = kernel;
  }

  /** @param here its other end stands in the same namespace */
  async device(name: string, here = false): Promise<void> {
    const there = here ? this.netns : this.#away;
    ip('-n', this.netns, 'link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`, 'netns', there);
    ip('-n', this.netns, 'link', 'set', name, 'up');
    ip('-n', there, 'link', 'set', `${name}p`, 'up');
    await until(() => this.kernel.port(name) !== undefined);
  }

  /** Its other end, into the second namespace. */
  moveAway(name: string): void {
    ip('-n', this.netns, 'link', 'set', `${name}p`, 'netns', this.#away);
    ip('-n', this.#away, 'link', 'set', `${name}p`, 'up');
  }

  removeDevice(name: string): void {
    ip('-n', this.netns, 'link', 'del', name);
  }

  index(name: string): number {
    return withNetns(this.netns, () => interfaceIndex(name));
  }

  get directory(): string {
    return `/sys/fs/bpf/peerless-${statSync(`/run/netns/${this.netns}`).ino}`;
  }

  /** How many programs stand on both ways of a device. */
  programs(name: string): number {
    const index = this.index(name);
    return withNetns(this.netns, () => tcxPrograms(index, 'ingress').length + tcxPrograms(index, 'egress').length);
  }

  programIds(name: string): number[] {
    const index = this.index(name);
    return withNetns(this.netns, () => [...tcxPrograms(index, 'ingress'), ...tcxPrograms(index, 'egress')]);
  }

  async open(state: OverlayState, options: Partial<FastPathOptions> = {}): Promise<FastPath> {
    const fastPath = await openFastPath({
      settings: SETTINGS,
      state,
      links: this.kernel,
      rtnetlink: this.kernel.rtnetlink,
      clock: systemClock,
      netns: this.netns,
      connections: 1024,
      ...options,
    });
    this.#open.add(fastPath);
    return fastPath;
  }

  /** By its pin, as another process would. */
  map<T>(name: MapName, use: (map: BpfMap) => T): T {
    using map = BpfMap.pinned(`${this.directory}/map-${name}`);
    return use(map);
  }

  config() {
    return this.map('config', (map) => readIndex(map, 0, config));
  }

  async remove(): Promise<void> {
    try {
      for (const fastPath of this.#open) await fastPath.close({ keep: false });
      if (existsSync(this.directory)) throw new Error(`${this.directory} was left`);
    } finally {
      this.kernel.close();
      for (const name of [this.netns, this.#away]) ip('netns', 'del', name);
    }
  }
}

export function stateOf(
  instances: readonly { name: string; interface: string; mac?: string }[],
  policy: Partial<OverlayPolicy> = {},
  remotes: readonly { host: string; addresses: readonly string[] }[] = [],
): OverlayState {
  return {
    underlay: { address: parseAddress('192.0.2.1')!, device: 'u0' },
    networks: overlayNetworks(),
    instances: new Map(instances.map((one, index) => [one.name, instanceOf(one, index)])),
    remotes: new Map(remotes.map((one) => [`blue/${one.host}`, remoteOf(one)])),
    policy: { default: 'allow', initiate: 'both', rules: [], ...policy },
    services: new Map(),
    snat: [],
  };
}

export const instanceOf = (
  { mac, ...rest }: { name: string; interface: string; mac?: string },
  index: number,
): OverlayInstance => ({
  ...rest,
  network: 'blue',
  address: parseAddress(`10.200.1.${index + 2}`)!,
  origin: 'configuration',
  ...(mac === undefined ? {} : { mac: parseMac(mac)! }),
});

export const remoteOf = ({ host, addresses }: { host: string; addresses: readonly string[] }): OverlayRemote => ({
  host: parseAddress(host)!,
  network: 'blue',
  addresses: addresses as Prefix[],
  origin: 'configuration',
});
