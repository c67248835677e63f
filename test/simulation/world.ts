/**
 * One seed, one story: G, two switches with their agents, servers, and what befalls them. Nothing here knows the time of
 * day: the virtual clock moves from one happening to the next, and after each everything that it set off in this process
 * (promises, immediates) is run to its end, always in the same order.
 */
import { createHash } from 'node:crypto';
import { whoSpeaks } from '../../src/hostroutes/codec/speaker.ts';
import type { Address, Mac, Prefix } from '../../src/model/address.ts';
import { Agents } from './agents.ts';
import { type BoxPort, isOn } from './box.ts';
import { Coverage, Fate } from './calls.ts';
import { VirtualClock } from './clock.ts';
import { Gateway } from './gateway.ts';
import { Random } from './random.ts';
import { drawScene, drawSettings, type Link, linksOf, type Scene, type Settings, SLOTS } from './scene.ts';
import { type Cabling, Server, SIDES, type Side, type Vm } from './server.ts';
import { answerOf } from './speech.ts';
import { Tcp } from './tcp.ts';
import { makeTor, type Tor } from './tor.ts';

/** More happenings at one instant than any story needs. */
const STANDSTILL = 2_000;
const CHAT = { least: 4_000, most: 9_000 };
const FIRST_ADDRESSES = [1, 2, 3, 4, 5, 130, 131, 200];

export class World {
  readonly seed: number;
  readonly random: Random;
  readonly scene: Scene;
  readonly clock = new VirtualClock();
  readonly links: readonly Link[];
  readonly tors: Record<Side, Tor>;
  readonly gateway: Gateway;
  readonly tcp: Tcp;
  readonly agents: Agents;
  readonly servers: Server[];
  readonly vms: Vm[] = [];
  readonly base: Settings;
  readonly settings: Record<Side, Settings>;
  readonly coverage = new Coverage();
  readonly lines: string[] = [];
  readonly violations: string[] = [];
  gatewayUp = true;
  /** What an agent tells its operator. */
  readonly listeners: ((side: Side, event: { type: string; message: string }) => void)[] = [];
  /** An uplink's cable, or the port itself, changed. */
  readonly uplinkListeners: ((side: Side) => void)[] = [];
  onAnnouncement: (side: Side, prefix: Prefix) => void = () => {};
  /** An agent is about to shut ports. */
  onShut: (side: Side, ports: readonly string[]) => void = () => {};
  readonly #hash = createHash('sha256');
  happenings = 0;

  /** `scene`, `base`: instead of what the seed would draw. */
  constructor(seed: number, { scene, base }: { scene?: Partial<Scene>; base?: Partial<Settings> } = {}) {
    this.seed = seed;
    const random = new Random(seed);
    this.random = random;
    this.scene = { ...drawScene(random), ...scene };
    this.base = { ...drawSettings(random, this.scene), ...base };
    this.settings = { A: { ...this.base }, B: { ...this.base } };
    this.links = linksOf(this.scene);
    this.tors = { A: this.#tor('A'), B: this.#tor('B') };
    this.tcp = new Tcp(this.clock, random, (one, two) => this.#path(one, two));
    this.gateway = new Gateway({
      clock: this.clock,
      random,
      scene: this.scene,
      links: this.links,
      tcp: this.tcp,
      isOn: (link) => this.gatewayUp && isOn(this.port(link.side, link.slot)),
      passes: (link) => this.passes(link),
      fate: ({ side }) => this.tors[side].fate,
      story: (what) => this.story(what),
      onAnnouncement: (side, prefix) => this.onAnnouncement(side, prefix),
      onTable: () => this.traffic(),
    });
    this.agents = new Agents(this);
    const cabling: Cabling = {
      on: (slot, side) => isOn(this.port(side, slot)),
      send: (slot, side, frame) => this.#toSwitch(slot, side, frame),
    };
    this.servers = SLOTS.map((slot) => new Server(slot, slot <= 2 ? 'A' : 'B', this.clock, random, cabling));
    for (const [index, last] of FIRST_ADDRESSES.entries()) {
      const server = this.servers[index % 4]!;
      this.addVm(`10.10.10.${last}` as Address, index + 1, server);
      if (this.scene.six && index < 6) this.addVm(`2001:db8:10::${last.toString(16)}` as Address, index + 1, server);
    }
    // Another address of a machine that has one already.
    this.addVm('10.10.10.77' as Address, 1, this.servers[0]!);
    // Of another subnet, on the same wires: never ours.
    this.addVm('10.99.0.7' as Address, 99, this.servers[0]!);
  }

  // ---- the fabric

  port(side: Side, slot: number): BoxPort {
    return this.tors[side].box.ports.get(`${side}${slot}`)!;
  }

  linksOf(side: Side): Link[] {
    return this.links.filter((link) => link.side === side);
  }

  #tor(side: Side): Tor {
    const fate = new Fate(this.random, this.coverage);
    return makeTor({
      side,
      scene: this.scene,
      fate,
      clock: this.clock,
      random: this.random,
      onLink: (name) => this.#linkChanged(side, name),
      violation: (what) => this.violation(what),
    });
  }

  /** Packets go over it, both ways. */
  passes({ side, slot }: Link): boolean {
    const { silent, powered } = this.tors[side];
    return isOn(this.port(side, slot)) && !silent.has(slot) && powered;
  }

  #path(one: Address, two: Address): boolean {
    const link = this.links.find(
      ({ local, peer }) => (local === one && peer === two) || (local === two && peer === one),
    );
    return link !== undefined && this.passes(link);
  }

  #linkChanged(side: Side, name: string): void {
    const slot = Number(name.slice(1));
    const link = this.links.find((each) => each.name === name);
    if (link) {
      this.gateway.linkChanged(link);
      for (const listener of this.uplinkListeners) listener(side);
    } else if (Number.isInteger(slot)) this.servers[slot - 1]?.carrierChanged(side);
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

  /** The agent sent a frame out of a port. */
  fromSwitch(side: Side, port: BoxPort, frame: Uint8Array): void {
    const late = this.tors[side].fate.strikes('packet socket: send', 'delay');
    this.clock.after(late ? this.random.between(1, 30) : this.random.between(0.02, 0.3), () => {
      const link = this.links.find(({ name }) => name === port.name);
      if (link) this.#gatewayHears(link, frame);
      else if (isOn(port)) this.servers[Number(port.name.slice(1)) - 1]?.hears(side, frame);
    });
  }

  /** G answers for its own addresses. */
  #gatewayHears(link: Link, frame: Uint8Array): void {
    const { side, slot, peer, peer6 } = link;
    if (!this.gatewayUp || !this.passes(link)) return;
    for (const address of [peer, peer6] as Address[]) {
      const answer = answerOf({ address, mac: `02:ff:00:00:00:${side === 'A' ? 1 : 2}${slot}` as Mac }, frame);
      if (!answer) continue;
      this.clock.after(this.random.between(0.02, 0.3), () => {
        if (this.passes(link) && !this.tors[side].fate.strikes('packet socket: receive', 'lost'))
          this.tors[side].life?.face.heard(this.port(side, slot), answer);
      });
    }
  }

  #toSwitch(slot: number, side: Side, frame: Uint8Array): void {
    const { box } = this.tors[side];
    this.clock.after(this.random.between(0.02, 0.3), () => {
      const port = this.port(side, slot);
      if (!isOn(port) || this.tors[side].fate.strikes('packet socket: receive', 'lost')) return;
      const spoken = whoSpeaks(frame);
      if (!('speaker' in spoken)) throw new Error(`a server says what cannot be read: ${JSON.stringify(spoken)}`);
      const { address, mac } = spoken.speaker;
      box.frameHeard(port, mac);
      box.speakerHeard(port, address, mac);
      this.tors[side].life?.face.heard(port, frame);
    });
  }

  /** G forwards what comes for its hosts all the time. */
  traffic(): void {
    for (const side of SIDES) {
      const addresses = this.gateway
        .prefixes()
        .filter((prefix) => this.gateway.leadsTo(prefix).includes(side))
        .map((prefix) => prefix.slice(0, prefix.indexOf('/')));
      if (addresses.length > 0 && this.linksOf(side).some((link) => this.passes(link)))
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

  /** With all its addresses. */
  moveVm(moving: Vm, server: Server): void {
    for (const vm of this.vms) {
      if (vm.mac !== moving.mac) continue;
      vm.server.vms.delete(vm);
      vm.server = server;
      server.vms.add(vm);
      this.clock.after(this.random.between(0, 50), () => server.announce(vm));
    }
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

  // ---- the story

  story(what: string): void {
    const line = `${this.clock.now().toFixed(2)} ${what}`;
    this.lines.push(line);
    this.remember(line);
  }

  violation(what: string): void {
    this.story(`VIOLATION ${what}`);
    this.violations.push(`${this.clock.now().toFixed(1)} ${what}`);
  }

  /** Of everything that happened so far. */
  digest(): string {
    return this.#hash.copy().digest('hex');
  }

  remember(line: string): void {
    this.#hash.update(line).update('\n');
    if (process.env.STORY === 'all') console.log(line);
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
