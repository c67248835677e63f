/** What must hold all along, and what must hold when it has been quiet for a while. */
import { type Prefix, prefixAddress, prefixContains } from '../../src/model/address.ts';
import { isOn } from './box.ts';
import { SIDES, type Side } from './server.ts';
import { SLOTS, type World } from './world.ts';

const LOOK = 50;
/** The kernel's refusals are tried again after a second; notifications may be lost for 0.3 s. */
const SLACK = 2_500;
/** From the table to G over a sound path, with TCP's resending. */
const WIRE = 500;
/** G keeps the hosts of a dead agent for 5 s, and of one that came back until its table is whole, 3 s later. */
const RESTART = 9_000;

export class Monitor {
  readonly #world: World;
  /** `A 10.10.10.1/32` is announced and wrong since. */
  readonly #wrong = new Map<string, number>();
  /** Nothing speaks for keeping ports of this switch shut since. */
  /** This switch has no uplink, and an agent whose group may act, since. */
  readonly #cut: Record<Side, number | undefined> = { A: undefined, B: undefined };
  readonly #whole: Record<Side, number | undefined> = { A: undefined, B: undefined };
  /** A port is shut, and the agent says that it isn't its doing, since. */
  readonly #unowned = new Map<string, number>();
  /** The kernel lacks routes of hosts that are announced, since. */
  readonly #missing: Record<Side, number | undefined> = { A: undefined, B: undefined };
  /** G knows other hosts of this switch than it announces, since. */
  readonly #differs: Record<Side, number | undefined> = { A: undefined, B: undefined };

  constructor(world: World) {
    this.#world = world;
    world.onAnnouncement = (side, prefix) => this.#announced(side, prefix);
    world.listeners.push((side, { type, message }) => {
      // Between two looks the reason can come and go again.
      if (type === 'portlink.state' || (type === 'upstream' && message.includes('not ready')))
        this.#whole[side] = undefined;
    });
  }

  begin(): void {
    const look = (): void => {
      this.#look();
      this.#world.clock.after(LOOK, look);
    };
    look();
  }

  #announced(side: Side, prefix: Prefix): void {
    const inside = prefixContains('10.10.10.0/24' as Prefix, prefixAddress(prefix));
    if (!prefix.endsWith('/32') || !inside) this.#world.violation(`${side} announces ${prefix}`);
  }

  #look(): void {
    for (const side of SIDES) {
      this.#placesOf(side);
      this.#portsOf(side);
      this.#hostsOf(side);
      this.#bounds(side);
    }
  }

  #placesOf(side: Side): void {
    const world = this.#world;
    const now = world.clock.now();
    const { prefix } = world.settings[side];
    const announced = world.gateway.received.get(side)!;
    for (const each of announced.keys()) {
      const address = prefixAddress(each);
      const key = `${side} ${each}`;
      const allowed = prefixContains(prefix as Prefix, address);
      if (allowed && world.places(address).has(side)) this.#wrong.delete(key);
      else if (!this.#wrong.has(key)) this.#wrong.set(key, now);
    }
    for (const [key, since] of this.#wrong) {
      if (!key.startsWith(side)) continue;
      if (!announced.has(key.slice(2) as Prefix)) this.#wrong.delete(key);
      else if (now - since > this.#probeBound(side))
        world.violation(`${key} is announced for ${(now - since).toFixed(0)} ms and is not there`);
    }
  }

  #probeBound(side: Side): number {
    const { base, settings, helps } = this.#world;
    const interval = Math.max(base.probe.interval, settings[side].probe.interval);
    return (
      interval + (1 + base.probe.retries) * base.probe.timeout + 2 * base.wait + 3_000 + (helps ? RESTART : 0) + SLACK
    );
  }

  #portsOf(side: Side): void {
    const world = this.#world;
    const now = world.clock.now();
    const { life, box } = world.tors[side];
    const agent = life && !life.stopping ? life.agent : undefined;
    const view = agent?.groups.views()[0];
    const { startupDelay } = world.base;
    const whole =
      agent !== undefined &&
      view !== undefined &&
      view.held === undefined &&
      isOn(world.port(side, 0)) &&
      agent.fabric.readiness().ready &&
      now - life!.bornAt > startupDelay;
    this.#whole[side] = whole ? (this.#whole[side] ?? now) : undefined;
    const cut =
      view !== undefined &&
      view.held === undefined &&
      world.settings[side].enabled &&
      !isOn(world.port(side, 0)) &&
      now - life!.bornAt > startupDelay;
    this.#cut[side] = cut ? (this.#cut[side] ?? now) : undefined;
    for (const slot of SLOTS) {
      const port = box.ports.get(`${side}${slot}`)!;
      if (!port.adminUp || view?.state === 'up') port.overridden = false;
      if (port.adminUp && !port.overridden && now - (this.#cut[side] ?? now) > 2 * SLACK)
        world.violation(`${port.name} is open, and ${side} has had no uplink for ${now - this.#cut[side]!} ms`);
      const ours = view?.downlinks.find((each) => each.port === port.name);
      if (!agent || port.adminUp || port.operator || ours?.shutByUs) this.#unowned.delete(port.name);
      else {
        const since = this.#unowned.get(port.name) ?? now;
        this.#unowned.set(port.name, since);
        if (now - since > SLACK) world.violation(`${port.name} is shut, and no group says why`);
      }
      const since = this.#whole[side];
      const bound = Math.max(world.base.recoveryDelay, world.settings[side].recoveryDelay, 2_000) + 300 + 2 * SLACK;
      if (!port.adminUp && !port.operator && since !== undefined && now - since > bound)
        world.violation(`${port.name} is still shut ${(now - since).toFixed(0)} ms after its reason has gone`);
    }
  }

  /** What the agent itself knows, it has acted on: the withdrawal is in the turn of the event. */
  #hostsOf(side: Side): void {
    const world = this.#world;
    const { life, box } = world.tors[side];
    const agent = life && !life.stopping ? life.agent : undefined;
    if (!agent) return;
    const told = new Map([...world.gateway.received.get(side)!].filter(([, path]) => !path.stale));
    const announced = agent.hosts.announced();
    for (const { address, interface: name } of announced) {
      const port = life!.face.port(name);
      if (!port?.adminUp || !port.carrier) world.violation(`${side} announces ${address} on ${name}, which is down`);
      const real = box.ports.get(name);
      // Hosts are withdrawn before their port is shut, not when it is seen to be.
      if (real && !real.adminUp && !real.operator)
        world.violation(`${side} announces ${address} on ${name}, which it has shut`);
    }
    const now = world.clock.now();
    const routes = box.hostRoutes(agent.loaded.config.kernel.protocol);
    const missing = announced.filter(({ address, interface: name }) => routes.get(address) !== name);
    // A kernel that has no memory is asked once a second; one that keeps refusing is not our fault.
    const excused = missing.length === 0 || world.tors[side].weather.refuse > 0;
    this.#missing[side] = excused ? undefined : (this.#missing[side] ?? now);
    if (now - (this.#missing[side] ?? now) > SLACK)
      world.violation(
        `${side} lacks kernel routes of ${missing.map(({ address, interface: name }) => `${address} on ${name}`)}`,
      );
    const wanted = new Set(announced.map(({ address }) => `${address}/32`));
    const differs = told.size !== wanted.size || [...told.keys()].some((prefix) => !wanted.has(prefix));
    const open = differs && world.gateway.established(side) && world.hears(side);
    this.#differs[side] = open ? (this.#differs[side] ?? now) : undefined;
    if (now - (this.#differs[side] ?? now) > WIRE)
      world.violation(`G has ${[...told.keys()]} from ${side}, which announces ${[...wanted]}`);
  }

  #bounds(side: Side): void {
    const world = this.#world;
    const { life } = world.tors[side];
    const agent = life?.agent;
    if (!agent) return;
    const counters = agent.hosts.counters();
    const bounded: [string, number, number][] = [
      ['timers', life.clock.pending, 100],
      ['searches', counters.searches ?? 0, 50],
      ['foreign claims', counters.foreignClaims ?? 0, 50],
      ['remembered hosts', counters.remembered ?? 0, 50],
      ['failovers', agent.failovers.last().length, 1_000],
      ['connections', world.tcp.size, 40],
    ];
    for (const [what, count, most] of bounded) if (count > most) world.violation(`${side} has ${count} ${what}`);
  }

  /** Everything was whole for long: the story must have come to its good end. */
  quietEnd(): void {
    const world = this.#world;
    for (const side of SIDES) {
      const { life, box } = world.tors[side];
      const agent = life?.agent;
      if (!agent) {
        world.violation(`${side} has no agent at the end`);
        continue;
      }
      const received = world.gateway.received.get(side)!;
      const announced = new Map(agent.hosts.announced().map((route) => [route.address as string, route]));
      const protocol = agent.loaded.config.kernel.protocol;
      const routes = box.hostRoutes(protocol);
      for (const vm of world.vms) {
        if (!vm.address.startsWith('10.10.10.')) continue;
        const here = world.places(vm.address).has(side);
        if (here && world.gateway.best(`${vm.address}/32` as Prefix) !== side)
          world.violation(
            `G sends ${vm.address} to ${world.gateway.best(`${vm.address}/32` as Prefix)}, not to ${side}`,
          );
        if (here && world.gateway.table.get(`${vm.address}/32` as Prefix) !== side)
          world.violation(`G's table has ${vm.address} not at ${side}`);
        if (here && routes.get(vm.address) !== `${side}${vm.server.slot}`)
          world.violation(`${side} routes ${vm.address} to ${routes.get(vm.address)}, not to ${side}${vm.server.slot}`);
      }
      for (const prefix of received.keys()) {
        const address = prefixAddress(prefix);
        if (!world.places(address).has(side)) world.violation(`${side} announces ${address}, which is not there`);
        if (!announced.has(address)) world.violation(`G has ${address} from ${side}, which does not announce it`);
        if (received.get(prefix)!.origin !== 2) world.violation(`the claim of ${side} to ${address} has not settled`);
      }
      for (const [address, route] of announced) {
        if (!received.has(`${address}/32` as Prefix)) world.violation(`${side} announces ${address}, G has not got it`);
        if (routes.get(address) !== route.interface) world.violation(`${side} has no kernel route for ${address}`);
        if (route.level !== 0) world.violation(`${side} claims ${address} at level ${route.level}`);
      }
      for (const [address, port] of routes)
        if (!announced.has(address)) world.violation(`${side} still has a kernel route for ${address} to ${port}`);
      for (const entry of box.neighbours.values())
        if (entry.protocol === protocol && !announced.has(entry.destination!))
          world.violation(`${side} still has a neighbour entry for ${entry.destination}`);
      for (const slot of SLOTS) {
        const port = world.port(side, slot);
        if (port.adminUp === port.operator) world.violation(`${port.name} is ${port.adminUp ? 'open' : 'shut'}`);
      }
      for (const view of agent.groups.views())
        if (view.state !== 'up') world.violation(`group ${view.name} of ${side} is ${view.state}: ${view.reason}`);
    }
  }
}
