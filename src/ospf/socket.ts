/** One raw socket per interface: IP protocol 89, bound to the device, with the multicast groups of RFC 2328 §A.1. */
import { AF, IP, IPPROTO, LinuxSocket, SO, SOCK, SOL, SystemCallError } from 'linux-sockets';
import type { U32 } from 'node-ospf-lsa';

/** Internetwork control, RFC 2328 §A.1. */
const TOS_INTERNETWORK_CONTROL = 0xc0;
/** linux/in.h: never set DF, so that an LSA longer than the MTU goes out in fragments. */
const PMTUDISC_DONT = 0;
/** Room for the updates of ten thousand hosts in one turn; the kernel counts more than the bytes. */
const BUFFER = 8 << 20;
/** Of forty LSAs each, at most; what is left is read in the next turn. */
const PACKETS_PER_TURN = 16;

export interface Received {
  readonly source: U32;
  readonly destination: U32;
  /** From the OSPF header on, as long as the IP header says. */
  readonly bytes: Uint8Array;
}

/** What the speaker does with its socket on an interface. */
export type OspfSocket = Pick<InterfaceSocket, 'join' | 'leave' | 'send' | 'listen' | 'close'>;
/** Opens it. @throws SystemCallError */
export type OpenOspfSocket = (name: string, ifindex: number, address: U32, netns: string | undefined) => OspfSocket;

export const rawSocket: OpenOspfSocket = (...place) => new InterfaceSocket(...place);

export class InterfaceSocket {
  readonly #socket: LinuxSocket;
  readonly #ifindex: number;
  readonly #address: U32;

  /** @throws SystemCallError */
  constructor(name: string, ifindex: number, address: U32, netns: string | undefined) {
    this.#ifindex = ifindex;
    this.#address = address;
    const socket = LinuxSocket.open({
      family: AF.INET,
      type: SOCK.RAW,
      protocol: IPPROTO.OSPF,
      ...(netns === undefined ? {} : { netns }),
    });
    this.#socket = socket;
    try {
      socket.setOption(SOL.SOCKET, SO.BINDTODEVICE, Buffer.from(`${name}\0`));
      socket.setOption(SOL.IP, IP.TOS, TOS_INTERNETWORK_CONTROL);
      // After TOS, which sets a priority of its own.
      socket.setOption(SOL.SOCKET, SO.PRIORITY, 6);
      socket.setOption(SOL.IP, IP.MTU_DISCOVER, PMTUDISC_DONT);
      socket.setOption(SOL.IP, IP.TTL, 1);
      socket.setOption(SOL.IP, IP.MULTICAST_TTL, 1);
      socket.setOption(SOL.IP, IP.MULTICAST_LOOP, 0);
      socket.setOption(SOL.IP, IP.MULTICAST_ALL, 0);
      socket.setOption(SOL.IP, IP.MULTICAST_IF, this.#mreq(0));
      for (const which of ['send', 'receive'] as const) socket.setBuffer(which, BUFFER);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** struct ip_mreqn. */
  #mreq(group: U32): Buffer {
    const bytes = Buffer.alloc(12);
    bytes.writeUInt32BE(group, 0);
    bytes.writeUInt32BE(this.#address, 4);
    bytes.writeInt32LE(this.#ifindex, 8);
    return bytes;
  }

  join(group: U32): void {
    this.#socket.setOption(SOL.IP, IP.ADD_MEMBERSHIP, this.#mreq(group));
  }

  leave(group: U32): void {
    this.#socket.setOption(SOL.IP, IP.DROP_MEMBERSHIP, this.#mreq(group));
  }

  /** Returns how many the kernel took, in order. @throws SystemCallError when it was none */
  send(address: string, packets: readonly Uint8Array[]): number {
    const to = { family: 'ipv4', address, port: 0 } as const;
    if (packets.length > 1) return this.#socket.sendBatch(packets.map((data) => ({ data, to })));
    for (const data of packets) this.#socket.send({ data, to });
    return packets.length;
  }

  /** `receive` gets each datagram; `malformed` those whose IP header does not hold together. */
  listen(receive: (packet: Received) => void, malformed: () => void, failed: (error: SystemCallError) => void): void {
    this.#socket.onReadable(() => {
      try {
        for (const data of this.#socket.receiveData(PACKETS_PER_TURN)) {
          const packet = stripIp(data);
          if (packet) receive(packet);
          else malformed();
        }
      } catch (error) {
        if (!(error instanceof SystemCallError)) throw error;
        failed(error);
      }
    });
  }

  close(): void {
    this.#socket.onReadable(undefined);
    this.#socket.close();
  }
}

/** A raw IPv4 socket hands out the IP header too, with everything in network order. */
export function stripIp(data: Buffer): Received | undefined {
  if (data.length < 20 || data[0]! >> 4 !== 4) return undefined;
  const header = (data[0]! & 15) * 4;
  const length = data.readUInt16BE(2);
  if (header < 20 || length < header || length > data.length) return undefined;
  return {
    source: data.readUInt32BE(12),
    destination: data.readUInt32BE(16),
    bytes: data.subarray(header, length),
  };
}
