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
import { arpSender, RouteReader } from '../lab/observer/packets.ts';
import type { RouteSighting } from '../lab/observer/sighting.ts';

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
  const reader = new RouteReader();
  return listen(netns, port, ETH_P.IP, (packet, at) => {
    for (const sighting of reader.read(packet, at)) onSighting({ ...sighting, at });
  });
}

/** Addresses that speak ARP at a port. */
export const tapArp = (netns: string, port: string, onArp: (address: string, at: number) => void): Listening =>
  listen(netns, port, ETH_P.ARP, (packet, at) => {
    const address = arpSender(packet);
    if (address !== undefined) onArp(address, at);
  });
