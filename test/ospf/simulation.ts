/**
 * Several machines on simulated wires and one virtual clock. Packets travel as bytes; each wire has a delay, and may
 * lose, repeat and delay packets by a seeded chance, so one seed tells one story.
 */
import { decodePacket, encodePacket, packUpdates, type U32 } from 'node-ospf-lsa';
import { type Address, ipv4ToNumber, parseAddress, parseMac, parsePrefix } from '../../src/model/address.ts';
import type { ForeignClaim, HostRoute, LearnedRoute } from '../../src/model/hosts.ts';
import type { NetworkType, OspfAnnounce } from '../../src/ospf/index.ts';
import {
  AllDRouters,
  AllSPFRouters,
  type Effect,
  type MachineOptions,
  type OspfEvent,
} from '../../src/ospf/machine/core.ts';
import { currentAge } from '../../src/ospf/machine/lsdb.ts';
import { OspfMachine } from '../../src/ospf/machine/machine.ts';

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed) throw new TypeError(text);
  return parsed;
}

export const ip = (text: string): U32 => ipv4ToNumber(address(text));

export function host(text: string, level: 0 | 1 | 2 = 0): HostRoute {
  return { address: address(text), interface: 'A1', ifindex: 9, mac: parseMac('02:00:00:00:00:01')!, level };
}

export const shadow = (text: string): HostRoute => ({ ...host(text), shadow: true });

/** A small generator of chances (mulberry32). */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
}

export interface Attachment {
  readonly wire: Wire;
  readonly address: string;
  readonly prefixLength: number;
  readonly cost?: number;
  readonly priority?: number;
  readonly mtu?: number;
  readonly area?: string;
}

export class Wire {
  readonly kind: NetworkType;
  readonly ends: { router: Router; name: string; address: U32 }[] = [];
  delay = 1;
  loss = 0;
  duplication = 0;
  /** Up to so many milliseconds more, each packet for itself. */
  jitter = 0;
  constructor(kind: NetworkType) {
    this.kind = kind;
  }
}

export interface RouterOptions extends Pick<MachineOptions, 'backups' | 'observer' | 'originateDefault'> {
  readonly announce?: OspfAnnounce;
  readonly prefixes?: readonly string[];
  readonly hello?: number;
  readonly dead?: number;
  readonly retransmit?: number;
  readonly minLsArrival?: number;
  readonly earlyArrivals?: number;
}

export class Router {
  readonly name: string;
  readonly id: U32;
  readonly machine: OspfMachine;
  readonly world: World;
  readonly attachments: readonly Attachment[];
  readonly routes = new Map<string, LearnedRoute>();
  readonly claims: ForeignClaim[] = [];
  readonly effects: Effect[] = [];
  readonly sent: { at: number; effect: Effect }[] = [];
  alive = true;

  constructor(world: World, name: string, id: string, attachments: readonly Attachment[], options: RouterOptions) {
    this.world = world;
    this.name = name;
    this.id = ip(id);
    this.attachments = attachments;
    this.machine = new OspfMachine({
      routerId: this.id,
      interfaces: attachments.map(({ wire, cost, priority, area }, index) => ({
        name: `i${index}`,
        area: address(area ?? '0.0.0.0'),
        network: wire.kind,
        hello: options.hello ?? 1000,
        dead: options.dead ?? 4000,
        retransmit: options.retransmit ?? 5000,
        ...(cost === undefined ? {} : { cost }),
        ...(priority === undefined ? {} : { priority }),
      })),
      announce: options.announce ?? { as: 'external', metric: 20, metricType: 2 },
      prefixes: (options.prefixes ?? ['10.10.10.0/24']).map((text) => parsePrefix(text)!),
      stubNetworks: [],
      random: world.random,
      backups: options.backups,
      observer: options.observer,
      originateDefault: options.originateDefault,
      ...(options.minLsArrival === undefined ? {} : { minLsArrival: options.minLsArrival }),
      ...(options.earlyArrivals === undefined ? {} : { earlyArrivals: options.earlyArrivals }),
    });
    for (const [index, each] of attachments.entries()) {
      each.wire.ends.push({ router: this, name: `i${index}`, address: ip(each.address) });
    }
  }

  up(index = -1): void {
    for (const [each, attachment] of this.attachments.entries()) {
      if (index >= 0 && each !== index) continue;
      const { prefixLength, mtu } = attachment;
      const link = { ifindex: each + 1, mtu: mtu ?? 1500, address: ip(attachment.address), prefixLength };
      this.handle({ kind: 'link', interface: `i${each}`, link });
    }
  }

  down(index: number): void {
    this.handle({ kind: 'link', interface: `i${index}`, link: undefined });
  }

  announce(...hosts: HostRoute[]): void {
    this.handle({ kind: 'hosts', delta: { withdrawn: [], announced: hosts } });
  }

  withdraw(...hosts: string[]): void {
    this.handle({ kind: 'hosts', delta: { withdrawn: hosts.map(address), announced: [] } });
  }

  /** Gone without a word. */
  crash(): void {
    this.alive = false;
    for (const { wire } of this.attachments) {
      const index = wire.ends.findIndex(({ router }) => router === this);
      if (index >= 0) wire.ends.splice(index, 1);
    }
  }

  handle(event: OspfEvent): void {
    if (!this.alive) return;
    for (const effect of this.machine.handle(event, this.world.now)) this.perform(effect);
    this.machine.complete(this.world.now);
    const wrong = broken(this);
    if (wrong) throw new Error(`${this.name} after ${event.kind} at ${this.world.now}: ${wrong}`);
  }

  private perform(effect: Effect): void {
    this.effects.push(effect);
    switch (effect.kind) {
      case 'routes':
        for (const route of effect.changes) {
          if (route.nextHops.length > 0) this.routes.set(route.prefix, route);
          else this.routes.delete(route.prefix);
        }
        return;
      case 'claim':
        this.claims.push(effect.claim);
        return;
      case 'send':
        this.sent.push({ at: this.world.now, effect });
        this.world.transmit(this, effect.interface, effect.to, encodePacket(effect.packet));
        return;
      case 'update': {
        this.sent.push({ at: this.world.now, effect });
        const iface = this.machine.core.interfaces.get(effect.interface)!;
        const header = { routerId: this.id, areaId: iface.area.id, transmitDelay: effect.flush ? 3600 : 1 };
        for (const packet of packUpdates(effect.lsas, (iface.link?.mtu ?? 1500) - 20, header)) {
          this.world.transmit(this, effect.interface, effect.to, packet);
        }
      }
    }
  }

  states(): string[] {
    return [...this.machine.core.interfaces.values()].flatMap((iface) =>
      Array.from(iface.neighbors.values(), ({ state }) => state),
    );
  }

  /** The databases as text, without ages; MaxAge LSAs do not count. */
  database(): string[] {
    const { core } = this.machine;
    const lines: string[] = [];
    for (const area of core.areas.values()) {
      for (const entry of area.database.entries.values()) lines.push(line(entry, this.world.now, area.address));
    }
    for (const entry of core.external.entries.values()) lines.push(line(entry, this.world.now, 'as'));
    return lines.filter((text) => text !== '').sort();
  }
}

function line(entry: import('../../src/ospf/machine/core.ts').LsdbEntry, now: number, scope: string): string {
  if (currentAge(entry, now) >= 3600) return '';
  return `${scope} ${entry.key} ${entry.lsa.header.sequence} ${entry.lsa.header.checksum}`;
}

interface InFlight {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class World {
  now = 0;
  readonly random: () => number;
  readonly routers: Router[] = [];
  #queue: InFlight[] = [];
  #order = 0;
  packets = 0;

  constructor(seed = 1) {
    this.random = chance(seed);
  }

  router(name: string, id: string, attachments: readonly Attachment[], options: RouterOptions = {}): Router {
    const router = new Router(this, name, id, attachments, options);
    this.routers.push(router);
    return router;
  }

  at(at: number, run: () => void): void {
    this.#queue.push({ at, order: this.#order++, run });
  }

  transmit(from: Router, name: string, to: U32, bytes: Uint8Array): void {
    const index = Number(name.slice(1));
    const { wire, address: source } = from.attachments[index]!;
    this.packets++;
    for (const end of [...wire.ends]) {
      if (end.router === from) continue;
      if (to !== AllSPFRouters && to !== AllDRouters && to !== end.address) continue;
      if (this.random() < wire.loss) continue;
      const copies = this.random() < wire.duplication ? 2 : 1;
      for (let copy = 0; copy < copies; copy++) {
        const delay = wire.delay + this.random() * wire.jitter;
        this.at(this.now + delay, () => {
          const decoded = decodePacket(bytes);
          if (!decoded.ok) throw new Error(`${decoded.reason}: ${decoded.detail}`);
          end.router.handle({
            kind: 'packet',
            interface: end.name,
            source: ip(source),
            destination: to,
            packet: decoded.value,
          });
        });
      }
    }
  }

  /** Lets `ms` of virtual time pass. */
  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      let next = end;
      for (const { at } of this.#queue) if (at < next) next = at;
      for (const router of this.routers) {
        if (router.alive) next = Math.min(next, router.machine.nextDeadline() ?? end);
      }
      if (next >= end) break;
      this.now = Math.max(this.now, next);
      const due = this.#queue.filter(({ at }) => at <= this.now).sort((a, b) => a.at - b.at || a.order - b.order);
      this.#queue = this.#queue.filter(({ at }) => at > this.now);
      for (const { run } of due) run();
      for (const router of this.routers) {
        const deadline = router.machine.nextDeadline();
        if (router.alive && deadline !== undefined && deadline <= this.now) router.handle({ kind: 'timer' });
      }
    }
    this.now = end;
  }

  /** Runs until `probe` holds; answers how long it took, or throws. */
  until(what: string, probe: () => boolean, limit = 60_000): number {
    const start = this.now;
    while (!probe()) {
      if (this.now - start > limit) throw new Error(`in vain: ${what}`);
      this.run(1);
    }
    return this.now - start;
  }
}

/** G with one wire to each of two switches, everything up. */
export function twoSwitches(options: RouterOptions = {}, seed = 1) {
  const world = new World(seed);
  const wireA = new Wire('point-to-point');
  const wireB = new Wire('point-to-point');
  const g = world.router(
    'G',
    '10.255.0.254',
    [
      { wire: wireA, address: '192.0.2.1', prefixLength: 30 },
      { wire: wireB, address: '192.0.2.5', prefixLength: 30 },
    ],
    options,
  );
  const a = world.router('A', '10.255.0.1', [{ wire: wireA, address: '192.0.2.2', prefixLength: 30 }], options);
  const b = world.router('B', '10.255.0.2', [{ wire: wireB, address: '192.0.2.6', prefixLength: 30 }], options);
  for (const router of [g, a, b]) router.up();
  return { world, wireA, wireB, g, a, b };
}

export const allFull = (...routers: Router[]): boolean =>
  routers.every((router) => router.states().length > 0 && router.states().every((state) => state === 'Full'));

/** What `machine.ts` promises, checked from outside; the first thing that does not hold, or undefined. */
export function broken({ machine }: Router): string | undefined {
  const { core } = machine;
  const pending = new Map<unknown, number>();
  let exchanging = 0;
  for (const iface of core.interfaces.values()) {
    if (iface.floodQueue.size > 0) return 'a flood queue is not empty';
    for (const neighbor of iface.neighbors.values()) {
      if (neighbor.state === 'Exchange' || neighbor.state === 'Loading') exchanging++;
      const idle = ['Down', 'Init', '2-Way', 'ExStart'].includes(neighbor.state);
      if (idle && neighbor.retransmit.size + neighbor.requests.size > 0) return `lists in ${neighbor.state}`;
      if (neighbor.state === 'Down') return 'a neighbour that is Down is still there';
      for (const entry of neighbor.retransmit.keys()) {
        if (!entry.live) return `${entry.key} is on a list, but not in the database`;
        pending.set(entry, (pending.get(entry) ?? 0) + 1);
      }
    }
  }
  if (exchanging !== core.exchanging) return `exchanging is ${core.exchanging}, should be ${exchanging}`;
  let size = 0;
  const databases = [core.external, ...Array.from(core.areas.values(), (area) => area.database)];
  for (const iface of core.interfaces.values()) databases.push(iface.database);
  for (const { entries } of databases) {
    for (const [key, entry] of entries) {
      size++;
      if (entry.key !== key || !entry.live) return `${key} is filed wrongly`;
      if (entry.pending !== (pending.get(entry) ?? 0)) return `${key}: pending ${entry.pending}`;
      const old = entry.lsa.header.age >= 3600;
      if (old !== core.maxAged.has(entry)) return `${key}: MaxAge set`;
      if (old && entry.pending === 0 && core.exchanging === 0) return `${key} should have been removed`;
    }
  }
  return size === core.size ? undefined : `size is ${core.size}, should be ${size}`;
}
