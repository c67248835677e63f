/**
 * Many instances behind one device on either side, each of which talks to each: every packet says who sent it, for whom it
 * is, and which it is, so whatever reaches another than it was for, or comes twice, shows.
 */
import { AF, LinuxSocket, SOCK } from 'linux-sockets';
import type { HostLab } from '../../../../lab/hosts/index.ts';
import { type Address, ipv4FromNumber, ipv4ToNumber } from '../../../../src/model/address.ts';

export const PORT = 9000;
const NEAR = ipv4ToNumber('10.202.0.0' as Address);
const FAR = ipv4ToNumber('10.203.0.0' as Address);
const BUFFER = 1 << 20;
const SIZE = 64;
/** Packets that are sent before what has come is looked at, at least; a look at very many sockets takes its time. */
const BURST = 16;
/** Pairs that are spoken for within some seconds. */
const GROUP = 4000;

const at = (base: number, number: number): Address => ipv4FromNumber(base + 256 + number);

export class Crowd {
  readonly #side: number;
  readonly #near: readonly LinuxSocket[];
  readonly #far: readonly LinuxSocket[];
  /** Numbers of packets that have not been answered. */
  readonly #open = new Set<number>();
  asked = 0;
  strayed = 0;
  doubled = 0;

  static async open(lab: HostLab, side: number): Promise<Crowd> {
    for (const [name, other, base, away] of [
      ['c1', 'c2', NEAR, FAR],
      ['c2', 'c1', FAR, NEAR],
    ] as const) {
      const { address, mac } = lab.instance(other);
      await lab.ip(
        name,
        'link set lo up',
        ...Array.from({ length: side }, (_, index) => `address add ${at(base, index)}/32 dev lo`),
        `route add ${ipv4FromNumber(away)}/16 via ${address} dev eth0`,
        // Who asks for it anew is not what is looked at: a lost ARP would be a lost packet.
        `neigh replace ${address} lladdr ${mac} dev eth0 nud permanent`,
      );
    }
    return new Crowd(lab, side);
  }

  private constructor(lab: HostLab, side: number) {
    const sockets = (name: string, base: number): LinuxSocket[] =>
      Array.from({ length: side }, (_, index) => {
        const netns = lab.netnsOf(name);
        const socket = LinuxSocket.open({ family: AF.INET, type: SOCK.DGRAM, protocol: 0, netns });
        socket.setBuffer('receive', BUFFER);
        socket.bind({ family: 'ipv4', address: at(base, index), port: PORT });
        return socket;
      });
    this.#side = side;
    this.#near = sockets('c1', NEAR);
    this.#far = sockets('c2', FAR);
  }

  get missing(): number {
    return this.#open.size;
  }

  /**
   * Every `step`th of the near ones, from `first` on, says something to each of the far ones; with very many of them group by
   * group and each twice, since after ten seconds without a packet the next takes the slow path.
   */
  async round(first = 0, step = 1): Promise<void> {
    const group = Math.ceil(GROUP / this.#side) * step;
    const passes = group < this.#side ? 2 : 1;
    for (let start = first; start < this.#side; start += group) {
      const last = Math.min(start + group, this.#side);
      for (let pass = 0; pass < passes; pass++) {
        for (let index = start; index < last; index += step) await this.#speak(index);
      }
    }
  }

  async #speak(index: number): Promise<void> {
    const burst = Math.max(BURST, this.#side >> 2);
    const socket = this.#near[index]!;
    for (let to = 0; to < this.#side; to++) {
      const data = Buffer.alloc(SIZE);
      data.writeUInt16BE(index, 0);
      data.writeUInt16BE(to, 2);
      data.writeUInt32BE(this.asked, 4);
      this.#open.add(this.asked++);
      socket.sendBatch([{ data, to: { family: 'ipv4', address: at(FAR, to), port: PORT } }]);
      if (to % burst !== burst - 1) continue;
      this.receive([index]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.receive();
  }

  /** The far ones answer with what they got, and the near ones (these of them) look at what came. */
  receive(near: Iterable<number> = this.#near.keys()): void {
    for (const [to, socket] of this.#far.entries()) {
      for (const { data, from } of socket.receiveBatch()) {
        const index = data.readUInt16BE(0);
        const source = index < this.#side ? at(NEAR, index) : undefined;
        if (data.readUInt16BE(2) !== to || from?.family !== 'ipv4' || from.address !== source) this.strayed++;
        else socket.sendBatch([{ data, to: from }]);
      }
    }
    for (const index of near) {
      for (const { data, from } of this.#near[index]!.receiveBatch()) {
        const isTheirs = from?.family === 'ipv4' && from.address === at(FAR, data.readUInt16BE(2));
        if (data.readUInt16BE(0) !== index || !isTheirs) this.strayed++;
        else if (!this.#open.delete(data.readUInt32BE(4))) this.doubled++;
      }
    }
  }

  /** ms, in which what is under way arrives. */
  async settle(time: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, time));
    this.receive();
  }

  /** What is missing is lost, and is waited for no more. */
  giveUp(): number {
    const lost = this.#open.size;
    this.#open.clear();
    return lost;
  }

  close(): void {
    for (const socket of [...this.#near, ...this.#far]) socket.close();
  }
}
