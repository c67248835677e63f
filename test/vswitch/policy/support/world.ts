/** A lab of hosts with both halves of the slow path on each: the layout of networks, and the policy under test. */
import { execFileSync } from 'node:child_process';
import type { ExecutionContext } from 'ava';
import { HostLab, type HostLabOptions, type PlannedInstance } from '../../../../lab/hosts/index.ts';
import { systemClock } from '../../../../src/model/clock.ts';
import type { OverlayChange, OverlayState } from '../../../../src/model/overlay.ts';
import { NetworkProjection } from '../../../../src/vswitch-bridge/slowpath/network/index.ts';
import { PolicyProjection } from '../../../../src/vswitch-bridge/slowpath/policy/index.ts';
import { overlayOf, quietLog } from '../../network/overlay.ts';
import { type StateParts, state } from './state.ts';

let made = 0;

export type Policies = Pick<StateParts, 'policy' | 'services' | 'snat'>;

export interface PolicyHost {
  readonly name: string;
  readonly netns: string;
  readonly network: NetworkProjection;
  policy: PolicyProjection;
  readonly said: readonly string[];
  state: OverlayState;
}

export class World {
  readonly lab: HostLab;
  readonly hosts = new Map<string, PolicyHost>();

  static async up(t: ExecutionContext, options: Omit<HostLabOptions, 'name'>, policies: Policies = {}): Promise<World> {
    const lab = await HostLab.up({ name: `pol${process.pid}x${made++}`, ...options });
    const world = new World(lab);
    t.teardown(() => world.down());
    for (const { name, netns } of lab.hosts) {
      const log = quietLog();
      const first = world.stateOf(name, policies);
      const network = await NetworkProjection.open({ clock: systemClock, log, netns, state: first });
      const policy = await PolicyProjection.open({ clock: systemClock, log, netns, countInterval: 200 });
      world.hosts.set(name, { name, netns, network, policy, said: log.said, state: first });
      await policy.apply(first, []);
    }
    // A bridge's new ports carry nothing until the kernel has come to their carriers.
    const ready = ({ name, gateway }: PlannedInstance) =>
      until(`${name} reaches its gateway`, async () => (await lab.ping(name, gateway!)) === 1);
    await Promise.all(lab.instances.filter(({ gateway }) => gateway !== undefined).map(ready));
    return world;
  }

  private constructor(lab: HostLab) {
    this.lab = lab;
  }

  host(name: string): PolicyHost {
    return this.hosts.get(name)!;
  }

  stateOf(host: string, policies: Policies): OverlayState {
    return { ...state({ ...overlayOf(this.lab, host), ...policies }), underlay: overlayState(this.lab, host) };
  }

  /** On one host, or on all. */
  async set(policies: Policies, host?: string): Promise<void> {
    for (const each of this.hosts.values()) {
      if (host !== undefined && each.name !== host) continue;
      const before = each.state;
      each.state = this.stateOf(each.name, policies);
      const changes: OverlayChange[] = [
        { kind: 'policy' },
        { kind: 'snat' },
        ...[...before.services.values()].map((item) => ({ kind: 'service', op: 'removed', item }) as const),
        ...[...each.state.services.values()].map((item) => ({ kind: 'service', op: 'added', item }) as const),
      ];
      await each.policy.apply(each.state, changes);
      await each.network.apply(each.state, changes);
    }
  }

  /** Opens, sends a little, and tells how it went. Who was let in is waited for: a busy machine is slow. */
  async tcp(from: string, to: string, port = 7001, by?: string): Promise<string> {
    const { outcome, connected } = await this.lab.tcp(from, to, { port, bytes: 10_000, patience: 500 }, by);
    if (outcome !== 'timeout' || connected === undefined) return outcome;
    return (await this.lab.tcp(from, to, { port, bytes: 10_000, patience: 10_000 }, by)).outcome;
  }

  /** How many of ten came back. */
  async udp(from: string, to: string, port = 7002, by?: string): Promise<number> {
    return (await this.lab.udp(from, to, { port, count: 10, size: 100, wait: 600 }, by)).answered;
  }

  nft(host: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.host(host).netns, '/usr/sbin/nft', ...args], { encoding: 'utf8' });
  }

  async down(): Promise<void> {
    for (const { network, policy } of this.hosts.values()) {
      await policy.close({ keep: false });
      await network.close();
    }
    await this.lab.down();
  }
}

function overlayState(lab: HostLab, name: string): OverlayState['underlay'] {
  const { address, device } = lab.host(name);
  return { address: address as OverlayState['underlay']['address'], device };
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(what: string, probe: () => boolean | Promise<boolean>, limit = 20_000): Promise<void> {
  const end = Date.now() + limit;
  while (!(await probe())) {
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
    await sleep(50);
  }
}
