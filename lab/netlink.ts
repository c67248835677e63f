/** The little of rtnetlink that the lab's programs need in other namespaces: listen, and ask without waiting. */
import { AF, LinuxSocket, NETLINK, SO, SOCK, SOL } from 'linux-sockets';
import {
  decodeLink,
  encodeLink,
  forEachMessage,
  type Link,
  type LinkChange,
  Malformed,
  type Message,
  MessageWriter,
  NLMSG,
  RTM,
  RTNLGRP,
} from 'rtnetlink-ts';

/** Octets. Ten thousand routes change at once, each a message that the kernel counts as over a thousand octets, and none may be missed. */
const RECEIVE_BUFFER = 64 << 20;

const NLM_F_REQUEST = 1;
const NLM_F_DUMP = 0x300;
const IFF_LOWER_UP = 0x10000;
const IF_OPER_UNKNOWN = 0;
const IF_OPER_UP = 6;

export interface Listener {
  close(): void;
}

/** RFC 2863 states in which a bridge takes a port; devices that don't keep one say unknown. */
const OPERATIONAL: ReadonlySet<number | undefined> = new Set([undefined, IF_OPER_UNKNOWN, IF_OPER_UP]);

const hasCarrier = (link: Link): boolean => link.up && (link.flags & IFF_LOWER_UP) !== 0;

/** Carrier, and the kernel's own users of the link (a bridge) know it: it follows carrier by a moment on the way up. */
export const isUsable = (link: Link): boolean => hasCarrier(link) && OPERATIONAL.has(link.operationalState);

/**
 * First every link as it is, then every change. The messages about ports of a bridge are among them, and come first.
 * @param onReady runs once, after the links as they are
 */
export function listenLinks(
  netns: string,
  onLink: (link: Link, gone: boolean) => void,
  onReady: () => void = () => undefined,
): Listener {
  const socket = subscribe(netns, RTNLGRP.LINK, (message) => {
    if (message.type === NLMSG.DONE) onReady();
    if (message.type !== RTM.NEWLINK && message.type !== RTM.DELLINK) return;
    const link = decodeLink(message);
    if (!(link instanceof Malformed)) onLink(link, message.type === RTM.DELLINK);
  });
  dump(socket, RTM.GETLINK, (writer) => encodeLink(writer, {}));
  return socket;
}

/** First the routes of one IP version as they are, then every change. */
export function listenRoutes(netns: string, onMessage: (message: Message) => void, family: 4 | 6 = 4): Listener {
  const socket = subscribe(netns, family === 4 ? RTNLGRP.IPV4_ROUTE : RTNLGRP.IPV6_ROUTE, onMessage);
  // struct rtmsg of twelve octets, of which only the family matters.
  dump(socket, RTM.GETROUTE, (writer) => twelveOctets(writer, family === 4 ? AF.INET : AF.INET6));
  return socket;
}

/** First the next-hop objects as they are, then every change. */
export function listenNextHops(netns: string, onMessage: (message: Message) => void): Listener {
  const socket = subscribe(netns, RTNLGRP.NEXTHOP, (message) => {
    if (message.type === RTM.NEWNEXTHOP || message.type === RTM.DELNEXTHOP) onMessage(message);
  });
  // struct nhmsg of eight octets.
  dump(socket, RTM.GETNEXTHOP, (writer) => {
    writer.u32(0);
    writer.u32(0);
  });
  return socket;
}

/** First the addresses of one IP version as they are, then every change. */
export function listenAddresses(netns: string, onMessage: (message: Message) => void, family: 4 | 6): Listener {
  const socket = subscribe(netns, family === 4 ? RTNLGRP.IPV4_IFADDR : RTNLGRP.IPV6_IFADDR, onMessage);
  // struct ifaddrmsg of eight octets; what comes after is no attribute the kernel looks at.
  dump(socket, RTM.GETADDR, (writer) => twelveOctets(writer, family === 4 ? AF.INET : AF.INET6));
  return socket;
}

/** First the IPv4 neighbours as they are, then every change. */
export function listenNeighbours(netns: string, onMessage: (message: Message) => void): Listener {
  const socket = subscribe(netns, RTNLGRP.NEIGH, onMessage);
  dump(socket, RTM.GETNEIGH, (writer) => twelveOctets(writer));
  return socket;
}

/** Requests that the kernel has worked off when the call returns; only refusals are answered. */
export class RequestSender {
  readonly #socket: LinuxSocket;
  readonly #writer = new MessageWriter();
  readonly #onError: (errno: number) => void;

  /** @param onError a request that the kernel refused, by its errno */
  constructor(netns: string, onError: (errno: number) => void) {
    this.#socket = open(netns);
    this.#onError = onError;
    this.#socket.onReadable(() => this.#drain());
    this.#socket.unref();
  }

  send(type: number, flags: number, body: (writer: MessageWriter) => void): void {
    this.add(type, flags, body);
    this.flush();
  }

  /** Puts a request behind those that `flush` sends as one datagram, worked off in order. */
  add(type: number, flags: number, body: (writer: MessageWriter) => void): void {
    this.#writer.begin(type, NLM_F_REQUEST | flags, 1);
    body(this.#writer);
    this.#writer.end();
  }

  flush(): void {
    this.#socket.send({ data: this.#writer.bytes() });
    this.#writer.reset();
  }

  close(): void {
    this.#socket.close();
  }

  #drain(): void {
    for (const { data } of this.#socket.receiveBatch()) {
      forEachMessage(data, (message) => {
        if (message.type !== NLMSG.ERROR || message.end - message.start < 4) return;
        const errno = -message.bytes.readInt32LE(message.start);
        if (errno !== 0) this.#onError(errno);
      });
    }
  }
}

/** Changes of links, several at once. */
export class LinkSetter {
  readonly #sender: RequestSender;

  constructor(netns: string, onError: (errno: number) => void) {
    this.#sender = new RequestSender(netns, onError);
  }

  apply(changes: readonly LinkChange[]): void {
    for (const change of changes) this.#sender.add(RTM.SETLINK, 0, (writer) => encodeLink(writer, change));
    this.#sender.flush();
  }

  close(): void {
    this.#sender.close();
  }
}

function open(netns: string): LinuxSocket {
  const socket = LinuxSocket.open({ family: AF.NETLINK, type: SOCK.RAW, protocol: NETLINK.ROUTE, netns });
  socket.setOption(SOL.SOCKET, SO.RCVBUFFORCE, RECEIVE_BUFFER);
  socket.bind({ family: 'netlink', pid: 0, groups: 0 });
  return socket;
}

function subscribe(netns: string, group: number, onMessage: (message: Message) => void): LinuxSocket {
  const socket = open(netns);
  socket.setOption(SOL.NETLINK, NETLINK.ADD_MEMBERSHIP, group);
  socket.onReadable(() => {
    for (const { data } of socket.receiveBatch()) forEachMessage(data, onMessage);
  });
  return socket;
}

function dump(socket: LinuxSocket, type: number, body: (writer: MessageWriter) => void): void {
  const writer = new MessageWriter(64);
  writer.begin(type, NLM_F_REQUEST | NLM_F_DUMP, 1);
  body(writer);
  writer.end();
  socket.send({ data: writer.bytes() });
}

function twelveOctets(writer: MessageWriter, family: number = AF.INET): void {
  writer.u32(family);
  writer.u32(0);
  writer.u32(0);
}
