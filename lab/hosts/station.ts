/** The controller's side of the program that talks for an instance, and the exchanges between two of them. */
import { fork } from 'node:child_process';
import { Helper, moduleCommand } from '../helper.ts';

export interface UdpRequest {
  readonly port: number;
  readonly count: number;
  /** Octets of payload; default 1000. */
  readonly size?: number;
  /** Milliseconds between sends; default 1. 0: as fast as the socket takes them. */
  readonly interval?: number;
  /** Packets per send by UDP_SEGMENT; default 1: none. */
  readonly segment?: number;
  readonly sourcePort?: number;
  /** The receiver sends each packet back; the sender waits so many ms for the last ones. */
  readonly wait?: number;
}

export interface UdpSent {
  readonly sent: number;
  /** Sends that the kernel refused, and ICMP errors that came back. */
  readonly refused: number;
  /** Packets that came back. */
  readonly answered: number;
  readonly port: number;
}

export interface UdpReceipt {
  received: number;
  duplicates: number;
  corrupted: number;
  reordered: number;
  bytes: number;
  /** Whom the packets came from, as the receiver sees it. */
  from: string[];
}

export interface UdpResult extends UdpReceipt, UdpSent {
  readonly lost: number;
}

export interface TcpRequest {
  readonly port: number;
  /** Default 1,000,000. */
  readonly bytes?: number;
  /** Milliseconds; default 10,000. */
  readonly patience?: number;
}

export interface TcpAnswer {
  /** `done`: all came and came unchanged. */
  readonly outcome: 'done' | 'corrupted' | 'refused' | 'failed' | 'timeout';
  readonly milliseconds: number;
  /** Milliseconds until the connection stood. */
  readonly connected: number | undefined;
  /** The sender as the receiver sees it, `address:port`. */
  readonly from: string;
}

/** Starts with the first request, in the namespace, and ends with the lab. */
export class Station {
  readonly #netns: string;
  #helper: Helper | undefined;

  constructor(netns: string) {
    this.#netns = netns;
  }

  request<T>(name: string, argument: unknown): Promise<T> {
    this.#helper ??= this.#start();
    return this.#helper.request<T>(name, argument);
  }

  async stop(): Promise<void> {
    await this.#helper?.stop();
    this.#helper = undefined;
  }

  #start(): Helper {
    const { file, nodeArguments } = moduleCommand('./station-program', import.meta.url);
    // nsenter and not `ip netns exec`: the descriptor of the channel is inherited, and /sys stays as it is.
    const child = fork(file, [], {
      execPath: 'nsenter',
      // A datagram socket's descriptor, for UDP_SEGMENT, is only had by a deprecated way.
      execArgv: [`--net=/run/netns/${this.#netns}`, process.execPath, '--no-deprecation', ...nodeArguments],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    return Helper.of(child, `station ${this.#netns}`);
  }
}

const SETTLED = 60;
/** Looks at which nothing more has come: few where nothing came at all, many where some is missing on a busy machine. */
const LOOKS = { none: 5, some: 20 };

/** One-way unless `wait` is given. Counts at the receiver when nothing more has come for a moment, or all has. */
export async function exchangeUdp(
  from: Station,
  to: Station,
  address: string,
  request: UdpRequest,
): Promise<UdpResult> {
  const { port } = request;
  await to.request('listenUdp', { port, echo: request.wait !== undefined });
  try {
    const sent = await from.request<UdpSent>('sendUdp', { ...request, to: address });
    let before = -1;
    let receipt = await to.request<UdpReceipt>('receiptOf', { port, close: false });
    const last = () => (receipt.received === 0 ? LOOKS.none : LOOKS.some);
    for (let still = 0; receipt.received < request.count && still < last(); ) {
      await new Promise((resolve) => setTimeout(resolve, SETTLED));
      receipt = await to.request<UdpReceipt>('receiptOf', { port, close: false });
      still = receipt.received === before ? still + 1 : 0;
      before = receipt.received;
    }
    return { ...receipt, ...sent, lost: sent.sent - receipt.received };
  } finally {
    await to.request('receiptOf', { port, close: true });
  }
}

/** `address` may be another than the receiver's own (a service). */
export async function exchangeTcp(
  from: Station,
  to: Station,
  address: string,
  request: TcpRequest,
): Promise<TcpAnswer> {
  await to.request('listenTcp', { port: request.port });
  try {
    return await from.request<TcpAnswer>('sendTcp', { ...request, to: address });
  } finally {
    await to.request('closeTcp', { port: request.port });
  }
}
