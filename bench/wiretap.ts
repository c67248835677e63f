/**
 * Packets with the kernel's own time of arrival (SO_TIMESTAMPNS), on CLOCK_MONOTONIC: the one measure that is the same
 * for us and for whoever we are compared with. Routing packets are read by the lab's observer code, not by the product's
 * codecs.
 */
import {
  AF,
  ETH_P,
  type IncomingMessage,
  interfaceIndex,
  LinuxSocket,
  PACKET,
  SO,
  SOCK,
  SOL,
  SystemCallError,
  withNetns,
} from 'linux-sockets';
import { monotonic, realtimeOffset } from '../lab/monotonic.ts';
import { arpSender, type RouteSighting, routeSightings } from '../lab/observer/packets.ts';

export interface Sighting extends RouteSighting {
  readonly at: number;
}

interface Listening {
  close(): void;
}

function listen(
  netns: string,
  port: string,
  protocol: number,
  onPacket: (packet: Buffer, at: number) => void,
): Listening {
  const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.DGRAM, protocol: 0, netns });
  const ifindex = withNetns(netns, () => interfaceIndex(port));
  const realtime = realtimeOffset();
  socket.setOption(SOL.PACKET, PACKET.IGNORE_OUTGOING, 1);
  socket.setOption(SOL.SOCKET, SO.TIMESTAMPNS, 1);
  socket.setOption(SOL.SOCKET, SO.RCVBUFFORCE, 8 << 20);
  socket.bind({ family: 'packet', ifindex, protocol });
  socket.onReadable(() => {
    for (const { data, control } of receive(socket)) {
      const stamp = control.find(({ level, type }) => level === SOL.SOCKET && type === SO.TIMESTAMPNS);
      if (!stamp) {
        onPacket(data, monotonic());
        continue;
      }
      const view = new DataView(stamp.data.buffer, stamp.data.byteOffset);
      const wall = Number(view.getBigInt64(0, true)) * 1e3 + Number(view.getBigInt64(8, true)) / 1e6;
      onPacket(data, wall - realtime);
    }
  });
  return socket;
}

/** A port that goes down says so once, as an error. */
function receive(socket: LinuxSocket): IncomingMessage[] {
  try {
    return socket.receiveBatch();
  } catch (error) {
    if (error instanceof SystemCallError && error.code === 'ENETDOWN') return [];
    throw error;
  }
}

/** Host routes that are announced and withdrawn in what arrives at a port. */
export function tapRoutes(netns: string, port: string, onSighting: (sighting: Sighting) => void): Listening {
  const stream = new UpdateStream();
  return listen(netns, port, ETH_P.IP, (packet, at) => {
    const whole = packet[9] === 6 ? stream.take(packet) : packet;
    if (whole) for (const sighting of routeSightings(whole)) onSighting({ ...sighting, at });
  });
}

/** Addresses that speak ARP at a port. */
export const tapArp = (netns: string, port: string, onArp: (address: string, at: number) => void): Listening =>
  listen(netns, port, ETH_P.ARP, (packet, at) => {
    const address = arpSender(packet);
    if (address !== undefined) onArp(address, at);
  });

const MARKER = Buffer.alloc(16, 0xff);

/**
 * A thousand withdrawals are longer than a segment: what a segment leaves of a BGP message is put before the next
 * segment of the same stream, as if it had come with it.
 */
class UpdateStream {
  #flow = '';
  #expected = -1;
  #rest: Buffer = Buffer.alloc(0);

  /** The packet with whole BGP messages as its payload; undefined when there are none. */
  take(packet: Buffer): Buffer | undefined {
    const header = (packet[0]! & 15) * 4;
    const tcp = packet.subarray(header, packet.readUInt16BE(2));
    if (tcp.length < 20) return undefined;
    const payload = tcp.subarray((tcp[12]! >> 4) * 4);
    if (payload.length === 0) return undefined;
    const flow = `${packet.toString('hex', 12, 20)} ${tcp.toString('hex', 0, 4)}`;
    const sequence = tcp.readUInt32BE(4);
    if (flow !== this.#flow || sequence !== this.#expected) this.#rest = Buffer.alloc(0);
    this.#flow = flow;
    this.#expected = (sequence + payload.length) >>> 0;
    // Where a segment was missed, the next message begins somewhere in what comes.
    const joint = Buffer.concat([this.#rest, payload]);
    const begin = joint.indexOf(MARKER);
    const data = begin < 0 ? joint.subarray(-MARKER.length) : joint.subarray(begin);
    let end = 0;
    while (end + 19 <= data.length && data.subarray(end, end + 16).equals(MARKER)) {
      const length = data.readUInt16BE(end + 16);
      if (length < 19 || end + length > data.length) break;
      end += length;
    }
    this.#rest = data.subarray(end);
    if (end === 0) return undefined;
    // IP and TCP headers without options, for the reader of whole packets.
    const joined = Buffer.concat([Buffer.alloc(40), data.subarray(0, end)]);
    joined[0] = 0x45;
    joined.writeUInt16BE(Math.min(0xffff, joined.length), 2);
    joined[9] = 6;
    joined[32] = 0x50;
    return joined;
  }
}
