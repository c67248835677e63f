/**
 * The kernel of one switch: ports, cables, routes, neighbours. It outlives the agent. What the agent asks of it is done
 * at once or refused, as rtnetlink does; what happens is notified to whoever subscribed (`face.ts`).
 */
import {
  decodeNeighbour,
  decodeRoute,
  forEachMessage,
  Malformed,
  type Message,
  MessageWriter,
  type Neighbour,
  NUD,
  type Request,
  type Route,
  RTM,
  RTN,
} from 'rtnetlink-ts';
import type { Address, Mac } from '../../src/model/address.ts';
import type { Port } from '../../src/model/ports.ts';
import { Backups } from './backups.ts';
import { ShadowSlots } from './shadow-slots.ts';

export interface BoxPort {
  readonly name: string;
  readonly ifindex: number;
  readonly mac: Mac;
  readonly addresses: Port['addresses'];
  readonly kind: string | undefined;
  /** The bridge that it is a member of: ifindex, or 0. */
  readonly master: number;
  adminUp: boolean;
  /** The medium and the other end. */
  cable: boolean;
  /** Shut by an operator, and known as such. */
  operator: boolean;
  /** Shut by an agent, of this life or an earlier one, and not opened since. */
  byAgent: boolean;
  /** Opened by an operator while the agent had it shut: it stays open until all is well again. */
  overridden: boolean;
}

export type Errno = 'ENOBUFS' | 'ENOMEM' | 'EBUSY' | 'ENETDOWN' | 'ENODEV' | 'ESRCH' | 'EPERM' | 'ENOENT';

export interface BoxEvents {
  link(before: Port | undefined, after: Port | undefined): void;
  neighbour(entry: Neighbour, deleted: boolean): void;
  /** A bridge has heard a MAC on another port, or has forgotten it (`ifindex` undefined). */
  fdb(mac: Mac, ifindex: number | undefined): void;
  /** Routes changed. */
  routes(): void;
}

export const isOn = (port: BoxPort | undefined): boolean => port?.adminUp === true && port.cable;

const routeKey = (route: Route): string => `${route.table} ${route.destination} ${route.metric ?? 0}`;
const neighbourKey = (entry: { ifindex: number; destination?: string | undefined }): string =>
  `${entry.ifindex} ${entry.destination}`;

const DOOR_MAC = '02:00:00:00:00:01' as Mac;

export class Box {
  readonly name: string;
  readonly ports = new Map<string, BoxPort>();
  readonly routes = new Map<string, Route>();
  readonly neighbours = new Map<string, Neighbour>();
  /** For whom packets that come from G wait. */
  readonly shadows = new ShadowSlots();
  readonly backups = new Backups();
  /** Of its one bridge: MAC to ifindex of the port. */
  readonly fdb = new Map<Mac, number>();
  /** The agent's side, while one lives. */
  listener: BoxEvents | undefined;
  /** A port's own state changed: servers and G look again. */
  readonly onLink: (name: string) => void;
  #nextIfindex: number;
  readonly #writer = new MessageWriter(512);

  constructor(name: string, firstIfindex: number, onLink: (name: string) => void) {
    this.name = name;
    this.#nextIfindex = firstIfindex;
    this.onLink = onLink;
  }

  addPort(
    name: string,
    mac: Mac,
    addresses: Port['addresses'],
    { kind, master = 0 }: { kind?: string; master?: number } = {},
  ): BoxPort {
    const port = {
      name,
      ifindex: this.#nextIfindex++,
      mac,
      addresses,
      kind,
      master,
      adminUp: true,
      cable: true,
      operator: false,
      byAgent: false,
      overridden: false,
    };
    this.ports.set(name, port);
    this.listener?.link(undefined, this.shown(port));
    return port;
  }

  removePort(name: string): void {
    const port = this.ports.get(name);
    if (!port) return;
    this.#flush(port.ifindex, true);
    this.ports.delete(name);
    this.listener?.link(this.shown(port), undefined);
  }

  /** The pair of the waiting room is made anew, as the agent does at each start. */
  makeDoor(name: string): { interface: string; ifindex: number; mac: Mac } {
    this.removePort(name);
    const { ifindex } = this.addPort(name, DOOR_MAC, []);
    return { interface: name, ifindex, mac: DOOR_MAC };
  }

  shown(port: BoxPort): Port {
    const { name, ifindex, mac, adminUp, addresses, master, kind } = port;
    return { name, ifindex, mac, mtu: 1500, adminUp, carrier: isOn(port), master, kind, addresses };
  }

  setAdmin(port: BoxPort, up: boolean): void {
    // Whoever opens it, operator or boot, ends the agent's shutting: who shuts it next is known anew.
    if (up) port.byAgent = false;
    if (port.adminUp === up) return;
    this.#change(port, () => {
      port.adminUp = up;
    });
  }

  setCable(port: BoxPort, up: boolean): void {
    if (port.cable === up) return;
    this.#change(port, () => {
      port.cable = up;
    });
  }

  #change(port: BoxPort, change: () => void): void {
    const before = this.shown(port);
    change();
    const after = this.shown(port);
    // Set down, an interface loses its routes without a word; without carrier it keeps them. Neighbours go either way.
    if (before.adminUp && !after.adminUp) this.#flush(port.ifindex, true);
    else if (before.carrier && !after.carrier) this.#flush(port.ifindex, false);
    if (before.carrier && !after.carrier) this.#unlearn(port.ifindex);
    if (before.adminUp !== after.adminUp || before.carrier !== after.carrier) {
      this.listener?.link(before, after);
      this.onLink(port.name);
    }
    // A bridge has carrier while one of its ports has.
    const bridge = this.byIndex(port.master);
    if (bridge)
      this.setCable(
        bridge,
        [...this.ports.values()].some((each) => each.master === bridge.ifindex && isOn(each)),
      );
  }

  #unlearn(ifindex: number): void {
    for (const [mac, at] of this.fdb) {
      if (at !== ifindex) continue;
      this.fdb.delete(mac);
      this.listener?.fdb(mac, undefined);
    }
  }

  #flush(ifindex: number, routesToo: boolean): void {
    for (const [key, entry] of this.neighbours) {
      if (entry.ifindex !== ifindex || entry.state & NUD.PERMANENT) continue;
      this.neighbours.delete(key);
      this.listener?.neighbour(entry, true);
    }
    if (!routesToo) return;
    for (const [key, route] of this.routes)
      if (route.nextHops.some((hop) => hop.ifindex === ifindex)) this.routes.delete(key);
    this.listener?.routes();
  }

  byIndex(ifindex: number | undefined): BoxPort | undefined {
    if (!ifindex) return undefined;
    for (const port of this.ports.values()) if (port.ifindex === ifindex) return port;
    return undefined;
  }

  /** One request, by its own bytes; undefined: done. */
  request(request: Request): Errno | undefined {
    this.#writer.reset();
    this.#writer.begin(request.type, request.flags, 1);
    request.write(this.#writer);
    this.#writer.end();
    let answer: Errno | undefined;
    forEachMessage(Buffer.from(this.#writer.bytes()), (message) => {
      answer = this.#perform(message);
    });
    return answer;
  }

  #perform(message: Message): Errno | undefined {
    switch (message.type) {
      case RTM.NEWROUTE:
        return this.#newRoute(sane(decodeRoute(message)));
      case RTM.DELROUTE:
        return this.#deleteRoute(sane(decodeRoute(message)));
      case RTM.NEWNEIGH:
        return this.#newNeighbour(sane(decodeNeighbour(message)));
      case RTM.DELNEIGH:
        return this.#deleteNeighbour(sane(decodeNeighbour(message)));
      default:
        throw new Error(`the simulated kernel knows no request ${message.type}`);
    }
  }

  #newRoute(route: Route): Errno | undefined {
    for (const hop of route.nextHops) {
      const port = this.byIndex(hop.ifindex);
      if (hop.ifindex !== undefined && !port) return 'ENODEV';
      if (port && !port.adminUp) return 'ENETDOWN';
    }
    this.routes.set(routeKey(route), route);
    this.listener?.routes();
    return undefined;
  }

  #deleteRoute(wanted: Route): Errno | undefined {
    for (const [key, route] of this.routes) {
      if (route.destination !== wanted.destination || route.table !== wanted.table) continue;
      if (wanted.metric && route.metric !== wanted.metric) continue;
      if (wanted.protocol && route.protocol !== wanted.protocol) continue;
      if (wanted.type && route.type !== wanted.type) continue;
      if (wanted.nextHops.some((hop) => !route.nextHops.some((each) => each.ifindex === hop.ifindex))) continue;
      this.routes.delete(key);
      this.listener?.routes();
      return undefined;
    }
    return 'ESRCH';
  }

  #newNeighbour(entry: Neighbour): Errno | undefined {
    if (!this.byIndex(entry.ifindex)) return 'ENODEV';
    this.learn(entry);
    return undefined;
  }

  #deleteNeighbour(entry: Neighbour): Errno | undefined {
    const key = neighbourKey(entry);
    const known = this.neighbours.get(key);
    if (!known) return 'ENOENT';
    this.neighbours.delete(key);
    this.listener?.neighbour(known, true);
    return undefined;
  }

  /** The kernel's own knowledge, or ours. */
  learn(entry: Neighbour): void {
    const full = { ...entry, type: RTN.UNICAST };
    this.neighbours.set(neighbourKey(entry), full);
    this.listener?.neighbour(full, false);
  }

  forget(entry: Neighbour): void {
    this.neighbours.delete(neighbourKey(entry));
    this.listener?.neighbour({ ...entry, state: NUD.FAILED }, false);
    this.listener?.neighbour({ ...entry, state: NUD.FAILED }, true);
  }

  /** A frame came in on a port: its bridge learns where the sender is. */
  frameHeard(port: BoxPort, mac: Mac): void {
    if (port.master === 0 || this.fdb.get(mac) === port.ifindex) return;
    this.fdb.set(mac, port.ifindex);
    this.listener?.fdb(mac, port.ifindex);
  }

  /** ARP or ND was heard: an entry that is there takes the MAC over, none is made. */
  speakerHeard(port: BoxPort, address: Address, mac: Mac): void {
    const ifindex = port.master || port.ifindex;
    const known = this.neighbours.get(`${ifindex} ${address}`);
    if (known && known.linkAddress !== mac) this.learn({ ...known, linkAddress: mac, state: NUD.STALE });
  }

  /** The /32s and /128s of the agent's protocol number: address and port name. */
  hostRoutes(protocol: number): Map<string, string> {
    const routes = new Map<string, string>();
    for (const route of this.routes.values()) {
      if (route.protocol !== protocol || route.type !== RTN.UNICAST) continue;
      routes.set(route.destination.split('/')[0]!, this.byIndex(route.nextHops[0]?.ifindex)?.name ?? 'nowhere');
    }
    return routes;
  }
}

function sane<T>(value: T | Malformed): T {
  if (value instanceof Malformed) throw new Error(`a request that can not be read: ${value.reason}`);
  return value;
}
