/**
 * One probe of a backend from the host, by the network's bridge (SO_BINDTODEVICE), so that it takes the network's own
 * routes whatever other network has the same addresses. TCP: a connection that opens is an answer. UDP: there is no
 * answer that every service gives, so only what says "nobody there" counts (ICMP port or host unreachable).
 */
import { AF, IPPROTO, isWouldBlock, LinuxSocket, SO, SOCK, SOL, SystemCallError } from 'linux-sockets';
import { type Address, familyOf } from '../../../../model/address.ts';

export interface ProbeTarget {
  readonly address: Address;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly device: string;
  readonly netns: string | undefined;
}

/** Calls `answer` at most once. Whoever made it closes it. */
export class Probe {
  readonly #socket: LinuxSocket | undefined;
  readonly #protocol: 'tcp' | 'udp';
  #answer: ((alive: boolean) => void) | undefined;

  constructor({ address, port, protocol, device, netns }: ProbeTarget, answer: (alive: boolean) => void) {
    this.#answer = answer;
    this.#protocol = protocol;
    const six = familyOf(address) === 6;
    try {
      this.#socket = LinuxSocket.open({
        family: six ? AF.INET6 : AF.INET,
        type: protocol === 'tcp' ? SOCK.STREAM : SOCK.DGRAM,
        protocol: protocol === 'tcp' ? IPPROTO.TCP : IPPROTO.UDP,
        ...(netns === undefined ? {} : { netns }),
      });
      this.#socket.setOption(SOL.SOCKET, SO.BINDTODEVICE, Buffer.from(`${device}\0`));
      this.#socket.connect({ family: six ? 'ipv6' : 'ipv4', address, port });
      if (protocol === 'tcp') this.#socket.onWritable(() => this.#ready());
      else {
        this.#socket.send({ data: Buffer.alloc(0) });
        this.#socket.onReadable(() => this.#ready());
      }
      this.#socket.unref();
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      queueMicrotask(() => this.#end(false));
    }
  }

  close(): void {
    this.#answer = undefined;
    this.#socket?.close();
  }

  #ready(): void {
    try {
      const errno = this.#socket!.getOption(SOL.SOCKET, SO.ERROR).readInt32LE(0);
      if (errno !== 0) this.#end(false);
      else if (this.#protocol === 'udp') {
        this.#socket!.receiveBatch(1);
        this.#end(true);
      } else this.#end(true);
    } catch (error) {
      if (!(error instanceof SystemCallError) || isWouldBlock(error)) return;
      this.#end(false);
    }
  }

  #end(alive: boolean): void {
    const answer = this.#answer;
    this.close();
    answer?.(alive);
  }
}
