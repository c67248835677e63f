/**
 * Connections that only have to be there: sockets of the one instance talk to sockets of the other, each to each, and are
 * answered. A record is live for two minutes after its last packet, so `talk` again before that.
 */
import { AF, LinuxSocket, SOCK } from 'linux-sockets';
import type { HostLab } from '../../lab/hosts/index.ts';
import { sleep } from '../../lab/processes.ts';

const NEAR_PORT = 20_000;
const FAR_PORT = 30_000;
const BUFFER = 1 << 20;
const BATCH = 64;
/** Times that what is unanswered is said again. */
const PATIENCE = 50;

const AT_ONCE = { family: AF.INET, type: SOCK.DGRAM, protocol: 0 } as const;

export class Crowd {
  readonly size: number;
  readonly #near: readonly LinuxSocket[];
  readonly #far: readonly LinuxSocket[];
  readonly #address: string;
  #talkedAt = Number.NEGATIVE_INFINITY;

  constructor(lab: HostLab, size: number) {
    const side = Math.ceil(Math.sqrt(size));
    const sockets = (name: string, first: number, count: number): LinuxSocket[] =>
      Array.from({ length: count }, (_, index) => {
        const socket = LinuxSocket.open({ ...AT_ONCE, netns: lab.netnsOf(name) });
        socket.setBuffer('receive', BUFFER);
        socket.bind({ family: 'ipv4', address: lab.addressOf(name), port: first + index });
        return socket;
      });
    this.size = size;
    this.#near = sockets('c1', NEAR_PORT, side);
    this.#far = sockets('c2', FAR_PORT, side === 0 ? 0 : Math.ceil(size / side));
    this.#address = lab.addressOf('c2');
  }

  /** ms since everybody last spoke. */
  get silence(): number {
    return performance.now() - this.#talkedAt;
  }

  /** Each to each, and back. @throws when somebody is not answered for good */
  async talk(): Promise<void> {
    const answered = new Uint8Array(this.size);
    let missing = this.size;
    for (let time = 0; missing > 0; time++) {
      if (time === PATIENCE) throw new Error(`${missing} of ${this.size} connections get no answer`);
      for (const [index, socket] of this.#near.entries()) {
        const pairs = this.#far.map((_, far) => index * this.#far.length + far);
        const wanted = pairs.filter((pair) => pair < this.size && answered[pair] === 0);
        for (let first = 0; first < wanted.length; first += BATCH) {
          socket.sendBatch(wanted.slice(first, first + BATCH).map((pair) => this.#packet(pair)));
        }
        this.#echo();
        missing -= this.#hear(socket, answered);
      }
      await sleep(1);
      this.#echo();
      for (const socket of this.#near) missing -= this.#hear(socket, answered);
    }
    this.#talkedAt = performance.now();
  }

  close(): void {
    for (const socket of [...this.#near, ...this.#far]) socket.close();
  }

  #packet(pair: number) {
    const data = Buffer.alloc(16);
    data.writeUInt32BE(pair);
    return {
      data,
      to: { family: 'ipv4' as const, address: this.#address, port: FAR_PORT + (pair % this.#far.length) },
    };
  }

  #echo(): void {
    for (const socket of this.#far) {
      for (const { data, from } of everything(socket)) if (from) socket.sendBatch([{ data, to: from }]);
    }
  }

  /** How many of them for the first time. */
  #hear(socket: LinuxSocket, answered: Uint8Array): number {
    let heard = 0;
    for (const { data } of everything(socket)) {
      const pair = data.readUInt32BE();
      if (answered[pair] === 0) heard++;
      answered[pair] = 1;
    }
    return heard;
  }
}

function* everything(socket: LinuxSocket) {
  for (;;) {
    const messages = socket.receiveBatch();
    yield* messages;
    if (messages.length < BATCH) return;
  }
}
