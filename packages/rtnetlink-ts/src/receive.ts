import { AF, LinuxSocket, MSG, NETLINK, SOCK, SOL, SystemCallError } from 'linux-sockets';
import { forEachMessage, type Malformed, type Message } from './codec/message.ts';

export interface SocketOptions {
  /** A name in /run/netns or an absolute path; the process itself stays where it is. */
  readonly netns?: string | undefined;
  /** Bytes; beyond net.core.rmem_max where the process may (CAP_NET_ADMIN). */
  readonly receiveBuffer?: number | undefined;
  /** Another netlink protocol of the same manners, such as NETLINK.XFRM; default: rtnetlink. */
  readonly protocol?: number | undefined;
  /** Requests carry keys: their octets are zeroed once they are sent. */
  readonly secret?: boolean | undefined;
}

/** What came in, and what could not be used, by reason. */
export interface ReceiveCounters {
  datagrams: number;
  messages: number;
  /** The kernel dropped messages because our buffer was full (ENOBUFS). */
  overruns: number;
  /** A datagram longer than the receive buffer's slot. */
  truncated: number;
  /** Datagrams that another process sent to our port. */
  foreign: number;
  /** Answers nobody waits for any more. */
  stray: number;
  /** Dumps made again because the table changed under them or the kernel was not ready. */
  repeatedDumps: number;
  malformed: Record<string, number>;
}

export const newReceiveCounters = (): ReceiveCounters => ({
  datagrams: 0,
  messages: 0,
  overruns: 0,
  truncated: 0,
  foreign: 0,
  stray: 0,
  repeatedDumps: 0,
  malformed: {},
});

export function addedCounters(one: ReceiveCounters, other: ReceiveCounters): ReceiveCounters {
  const sum = { ...one, malformed: { ...one.malformed } };
  for (const [name, value] of Object.entries(other)) {
    if (typeof value === 'number') sum[name as Exclude<keyof ReceiveCounters, 'malformed'>] += value;
  }
  for (const [reason, value] of Object.entries(other.malformed)) {
    sum.malformed[reason] = (sum.malformed[reason] ?? 0) + value;
  }
  return sum;
}

export function countMalformed(counters: ReceiveCounters, malformed: Malformed): void {
  counters.malformed[malformed.reason] = (counters.malformed[malformed.reason] ?? 0) + 1;
}

const NETLINK_ROUTE = 0;
const SEND_BUFFER = 1 << 20;

/** A NETLINK_ROUTE socket (or of the protocol asked for), bound, with extended acknowledgements and strict checks of requests. */
export function openRouteSocket(options: SocketOptions): LinuxSocket {
  const socket = LinuxSocket.open({
    family: AF.NETLINK,
    type: SOCK.RAW,
    protocol: options.protocol ?? NETLINK_ROUTE,
    ...(options.netns === undefined ? {} : { netns: options.netns }),
  });
  socket.setBuffer('receive', options.receiveBuffer ?? 1 << 20);
  socket.setBuffer('send', SEND_BUFFER);
  socket.setOption(SOL.NETLINK, NETLINK.EXT_ACK, 1);
  socket.setOption(SOL.NETLINK, NETLINK.CAP_ACK, 1);
  socket.setOption(SOL.NETLINK, NETLINK.GET_STRICT_CHK, 1);
  socket.bind({ family: 'netlink', pid: 0, groups: 0 });
  return socket;
}

/**
 * Reads what is there, at most `rounds` system calls of `datagrams` each, and hands over each message.
 *
 * @returns 'empty' when the socket has nothing more, 'more' when it may have, 'overrun' when the kernel dropped
 *   messages (what was queued before is still to be read)
 * @throws SystemCallError other than ENOBUFS
 */
export function receive(
  socket: LinuxSocket,
  counters: ReceiveCounters,
  rounds: number,
  visit: (message: Message) => void,
  datagrams = 64,
): 'empty' | 'more' | 'overrun' {
  for (let round = 0; round < rounds; round++) {
    let batch: ReturnType<LinuxSocket['receiveBatch']>;
    try {
      batch = socket.receiveBatch(datagrams);
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code !== 'ENOBUFS') throw error;
      counters.overruns++;
      return 'overrun';
    }
    if (batch.length === 0) return 'empty';
    for (const datagram of batch) {
      if (datagram.from?.family === 'netlink' && datagram.from.pid !== 0) {
        counters.foreign++;
        continue;
      }
      if (datagram.flags & MSG.TRUNC) counters.truncated++;
      counters.datagrams++;
      const malformed = forEachMessage(datagram.data, (message) => {
        counters.messages++;
        visit(message);
      });
      if (malformed) countMalformed(counters, malformed);
    }
  }
  return 'more';
}
