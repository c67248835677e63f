/** The people: they shut and open ports, hold groups, drain switches, change the configuration. */

import type { DrainOrder } from '../../src/agent/tor/drain/types.ts';
import type { BoxPort } from './box.ts';
import { type GroupSettings, HOSTS_4, type Settings } from './scene.ts';
import type { Side } from './server.ts';
import type { World } from './world.ts';

export class Operator {
  readonly #world: World;
  readonly #later: (least: number, most: number, run: () => void) => void;

  constructor(world: World, later: (least: number, most: number, run: () => void) => void) {
    this.#world = world;
    this.#later = later;
  }

  /** Only what the agent can know to be the operator's: a port that was open, and nothing of it on the way. */
  port(side: Side, slot: number): void {
    const world = this.#world;
    const tor = world.tors[side];
    const port = world.port(side, slot);
    const agent = tor.life?.agent;
    if (!tor.powered || port.operator) return;
    if (!port.adminUp) {
      if (!agent) return;
      world.story(`operator opens ${port.name}`);
      port.overridden = true;
      this.#set(side, port, true);
      return;
    }
    const seen = tor.life?.kernel.port(port.name);
    const remembered = tor.disk.shutPorts.includes(port.name);
    const ours =
      (agent?.groups.keeperOf(port.name) !== undefined ||
        agent?.groups
          .views()
          .some(({ downlinks }) => downlinks.some((each) => each.port === port.name && each.shutByUs))) ??
      port.byAgent;
    if (remembered || ours || (tor.life && (!agent || seen?.adminUp !== true))) return;
    world.story(`operator shuts ${port.name}`);
    port.operator = true;
    this.#set(side, port, false);
    if (world.random.chance(0.8)) this.#later(100, 8_000, () => this.opens(side, slot));
  }

  opens(side: Side, slot: number): void {
    const world = this.#world;
    const port = world.port(side, slot);
    if (port.adminUp && !port.operator) return;
    world.story(`operator opens ${port.name}`);
    port.overridden = !port.operator;
    port.operator = false;
    this.#set(side, port, true);
  }

  #set(side: Side, port: BoxPort, up: boolean): void {
    const { box, sonic } = this.#world.tors[side];
    if (sonic) sonic.operator(port, up);
    else box.setAdmin(port, up);
  }

  /** SIGHUP, the file differs a little; after a while it is as it was. */
  reload(side: Side): void {
    const world = this.#world;
    const { random } = world;
    const change = { ...random.pick(this.#changes()), ...(random.chance(0.3) ? random.pick(this.#changes()) : {}) };
    world.agents.reload(side, change);
    this.#later(500, 6_000, () => world.agents.reload(side, { ...world.base }));
  }

  #changes(): Partial<Settings>[] {
    const { random, base } = this.#world;
    const each = (change: Partial<GroupSettings>): Partial<Settings> => ({
      groups: base.groups.map((group) => ({ ...group, ...change })),
    });
    return [
      { recoveryDelay: random.pick([0, 300, 2_000]) },
      { probe: { interval: random.pick([500, 3_000]), retries: 1, timeout: 100 } },
      { prefix: random.pick(['10.10.10.0/25', HOSTS_4]) },
      { enabled: random.chance(0.5) },
      {
        ports: random.pick([
          [1, 2, 3],
          [1, 2, 3, 4],
          [2, 4],
        ]),
      },
      { upWhen: random.pick([['carrier'], ['carrier', 'adjacency'], ['carrier', 'nexthop']]) },
      { returning: random.pick(['learned', 'always', 'never'] as const) },
      { hold: random.pick([3, 6]) },
      { communities: random.pick([['65001:100'], ['no-export']]) },
      { restartTime: random.pick([undefined, 1, 5]) },
      each({ minUplinks: random.pick([1, base.groups[0]!.uplinks.length]) }),
      each({ shut: random.pick(['all', 1, '30%'] as const), priority: random.pick([[], [2]]) }),
      each({ deferDelay: random.pick([0, 200, 1_500]) }),
      each({ dryRun: true }),
      { groups: base.groups.slice(0, -1) },
      { groups: base.groups.map((group) => ({ ...group, downlinks: group.downlinks.slice(1) })) },
    ];
  }

  hold(side: Side): void {
    const world = this.#world;
    const { life } = world.tors[side];
    if (!life?.agent || life.stopping) return;
    const { name } = world.random.pick(world.base.groups);
    const state = world.random.pick(['open', 'shut'] as const);
    world.story(`operator holds ${name} of ${side} ${state}`);
    life.agent.groups.hold(name, state);
    this.#later(100, 4_000, () => this.release(side));
  }

  release(side: Side): void {
    const world = this.#world;
    world.story(`operator releases ${side}`);
    // A dead agent is told when it lives again.
    const tell = (): void => {
      const { life } = world.tors[side];
      if (life?.agent && !life.stopping) for (const { name } of world.base.groups) life.agent.groups.release(name);
      else world.clock.after(500, tell);
    };
    tell();
  }

  /** `peerless drain`, of the whole switch or of some ports; in the midst of it a stop, or another order. */
  drain(side: Side): void {
    const world = this.#world;
    const { random } = world;
    const { life } = world.tors[side];
    if (!life?.agent || life.stopping) return;
    const candidates = life.agent.drain.candidates();
    const some = candidates.filter(() => random.chance(0.5));
    const whole = random.chance(0.6) || some.length === 0;
    const order: DrainOrder = {
      ports: whole ? candidates : some,
      whole,
      pause: random.pick([0, 200, 1_000]),
      timeout: random.pick([300, 1_000, 2_000]),
      force: random.chance(0.3),
    };
    world.story(`operator drains ${whole ? side : some.join(' ')}${order.force ? ', by force' : ''}`);
    life.agent.drain.drain(order);
    if (random.chance(0.2)) this.#later(10, 3_000, () => world.tors[side].life?.agent?.drain.halt());
    this.#later(100, 9_000, () => this.#undrain(side, order));
  }

  #undrain(side: Side, order: DrainOrder): void {
    const world = this.#world;
    const { life } = world.tors[side];
    if (!life?.agent || life.stopping) return;
    world.story(`operator undrains ${order.whole ? side : order.ports.join(' ')}`);
    life.agent.drain.undrain(order);
  }

  /** Everything comes back; asked again while something has stayed shut, as a kernel may have refused it. */
  undrain(side: Side): void {
    const { clock, tors } = this.#world;
    const { life } = tors[side];
    const drain = life?.stopping ? undefined : life?.agent?.drain;
    if (drain && !drain.active) return;
    if (drain && drain.view().phase !== 'undraining') {
      const ports = drain.view().ports.map(({ port }) => port);
      this.#undrain(side, { ports, whole: true, pause: 200, timeout: 2_000, force: false });
    }
    clock.after(drain ? 2_000 : 500, () => this.undrain(side));
  }
}
