/**
 * What stands in for the machine in a rehearsal. Everything here keeps its state in memory and nothing here opens a
 * socket, a file or a timer: what is sent over a wire is handed to the other end, what is meant for the kernel is
 * encoded and dropped.
 */
import { MessageWriter, type Request, RTM } from 'rtnetlink-ts';
import type { BgpOptions } from '../../bgp/index.ts';
import type { OpenPort, PortEar } from '../../hostroutes/index.ts';
import { type Address, ipv4ToNumber, type Mac } from '../../model/address.ts';
import type { Clock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { onLink, type Port, type PortChange } from '../../model/ports.ts';
import {
  BackedRouteInstaller,
  type BackedRouteOptions,
  HostRouteInstaller,
  type HostRouteOptions,
  LearnedRouteInstaller,
  type LearnedRouteOptions,
  type ObjectSocket,
  type PortTable,
  type RouteSocket,
} from '../../netlink/index.ts';
import type { OpenOspfSocket } from '../../ospf/index.ts';
import type { SwitchKernel } from '../tor/surroundings.ts';

export const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

const NOTHING: readonly never[] = [];
const REQUEST_AND_ACK = 5;

/** Encodes requests as the real one does, and agrees to all of them. */
class AgreeableKernel implements RouteSocket, ObjectSocket {
  readonly routes = { written: 0, removed: 0 };
  readonly #writer = new MessageWriter(16_384);

  sendNow(requests: readonly Request[]) {
    return this.sendAndSee(requests).result;
  }

  sendAndSee(requests: readonly Request[]) {
    this.#writer.reset();
    for (const request of requests) {
      this.#writer.begin(request.type, REQUEST_AND_ACK | request.flags, 1);
      request.write(this.#writer);
      this.#writer.end();
      if (request.type === RTM.NEWROUTE) this.routes.written++;
      else if (request.type === RTM.DELROUTE) this.routes.removed++;
    }
    const done = { sent: requests.length, refused: NOTHING };
    return { ...done, result: Promise.resolve(done) };
  }

  async setRoute(): Promise<void> {}

  async dumpRoutes() {
    return [];
  }

  async dumpNeighbours() {
    return [];
  }

  async dumpNextHops() {
    return [];
  }
}

type PortListener = (change: PortChange) => void;

/** Ports whose links go as the rehearsal wants, and the rest of a kernel that agrees to everything. */
export class RehearsalKernel implements SwitchKernel {
  readonly neighbours = { all: () => NOTHING, onNeighbour: () => () => {} };
  readonly fdb = { portOf: () => undefined };
  readonly #clock: Clock;
  readonly #ports = new Map<string, Port>();
  readonly #listeners = new Set<PortListener>();
  readonly #afterwards = new Set<PortListener>();
  readonly #requests = new AgreeableKernel();

  constructor(clock: Clock, ports: readonly Port[]) {
    this.#clock = clock;
    for (const port of ports) this.#ports.set(port.name, port);
  }

  port(name: string): Port | undefined {
    return this.#ports.get(name);
  }

  portByIndex(ifindex: number): Port | undefined {
    for (const port of this.#ports.values()) if (port.ifindex === ifindex) return port;
    return undefined;
  }

  ports(): Iterable<Port> {
    return this.#ports.values();
  }

  onChange(listener: PortListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The cable of a port goes or comes, and everyone hears of it in this turn. */
  setCarrier(name: string, carrier: boolean): void {
    this.#change(name, { carrier });
  }

  async setAdmin(names: readonly string[], up: boolean): Promise<void> {
    for (const name of names) this.#change(name, { adminUp: up });
  }

  watchCarriers(): void {}

  hostRoutes(options: HostRouteOptions = {}): HostRouteInstaller {
    return new HostRouteInstaller(this.#requests, this.#table(), this.#clock, options);
  }

  learnedRoutes(options: LearnedRouteOptions): LearnedRouteInstaller {
    return new LearnedRouteInstaller(this.#requests, this.#table(), this.#clock, options);
  }

  /** Its route messages are counted in `routes`. */
  backedRoutes(options: BackedRouteOptions): BackedRouteInstaller {
    return new BackedRouteInstaller(this.#requests, this.#table(), this.#clock, options);
  }

  get routes(): { readonly written: number; readonly removed: number } {
    return this.#requests.routes;
  }

  waitingRoom(): Promise<never> {
    return Promise.reject(new Error('a rehearsal has no waiting room'));
  }

  counters(): Record<string, number> {
    return {};
  }

  close(): void {}

  #table(): PortTable {
    return {
      port: (name) => this.port(name),
      portByIndex: (ifindex) => this.portByIndex(ifindex),
      portTowards: (address) => [...this.#ports.values()].find((each) => onLink(each, address)),
      afterChange: (listener) => {
        this.#afterwards.add(listener);
        return () => this.#afterwards.delete(listener);
      },
      afterResync: () => () => {},
    };
  }

  #change(name: string, what: Partial<Port>): void {
    const before = this.#ports.get(name);
    if (!before) return;
    const after = { ...before, ...what };
    this.#ports.set(name, after);
    const change = { name, before, after, at: this.#clock.now() };
    for (const listener of this.#listeners) listener(change);
    for (const listener of this.#afterwards) listener(change);
  }
}

/** The packet sockets of the downlinks: frames that `say` puts in are heard in the same turn, questions go nowhere. */
export class RehearsalEars {
  readonly #ears = new Map<string, (frames: readonly Uint8Array[]) => void>();

  readonly open: OpenPort = ({ name, ifindex, bridged, multicast }, onReadable): PortEar => {
    let waiting: readonly Uint8Array[] = [];
    const ear: PortEar = {
      ifindex,
      bridged,
      multicast,
      receive: () => {
        const frames = waiting.map((bytes) => ({ bytes }));
        waiting = [];
        return frames;
      },
      send: () => undefined,
      dropped: () => 0,
      close: () => {
        this.#ears.delete(name);
      },
    };
    this.#ears.set(name, (frames) => {
      waiting = frames;
      onReadable(ear);
    });
    return ear;
  };

  /** At most 64 frames, as one read of the real socket gives. */
  say(port: string, frames: readonly Uint8Array[]): void {
    this.#ears.get(port)?.(frames);
  }
}

type Transport = NonNullable<BgpOptions['transport']>;
type Accept = Parameters<Transport['listen']>[1];
type Connection = ReturnType<Transport['connect']>;
type Handlers = Parameters<Transport['connect']>[1];

/** A cable without length: what one end writes the other reads a moment later, never in the same turn. */
const MOMENT = 0.01;

/** TCP between two speakers. */
export class RehearsalTcp {
  readonly #clock: Clock;
  readonly #accepting = new Map<Address, Accept>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  at(local: Address): Transport {
    return {
      connect: (target, handlers) => {
        const [near, far] = this.#pair(local, target.address);
        near.handlers = handlers;
        this.#later(() => {
          far.handlers = this.#accepting.get(target.address)?.(far.connection);
          if (far.handlers) near.handlers?.onOpen();
          else near.handlers?.onClose('refused');
        });
        return near.connection;
      },
      listen: (_, accept) => {
        this.#accepting.set(local, accept);
        return { close: () => this.#accepting.delete(local) };
      },
    };
  }

  #later(run: () => void): void {
    this.#clock.schedule(this.#clock.now() + MOMENT, run);
  }

  #pair(local: Address, remote: Address): [End, End] {
    const near: End = { handlers: undefined, connection: this.#connection(local, remote, () => far) };
    const far: End = { handlers: undefined, connection: this.#connection(remote, local, () => near) };
    return [near, far];
  }

  #connection(localAddress: Address, remoteAddress: Address, other: () => End): Connection {
    return {
      localAddress,
      remoteAddress,
      backlog: () => 0,
      write: (data) => {
        this.#later(() => other().handlers?.onData(data));
      },
      close: (done) => {
        this.#later(() => {
          const { handlers } = other();
          other().handlers = undefined;
          handlers?.onClose('closed by the neighbour');
        });
        done?.();
      },
    };
  }
}

interface End {
  handlers: Handlers | undefined;
  readonly connection: Connection;
}

/** The raw sockets of two OSPF speakers on one link. */
export class RehearsalLink {
  readonly #clock: Clock;
  readonly #ends = new Map<Address, (source: Address, to: string, bytes: Uint8Array) => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  at(local: Address): OpenOspfSocket {
    return () => ({
      join: () => {},
      leave: () => {},
      send: (to, packets) => {
        for (const packet of packets) {
          this.#clock.schedule(this.#clock.now() + MOMENT, () => {
            for (const [address, hear] of this.#ends) if (address !== local) hear(local, to, packet);
          });
        }
        return packets.length;
      },
      listen: (receive) => {
        this.#ends.set(local, (source, to, bytes) =>
          receive({ source: ipv4ToNumber(source), destination: ipv4ToNumber(to as Address), bytes }),
        );
      },
      close: () => {
        this.#ends.delete(local);
      },
    });
  }
}

/** RFC 826 as a server says it when its team changes over: a request for its own address. */
export function gratuitousArp(mac: Mac, address: Address): Uint8Array {
  const frame = Buffer.alloc(42);
  const hardware = Buffer.from(mac.replaceAll(':', ''), 'hex');
  frame.fill(0xff, 0, 6);
  hardware.copy(frame, 6);
  frame.writeUInt32BE(0x08060001, 12);
  frame.writeUInt32BE(0x08000604, 16);
  frame.writeUInt16BE(1, 20);
  hardware.copy(frame, 22);
  frame.writeUInt32BE(ipv4ToNumber(address), 28);
  frame.writeUInt32BE(ipv4ToNumber(address), 38);
  return frame;
}
