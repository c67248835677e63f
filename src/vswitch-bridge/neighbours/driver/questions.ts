/** ARP and neighbour discovery on the interfaces of the underlay: our questions go out, everybody's answers come in. */
import { SystemCallError } from 'linux-sockets';
import type { Address, Mac } from '../../../model/address.ts';
import {
  decodeArp,
  decodeNd,
  ETHERNET_HEADER,
  ETHERTYPE,
  ethertypeOf,
  PortSocket,
  question,
} from '../../../netlink/frames/index.ts';

export interface Answer {
  readonly ifindex: number;
  readonly address: Address;
  readonly mac: Mac;
  readonly confirms: boolean;
  readonly weak: boolean;
}

interface Port {
  readonly socket: PortSocket;
  readonly mac: Mac;
}

/** Bytes that ARP of an ordinary neighbour and a solicitation with its option need. */
const ROUNDS = 16;

export class Questions {
  readonly #netns: string | undefined;
  readonly #onAnswer: (answer: Answer) => void;
  readonly #ports = new Map<number, Port>();
  readonly #count: Record<string, number> = { asked: 0, heard: 0, unsent: 0 };

  constructor(options: { readonly netns: string | undefined; onAnswer(answer: Answer): void }) {
    this.#netns = options.netns;
    this.#onAnswer = (answer) => options.onAnswer(answer);
  }

  has(ifindex: number): boolean {
    return this.#ports.has(ifindex);
  }

  /** Listens on an interface; again with another MAC of its own. @throws SystemCallError (ENODEV) */
  open(ifindex: number, name: string, mac: Mac): void {
    const before = this.#ports.get(ifindex);
    if (before?.mac === mac) return;
    if (before) {
      this.#ports.set(ifindex, { socket: before.socket, mac });
      return;
    }
    // As if it was a bridge's port: it may be one, and its settings in the kernel are not our business.
    const socket = new PortSocket(
      { name, ifindex, netns: this.#netns, bridged: true, multicast: false, hear: 'speakers' },
      (readable) => this.#read(readable),
    );
    this.#ports.set(ifindex, { socket, mac });
  }

  close(ifindex: number): void {
    this.#ports.get(ifindex)?.socket.close();
    this.#ports.delete(ifindex);
  }

  closeAll(): void {
    for (const ifindex of [...this.#ports.keys()]) this.close(ifindex);
  }

  /** @param source our address on the way there */
  ask(ifindex: number, target: Address, mac: Mac | undefined, source: Address | undefined): void {
    const port = this.#ports.get(ifindex);
    if (!port) {
      this.#count.unsent!++;
      return;
    }
    const asker = source === undefined ? { mac: port.mac } : { mac: port.mac, address: source };
    const failure = port.socket.send(question(target, mac, asker));
    if (failure) this.#add(`unsent.${failure}`);
    this.#count[failure ? 'unsent' : 'asked']!++;
  }

  counters(): Readonly<Record<string, number>> {
    return this.#count;
  }

  #read(socket: PortSocket): void {
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const frames = socket.receive();
        if (frames.length === 0) return;
        for (const { bytes, vlan } of frames) if (!vlan) this.#frame(socket.ifindex, bytes);
      }
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#add(`failed.${error.code}`);
    }
  }

  #frame(ifindex: number, bytes: Uint8Array): void {
    if (bytes.length < ETHERNET_HEADER) return;
    const type = ethertypeOf(bytes);
    const content = bytes.subarray(ETHERNET_HEADER);
    if (type === ETHERTYPE.arp) {
      const arp = decodeArp(content);
      if (typeof arp === 'string') this.#add(`malformed.${arp}`);
      // A probe (RFC 5227 §2.1.1) has no sender.
      else if (arp.senderAddress !== '0.0.0.0')
        this.#heard(ifindex, arp.senderAddress, arp.senderMac, arp.operation === 'reply', false);
    } else if (type === ETHERTYPE.ipv6) {
      const nd = decodeNd(content);
      if (typeof nd === 'string') this.#add(`malformed.${nd}`);
      else if (nd.linkLayer === undefined) return;
      else if (nd.type === 'advertisement') {
        this.#heard(ifindex, nd.target, nd.linkLayer, nd.solicited, !nd.override);
      } else this.#heard(ifindex, nd.source, nd.linkLayer, false, false);
    }
  }

  #heard(ifindex: number, address: Address, mac: Mac, confirms: boolean, weak: boolean): void {
    // A group is nobody's MAC.
    if (Number.parseInt(mac.slice(0, 2), 16) & 1) return;
    this.#count.heard!++;
    this.#onAnswer({ ifindex, address, mac, confirms, weak });
  }

  #add(reason: string): void {
    this.#count[reason] = (this.#count[reason] ?? 0) + 1;
  }
}
