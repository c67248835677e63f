/** What befalls them, by the seed. Every fault is mended by `mendAll`, so that a quiet end can be asked for. */
import { NUD } from 'rtnetlink-ts';
import { Operator } from './operator.ts';
import { SLOTS } from './scene.ts';
import { other, SIDES, type Side, type Vm } from './server.ts';
import type { World } from './world.ts';

export class Faults {
  readonly #world: World;
  readonly #operator: Operator;
  #over = false;
  #rogues = 0;

  constructor(world: World) {
    this.#world = world;
    this.#operator = new Operator(world, (least, most, run) => this.#later(least, most, run));
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
    const { random, scene } = world;
    const side = random.pick(SIDES);
    const slot = random.pick(SLOTS);
    const uplink = random.pick(scene.uplinks);
    if (world.scene.sonic && random.chance(0.15)) {
      this.#sonic(side);
      return;
    }
    switch (random.integer(0, 23)) {
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
      case 21:
        this.#uplinkBreaks(side, uplink);
        if (random.chance(0.4)) this.#later(0, 1_500, () => this.#uplinkBreaks(side, random.pick(scene.uplinks)));
        break;
      case 5:
        world.story(`uplink ${side}${uplink} is silent`);
        world.tors[side].silent.add(uplink);
        this.#later(200, 6_000, () => {
          world.tors[side].silent.delete(uplink);
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
      case 12: {
        const link = random.pick(world.linksOf(side));
        world.story(`G resets ${link.name}`);
        world.gateway.reset(link);
        break;
      }
      case 13:
      case 14:
        world.story(`${side} bad weather`);
        world.tors[side].fate.change({
          error: random.pick([0, 0.05, 0.3]),
          delay: random.pick([0.1, 0.6]),
          lostNotice: random.pick([0, 0.05, 0.3]),
          lostFrame: random.pick([0, 0, 0.2]),
          lostPacket: random.pick([0, 0.02, 0.2]),
        });
        this.#later(500, 5_000, () => world.tors[side].fate.change({}));
        break;
      case 15:
        world.agents.crash(side);
        this.#later(100, 5_000, () => world.agents.start(side));
        break;
      case 22:
        world.tors[side].doom = random.integer(1, 60);
        break;
      case 16:
        if (random.chance(0.5)) world.agents.restart(side);
        else {
          world.agents.powerOff(side);
          this.#later(500, 5_000, () => world.agents.powerOn(side));
        }
        break;
      case 17:
        this.#operator.port(side, random.chance(0.2) ? uplink : slot);
        break;
      case 18:
        this.#operator.reload(side);
        break;
      case 19:
        this.#neighbours(side);
        break;
      case 20:
        this.#operator.hold(side);
        break;
      case 23:
        this.#operator.drain(side);
        break;
    }
  }

  #sonic(side: Side): void {
    const world = this.#world;
    const sonic = world.tors[side].sonic!;
    const { redis } = sonic;
    switch (world.random.integer(0, 3)) {
      case 0:
        world.story(`${side} loses Redis`);
        redis.stop();
        this.#later(20, 6_000, () => redis.start());
        break;
      case 1:
        world.story(`Redis of ${side} hangs`);
        redis.freeze(true);
        this.#later(20, 9_000, () => redis.freeze(false));
        break;
      case 2:
        world.story(`orchagent of ${side} hangs`);
        sonic.hang(true);
        this.#later(20, 14_000, () => sonic.hang(false));
        break;
      case 3:
        world.story(`swss of ${side} restarts`);
        sonic.restart();
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

  #uplinkBreaks(side: Side, slot: number): void {
    const world = this.#world;
    world.story(`uplink ${side}${slot} breaks`);
    world.cable(side, slot, 'fault', true);
    this.#later(5, 8_000, () => {
      world.story(`uplink ${side}${slot} mended`);
      world.cable(side, slot, 'fault', false);
    });
  }

  /** Just when the ports open, or wait for the fabric to turn before they do. */
  #opening(side: Side): void {
    const { random, scene } = this.#world;
    if (!random.chance(0.2)) return;
    this.#later(0, 320, () => {
      for (const slot of scene.uplinks) this.#uplinkBreaks(side, slot);
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

  /** The kernel checks an entry by itself, or makes one. */
  #neighbours(side: Side): void {
    const world = this.#world;
    const { random } = world;
    const { box } = world.tors[side];
    const entries = [...box.neighbours.values()];
    if (entries.length === 0) return;
    const entry = random.pick(entries);
    const port = box.byIndex(entry.ifindex);
    const answers = world.vms.some((vm) => {
      const behind = world.port(side, vm.server.slot);
      return (
        vm.alive &&
        vm.address === entry.destination &&
        vm.server.active === side &&
        (behind === port || behind.master === port?.ifindex) &&
        behind.cable
      );
    });
    if (answers) box.learn({ ...entry, state: random.pick([NUD.REACHABLE, NUD.STALE]) });
    else box.forget(entry);
  }

  /** Peace: everything is whole again and nothing new happens. */
  mendAll(): void {
    this.#over = true;
    const world = this.#world;
    const { scene, agents } = world;
    world.story('--- peace');
    for (const side of SIDES) {
      const tor = world.tors[side];
      tor.fate.change({});
      tor.silent.clear();
      tor.doom = undefined;
      tor.sonic?.redis.start();
      tor.sonic?.redis.freeze(false);
      tor.sonic?.hang(false);
      for (const slot of [...scene.uplinks, ...SLOTS]) world.cable(side, slot, 'fault', false);
      agents.powerOn(side);
      agents.start(side);
      this.#operator.release(side);
      this.#operator.undrain(side);
      for (const slot of scene.uplinks) this.#giveBack(side, slot);
      for (const slot of SLOTS) if (world.random.chance(0.7)) this.#giveBack(side, slot);
      agents.reload(side, { ...world.base });
    }
    this.#gatewayBack();
    for (const vm of [...world.vms]) {
      if (Number.parseInt(vm.mac.slice(-2), 16) >= 0x80) this.#end(vm);
      else if (!vm.alive && world.random.chance(0.5)) this.#wake(vm);
    }
  }

  #giveBack(side: Side, slot: number): void {
    if (this.#world.port(side, slot).operator) this.#operator.opens(side, slot);
  }
}
