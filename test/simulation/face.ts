/**
 * What one life of an agent sees of its box: the answers of the kernel, which may fail or be late, and its
 * notifications, which come in order but late, or are lost, followed by a resync (see rtnetlink-ts, Subscription). With
 * the agent's death everything that is under way here ends.
 */
import {
  AF,
  type BatchResult,
  type Neighbour,
  NetlinkError,
  NUD_VALID,
  type Refusal,
  type Request,
  type Route,
  type RouteFilter,
  RTM,
  requests,
} from 'rtnetlink-ts';
import type { SwitchKernel } from '../../src/agent/tor/surroundings.ts';
import type { OpenPort, PortEar } from '../../src/hostroutes/options.ts';
import { type Address, parseAddress, parseMac } from '../../src/model/address.ts';
import { type Port, type PortChange, PortError } from '../../src/model/ports.ts';
import type { Frame } from '../../src/netlink/frames/index.ts';
import {
  HostRouteInstaller,
  type HostRouteOptions,
  LearnedRouteInstaller,
  type LearnedRouteOptions,
  type NeighbourEvent,
  type PortTable,
  type RouteSocket,
} from '../../src/netlink/index.ts';
import { onLink } from '../../src/netlink/links.ts';
import { Listeners } from '../../src/netlink/listeners.ts';
import { type Box, type BoxEvents, type BoxPort, isOn } from './box.ts';
import type { LifeClock } from './clock.ts';
import type { Random } from './random.ts';

/** How faulty the kernel is now: probabilities. */
export interface Weather {
  refuse: number;
  lateAnswer: number;
  lateNotice: number;
  lostNotice: number;
  unsent: number;
  lostFrame: number;
}

export interface FaceOptions {
  readonly box: Box;
  readonly clock: LifeClock;
  readonly random: Random;
  readonly weather: Weather;
  /** Frames that the agent sends out of a port. */
  transmit(port: BoxPort, frame: Uint8Array): void;
  routesChanged(): void;
  story(what: string): void;
  violation(what: string): void;
}

const DOOR = 'plhold0';
/** What the dead get. */
const NEVER = new Promise<never>(() => {});

export class KernelFace implements SwitchKernel {
  readonly neighbours: SwitchKernel['neighbours'];
  readonly fdb: SwitchKernel['fdb'] = { portOf: () => undefined };
  readonly #options: FaceOptions;
  readonly #seen = new Map<string, Port>();
  readonly #changes = new Listeners<PortChange>();
  readonly #afterwards = new Listeners<PortChange>();
  readonly #resyncs = new Listeners<void>();
  readonly #neighbourEvents = new Listeners<NeighbourEvent>();
  #own = 201;
  readonly #ears = new Map<string, Ear>();
  /** Notifications come in order. */
  readonly #arrival = { link: 0, neighbour: 0 };
  readonly #lost = { link: false, neighbour: false };
  #seenNeighbours = new Map<string, Neighbour>();
  #arrived: ((address: Address) => void) | undefined;
  #door: { interface: string; ifindex: number } | undefined;

  constructor(options: FaceOptions) {
    this.#options = options;
    const { box } = options;
    for (const port of box.ports.values()) this.#seen.set(port.name, box.shown(port));
    this.#seenNeighbours = new Map(box.neighbours);
    this.neighbours = {
      all: () => [...this.#seenNeighbours.values()].flatMap((entry) => this.#event(entry, false) ?? []),
      onNeighbour: (listener) => this.#neighbourEvents.add(listener),
    };
    const events: BoxEvents = {
      link: (before, after) => this.#notify('link', () => this.#portSeen(after ?? before!, after === undefined)),
      neighbour: (entry, deleted) => this.#notify('neighbour', () => this.#neighbourSeen(entry, deleted)),
      routes: () => options.routesChanged(),
    };
    box.listener = events;
  }

  // ---- links

  port(name: string): Port | undefined {
    return this.#seen.get(name);
  }

  portByIndex(ifindex: number): Port | undefined {
    for (const port of this.#seen.values()) if (port.ifindex === ifindex) return port;
    return undefined;
  }

  ports(): Iterable<Port> {
    return this.#seen.values();
  }

  onChange(listener: (change: PortChange) => void): () => void {
    return this.#changes.add(listener);
  }

  watchCarriers(): void {}

  setAdmin(ports: readonly string[], up: boolean): Promise<void> {
    if (this.#options.clock.dead) return NEVER;
    const { box, random, weather, story, violation } = this.#options;
    const errors: Error[] = [];
    for (const name of ports) {
      const port = box.ports.get(name);
      if (!port || !this.#seen.has(name)) errors.push(new PortError(name, 'no such port'));
      else if (random.chance(weather.refuse)) errors.push(new PortError(name, 'RTM_SETLINK: EBUSY'));
      else {
        if (up && port.operator) violation(`${box.name} opens ${name}, which an operator has shut`);
        // Shut by both: from now on nobody can tell whose it is.
        if (!up && !port.adminUp) port.operator = false;
        box.setAdmin(port, up);
      }
    }
    story(
      `${box.name} ${up ? 'opens' : 'shuts'} ${ports.join(' ')}${errors.length > 0 ? ` (${errors.length} refused)` : ''}`,
    );
    return this.#answer(() => {
      if (errors.length > 0) throw new AggregateError(errors, errors.map(({ message }) => message).join('; '));
    });
  }

  // ---- routes

  hostRoutes(options: HostRouteOptions = {}): HostRouteInstaller {
    this.#own = options.protocol ?? 201;
    return new HostRouteInstaller(this.#socket, this.#table, this.#options.clock, options);
  }

  learnedRoutes(options: LearnedRouteOptions): LearnedRouteInstaller {
    return new LearnedRouteInstaller(this.#socket, this.#table, this.#options.clock, options);
  }

  async waitingRoom(onArrival: (address: Address) => void) {
    const { box } = this.#options;
    await this.#answer(() => undefined);
    const door = box.makeDoor(DOOR);
    this.#door = door;
    this.#arrived = onArrival;
    return {
      door,
      deliver: () => {},
      forward: () => {},
      counters: () => ({}),
      close: async () => box.removePort(DOOR),
    };
  }

  /** G sends packets for these addresses here: those that wait at the door are seen to arrive. */
  traffic(addresses: Iterable<string>): void {
    if (!this.#door || !this.#arrived) return;
    const routes = this.#options.box.hostRoutes(this.#own);
    for (const address of addresses) if (routes.get(address) === DOOR) this.#arrived(address as Address);
  }

  counters(): Readonly<Record<string, number>> {
    return {};
  }

  close(): void {
    this.#options.box.listener = undefined;
    this.#options.clock.die();
  }

  // ---- frames

  readonly openPort: OpenPort = ({ name, ifindex, bridged, multicast }, onReadable): PortEar => {
    const { box, random, weather, transmit } = this.#options;
    const ear: Ear = { ifindex, bridged, multicast, queue: [], onReadable: () => onReadable(face) };
    const face: PortEar = {
      ifindex,
      bridged,
      multicast,
      receive: () => ear.queue.splice(0, 64),
      send: (frame) => {
        const port = box.ports.get(name);
        if (this.#options.clock.dead || !port?.adminUp) return 'ENETDOWN';
        if (random.chance(weather.unsent)) return 'ENOBUFS';
        if (port.cable) transmit(port, Uint8Array.from(frame));
        return undefined;
      },
      dropped: () => 0,
      close: () => this.#ears.get(name) === ear && this.#ears.delete(name),
    };
    this.#ears.set(name, ear);
    return face;
  };

  /** A frame came in on a port. */
  heard(port: BoxPort, bytes: Uint8Array): void {
    const ear = this.#ears.get(port.name);
    if (!ear || ear.ifindex !== port.ifindex || !isOn(port)) return;
    ear.queue.push({ bytes });
    if (ear.queue.length === 1)
      this.#options.clock.after(this.#options.random.between(0, 0.05), () => {
        if (ear.queue.length > 0) ear.onReadable();
      });
  }

  // ---- how the kernel tells

  readonly #table: PortTable = {
    port: (name) => this.port(name),
    portByIndex: (ifindex) => this.portByIndex(ifindex),
    portTowards: (address) => [...this.#seen.values()].find((port) => onLink(port, address)),
    afterChange: (listener) => this.#afterwards.add(listener),
    afterResync: (listener) => this.#resyncs.add(listener),
  };

  readonly #socket: RouteSocket = {
    sendNow: (batch) => {
      if (this.#options.clock.dead) return NEVER;
      const refused = batch.flatMap((request, index) => {
        const refusal = this.#request(request);
        return refusal ? [{ index, refusal }] : [];
      });
      return this.#answer((): BatchResult => ({ sent: batch.length, refused }));
    },
    setRoute: (route) => {
      if (this.#options.clock.dead) return NEVER;
      const refusal = this.#request(requests.setRoute(route));
      return this.#answer(() => {
        if (refusal) throw new NetlinkError(refusal);
      });
    },
    dumpRoutes: (filter: RouteFilter) =>
      this.#dump(() => [...this.#options.box.routes.values()].filter((route) => fits(route, filter))),
    dumpNeighbours: () => this.#dump(() => [...this.#options.box.neighbours.values()]),
  };

  #request(request: Request): Refusal | undefined {
    const { box, random, weather } = this.#options;
    const code = random.chance(weather.refuse) ? 'ENOBUFS' : box.request(request);
    return code && { code, errno: 1, extack: undefined, request: NAMES[request.type] ?? 'RTM_?' };
  }

  #dump<T>(read: () => T[]): Promise<T[]> {
    const { clock, random, weather } = this.#options;
    return new Promise((resolve, reject) => {
      clock.after(random.between(0.05, 2), () => {
        if (random.chance(weather.refuse / 4))
          reject(new NetlinkError({ code: 'ENOBUFS', errno: 105, extack: undefined, request: 'RTM_GETROUTE' }));
        else resolve(read());
      });
    });
  }

  /** Most answers are there at once, some take their time; the dead get none. */
  #answer<T>(say: () => T): Promise<T> {
    const { clock, random, weather } = this.#options;
    return new Promise((resolve, reject) => {
      const run = (): void => {
        try {
          resolve(say());
        } catch (error) {
          reject(error);
        }
      };
      if (!random.chance(weather.lateAnswer)) run();
      else clock.after(random.between(0.5, 40), run);
    });
  }

  #notify(socket: 'link' | 'neighbour', tell: () => void): void {
    const { clock, random, weather, story, box } = this.#options;
    if (clock.dead || this.#lost[socket]) return;
    if (random.chance(weather.lostNotice)) {
      this.#lost[socket] = true;
      story(`${box.name} loses ${socket} notifications`);
      clock.after(random.between(5, 300), () => this.#resync(socket));
      return;
    }
    const delay = random.chance(weather.lateNotice) ? random.between(1, 40) : random.between(0.02, 0.3);
    const at = Math.max(this.#arrival[socket], clock.now() + delay);
    this.#arrival[socket] = at;
    clock.schedule(at, tell);
  }

  /** What is, compared with what was seen, after those that were on their way. */
  #resync(socket: 'link' | 'neighbour'): void {
    const { box, clock } = this.#options;
    if (this.#arrival[socket] > clock.now()) {
      clock.schedule(this.#arrival[socket], () => this.#resync(socket));
      return;
    }
    this.#lost[socket] = false;
    if (socket === 'link') {
      for (const port of box.ports.values()) this.#portSeen(box.shown(port));
      for (const [name, port] of [...this.#seen]) if (!box.ports.has(name)) this.#portSeen(port, true);
      this.#resyncs.tell();
      return;
    }
    for (const [key, entry] of box.neighbours)
      if (this.#seenNeighbours.get(key) !== entry) this.#neighbourSeen(entry, false);
    for (const [key, entry] of [...this.#seenNeighbours])
      if (!box.neighbours.has(key)) this.#neighbourSeen(entry, true);
  }

  #portSeen(after: Port, gone = false): void {
    const before = this.#seen.get(after.name);
    if (gone) this.#seen.delete(after.name);
    else this.#seen.set(after.name, after);
    if (before && !gone && same(before, after)) return;
    if (!before && gone) return;
    const at = this.#options.clock.now();
    const change = { name: after.name, before, after: gone ? undefined : after, at };
    this.#changes.tell(change);
    this.#afterwards.tell(change);
  }

  #neighbourSeen(entry: Neighbour, deleted: boolean): void {
    const key = `${entry.ifindex} ${entry.destination}`;
    if (deleted) this.#seenNeighbours.delete(key);
    else this.#seenNeighbours.set(key, entry);
    const event = this.#event(entry, deleted);
    if (event) this.#neighbourEvents.tell(event);
  }

  #event(entry: Neighbour, deleted: boolean): NeighbourEvent | undefined {
    const address = parseAddress(entry.destination ?? '');
    if (!address) return undefined;
    return {
      ifindex: entry.ifindex,
      address,
      mac: entry.linkAddress === undefined ? undefined : parseMac(entry.linkAddress),
      state: entry.state,
      usable: !deleted && (entry.state & NUD_VALID) !== 0,
      own: entry.protocol === this.#own,
      deleted,
      at: this.#options.clock.now(),
    };
  }
}

interface Ear {
  readonly ifindex: number;
  readonly bridged: boolean;
  readonly multicast: boolean;
  readonly queue: Frame[];
  readonly onReadable: () => void;
}

const NAMES: Record<number, string> = {
  [RTM.NEWROUTE]: 'RTM_NEWROUTE',
  [RTM.DELROUTE]: 'RTM_DELROUTE',
  [RTM.NEWNEIGH]: 'RTM_NEWNEIGH',
  [RTM.DELNEIGH]: 'RTM_DELNEIGH',
};

function fits(route: Route, filter: RouteFilter): boolean {
  if (filter.table !== undefined && route.table !== filter.table) return false;
  if (filter.protocol !== undefined && route.protocol !== filter.protocol) return false;
  if (filter.type !== undefined && route.type !== filter.type) return false;
  return route.family === (filter.family ?? AF.INET);
}

const same = (one: Port, other: Port): boolean =>
  one.ifindex === other.ifindex && one.adminUp === other.adminUp && one.carrier === other.carrier;
