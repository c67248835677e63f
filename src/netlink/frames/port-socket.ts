import {
  AF,
  type ControlMessage,
  ETH_P,
  isWouldBlock,
  LinuxSocket,
  PACKET,
  SOCK,
  SOL,
  SystemCallError,
} from 'linux-sockets';
import type { Address } from '../../model/address.ts';
import { ArpGuard } from './arp-guard.ts';
import { type Hearing, neighbourFilter } from './filter.ts';
import type { GuardMemory } from './guard-memory.ts';
import { stormFilter } from './storm-filter.ts';

export interface PortSocketOptions {
  readonly name: string;
  readonly ifindex: number;
  readonly netns: string | undefined;
  /** The port is a member of a bridge: frames with a VLAN id are its business too. */
  readonly bridged: boolean;
  /** Hear all IPv6 groups (solicitations go to the group of the address asked for). */
  readonly multicast: boolean;
  /** What the port had before a storm, for the next life of the agent. */
  readonly guards?: GuardMemory | undefined;
  /** What is heard; default `speakers`. */
  readonly hear?: Hearing;
}

export interface Frame {
  readonly bytes: Uint8Array;
  /** Absent on a port that is no bridge's: what comes there carries no VLAN id. */
  readonly vlan?: number;
}

/** struct tpacket_auxdata: the kernel takes the tag off the frame and tells it here. */
const VLAN_VALID = 0x10;
const VLAN_TCI_AT = 16;

/**
 * Bursts of gratuitous ARPs come when a whole rack fails over, and whoever is not heard then may say nothing for long: this
 * holds some ten thousand of them (the kernel counts 768 octets for each, and doubles what it is asked for).
 */
const RECEIVE_BUFFER = 4 << 20;

/** What keeps one frame from being sent keeps the next: twice in a row, since the socket tells once of a port that was down. */
const OF_PORT = new Set(['EAGAIN', 'ENOBUFS', 'ENETDOWN', 'ENXIO', 'ENODEV']);

/** One packet socket on one port: hears who speaks there and sends our questions. */
export class PortSocket {
  readonly ifindex: number;
  readonly bridged: boolean;
  readonly multicast: boolean;
  readonly #socket: LinuxSocket;
  readonly #hear: Hearing;
  /** A bridge answers for all its ports, so no port of it can be kept from it. */
  readonly #guard: ArpGuard | undefined;
  #dropped = 0;

  /** @throws SystemCallError (EPERM without CAP_NET_RAW, ENODEV when the port has gone) */
  constructor(options: PortSocketOptions, onReadable: (socket: PortSocket) => void) {
    this.ifindex = options.ifindex;
    this.bridged = options.bridged;
    this.multicast = options.multicast;
    this.#hear = options.hear ?? 'speakers';
    if (!options.bridged && this.#hear === 'speakers') {
      this.#guard = new ArpGuard(options.name, options.netns, options.guards);
      this.#guard.clear();
    }
    // Protocol 0 hears nothing until the filter is there and the socket is bound.
    this.#socket = LinuxSocket.open({
      family: AF.PACKET,
      type: SOCK.RAW,
      protocol: 0,
      ...(options.netns === undefined ? {} : { netns: options.netns }),
    });
    try {
      this.#socket.attachFilter(neighbourFilter(options.bridged, this.#hear));
      this.#socket.setBuffer('receive', RECEIVE_BUFFER);
      if (options.bridged) this.#socket.setOption(SOL.PACKET, PACKET.AUXDATA, 1);
      this.#socket.bind({ family: 'packet', ifindex: options.ifindex, protocol: ETH_P.ALL });
      if (options.multicast) {
        this.#socket.setOption(SOL.PACKET, PACKET.ADD_MEMBERSHIP, allMulticast(options.ifindex));
      }
      this.#socket.onReadable(() => onReadable(this));
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  /** Ethernet frames, at most 64. @throws SystemCallError (ENETDOWN once when the port goes down) */
  receive(): Frame[] {
    if (!this.bridged) return this.#socket.receiveData().map((bytes) => ({ bytes }));
    return this.#socket.receiveBatch().map(({ data, control }) => ({ bytes: data, vlan: vlanOf(control) }));
  }

  /** Frames wait to be read: a fraction of what it costs to find that there are none by reading. */
  hasFrames(): boolean {
    return this.#socket.waiting() > 0;
  }

  /** Undefined when sent, otherwise the errno name. */
  send(frame: Uint8Array): string | undefined {
    try {
      this.#socket.send({ data: frame });
      return undefined;
    } catch (error) {
      if (isWouldBlock(error)) return 'EAGAIN';
      if (error instanceof SystemCallError) return error.code;
      throw error;
    }
  }

  /** As `send`, of many with a few system calls; `failed` for each that was not sent. */
  sendAll(frames: readonly Uint8Array[], failed: (index: number, code: string) => void): void {
    let before: string | undefined;
    for (let next = 0; next < frames.length; ) {
      try {
        next += this.#socket.sendData(frames, next);
        before = undefined;
      } catch (error) {
        if (!(error instanceof SystemCallError)) throw error;
        const { code } = error;
        // The first of them; those after it have their own luck, unless the port takes nothing at all.
        failed(next++, code);
        if (code === before && OF_PORT.has(code)) while (next < frames.length) failed(next++, code);
        before = code;
      }
    }
  }

  /** From now on `known` are heard, and samples of the others (see storm-filter.ts); undefined: all again. */
  narrow(known: readonly Address[] | undefined): void {
    this.#guard?.set(known !== undefined);
    this.#socket.attachFilter(known ? stormFilter(this.bridged, known) : neighbourFilter(this.bridged, this.#hear));
  }

  /** While it is narrowed the kernel replies to no ARP; here it did so for others' addresses too (proxy ARP). */
  get proxied(): boolean {
    return this.#guard?.proxied === true;
  }

  /** Frames that the kernel dropped since the socket was opened because we read too slowly. */
  dropped(): number {
    // struct tpacket_stats: packets, drops; reading sets both back to 0.
    this.#dropped += this.#socket.getOption(SOL.PACKET, PACKET.STATISTICS, 8).readUInt32LE(4);
    return this.#dropped;
  }

  close(): void {
    this.#guard?.set(false);
    this.#socket.close();
  }
}

function vlanOf(control: readonly ControlMessage[]): number {
  const auxiliary = control.find(({ level, type }) => level === SOL.PACKET && type === PACKET.AUXDATA);
  if (!auxiliary || auxiliary.data.length < VLAN_TCI_AT + 2) return 0;
  const view = new DataView(auxiliary.data.buffer, auxiliary.data.byteOffset, auxiliary.data.byteLength);
  return view.getUint32(0, true) & VLAN_VALID ? view.getUint16(VLAN_TCI_AT, true) & 0xfff : 0;
}

/** struct packet_mreq */
function allMulticast(ifindex: number): Uint8Array {
  const request = Buffer.alloc(16);
  request.writeInt32LE(ifindex, 0);
  request.writeUInt16LE(PACKET.MR_ALLMULTI, 4);
  return request;
}
