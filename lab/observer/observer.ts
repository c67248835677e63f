/**
 * Sees a failover from outside: links in every namespace, ARP at the ToRs' server ports, announcements as they arrive
 * at G's ports, G's FIB. Packets carry the kernel's time of arrival (SO_TIMESTAMPNS), netlink messages the time at which
 * they were read. Everything is put on CLOCK_MONOTONIC, in milliseconds.
 */
import {
  AF,
  ETH_P,
  type FilterInstruction,
  type IncomingMessage,
  LinuxSocket,
  PACKET,
  SO,
  SOCK,
  SOL,
} from 'linux-sockets';
import { decodeRoute, Malformed, type Message, NLM_F, type Route, RTM } from 'rtnetlink-ts';
import { type Fib, homeFib } from '../cases/fib.ts';
import { monotonic, realtimeOffset } from '../monotonic.ts';
import { isUsable, type Listener, listenLinks, listenNextHops, listenRoutes } from '../netlink.ts';
import { discoverySpeaker } from '../team/neighbour-discovery.ts';
import {
  CABLES,
  type Family,
  isHostAddress,
  type NodeName,
  namespaceOf,
  SERVERS,
  TOR_NAMES,
  TORS,
  type TorName,
} from '../topology/plan.ts';
import { ObjectFib } from './objects.ts';
import { arpSender, RouteReader } from './packets.ts';

export type Observation =
  | { readonly at: number; readonly kind: 'link'; readonly node: NodeName; readonly port: string; readonly up: boolean }
  /** A server's team sends by this link from now on. */
  | { readonly at: number; readonly kind: 'switched'; readonly node: NodeName; readonly port: string }
  /** The first packet of ARP from a server at a ToR's port; `gratuitous` as it claims. */
  | {
      readonly at: number;
      readonly kind: 'arp';
      readonly tor: TorName;
      readonly port: string;
      readonly address: string;
    }
  | {
      readonly at: number;
      readonly kind: 'announce' | 'withdraw';
      readonly tor: TorName;
      readonly protocol: 'ospf' | 'bgp';
      readonly address: string;
    }
  /** G's kernel: through whom the host route leads now; empty when it is gone. */
  | { readonly at: number; readonly kind: 'fib'; readonly address: string; readonly via: readonly TorName[] };

const LIMIT = 200_000;
/** Octets. Ten thousand hosts are announced, or speak, at once, and none may be missed; as in netlink.ts. */
const RECEIVE_BUFFER = 64 << 20;
const SKF_AD_PROTOCOL = 0xfffff000;
const LD_HALF = 0x28;
const LD_BYTE = 0x30;
const LD_HALF_INDEXED = 0x48;
const LD_BYTE_INDEXED = 0x50;
const LDX_HEADER_LENGTH = 0xb1;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER = 0x25;
const RETURN = 0x06;

/** ARP, and neighbour discovery (ICMPv6 types from 135). */
const ONLY_NEIGHBOURS: readonly FilterInstruction[] = [
  { code: LD_HALF, jt: 0, jf: 0, k: SKF_AD_PROTOCOL },
  { code: JUMP_EQUAL, jt: 5, jf: 0, k: ETH_P.ARP },
  { code: JUMP_EQUAL, jt: 0, jf: 5, k: ETH_P.IPV6 },
  { code: LD_BYTE, jt: 0, jf: 0, k: 6 },
  { code: JUMP_EQUAL, jt: 0, jf: 3, k: 58 },
  { code: LD_BYTE, jt: 0, jf: 0, k: 40 },
  { code: JUMP_GREATER, jt: 0, jf: 1, k: 134 },
  { code: RETURN, jt: 0, jf: 0, k: 64 },
  { code: RETURN, jt: 0, jf: 0, k: 0 },
];

/** OSPF link state updates, and TCP from or to port 179 over IPv4. */
const ONLY_ROUTING: readonly FilterInstruction[] = [
  { code: LD_HALF, jt: 0, jf: 0, k: SKF_AD_PROTOCOL },
  { code: JUMP_EQUAL, jt: 0, jf: 11, k: ETH_P.IP },
  { code: LD_BYTE, jt: 0, jf: 0, k: 9 },
  { code: LDX_HEADER_LENGTH, jt: 0, jf: 0, k: 0 },
  { code: JUMP_EQUAL, jt: 0, jf: 2, k: 89 },
  { code: LD_BYTE_INDEXED, jt: 0, jf: 0, k: 1 },
  { code: JUMP_EQUAL, jt: 5, jf: 6, k: 4 },
  { code: JUMP_EQUAL, jt: 0, jf: 5, k: 6 },
  { code: LD_HALF_INDEXED, jt: 0, jf: 0, k: 0 },
  { code: JUMP_EQUAL, jt: 2, jf: 0, k: 179 },
  { code: LD_HALF_INDEXED, jt: 0, jf: 0, k: 2 },
  { code: JUMP_EQUAL, jt: 0, jf: 1, k: 179 },
  { code: RETURN, jt: 0, jf: 0, k: 0xffff },
  { code: RETURN, jt: 0, jf: 0, k: 0 },
];

/** TCP from or to port 179 over IPv6. */
const ONLY_ROUTING6: readonly FilterInstruction[] = [
  { code: LD_HALF, jt: 0, jf: 0, k: SKF_AD_PROTOCOL },
  { code: JUMP_EQUAL, jt: 0, jf: 7, k: ETH_P.IPV6 },
  { code: LD_BYTE, jt: 0, jf: 0, k: 6 },
  { code: JUMP_EQUAL, jt: 0, jf: 5, k: 6 },
  { code: LD_HALF, jt: 0, jf: 0, k: 40 },
  { code: JUMP_EQUAL, jt: 2, jf: 0, k: 179 },
  { code: LD_HALF, jt: 0, jf: 0, k: 42 },
  { code: JUMP_EQUAL, jt: 0, jf: 1, k: 179 },
  { code: RETURN, jt: 0, jf: 0, k: 0xffff },
  { code: RETURN, jt: 0, jf: 0, k: 0 },
];

/** By the index of G's port. */
const gatewayPorts: ReadonlyMap<number, TorName> = new Map(
  CABLES.filter(({ kind }) => kind === 'uplink').map(({ near, far }) => [far.ifindex, near.node as TorName]),
);

/** What a tap could not see since it was last asked. */
interface Tap {
  readonly where: string;
  frames(): number;
}

export class Observer {
  readonly #lab: string;
  readonly #observations: Observation[] = [];
  readonly #listeners: Listener[] = [];
  readonly #taps: Tap[] = [];
  readonly #readers: { readonly tor: TorName; readonly reader: RouteReader; told: number }[] = [];
  readonly #claims = new Map<string, boolean>();
  readonly #fib = new Map<string, readonly TorName[]>();
  /** G's IPv4 routes of one address, as the kernel has them in a row. */
  readonly #standing = new Map<string, readonly { readonly via: readonly TorName[]; readonly metric: number }[]>();
  readonly #objects = new ObjectFib(gatewayPorts, (address, via) => {
    this.#fib.set(address, via);
    this.#add({ at: monotonic(), kind: 'fib', address, via });
  });
  #home: Fib;
  #realtime = realtimeOffset();
  #overflow = false;

  constructor(lab: string, families: readonly Family[]) {
    this.#lab = lab;
    this.#home = homeFib(families);
    this.#listeners.push(listenNextHops(namespaceOf(lab, 'G'), (message) => this.#objects.object(message)));
    for (const node of ['A', 'B', 'G', ...SERVERS.map(({ name }) => name)] as const) this.#watchLinks(node);
    for (const tor of TOR_NAMES) {
      this.#watchArp(tor);
      this.#watchRouting(tor, ONLY_ROUTING);
      if (families.includes(6)) this.#watchRouting(tor, ONLY_ROUTING6);
    }
    for (const family of families) this.#watchFib(family);
  }

  begin(): void {
    this.#observations.length = 0;
    this.#overflow = false;
    this.#realtime = realtimeOffset();
  }

  /** @throws Error when there was more to see than is kept */
  report(): readonly Observation[] {
    if (this.#overflow) throw new Error(`more than ${LIMIT} observations in one window`);
    return this.#observations;
  }

  /** What was not seen since the last call, in words; whatever else the observer says may be wrong then. */
  missed(): string[] {
    const missed: string[] = [];
    for (const { where, frames } of this.#taps) {
      const count = frames();
      if (count > 0) missed.push(`the observer missed ${count} frames at ${where}: it reads too slowly`);
    }
    for (const each of this.#readers) {
      const count = each.reader.lost - each.told;
      each.told = each.reader.lost;
      if (count > 0) missed.push(`the observer lost its place ${count} times in what ${each.tor} says over BGP`);
    }
    return missed;
  }

  /** Host routes that a ToR other than the server's own has announced and not withdrawn: `TOR PROTOCOL ADDRESS`. */
  strayClaims(): string[] {
    return [...this.#claims].flatMap(([claim, stands]) => {
      const [tor, , address] = claim.split(' ');
      const home = this.#home[address!];
      return stands && home && !home.includes(tor as TorName) ? [claim] : [];
    });
  }

  /** Where everything leads while nothing is broken, for `strayClaims`; addresses that it doesn't name are nobody's. */
  home(home: Fib): void {
    this.#home = home;
  }

  /** Other ToRs stand there now: what the former ones announced went with them, without a word. */
  forgetClaims(): void {
    this.#claims.clear();
  }

  /** G's host routes as the kernel has told them so far. */
  fib(): Record<string, readonly TorName[]> {
    return Object.fromEntries(this.#fib);
  }

  close(): void {
    for (const listener of this.#listeners) listener.close();
  }

  #add(observation: Observation): void {
    if (this.#observations.length < LIMIT) this.#observations.push(observation);
    else this.#overflow = true;
  }

  #watchLinks(node: NodeName): void {
    const ports = new Map<number, string>();
    for (const { near, far } of CABLES) {
      if (near.node === node) ports.set(near.ifindex, near.port);
      if (far.node === node) ports.set(far.ifindex, far.port);
    }
    const last = new Map<string, boolean>();
    this.#listeners.push(
      listenLinks(namespaceOf(this.#lab, node), (link, gone) => {
        const port = ports.get(link.ifindex);
        if (port === undefined) return;
        const up = !gone && isUsable(link);
        if (last.get(port) === up) return;
        last.set(port, up);
        if (node === 'G' && !up) this.#objects.down(link.ifindex);
        this.#add({ at: monotonic(), kind: 'link', node, port, up });
      }),
    );
  }

  /** One tap for all ports of a ToR, before its bridge (if it has one) takes the frames. */
  #watchArp(tor: TorName): void {
    const ports = new Map(CABLES.filter(({ near }) => near.node === tor).map(({ near }) => [near.ifindex, near.port]));
    this.#tap(`${tor}'s server ports`, namespaceOf(this.#lab, tor), 0, ONLY_NEIGHBOURS, (message, at) => {
      const port = message.from?.family === 'packet' ? ports.get(message.from.ifindex) : undefined;
      const address = arpSender(message.data) ?? discoverySpeaker(message.data);
      if (port !== undefined && address !== undefined) this.#add({ at, kind: 'arp', tor, port, address });
    });
  }

  #watchRouting(tor: TorName, filter: readonly FilterInstruction[]): void {
    const cable = CABLES.find(({ near, kind }) => near.node === tor && kind === 'uplink')!;
    const reader = new RouteReader();
    this.#readers.push({ tor, reader, told: 0 });
    this.#tap(`G's port ${cable.far.port}`, namespaceOf(this.#lab, 'G'), cable.far.ifindex, filter, (message, at) => {
      for (const { kind, protocol, address, origin, shadow } of reader.read(message.data, at)) {
        const { routerId, asn } = TORS[tor];
        // What a ToR passes on is not its own claim; over BGP it takes the place of one (FRR gives G's routes back to G).
        const own = origin === undefined || origin === (protocol === 'ospf' ? routerId : String(asn));
        if (own || protocol === 'bgp')
          this.#claims.set(`${tor} ${protocol} ${address}`, own && kind === 'announce' && !shadow);
        if (!own || (shadow && kind === 'announce')) continue;
        this.#add({ at, kind, tor, protocol, address });
      }
    });
  }

  #tap(
    where: string,
    netns: string,
    ifindex: number,
    filter: readonly FilterInstruction[],
    onPacket: (message: IncomingMessage, at: number) => void,
  ): void {
    const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.DGRAM, protocol: 0, netns });
    socket.attachFilter(filter);
    socket.setOption(SOL.PACKET, PACKET.IGNORE_OUTGOING, 1);
    socket.setOption(SOL.SOCKET, SO.TIMESTAMPNS, 1);
    socket.setOption(SOL.SOCKET, SO.RCVBUFFORCE, RECEIVE_BUFFER);
    socket.bind({ family: 'packet', ifindex, protocol: ETH_P.ALL });
    socket.onReadable(() => {
      for (const message of socket.receiveBatch()) onPacket(message, this.#arrival(message));
    });
    this.#listeners.push(socket);
    // struct tpacket_stats: packets, drops; reading sets both back to 0.
    this.#taps.push({ where, frames: () => socket.getOption(SOL.PACKET, PACKET.STATISTICS, 8).readUInt32LE(4) });
  }

  #arrival(message: IncomingMessage): number {
    const stamp = message.control.find(({ level, type }) => level === SOL.SOCKET && type === SO.TIMESTAMPNS);
    if (!stamp) return monotonic();
    const view = new DataView(stamp.data.buffer, stamp.data.byteOffset);
    const realtime = Number(view.getBigInt64(0, true)) * 1e3 + Number(view.getBigInt64(8, true)) / 1e6;
    return realtime - this.#realtime;
  }

  #watchFib(family: Family): void {
    const bits = family === 4 ? '/32' : '/128';
    this.#listeners.push(
      listenRoutes(
        namespaceOf(this.#lab, 'G'),
        (message) => {
          if (message.type !== RTM.NEWROUTE && message.type !== RTM.DELROUTE) return;
          const route: Route | Malformed = decodeRoute(message);
          if (route instanceof Malformed || route.table !== 254) return;
          if (!route.destination.endsWith(bits)) return;
          const address = route.destination.slice(0, -bits.length);
          if (!isHostAddress(address, family)) return;
          if (this.#objects.route(address, route, message)) return;
          const named = route.nextHops
            .map(({ ifindex }) => gatewayPorts.get(ifindex ?? 0))
            .filter((tor) => tor !== undefined);
          const via = family === 4 ? this.#told4(address, route, named, message) : this.#told6(address, named, message);
          this.#fib.set(address, via);
          this.#add({ at: monotonic(), kind: 'fib', address, via });
        },
        family,
      ),
    );
  }

  /** Of several routes the first of the best metric is used; a replaced one is told once. */
  #told4(address: string, route: Route, via: readonly TorName[], { type, flags }: Message): readonly TorName[] {
    const told = { via: via.toSorted(), metric: route.metric ?? 0 };
    const standing = this.#standing.get(address) ?? [];
    const same = standing.findIndex(({ metric }) => metric === told.metric);
    const others = standing.filter((each, index) => {
      if (type === RTM.NEWROUTE && flags & NLM_F.REPLACE && index === same) return false;
      return each.metric !== told.metric || each.via.join() !== told.via.join();
    });
    const last = (flags & (NLM_F.APPEND | NLM_F.MULTI)) !== 0;
    const all = type === RTM.DELROUTE ? others : last ? [...others, told] : [told, ...others];
    all.sort((one, other) => one.metric - other.metric);
    this.#standing.set(address, all);
    return all[0]?.via ?? [];
  }

  /**
   * IPv6 may tell the new route before the old one is deleted, and one next hop of several at a time: what is deleted
   * counts only as far as it is what we believe in.
   */
  #told6(address: string, named: readonly TorName[], { type }: Message): readonly TorName[] {
    if (type === RTM.NEWROUTE) return named.toSorted();
    const known = this.#fib.get(address) ?? [];
    return named.length === 0 ? [] : known.filter((tor) => !named.includes(tor));
  }
}
