/**
 * What one life of an agent sees of its box: the answers of the kernel, which may fail or be late, and its
 * notifications, which come in order but late, or are lost, followed by a resync (see rtnetlink-ts, Subscription). With
 * the agent's death everything that is under way here ends; each call may be the one of which it dies (`enter`).
 */
import { SystemCallError } from 'linux-sockets';
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
import type { RepairKernel } from '../../src/agent/tor/repair/index.ts';
import type { ShadowKernel } from '../../src/agent/tor/standing-by.ts';
import type { Room, SwitchKernel } from '../../src/agent/tor/surroundings.ts';
import type { OpenPort, PortEar } from '../../src/hostroutes/options.ts';
import { type Address, type Mac, parseAddress, parseMac } from '../../src/model/address.ts';
import { onLink, type Port, type PortChange, PortError } from '../../src/model/ports.ts';
import type { Frame } from '../../src/netlink/frames/index.ts';
import {
  type FabricRulesOptions,
  HostRouteInstaller,
  type HostRouteOptions,
  LearnedRouteInstaller,
  type LearnedRouteOptions,
  type NeighbourEvent,
  type PortTable,
  type RouteSocket,
} from '../../src/netlink/index.ts';
import { Listeners } from '../../src/netlink/listeners.ts';
import { type Box, type BoxEvents, type BoxPort, isOn } from './box.ts';
import type { Call, Fate } from './calls.ts';
import type { LifeClock } from './clock.ts';
import { Notices } from './notices.ts';
import type { Random } from './random.ts';

export interface FaceOptions {
  readonly box: Box;
  readonly clock: LifeClock;
  readonly random: Random;
  readonly fate: Fate;
  /** A call begins, or has been carried out: the agent may die of it. */
  enter(call: Call): void;
  /** It is about to shut ports. */
  shuts(ports: readonly string[]): void;
  /** Frames that the agent sends out of a port. */
  transmit(port: BoxPort, frame: Uint8Array): void;
  routesChanged(): void;
  story(what: string): void;
  violation(what: string): void;
}

const DOOR = 'plhold0';
/** What the dead get. */
const NEVER = new Promise<never>(() => {});
const ENOBUFS = 105;

export class KernelFace implements SwitchKernel {
  readonly neighbours: SwitchKernel['neighbours'];
  readonly fdb: SwitchKernel['fdb'];
  readonly #options: FaceOptions;
  readonly #seen = new Map<string, Port>();
  readonly #changes = new Listeners<PortChange>();
  readonly #afterwards = new Listeners<PortChange>();
  readonly #resyncs = new Listeners<void>();
  readonly #neighbourEvents = new Listeners<NeighbourEvent>();
  #own = 201;
  readonly #ears = new Map<string, Ear>();
  readonly #links: Notices;
  readonly #neighbourhood: Notices;
  #seenNeighbours = new Map<string, Neighbour>();
  #seenFdb = new Map<Mac, number>();
  #arrived: ((address: Address) => void) | undefined;
  #door: { interface: string; ifindex: number } | undefined;

  constructor(options: FaceOptions) {
    this.#options = options;
    const { box } = options;
    for (const port of box.ports.values()) this.#seen.set(port.name, box.shown(port));
    this.#seenNeighbours = new Map(box.neighbours);
    this.#seenFdb = new Map(box.fdb);
    this.#links = new Notices(options, 'link', () => this.#resyncLinks());
    this.#neighbourhood = new Notices(options, 'neighbour', () => this.#resyncNeighbours());
    this.neighbours = {
      all: () => [...this.#seenNeighbours.values()].flatMap((entry) => this.#event(entry, false) ?? []),
      onNeighbour: (listener) => this.#neighbourEvents.add(listener),
    };
    this.fdb = {
      portOf: (mac) => this.portByIndex(this.#seenFdb.get(mac) ?? 0),
    };
    const events: BoxEvents = {
      link: (before, after) =>
        this.#links.tell('link notification', () => this.#portSeen(after ?? before!, after === undefined)),
      neighbour: (entry, deleted) =>
        this.#neighbourhood.tell('neighbour notification', () => this.#neighbourSeen(entry, deleted)),
      fdb: (mac, ifindex) => this.#neighbourhood.tell('fdb notification', () => this.#fdbSeen(mac, ifindex)),
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
    const { box, story, violation, enter, clock } = this.#options;
    const call = up ? 'ports: open' : 'ports: shut';
    enter(call);
    if (clock.dead) return NEVER;
    if (!up) this.#options.shuts(ports);
    const errors: Error[] = [];
    for (const name of ports) {
      const port = box.ports.get(name);
      if (!port || !this.#seen.has(name)) errors.push(new PortError(name, 'no such port'));
      else if (this.#options.fate.strikes(call, 'error')) errors.push(new PortError(name, 'RTM_SETLINK: EBUSY'));
      else {
        if (up && port.operator) violation(`${box.name} opens ${name}, which an operator has shut`);
        // Shut by both: from now on nobody can tell whose it is.
        if (!up && !port.adminUp) port.operator = false;
        port.byAgent = !up;
        box.setAdmin(port, up);
      }
    }
    story(
      `${box.name} ${up ? 'opens' : 'shuts'} ${ports.join(' ')}${errors.length > 0 ? ` (${errors.length} refused)` : ''}`,
    );
    enter(call);
    return this.#answer([call], () => {
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

  async waitingRoom(onArrival: (address: Address) => void): Promise<Room> {
    const { box, enter, clock } = this.#options;
    enter('waiting room');
    if (clock.dead) return NEVER;
    await this.#answer(['waiting room'], () => {
      if (this.#options.fate.strikes('waiting room', 'error')) throw new SystemCallError('socket', ENOBUFS);
    });
    const door = box.makeDoor(DOOR);
    this.#door = door;
    this.#arrived = onArrival;
    return {
      door,
      deliver: () => {},
      forward: () => {},
      counters: () => ({}),
      close: async () => {
        if (!clock.dead) box.removePort(DOOR);
      },
    };
  }

  /** They are there when asked for. */
  fabricRules({ onReady }: FabricRulesOptions): ReturnType<NonNullable<SwitchKernel['fabricRules']>> {
    const { clock } = this.#options;
    let ready = false;
    return {
      get ready() {
        return ready;
      },
      configure: async (uplinks) => {
        if (clock.dead || ready === uplinks.length > 0) return;
        ready = uplinks.length > 0;
        onReady(ready);
      },
      strict: () => false,
      counters: () => ({}),
      leave: async () => {},
      close: () => {},
    };
  }

  async removeShadows(): Promise<void> {
    if (!this.#options.clock.dead) this.#options.box.shadows.clear();
  }

  shadowTable(): ShadowKernel {
    return this.#options.box.shadows.face(this.#options.clock);
  }

  async repairPath(): Promise<RepairKernel> {
    return this.#options.box.backups.face(this.#options.clock);
  }

  /** G sends packets for these addresses here: those that wait at the door are seen to arrive. */
  traffic(addresses: Iterable<string>): void {
    if (!this.#door || !this.#arrived || this.#options.clock.dead) return;
    const { box } = this.#options;
    const routes = box.hostRoutes(this.#own);
    for (const address of addresses)
      if (routes.get(address) === DOOR || box.shadows.has(address)) this.#arrived(address as Address);
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
    const { box, fate, transmit, enter, clock } = this.#options;
    enter('packet socket: open');
    if (this.#options.fate.strikes('packet socket: open', 'error')) throw new SystemCallError('socket', ENOBUFS);
    const ear: Ear = {
      ifindex,
      bridged,
      multicast,
      queue: [],
      polled: false,
      closed: false,
      onReadable: () => onReadable(face),
    };
    const face: PortEar = {
      ifindex,
      bridged,
      multicast,
      receive: () => {
        if (this.#options.fate.strikes('packet socket: receive', 'error'))
          throw new SystemCallError('recvmmsg', ENOBUFS);
        return ear.queue.splice(0, 64);
      },
      send: (frame) => {
        enter('packet socket: send');
        const port = box.ports.get(name);
        if (clock.dead || !port?.adminUp) return 'ENETDOWN';
        if (this.#options.fate.strikes('packet socket: send', 'error')) return 'ENOBUFS';
        if (!fate.strikes('packet socket: send', 'lost') && port.cable) transmit(port, Uint8Array.from(frame));
        enter('packet socket: send');
        return undefined;
      },
      dropped: () => 0,
      close: () => {
        ear.closed = true;
        if (this.#ears.get(name) === ear) this.#ears.delete(name);
      },
    };
    this.#ears.set(name, ear);
    return face;
  };

  /** A frame came in on a port. */
  heard(port: BoxPort, bytes: Uint8Array): void {
    const ear = this.#ears.get(port.name);
    if (!ear || ear.ifindex !== port.ifindex || !isOn(port)) return;
    // A group that nobody has joined: the network card drops the frame.
    if (bytes[0] === 0x33 && !ear.multicast) return;
    ear.queue.push(ear.bridged ? { bytes, vlan: 0 } : { bytes });
    this.#poll(ear);
  }

  /** As long as something waits, the socket is readable. */
  #poll(ear: Ear): void {
    const { clock, random, fate } = this.#options;
    if (ear.polled) return;
    ear.polled = true;
    const late = fate.strikes('packet socket: receive', 'delay');
    clock.after(late ? random.between(0.5, 20) : random.between(0, 0.05), () => {
      ear.polled = false;
      if (ear.queue.length === 0 || ear.closed) return;
      ear.onReadable();
      if (ear.queue.length > 0) this.#poll(ear);
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
      const { enter, clock } = this.#options;
      const calls = [...new Set(batch.map(({ type }) => NAMES[type]!))];
      for (const call of calls) enter(call);
      if (clock.dead) return NEVER;
      const refused = batch.flatMap((request, index) => {
        const refusal = this.#request(request, NAMES[request.type]!);
        return refusal ? [{ index, refusal }] : [];
      });
      for (const call of calls) enter(call);
      return this.#answer(calls, (): BatchResult => ({ sent: batch.length, refused }));
    },
    setRoute: (route) => {
      const { enter, clock } = this.#options;
      enter('unreachable route');
      if (clock.dead) return NEVER;
      const refusal = this.#request(requests.setRoute(route), 'unreachable route');
      enter('unreachable route');
      return this.#answer(['unreachable route'], () => {
        if (refusal) throw new NetlinkError(refusal);
      });
    },
    dumpRoutes: (filter: RouteFilter) =>
      this.#dump('dump routes', () => [...this.#options.box.routes.values()].filter((route) => fits(route, filter))),
    dumpNeighbours: () => this.#dump('dump neighbours', () => [...this.#options.box.neighbours.values()]),
  };

  #request(request: Request, call: Call): Refusal | undefined {
    const code = this.#options.fate.strikes(call, 'error') ? 'ENOBUFS' : this.#options.box.request(request);
    return code && { code, errno: 1, extack: undefined, request: NAMES[request.type] ?? 'RTM_?' };
  }

  #dump<T>(call: Call, read: () => T[]): Promise<T[]> {
    const { clock, random, enter, fate } = this.#options;
    enter(call);
    if (clock.dead) return NEVER;
    const late = fate.strikes(call, 'delay');
    return new Promise((resolve, reject) => {
      clock.after(late ? random.between(1, 60) : random.between(0.05, 2), () => {
        if (fate.strikes(call, 'error', 0.25))
          reject(new NetlinkError({ code: 'ENOBUFS', errno: ENOBUFS, extack: undefined, request: 'RTM_GETROUTE' }));
        else resolve(read());
      });
    });
  }

  /** Most answers are there at once, some take their time; the dead get none. */
  #answer<T>(calls: readonly Call[], say: () => T): Promise<T> {
    const { clock, random, fate } = this.#options;
    const late = calls.filter((call) => fate.strikes(call, 'delay')).length > 0;
    return new Promise((resolve, reject) => {
      const run = (): void => {
        if (clock.dead) return;
        try {
          resolve(say());
        } catch (error) {
          reject(error);
        }
      };
      if (late) clock.after(random.between(0.5, 40), run);
      else run();
    });
  }

  /** What is, compared with what was seen. */
  #resyncLinks(): void {
    const { box } = this.#options;
    for (const port of box.ports.values()) this.#portSeen(box.shown(port));
    for (const [name, port] of [...this.#seen]) if (!box.ports.has(name)) this.#portSeen(port, true);
    this.#resyncs.tell();
  }

  #resyncNeighbours(): void {
    const { box } = this.#options;
    for (const [mac, ifindex] of box.fdb) this.#fdbSeen(mac, ifindex);
    for (const mac of [...this.#seenFdb.keys()]) if (!box.fdb.has(mac)) this.#fdbSeen(mac, undefined);
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

  #fdbSeen(mac: Mac, ifindex: number | undefined): void {
    if (ifindex === undefined) this.#seenFdb.delete(mac);
    else this.#seenFdb.set(mac, ifindex);
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
  polled: boolean;
  closed: boolean;
  readonly onReadable: () => void;
}

const NAMES: Record<number, 'RTM_NEWROUTE' | 'RTM_DELROUTE' | 'RTM_NEWNEIGH' | 'RTM_DELNEIGH'> = {
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
