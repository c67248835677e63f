/** What must hold all along; `quiet-end.ts`: what must hold when it has been quiet for a while. */
import { type Prefix, prefixAddress, prefixContains } from '../../src/model/address.ts';
import { backupsOf } from './backups.ts';
import { PortRules } from './port-rules.ts';
import { HOSTS_4, HOSTS_6 } from './scene.ts';
import { SIDES, type Side } from './server.ts';
import type { World } from './world.ts';

/** How often it is counted what must stay few. */
const COUNT = 1_000;
/** The kernel's refusals are tried again after a second; notifications may be lost for 0.3 s. */
export const SLACK = 2_500;
/** From the table to G over a sound path, with TCP's resending. */
const WIRE = 500;
/** OSPF resends what was lost, or came within MinLSArrival, after 5 s at the latest, and then perhaps once more. */
const FLOODING = 11_000;
/** shadow.hold, and what one sees of it from outside: it is looked for at times, and in portions. */
const HOLD = 3_000;
/** G keeps the hosts of a dead agent for 5 s, and of one that came back until its table is whole, 3 s later. */
const RESTART = 9_000;

export class Monitor {
  /** How often it is looked, ms. */
  pace = 50;
  readonly #world: World;
  readonly #ports: PortRules;
  /** `A 10.10.10.1/32` is announced and wrong since. */
  readonly #wrong = new Map<string, number>();
  /** The kernel lacks routes of hosts that are announced, since. */
  readonly #missing: Record<Side, number | undefined> = { A: undefined, B: undefined };
  /** When G last knew a host as one of that switch. */
  readonly #real: Record<Side, Map<Prefix, number>> = { A: new Map(), B: new Map() };
  /** `A 10.10.10.1/32`: G prefers the shadow of a host that it knows as a real one, since. */
  readonly #preferred = new Map<string, number>();
  readonly shadows = { begun: 0, served: 0 };
  /** `A from/2`: the packets for all who were behind that port of the other switch go to a port, since. */
  readonly #turned = new Map<string, number>();
  /** `A0 10.10.10.1/32`: G knows other than the switch announces, since. */
  readonly #differs = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
    this.#ports = new PortRules(world);
    world.onAnnouncement = (side, prefix) => this.#announced(side, prefix);
  }

  begin(): void {
    const look = (): void => {
      for (const side of SIDES) {
        this.#placesOf(side);
        this.#ports.look(side);
        this.#hostsOf(side);
        this.#toldBy(side);
      }
      for (const side of this.#world.scene.shadow ? SIDES : []) {
        this.#shadowsOf(side);
        this.#turnsOf(side);
        backupsOf(this.#world, side);
      }
      this.#world.clock.after(this.pace, look);
    };
    const count = (): void => {
      for (const side of SIDES) this.#bounds(side);
      this.#world.clock.after(COUNT, count);
    };
    look();
    count();
  }

  #announced(side: Side, prefix: Prefix): void {
    const [within, length] = prefix.includes(':') ? [HOSTS_6, '/128'] : [HOSTS_4, '/32'];
    if (!prefix.endsWith(length) || !prefixContains(within as Prefix, prefixAddress(prefix)))
      this.#world.violation(`${side} announces ${prefix}`);
  }

  #placesOf(side: Side): void {
    const world = this.#world;
    const now = world.clock.now();
    const { prefix } = world.settings[side];
    const believed = world.gateway.believed(side);
    for (const each of believed.keys()) {
      const address = prefixAddress(each);
      const key = `${side} ${each}`;
      const allowed = address.includes(':') || prefixContains(prefix as Prefix, address);
      if (allowed && world.places(address).has(side)) this.#wrong.delete(key);
      else if (!this.#wrong.has(key)) this.#wrong.set(key, now);
    }
    for (const [key, since] of this.#wrong) {
      if (!key.startsWith(side)) continue;
      if (!believed.has(key.slice(2) as Prefix)) this.#wrong.delete(key);
      else if (now - since > this.#probeBound(side))
        world.violation(`${key} is announced for ${(now - since).toFixed(0)} ms and is not there`);
    }
  }

  #probeBound(side: Side): number {
    const { base, settings, scene } = this.#world;
    const interval = Math.max(base.probe.interval, settings[side].probe.interval);
    const silence = interval + (1 + base.probe.retries) * base.probe.timeout;
    const fabric = (scene.helps ? RESTART : 0) + (scene.protocol === 'bgp' ? 0 : RESTART + FLOODING);
    return silence + 2 * base.wait + 3_000 + fabric + SLACK;
  }

  /** What the agent itself knows, it has acted on: the withdrawal is in the turn of the event. */
  #hostsOf(side: Side): void {
    const world = this.#world;
    const { life, box, fate } = world.tors[side];
    const agent = life && !life.stopping ? life.agent : undefined;
    if (!agent) return;
    const announced = agent.hosts.announced();
    for (const { address, interface: name } of announced) {
      // Who is waited for at the door is behind no port yet.
      const behind = name === 'plhold0' ? name : agent.hosts.find(address)!.port;
      const port = life!.kernel.port(behind);
      if (!port?.adminUp || !port.carrier) world.violation(`${side} announces ${address} on ${behind}, which is down`);
      const real = box.ports.get(behind);
      // Hosts are withdrawn before their port is shut, not when it is seen to be.
      if (real && !real.adminUp && real.byAgent)
        world.violation(`${side} announces ${address} on ${behind}, which it has shut`);
    }
    const now = world.clock.now();
    const routes = box.hostRoutes(agent.loaded.config.kernel.protocol);
    const missing = announced.filter(({ address, interface: name, shadow }) =>
      shadow ? !box.shadows.has(address) : routes.get(address) !== name,
    );
    // A kernel that has no memory is asked once a second; one that keeps refusing is not our fault.
    const excused = missing.length === 0 || fate.refuses;
    this.#missing[side] = excused ? undefined : (this.#missing[side] ?? now);
    if (now - (this.#missing[side] ?? now) > SLACK)
      world.violation(
        `${side} lacks kernel routes of ${missing.map(({ address, interface: name }) => `${address} on ${name}`)}`,
      );
  }

  /** What is announced has come to G, and nothing else, over each sound way there. */
  #toldBy(side: Side): void {
    const world = this.#world;
    const { gateway } = world;
    const { life, fate } = world.tors[side];
    const agent = life && !life.stopping ? life.agent : undefined;
    const announced = agent?.hosts.announced() ?? [];
    const prefixes = (routes: typeof announced) => new Set(routes.map(({ address }) => hostPrefix(address)));
    // Where both are spoken, shadows go by OSPF alone.
    const wanted = prefixes(world.scene.protocol === 'both' ? announced.filter(({ shadow }) => !shadow) : announced);
    const wanted4 = new Set([...prefixes(announced)].filter((prefix) => !prefix.includes(':')));
    for (const link of world.linksOf(side)) {
      // A box that makes its ports anew, and whose Redis hangs meanwhile, may have a session on a port that it does not see.
      const sound = agent !== undefined && life!.kernel.port(link.name)?.carrier === true && world.passes(link);
      if (gateway.bgp) {
        const fresh = [...gateway.bgp.received.get(link.name)!].filter(([, path]) => !path.stale);
        const open = sound && gateway.bgp.established(link.name);
        this.#compare(`BGP ${link.name}`, open, wanted, new Set(fresh.map(([prefix]) => prefix)), WIRE);
      }
      if (gateway.ospf) {
        const open = sound && gateway.ospf.isFull(link) && fate.isFine;
        const told = new Set([...gateway.ospf.hosts(side).keys(), ...gateway.ospf.hosts(side, true).keys()]);
        this.#compare(`OSPF ${link.name}`, open, wanted4, told, FLOODING);
        for (const prefix of told) this.#announced(side, prefix);
      }
    }
  }

  #compare(where: string, open: boolean, wanted: ReadonlySet<Prefix>, told: ReadonlySet<Prefix>, bound: number): void {
    const world = this.#world;
    const now = world.clock.now();
    for (const key of this.#differs.keys()) {
      const prefix = key.slice(where.length + 1) as Prefix;
      if (key.startsWith(`${where} `) && (!open || wanted.has(prefix) === told.has(prefix))) this.#differs.delete(key);
    }
    if (!open) return;
    for (const prefix of new Set([...wanted, ...told])) {
      if (wanted.has(prefix) === told.has(prefix)) continue;
      const key = `${where} ${prefix}`;
      const since = this.#differs.get(key) ?? now;
      this.#differs.set(key, since);
      if (now - since > bound)
        world.violation(`G ${told.has(prefix) ? 'has' : 'has not got'} ${prefix} from ${where}, unlike the agent`);
    }
  }

  /**
   * A switch stands by only for what the other has, or had until lately: so there are never two shadows and nothing real for
   * long. And whoever really has a host is preferred.
   */
  #shadowsOf(side: Side): void {
    const world = this.#world;
    const { gateway, clock, scene } = world;
    const now = clock.now();
    const other = side === 'A' ? 'B' : 'A';
    for (const prefix of gateway.believed(side).keys()) this.#real[side].set(prefix, now);
    const shadows = gateway.shadows(side);
    const fabric = scene.protocol === 'bgp' ? 0 : RESTART + FLOODING;
    const real = gateway.believed(other);
    for (const prefix of shadows) {
      const since = now - (this.#real[other].get(prefix) ?? 0);
      if (since > HOLD + RESTART + fabric + SLACK)
        world.violation(`${side} stands by for ${prefix}, which ${other} has not announced for ${since.toFixed(0)} ms`);
    }
    for (const prefix of real.keys()) {
      const key = `${side} ${prefix}`;
      const preferred =
        shadows.has(prefix) && !gateway.believed(side).has(prefix) && gateway.leadsTo(prefix).includes(side);
      if (!preferred) this.#preferred.delete(key);
      else if (!this.#preferred.has(key)) this.#preferred.set(key, now);
      if (now - (this.#preferred.get(key) ?? now) > WIRE + fabric)
        world.violation(`G prefers the shadow of ${prefix} at ${side} to ${other}, which has it`);
    }
    for (const key of this.#preferred.keys())
      if (key.startsWith(side) && !real.has(key.slice(2) as Prefix)) this.#preferred.delete(key);
  }

  /** Who comes with another has `hold` for it; the next life begins anew where one is killed. */
  #turnsOf(side: Side): void {
    const world = this.#world;
    const { box, life } = world.tors[side];
    const now = world.clock.now();
    const turned = new Set(life?.agent ? Array.from(box.shadows.turned(), (group) => `${side} ${group}`) : []);
    for (const key of turned) {
      const since = this.#turned.get(key) ?? now;
      this.#turned.set(key, since);
      if (now - since > HOLD + SLACK) world.violation(`the shadows of ${key} go to a port for ${now - since} ms`);
    }
    for (const key of this.#turned.keys()) if (key.startsWith(side) && !turned.has(key)) this.#turned.delete(key);
  }

  /** To be called when a life ends. */
  countShadows(side: Side): void {
    const counters = this.#world.tors[side].life?.agent?.hosts.counters();
    this.shadows.begun += counters?.shadowsBegun ?? 0;
    this.shadows.served += counters?.shadowsServed ?? 0;
  }

  #bounds(side: Side): void {
    const world = this.#world;
    const { life } = world.tors[side];
    const agent = life?.agent;
    if (!agent) return;
    const counters = agent.hosts.counters();
    const bounded: [string, number, number][] = [
      ['timers', life.clock.pending, 120],
      ['searches', counters.searches ?? 0, 50],
      ['foreign claims', counters.foreignClaims ?? 0, 50],
      ['remembered hosts', counters.remembered ?? 0, 60],
      ['failovers', agent.failovers.last().length, 1_000],
      ['connections', world.tcp.size, 60],
    ];
    for (const [what, count, most] of bounded) if (count > most) world.violation(`${side} has ${count} ${what}`);
  }
}

export const hostPrefix = (address: string): Prefix => `${address}/${address.includes(':') ? 128 : 32}` as Prefix;
