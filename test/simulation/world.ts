/**
 * One seed, one story: G, two switches with their agents, servers, and what befalls them. Nothing here knows the time of
 * day: the virtual clock moves from one happening to the next, and after each everything that it set off in this process
 * (promises, immediates) is run to its end, always in the same order.
 */
import { createHash } from 'node:crypto';
import { TorSwitch } from '../../src/agent/tor/switch.ts';
import type { Loaded, TorConfig } from '../../src/config/index.ts';
import { formatProblem, parseConfig } from '../../src/config/index.ts';
import type { Address, Mac, Prefix } from '../../src/model/address.ts';
import type { Log } from '../../src/model/log.ts';
import { Box, type BoxPort, isOn } from './box.ts';
import { LifeClock, VirtualClock } from './clock.ts';
import { Disk } from './disk.ts';
import { KernelFace, type Weather } from './face.ts';
import { Gateway } from './gateway.ts';
import { Random } from './random.ts';
import { type Cabling, other, Server, SIDES, type Side, type Vm } from './server.ts';
import { Tcp } from './tcp.ts';

export const SLOTS = [1, 2, 3, 4] as const;
const LINKS: Record<Side, { routerId: string; local: Address; peer: Address }> = {
  A: { routerId: '10.255.0.1', local: '192.0.2.2' as Address, peer: '192.0.2.1' as Address },
  B: { routerId: '10.255.0.2', local: '192.0.2.6' as Address, peer: '192.0.2.5' as Address },
};
const EPOCH = 1_700_000_000_000;
const FINE: Weather = { refuse: 0, lateAnswer: 0.05, lateNotice: 0.05, lostNotice: 0, unsent: 0, lostFrame: 0 };
/** More happenings at one instant than any story needs. */
const STANDSTILL = 2_000;
const CHAT = { least: 4_000, most: 9_000 };

export interface Settings {
  recoveryDelay: number;
  startupDelay: number;
  probe: { interval: number; retries: number; timeout: number };
  returning: 'learned' | 'always' | 'never';
  wait: number;
  upWhen: string[];
  prefix: string;
  enabled: boolean;
  ports: readonly number[];
  hold: number;
  communities: readonly string[];
  restartTime: number | undefined;
}

/** One life of an agent. */
export interface Life {
  readonly clock: LifeClock;
  readonly face: KernelFace;
  agent: TorSwitch | undefined;
  readonly bornAt: number;
  stopping: boolean;
}

/** One switch: what outlives its agent, and the agent. */
export interface Tor {
  readonly side: Side;
  readonly box: Box;
  readonly disk: Disk;
  readonly weather: Weather;
  /** Packets to and from G vanish, and no carrier tells. */
  silent: boolean;
  powered: boolean;
  life: Life | undefined;
  /** Why a cable is broken now. */
  readonly broken: Map<string, Set<string>>;
}

export class World {
  readonly seed: number;
  readonly random: Random;
  readonly clock = new VirtualClock();
  readonly tors: Record<Side, Tor>;
  readonly gateway: Gateway;
  readonly tcp: Tcp;
  readonly servers: Server[];
  readonly vms: Vm[] = [];
  readonly base: Settings;
  readonly settings: Record<Side, Settings>;
  readonly asns: Record<Side, number>;
  readonly lines: string[] = [];
  readonly violations: string[] = [];
  gatewayUp = true;
  /** G keeps the routes of a switch whose agent died, for a while. */
  readonly helps: boolean;
  /** What an agent tells its operator. */
  readonly listeners: ((side: Side, event: { type: string; message: string }) => void)[] = [];
  onAnnouncement: (side: Side, prefix: Prefix) => void = () => {};
  readonly #hash = createHash('sha256');
  readonly #configs = new Map<string, Loaded & { config: TorConfig }>();
  happenings = 0;

  constructor(seed: number) {
    this.seed = seed;
    const random = new Random(seed);
    this.random = random;
    this.base = {
      recoveryDelay: random.pick([0, 500, 1_000, 3_000]),
      startupDelay: random.pick([0, 500, 2_000]),
      probe: { interval: random.pick([1_000, 2_000, 5_000]), retries: random.integer(1, 3), timeout: 200 },
      returning: random.pick(['learned', 'always', 'never'] as const),
      wait: random.pick([300, 1_000]),
      upWhen: random.pick([['carrier'], ['carrier'], ['carrier', 'adjacency'], ['carrier', 'default-route']]),
      prefix: '10.10.10.0/24',
      enabled: true,
      ports: SLOTS,
      hold: 3,
      communities: [],
      restartTime: random.pick([undefined, 2, 5]),
    };
    this.settings = { A: { ...this.base }, B: { ...this.base } };
    this.helps = random.chance(0.5);
    this.asns = { A: 65001, B: random.pick([65001, 65002]) };
    this.tors = { A: this.#tor('A', 100), B: this.#tor('B', 200) };
    this.tcp = new Tcp(this.clock, random, (one, two) => this.#path(one, two));
    this.gateway = new Gateway({
      clock: this.clock,
      random,
      tcp: this.tcp,
      helps: this.helps,
      peers: SIDES.map((side) => ({
        tor: side,
        asn: this.asns[side],
        local: LINKS[side].peer,
        remote: LINKS[side].local,
      })),
      onReceived: (tor, message) => {
        const reach = message.reach.flatMap(({ prefixes }) => prefixes);
        for (const prefix of reach) this.onAnnouncement(tor as Side, prefix);
        const level = 2 - (message.attributes.origin ?? 2);
        const what = [
          ...message.withdrawn.map((prefix) => `-${short(prefix)}`),
          ...reach.map((prefix) => `+${short(prefix)}${level > 0 ? `^${level}` : ''}`),
        ].join(' ');
        if (what !== '') this.story(`G hears ${tor} ${what}`);
      },
      onTable: () => this.traffic(),
    });
    const cabling: Cabling = {
      on: (slot, side) => isOn(this.port(side, slot)),
      send: (slot, side, frame) => this.#toSwitch(slot, side, frame),
    };
    this.servers = SLOTS.map((slot) => new Server(slot, slot <= 2 ? 'A' : 'B', this.clock, random, cabling));
    for (const [index, last] of [1, 2, 3, 4, 5, 130, 131, 200].entries()) {
      this.addVm(`10.10.10.${last}` as Address, index + 1, this.servers[index % 4]!);
    }
    // Of another subnet, on the same wires: never ours.
    this.addVm('10.99.0.7' as Address, 99, this.servers[0]!);
  }

  // ---- the fabric

  port(side: Side, slot: number): BoxPort {
    return this.tors[side].box.ports.get(`${side}${slot}`)!;
  }

  #tor(side: Side, ifindex: number): Tor {
    const box = new Box(side, ifindex, (name) => this.#linkChanged(side, name));
    const { local } = LINKS[side];
    box.addPort(`${side}0`, `02:aa:00:00:0${side === 'A' ? 1 : 2}:00` as Mac, [{ address: local, prefixLength: 30 }]);
    for (const slot of SLOTS) {
      const mac = `02:aa:00:00:0${side === 'A' ? 1 : 2}:0${slot}` as Mac;
      box.addPort(`${side}${slot}`, mac, [{ address: '10.10.10.254' as Address, prefixLength: 24 }]);
    }
    return {
      side,
      box,
      disk: new Disk(),
      weather: { ...FINE },
      silent: false,
      powered: true,
      life: undefined,
      broken: new Map(),
    };
  }

  #path(one: Address, two: Address): boolean {
    const side = SIDES.find((each) => {
      const { local, peer } = LINKS[each];
      return (local === one && peer === two) || (local === two && peer === one);
    });
    return side !== undefined && isOn(this.port(side, 0)) && !this.tors[side].silent && this.tors[side].powered;
  }

  #linkChanged(side: Side, name: string): void {
    const slot = Number(name.slice(1));
    if (!Number.isInteger(slot)) return;
    if (slot === 0) {
      if (!isOn(this.port(side, 0))) this.gateway.linkDown(side);
    } else this.servers[slot - 1]?.carrierChanged(side);
  }

  /** The path to G is sound. */
  hears(side: Side): boolean {
    return this.#path(LINKS[side].local, LINKS[side].peer);
  }

  /** A cable is whole when no fault is left on it. */
  cable(side: Side, slot: number, fault: string, broken: boolean): void {
    const tor = this.tors[side];
    const name = `${side}${slot}`;
    const faults = tor.broken.get(name) ?? new Set();
    tor.broken.set(name, faults);
    if (broken) faults.add(fault);
    else faults.delete(fault);
    tor.box.setCable(this.port(side, slot), faults.size === 0);
  }

  #toSwitch(slot: number, side: Side, frame: Uint8Array): void {
    const { box } = this.tors[side];
    this.clock.after(this.random.between(0.02, 0.3), () => {
      const port = this.port(side, slot);
      if (!isOn(port) || this.random.chance(this.tors[side].weather.lostFrame)) return;
      const packet = frame.subarray(14);
      const address = [...packet.subarray(14, 18)].join('.') as Address;
      const mac = Buffer.from(packet.subarray(8, 14))
        .toString('hex')
        .replace(/(..)(?!$)/g, '$1:') as Mac;
      box.arpHeard(port.ifindex, address, mac);
      this.tors[side].life?.face.heard(port, frame);
    });
  }

  /** G forwards what comes for its hosts all the time. */
  traffic(): void {
    for (const side of SIDES) {
      const addresses = [...this.gateway.table]
        .filter(([, tor]) => tor === side)
        .map(([prefix]) => prefix.slice(0, prefix.indexOf('/')));
      if (addresses.length > 0 && isOn(this.port(side, 0)) && !this.tors[side].silent)
        this.clock.after(this.random.between(0.1, 5), () => this.tors[side].life?.face.traffic(addresses));
    }
  }

  // ---- servers

  addVm(address: Address, number: number, server: Server): Vm {
    const mac = `02:00:00:00:00:${number.toString(16).padStart(2, '0')}` as Mac;
    const vm = { address, mac, server, alive: true };
    this.vms.push(vm);
    server.vms.add(vm);
    const chat = (): void => {
      vm.server.chat(vm);
      this.clock.after(this.random.between(CHAT.least, CHAT.most), chat);
    };
    this.clock.after(this.random.between(0, 500), chat);
    return vm;
  }

  moveVm(vm: Vm, server: Server): void {
    vm.server.vms.delete(vm);
    vm.server = server;
    server.vms.add(vm);
    this.clock.after(this.random.between(0, 50), () => server.announce(vm));
  }

  /** Where an address is alive behind an up port. */
  places(address: string): Set<Side> {
    const places = new Set<Side>();
    for (const vm of this.vms) {
      if (vm.address !== address || !vm.alive || vm.server.active === undefined) continue;
      if (isOn(this.port(vm.server.active, vm.server.slot))) places.add(vm.server.active);
    }
    return places;
  }

  // ---- agents

  config(side: Side): Loaded & { config: TorConfig } {
    const settings = this.settings[side];
    const text = JSON.stringify({
      role: 'tor',
      routerId: LINKS[side].routerId,
      hostRoutes: {
        prefixes: [settings.prefix],
        ports: settings.ports.map((slot) => `${side}${slot}`),
        probe: {
          interval: `${settings.probe.interval}ms`,
          retries: settings.probe.retries,
          timeout: `${settings.probe.timeout}ms`,
        },
        returning: { mode: settings.returning, wait: `${settings.wait}ms` },
      },
      portLink: [
        {
          name: 'fabric',
          enabled: settings.enabled,
          uplinks: [`${side}0`],
          downlinks: SLOTS.map((slot) => `${side}${slot}`),
          upWhen: settings.upWhen,
          recoveryDelay: `${settings.recoveryDelay}ms`,
          startupDelay: `${settings.startupDelay}ms`,
        },
      ],
      bgp: {
        asn: this.asns[side],
        gracefulRestart:
          settings.restartTime === undefined ? { enabled: false } : { restartTime: `${settings.restartTime}s` },
        announce: { communities: settings.communities },
        neighbors: [
          { address: LINKS[side].peer, remoteAs: 65000, timers: { keepalive: '1s', hold: `${settings.hold}s` } },
        ],
      },
      control: { metrics: null },
    });
    const known = this.#configs.get(text);
    if (known) return known;
    const loaded = parseConfig(text, 'simulated.yaml');
    if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
    if (loaded.config.role !== 'tor') throw new Error('no switch');
    const config = { ...loaded, config: loaded.config };
    this.#configs.set(text, config);
    return config;
  }

  startAgent(side: Side, holdAtBoot = false): void {
    const tor = this.tors[side];
    if (tor.life || !tor.powered) return;
    const clock = new LifeClock(this.clock);
    const face = new KernelFace({
      box: tor.box,
      clock,
      random: this.random,
      weather: tor.weather,
      transmit: (port, frame) =>
        this.clock.after(this.random.between(0.02, 0.3), () => {
          if (isOn(port) && !this.random.chance(tor.weather.lostFrame))
            this.servers[Number(port.name.slice(1)) - 1]?.hears(side, frame);
        }),
      routesChanged: () => this.clock.after(0.01, () => this.traffic()),
      story: (what) => this.story(what),
      violation: (what) => this.violation(what),
    });
    const life: Life = { clock, face, agent: undefined, bornAt: this.clock.now(), stopping: false };
    tor.life = life;
    this.story(`${side} agent starts${holdAtBoot ? ', ports held' : ''}`);
    const loaded = this.config(side);
    TorSwitch.start({
      loaded,
      clock,
      log: this.#log(side, clock),
      kernel: face,
      holdAtBoot,
      surroundings: {
        transport: this.tcp.transport(LINKS[side].local, () => !clock.dead),
        openPort: face.openPort,
        random: this.random.next,
        wallClock: () => EPOCH + this.clock.now(),
        portState: tor.disk.portState(clock, this.random),
        hostMemory: tor.disk.hostMemory(clock),
      },
    }).then(
      (agent) => {
        life.agent = agent;
        if (this.config(side) !== loaded) agent.reload(this.config(side));
        agent.events.follow((event) => {
          this.#remember(`${side} ${event.monotonicUs} ${event.type} ${event.message}`);
          if (!clock.dead) for (const listener of this.listeners) listener(side, event);
        });
      },
      (error: Error) => {
        this.story(`${side} agent can not start: ${error.message}`);
        if (clock.dead) return;
        this.crash(side);
        this.clock.after(1_000, () => this.startAgent(side, holdAtBoot));
      },
    );
  }

  /** SIGKILL: no word, no file, no timer. */
  crash(side: Side): void {
    const tor = this.tors[side];
    if (!tor.life) return;
    this.story(`${side} agent dies`);
    tor.life.face.close();
    tor.life = undefined;
    this.tcp.died(LINKS[side].local);
  }

  /** SIGTERM, and started again. */
  restart(side: Side): void {
    const tor = this.tors[side];
    const { life } = tor;
    if (!life?.agent || life.stopping) return;
    life.stopping = true;
    this.story(`${side} agent stops`);
    const over = (error?: Error): void => {
      if (error) this.story(`${side} agent could not leave cleanly: ${error.message}`);
      if (tor.life !== life) return;
      tor.life = undefined;
      life.face.close();
      this.tcp.died(LINKS[side].local);
      this.clock.after(this.random.between(10, 1_000), () => this.startAgent(side));
    };
    life.agent.stop().then(() => over(), over);
  }

  /** The whole switch is dark; its kernel forgets everything. */
  powerOff(side: Side): void {
    const tor = this.tors[side];
    if (!tor.powered) return;
    this.crash(side);
    this.story(`${side} loses power`);
    tor.powered = false;
    for (const slot of [0, ...SLOTS]) this.cable(side, slot, 'power', true);
    tor.box.removePort('plhold0');
    tor.box.routes.clear();
    tor.box.neighbours.clear();
  }

  powerOn(side: Side): void {
    const tor = this.tors[side];
    if (tor.powered) return;
    this.story(`${side} boots`);
    tor.powered = true;
    for (const slot of [0, ...SLOTS]) {
      const port = this.port(side, slot);
      port.operator = false;
      tor.box.setAdmin(port, true);
      this.cable(side, slot, 'power', false);
    }
    this.startAgent(side, this.random.chance(0.7));
  }

  reload(side: Side, change: Partial<Settings>): void {
    this.settings[side] = { ...this.settings[side], ...change };
    const agent = this.tors[side].life?.agent;
    this.story(`${side} is configured: ${JSON.stringify(change)}`);
    if (agent && !this.tors[side].life!.stopping) agent.reload(this.config(side));
  }

  weather(side: Side, weather: Partial<Weather>): void {
    Object.assign(this.tors[side].weather, FINE, weather);
  }

  // ---- the story

  story(what: string): void {
    const line = `${this.clock.now().toFixed(2)} ${what}`;
    this.lines.push(line);
    this.#remember(line);
  }

  violation(what: string): void {
    this.story(`VIOLATION ${what}`);
    this.violations.push(`${this.clock.now().toFixed(1)} ${what}`);
  }

  /** Of everything that happened so far. */
  digest(): string {
    return this.#hash.copy().digest('hex');
  }

  #remember(line: string): void {
    this.#hash.update(line).update('\n');
    if (process.env.STORY === 'all') console.log(line);
  }

  #log(side: Side, clock: LifeClock): Log {
    const quiet = (): void => {};
    return {
      debug: quiet,
      info: quiet,
      warn: quiet,
      error: (fields, message) => {
        const event = (fields as { event?: string }).event;
        if (clock.dead || event === 'agent.error' || event === 'kernel.error') return;
        const error = (fields as { err?: Error }).err;
        this.violation(`${side} logs an error: ${message} ${error?.stack ?? JSON.stringify(fields)}`);
      },
    };
  }

  /** Lets `ms` of virtual time pass. */
  async run(ms: number): Promise<void> {
    const end = this.clock.now() + ms;
    let standing = 0;
    for (;;) {
      const before = this.clock.now();
      let more: boolean;
      try {
        more = this.clock.step(end);
      } catch (error) {
        this.violation(`an exception: ${(error as Error).stack}`);
        more = true;
      }
      await drained();
      if (!more) return;
      standing = this.clock.now() === before ? standing + 1 : 0;
      if (standing > STANDSTILL) this.violation('time stands still');
      this.happenings++;
      if (this.violations.length > 0) return;
    }
  }
}

/** Promises and immediates that one happening set off. */
const drained = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const short = (prefix: string): string => prefix.replace('10.10.10.', '.').replace('/32', '');

export { other };
