/** What befalls them, by the seed. Every fault is mended by `mendAll`, so that a quiet end can be asked for. */
import { NUD } from 'rtnetlink-ts';
import { other, SIDES, type Side, type Vm } from './server.ts';
import { SLOTS, type World } from './world.ts';

export class Faults {
  readonly #world: World;
  #over = false;
  #rogues = 0;

  constructor(world: World) {
    this.#world = world;
  }

  begin(): void {
    this.#world.listeners.push((side, { type }) => {
      if (type === 'portlink.open' && !this.#over) this.#opening(side);
    });
    const { random, clock } = this.#world;
    const next = (): void => {
      if (this.#over) return;
      this.#one();
      clock.after(random.chance(0.3) ? random.between(0, 40) : random.between(50, 2_500), next);
    };
    clock.after(random.between(0, 1_000), next);
  }

  #one(): void {
    const world = this.#world;
    const { random } = world;
    const side = random.pick(SIDES);
    const slot = random.pick(SLOTS);
    switch (random.integer(0, 20)) {
      case 0:
      case 1:
      case 2:
        world.story(`cable ${side}${slot} breaks`);
        world.cable(side, slot, 'fault', true);
        this.#later(10, 6_000, () => {
          world.story(`cable ${side}${slot} mended`);
          world.cable(side, slot, 'fault', false);
        });
        break;
      case 3:
      case 4:
        world.story(`uplink ${side} breaks`);
        world.cable(side, 0, 'fault', true);
        this.#later(5, 8_000, () => this.#uplinkBack(side));
        break;
      case 5:
        world.story(`uplink ${side} is silent`);
        world.tors[side].silent = true;
        this.#later(200, 6_000, () => {
          world.tors[side].silent = false;
        });
        break;
      case 6: {
        const server = random.pick(world.servers);
        world.story(`server ${server.slot} now prefers ${other(server.primary)}`);
        server.setPrimary(other(server.primary));
        break;
      }
      case 7:
      case 8: {
        const vm = random.pick(world.vms);
        const server = random.pick(world.servers);
        world.story(`${vm.address} moves to server ${server.slot}`);
        world.moveVm(vm, server);
        break;
      }
      case 9: {
        const vm = random.pick(world.vms);
        if (!vm.alive) break;
        world.story(`${vm.address} falls silent`);
        vm.alive = false;
        if (random.chance(0.7)) this.#later(100, 8_000, () => this.#wake(vm));
        break;
      }
      case 10:
        this.#rogue();
        break;
      case 11:
        if (!world.gatewayUp) break;
        world.story('G dies');
        world.gatewayUp = false;
        world.gateway.die();
        this.#later(300, 4_000, () => this.#gatewayBack());
        break;
      case 12:
        world.story(`G resets ${side}`);
        world.gateway.reset(side);
        break;
      case 13:
      case 14:
        world.story(`${side} bad weather`);
        world.weather(side, {
          refuse: random.pick([0, 0.05, 0.3]),
          lateAnswer: random.pick([0.1, 0.6]),
          lateNotice: random.pick([0.1, 0.6]),
          lostNotice: random.pick([0, 0.05, 0.3]),
          unsent: random.pick([0, 0.1]),
          lostFrame: random.pick([0, 0, 0.2]),
        });
        this.#later(500, 5_000, () => world.weather(side, {}));
        break;
      case 15:
        world.crash(side);
        this.#later(100, 5_000, () => world.startAgent(side));
        break;
      case 16:
        if (random.chance(0.5)) world.restart(side);
        else {
          world.powerOff(side);
          this.#later(500, 5_000, () => world.powerOn(side));
        }
        break;
      case 17:
        this.#operator(side, random.chance(0.2) ? 0 : slot);
        break;
      case 18:
        this.#reload(side);
        break;
      case 19:
        this.#neighbours(side);
        break;
      case 20:
        this.#hold(side);
        break;
    }
  }

  #later(least: number, most: number, run: () => void): void {
    const { clock, random } = this.#world;
    clock.after(random.between(least, most), () => {
      if (!this.#over) run();
    });
  }

  #wake(vm: Vm): void {
    if (vm.alive || !this.#world.vms.includes(vm)) return;
    this.#world.story(`${vm.address} is back`);
    vm.alive = true;
    vm.server.announce(vm);
  }

  #uplinkBack(side: Side): void {
    const world = this.#world;
    world.story(`uplink ${side} mended`);
    world.cable(side, 0, 'fault', false);
  }

  /** Just when the ports open, or wait for the fabric to turn before they do. */
  #opening(side: Side): void {
    const world = this.#world;
    if (!world.random.chance(0.2)) return;
    this.#later(0, 320, () => {
      world.story(`uplink ${side} breaks again`);
      world.cable(side, 0, 'fault', true);
      this.#later(1_000, 8_000, () => this.#uplinkBack(side));
    });
  }

  #gatewayBack(): void {
    const world = this.#world;
    if (world.gatewayUp) return;
    world.story('G is back');
    world.gatewayUp = true;
    world.gateway.start();
  }

  /** Somebody else takes an address for a while. */
  #rogue(): void {
    const world = this.#world;
    const { random, clock } = world;
    const victim = random.pick(world.vms);
    const server = random.pick(world.servers);
    const rogue = world.addVm(victim.address, 0x80 + (this.#rogues++ % 64), server);
    world.story(`${victim.address} is claimed on server ${server.slot} too`);
    const shout = (): void => {
      if (!rogue.alive) return;
      server.announce(rogue);
      clock.after(random.between(100, 900), shout);
    };
    shout();
    clock.after(random.between(300, 6_000), () => {
      world.story(`the rogue ${victim.address} is gone`);
      this.#end(rogue);
    });
  }

  #end(vm: Vm): void {
    vm.alive = false;
    vm.server.vms.delete(vm);
    const index = this.#world.vms.indexOf(vm);
    if (index >= 0) this.#world.vms.splice(index, 1);
  }

  /** Only what the agent can know to be the operator's: a port that was open, and nothing of it on the way. */
  #operator(side: Side, slot: number): void {
    const world = this.#world;
    const tor = world.tors[side];
    const port = world.port(side, slot);
    const agent = tor.life?.agent;
    if (!tor.powered || port.operator) return;
    if (!port.adminUp) {
      if (!agent) return;
      world.story(`operator opens ${port.name}`);
      port.overridden = true;
      tor.box.setAdmin(port, true);
      return;
    }
    const seen = tor.life?.face.port(port.name);
    const remembered = tor.disk.shutPorts.includes(port.name);
    const ours = agent?.groups.views()[0]?.downlinks.some((each) => each.port === port.name && each.shutByUs) ?? false;
    if (remembered || ours || (tor.life && (!agent || seen?.adminUp !== true))) return;
    world.story(`operator shuts ${port.name}`);
    port.operator = true;
    tor.box.setAdmin(port, false);
    if (world.random.chance(0.8)) this.#later(100, 8_000, () => this.#operatorOpens(side, slot));
  }

  #operatorOpens(side: Side, slot: number): void {
    const world = this.#world;
    const port = world.port(side, slot);
    if (port.adminUp) return;
    world.story(`operator opens ${port.name}`);
    port.overridden = !port.operator;
    port.operator = false;
    world.tors[side].box.setAdmin(port, true);
  }

  #reload(side: Side): void {
    const world = this.#world;
    const { random } = world;
    const changes = [
      { recoveryDelay: random.pick([0, 300, 2_000]) },
      { probe: { interval: random.pick([500, 3_000]), retries: 1, timeout: 100 } },
      { prefix: random.pick(['10.10.10.0/25', '10.10.10.0/24']) },
      { enabled: random.chance(0.5) },
      {
        ports: random.pick([
          [1, 2, 3],
          [1, 2, 3, 4],
          [2, 4],
        ]),
      },
      { upWhen: random.pick([['carrier'], ['carrier', 'adjacency']]) },
      { returning: random.pick(['learned', 'always', 'never'] as const) },
      { hold: random.pick([3, 6]) },
      { communities: random.pick([['65001:100'], ['no-export']]) },
      { restartTime: random.pick([undefined, 1, 5]) },
    ];
    world.reload(side, random.pick(changes));
    this.#later(500, 6_000, () => world.reload(side, { ...world.base }));
  }

  #hold(side: Side): void {
    const world = this.#world;
    const { life } = world.tors[side];
    if (!life?.agent || life.stopping) return;
    const state = world.random.pick(['open', 'shut'] as const);
    world.story(`operator holds ${side} ${state}`);
    life.agent.groups.hold('fabric', state);
    this.#later(100, 4_000, () => this.#release(side));
  }

  #release(side: Side): void {
    const world = this.#world;
    world.story(`operator releases ${side}`);
    // A dead agent is told when it lives again.
    const tell = (): void => {
      const { life } = world.tors[side];
      if (life?.agent && !life.stopping) life.agent.groups.release('fabric');
      else world.clock.after(500, tell);
    };
    tell();
  }

  /** The kernel checks an entry by itself, or makes one. */
  #neighbours(side: Side): void {
    const world = this.#world;
    const { random } = world;
    const { box } = world.tors[side];
    const entries = [...box.neighbours.values()];
    if (entries.length === 0) return;
    const entry = random.pick(entries);
    const port = box.byIndex(entry.ifindex);
    const slot = Number(port?.name.slice(1));
    const answers = world.vms.some(
      (vm) =>
        vm.alive &&
        vm.address === entry.destination &&
        vm.server.slot === slot &&
        vm.server.active === side &&
        port?.cable,
    );
    if (answers) box.learn({ ...entry, state: random.pick([NUD.REACHABLE, NUD.STALE]) });
    else box.forget(entry);
  }

  /** Peace: everything is whole again and nothing new happens. */
  mendAll(): void {
    this.#over = true;
    const world = this.#world;
    world.story('--- peace');
    for (const side of SIDES) {
      const tor = world.tors[side];
      world.weather(side, {});
      tor.silent = false;
      for (const slot of [0, ...SLOTS]) world.cable(side, slot, 'fault', false);
      world.powerOn(side);
      world.startAgent(side);
      this.#release(side);
      for (const slot of [0, ...SLOTS]) if (slot === 0 || world.random.chance(0.7)) this.#operatorOpensOwn(side, slot);
      world.reload(side, { ...world.base });
    }
    this.#gatewayBack();
    for (const vm of [...world.vms]) {
      if (Number.parseInt(vm.mac.slice(-2), 16) >= 0x80 && vm.address.startsWith('10.')) this.#end(vm);
      else if (!vm.alive && world.random.chance(0.5)) this.#wake(vm);
    }
  }

  #operatorOpensOwn(side: Side, slot: number): void {
    if (this.#world.port(side, slot).operator) this.#operatorOpens(side, slot);
  }
}
