import { AF, LinuxSocket, SOCK } from 'linux-sockets';
import type { Box } from './helpers.ts';

/** A port for each family: an IPv6 socket takes IPv4 as well. */
const PORTS = { ipv4: 9994, ipv6: 9996 };
const zero = (family: number) => (family === AF.INET6 ? '::' : '0.0.0.0');

/** One packet each millisecond from one box to an address in another one, and how many came through. */
export class Prober {
  readonly #sender: LinuxSocket;
  readonly #receiver: LinuxSocket;
  readonly #to: string;
  readonly #timer: NodeJS.Timeout;
  #closed = false;
  sent = 0;
  received = 0;

  constructor(from: Box, to: Box, address: string) {
    const family = address.includes(':') ? AF.INET6 : AF.INET;
    const name = family === AF.INET6 ? 'ipv6' : 'ipv4';
    this.#to = address;
    this.#receiver = LinuxSocket.open({ family, type: SOCK.DGRAM, protocol: 0, netns: to.netns });
    this.#receiver.bind({ family: name, address: zero(family), port: PORTS[name] });
    this.#receiver.onReadable(() => this.#read());
    this.#sender = LinuxSocket.open({ family, type: SOCK.DGRAM, protocol: 0, netns: from.netns });
    this.#timer = setInterval(() => this.#send(name), 1);
  }

  /** @returns how many were lost */
  async stop(): Promise<number> {
    clearInterval(this.#timer);
    // What is under way on a busy machine is not lost.
    for (let looks = 0; looks === 0 || (looks < 10 && this.received < this.sent); looks++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      this.#read();
    }
    this.close();
    return this.sent - this.received;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#sender.close();
    this.#receiver.close();
  }

  #send(family: 'ipv4' | 'ipv6'): void {
    this.sent++;
    try {
      this.#sender.send({ data: Buffer.from('probe'), to: { family, address: this.#to, port: PORTS[family] } });
    } catch {
      // No way there: lost.
    }
  }

  #read(): void {
    for (;;) {
      const { length } = this.#receiver.receiveBatch(64);
      if (length === 0) return;
      this.received += length;
    }
  }
}
