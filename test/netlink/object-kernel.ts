import {
  decodeNextHop,
  decodeRoute,
  forEachMessage,
  Malformed,
  type Message,
  MessageWriter,
  NetlinkError,
  type NextHop,
  NLM_F,
  type Refusal,
  type Request,
  type Route,
  RTM,
} from 'rtnetlink-ts';
import type { Address } from '../../src/model/address.ts';
import { isUp, onLink, type Port, type PortChange } from '../../src/model/ports.ts';
import type { ObjectSocket, PortTable } from '../../src/netlink/index.ts';

const NAMES = new Map<number, string>([
  [RTM.NEWROUTE, 'RTM_NEWROUTE'],
  [RTM.DELROUTE, 'RTM_DELROUTE'],
  [RTM.NEWNEXTHOP, 'RTM_NEWNEXTHOP'],
  [RTM.DELNEXTHOP, 'RTM_DELNEXTHOP'],
]);

const refusal = (code: string, request: string): Refusal => ({ code, errno: 1, extack: undefined, request });

/** What a kernel does with routes over next-hop objects, as it was seen to (Linux 6.18): what goes with a port goes in silence. */
export class ObjectKernel {
  readonly objects = new Map<number, NextHop>();
  /** By prefix and metric: the id of the object. */
  readonly routes = new Map<string, Map<number, Route>>();
  /** Names of requests that are refused for want of memory; 'dump' for the reading of tables. */
  readonly short = new Set<string>();
  /** The n-th message from now on, and those after it, by chance. */
  refuses: (name: string) => boolean = (name) => this.short.has(name);
  readonly messages: string[] = [];
  /** Told before a route is removed on request. */
  onRemoval: (prefix: string, left: number) => void = () => {};
  /** Objects with routes over them that somebody asked to delete. */
  readonly torn: number[] = [];
  /** Hear of ports before everybody else, as the speakers do. */
  readonly early: ((change: PortChange) => void)[] = [];
  readonly #ports = new Map<string, Port>();
  readonly #listeners = new Set<(change: PortChange) => void>();
  readonly #resyncs = new Set<() => void>();

  addPort(name: string, ifindex: number, own: string): void {
    const addresses = [{ address: own as Address, prefixLength: own.includes(':') ? 64 : 24 }];
    const plain = { mac: undefined, mtu: 1500, adminUp: true, carrier: true, master: 0, kind: undefined };
    this.#ports.set(name, { name, ifindex, ...plain, addresses });
  }

  isUp(name: string): boolean {
    return isUp(this.#ports.get(name));
  }

  /** `told`: false when the notification is lost. */
  setCarrier(name: string, carrier: boolean, told = true): void {
    const before = this.#ports.get(name)!;
    if (before.carrier === carrier) return;
    const after = { ...before, carrier };
    this.#ports.set(name, after);
    if (!carrier) this.flush(before.ifindex);
    if (told) for (const listener of [...this.early, ...this.#listeners]) listener({ name, before, after, at: 0 });
  }

  resync(): void {
    for (const listener of this.#resyncs) listener();
  }

  flush(ifindex: number): void {
    for (const [id, object] of this.objects) if (object.ifindex === ifindex) this.#drop(id);
  }

  readonly links: PortTable = {
    port: (name) => this.#ports.get(name),
    portByIndex: (ifindex) => [...this.#ports.values()].find((port) => port.ifindex === ifindex),
    portTowards: (address) => [...this.#ports.values()].find((port) => onLink(port, address)),
    afterChange: (listener) => {
      this.#listeners.add(listener);
      return () => this.#listeners.delete(listener);
    },
    afterResync: (listener) => {
      this.#resyncs.add(listener);
      return () => this.#resyncs.delete(listener);
    },
  };

  readonly socket: ObjectSocket = {
    sendAndSee: (batch) => {
      const refused = batch.flatMap((request, index) => {
        const name = NAMES.get(request.type)!;
        this.messages.push(name);
        const code = this.refuses(name) ? 'ENOBUFS' : this.#perform(request);
        return code ? [{ index, refusal: refusal(code, name) }] : [];
      });
      const outcome = { sent: batch.length, refused };
      return { ...outcome, result: Promise.resolve(outcome) };
    },
    dumpNextHops: async () => this.#dump([...this.objects.values()]),
    dumpRoutes: async ({ family, protocol }) =>
      this.#dump(
        [...this.routes.values()]
          .flatMap((each) => [...each.values()])
          .filter((route) => route.family === family && route.protocol === protocol),
      ),
  };

  #dump<T>(values: T[]): T[] {
    if (this.short.has('dump')) throw new NetlinkError(refusal('ENOBUFS', 'dump'));
    return values;
  }

  /** The ports by which packets for the prefix go now. */
  waysOf(prefix: string): string[] {
    const best = [...(this.routes.get(prefix) ?? [])].sort(([one], [other]) => one - other)[0]?.[1];
    const object = this.objects.get(best?.nextHopId ?? 0);
    const members = object?.group?.map(({ id }) => this.objects.get(id)!) ?? (object ? [object] : []);
    return members.map(({ ifindex }) => this.links.portByIndex(ifindex!)!.name).toSorted();
  }

  #drop(id: number): void {
    this.objects.delete(id);
    for (const [prefix, routes] of this.routes) {
      for (const [metric, route] of routes) if (route.nextHopId === id) routes.delete(metric);
      if (routes.size === 0) this.routes.delete(prefix);
    }
    for (const [other, object] of [...this.objects]) {
      const group = object.group?.filter((member) => member.id !== id);
      if (!group || group.length === object.group!.length) continue;
      if (group.length === 0) this.#drop(other);
      else this.objects.set(other, { ...object, group });
    }
  }

  #perform(request: Request): string | undefined {
    const writer = new MessageWriter(512);
    writer.begin(request.type, request.flags, 1);
    request.write(writer);
    writer.end();
    let code: string | undefined;
    forEachMessage(Buffer.from(writer.bytes()), (message) => {
      code =
        message.type === RTM.NEWROUTE || message.type === RTM.DELROUTE ? this.#route(message) : this.#object(message);
    });
    return code;
  }

  #object(message: Message): string | undefined {
    const object = decodeNextHop(message);
    if (object instanceof Malformed) return 'EINVAL';
    const before = this.objects.get(object.id);
    if (message.type === RTM.DELNEXTHOP) {
      if (!before) return 'ENOENT';
      if ([...this.routes.values()].some((each) => [...each.values()].some((route) => route.nextHopId === object.id)))
        this.torn.push(object.id);
      this.#drop(object.id);
      return undefined;
    }
    if (before && !(message.flags & NLM_F.REPLACE)) return 'EEXIST';
    // A group is replaced by groups only, and a next hop by next hops.
    if (before && (before.group === undefined) !== (object.group === undefined)) return 'EINVAL';
    if (object.group) {
      if (object.group.some(({ id }) => !this.objects.has(id) || this.objects.get(id)!.group)) return 'EINVAL';
    } else {
      const port = this.links.portByIndex(object.ifindex ?? 0);
      if (!port) return 'ENODEV';
      if (!isUp(port)) return 'ENETDOWN';
    }
    this.objects.set(object.id, object);
    return undefined;
  }

  #route(message: Message): string | undefined {
    const route = decodeRoute(message);
    if (route instanceof Malformed) return 'EINVAL';
    const routes = this.routes.get(route.destination) ?? new Map<number, Route>();
    const metric = route.metric ?? 0;
    if (message.type === RTM.DELROUTE) {
      if (!routes.has(metric)) return 'ESRCH';
      this.onRemoval(route.destination, routes.size - 1);
      routes.delete(metric);
      if (routes.size === 0) this.routes.delete(route.destination);
      return undefined;
    }
    if (!this.objects.has(route.nextHopId ?? 0)) return 'EINVAL';
    routes.set(metric, route);
    this.routes.set(route.destination, routes);
    return undefined;
  }
}
