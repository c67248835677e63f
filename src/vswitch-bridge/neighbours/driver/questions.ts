/** ARP and neighbour discovery on the interfaces of the underlay: our questions go out, everybody's answers come in. */
import { SystemCallError } from 'linux-sockets';
import type { Address, Mac } from '../../../model/address.ts';
import {
  type ArpError,
  decodeArp,
  decodeNd,
  ETHERNET_HEADER,
  ETHERTYPE,
  ethertypeOf,
  type NdError,
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
    const answer = readAnswer(ifindex, bytes);
    if (typeof answer === 'string') this.#add(`malformed.${answer}`);
    else if (answer) {
      this.#count.heard!++;
      this.#onAnswer(answer);
    }
  }

  #add(reason: string): void {
    this.#count[reason] = (this.#count[reason] ?? 0) + 1;
  }
}

/** Who says in this frame where he is; undefined: nobody. A text: why it is malformed. */
export function readAnswer(ifindex: number, frame: Uint8Array): Answer | ArpError | NdError | undefined {
  if (frame.length < ETHERNET_HEADER) return undefined;
  const type = ethertypeOf(frame);
  const content = frame.subarray(ETHERNET_HEADER);
  if (type === ETHERTYPE.arp) {
    const arp = decodeArp(content);
    if (typeof arp === 'string') return arp;
    // A probe (RFC 5227 §2.1.1) has no sender.
    if (arp.senderAddress === '0.0.0.0' || isGroup(arp.senderMac)) return undefined;
    const { senderAddress: address, senderMac: mac } = arp;
    return { ifindex, address, mac, confirms: arp.operation === 'reply', weak: false };
  }
  if (type !== ETHERTYPE.ipv6) return undefined;
  const nd = decodeNd(content);
  // Everything else of IPv6 comes here too.
  if (nd === 'nd-not-icmp' || nd === 'nd-type') return undefined;
  if (typeof nd === 'string') return nd;
  const { linkLayer: mac } = nd;
  if (mac === undefined || isGroup(mac)) return undefined;
  if (nd.type === 'solicitation') return { ifindex, address: nd.source, mac, confirms: false, weak: false };
  return { ifindex, address: nd.target, mac, confirms: nd.solicited, weak: !nd.override };
}

/** A group is nobody's MAC. */
const isGroup = (mac: Mac): boolean => (Number.parseInt(mac.slice(0, 2), 16) & 1) !== 0;
