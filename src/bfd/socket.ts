/**
 * The UDP sockets of BFD: one ear per interface and family (RFC 5881 §4, port 3784; RFC 5883 §5, port 4784), and one mouth
 * per session with a source port of its own.
 */
import { AF, IP, IPV6, LinuxSocket, SO, SOCK, SOL, SystemCallError } from 'linux-sockets';
import { type Address, type Family, parseAddress } from '../model/address.ts';

export const CONTROL_PORT = 3784;
export const MULTIHOP_PORT = 4784;
/** RFC 5881 §4. */
export const SOURCE_PORTS = { first: 49_152, last: 65_535 } as const;
/** RFC 5881 §5: what has been forwarded once is below. */
export const TTL = 255;

/** CS6, and its place in the queue of the device. */
const TOS_INTERNETWORK_CONTROL = 0xc0;
const PRIORITY = 6;
const ANY: Record<Family, string> = { 4: '0.0.0.0', 6: '::' };

/** Where packets come and go: an interface, or, many hops away, none. */
export interface Place {
  readonly family: Family;
  readonly interface: { readonly name: string; readonly ifindex: number } | undefined;
  /** A name in /run/netns or an absolute path; absent: where the process is. */
  readonly netns?: string | undefined;
}

export interface Heard {
  readonly source: Address;
  /** TTL or hop limit; undefined when the kernel did not say. */
  readonly ttl: number | undefined;
  readonly bytes: Uint8Array;
}

export interface Ear {
  /** At most 64; [] when nothing is there. @throws SystemCallError */
  receive(): Heard[];
  close(): void;
}

export interface Mouth {
  /** The code of the error when the kernel did not take it. */
  send(bytes: Uint8Array): string | undefined;
  close(): void;
}

/** Both throw SystemCallError when there is no such socket to be had. */
export interface BfdSockets {
  ear(place: Place, onReadable: () => void): Ear;
  mouth(place: Place, peer: Address, source: { readonly address: Address | undefined; readonly port: number }): Mouth;
}

export const udpSockets: BfdSockets = {
  ear(place, onReadable) {
    const socket = open(place);
    return closedOnError(socket, () => {
      const [level, option] = place.family === 4 ? [SOL.IP, IP.RECVTTL] : [SOL.IPV6, IPV6.RECVHOPLIMIT];
      socket.setOption(level, option, 1);
      const port = place.interface ? CONTROL_PORT : MULTIHOP_PORT;
      socket.bind({ family: place.family === 4 ? 'ipv4' : 'ipv6', address: ANY[place.family], port });
      socket.onReadable(onReadable);
      return { receive: () => received(socket), close: () => socket.close() };
    });
  },

  mouth(place, peer, source) {
    const socket = open(place);
    return closedOnError(socket, () => {
      const { family } = place;
      if (family === 4) {
        socket.setOption(SOL.IP, IP.TTL, TTL);
        socket.setOption(SOL.IP, IP.TOS, TOS_INTERNETWORK_CONTROL);
      } else {
        socket.setOption(SOL.IPV6, IPV6.UNICAST_HOPS, TTL);
        socket.setOption(SOL.IPV6, IPV6.TCLASS, TOS_INTERNETWORK_CONTROL);
      }
      // After TOS, which sets a priority of its own.
      socket.setOption(SOL.SOCKET, SO.PRIORITY, PRIORITY);
      // What is sent to the source port is nobody's: it must not fill memory.
      socket.attachFilter([{ code: 0x06, jt: 0, jf: 0, k: 0 }]);
      const scope = place.interface && /^fe[89ab]/.test(peer) ? { scopeId: place.interface.ifindex } : {};
      const name = family === 4 ? 'ipv4' : 'ipv6';
      socket.bind({ family: name, address: source.address ?? ANY[family], port: source.port, ...scope });
      const port = place.interface ? CONTROL_PORT : MULTIHOP_PORT;
      const to = { family: name, address: peer as string, port, ...scope } as const;
      return {
        send(data) {
          try {
            socket.send({ data, to });
            return undefined;
          } catch (error) {
            if (!(error instanceof SystemCallError)) throw error;
            return error.code;
          }
        },
        close: () => socket.close(),
      };
    });
  },
};

function open({ family, interface: device, netns }: Place): LinuxSocket {
  const socket = LinuxSocket.open({
    family: family === 4 ? AF.INET : AF.INET6,
    type: SOCK.DGRAM,
    protocol: 0,
    ...(netns === undefined ? {} : { netns }),
  });
  return closedOnError(socket, () => {
    if (family === 6) socket.setOption(SOL.IPV6, IPV6.V6ONLY, 1);
    if (device) socket.setOption(SOL.SOCKET, SO.BINDTODEVICE, Buffer.from(`${device.name}\0`));
    return socket;
  });
}

function closedOnError<T>(socket: LinuxSocket, make: () => T): T {
  try {
    return make();
  } catch (error) {
    socket.close();
    throw error;
  }
}

function received(socket: LinuxSocket): Heard[] {
  const heard: Heard[] = [];
  for (const { data, from, control } of socket.receiveBatch(64)) {
    if (from?.family !== 'ipv4' && from?.family !== 'ipv6') continue;
    const source = parseAddress(from.address);
    if (source === undefined) continue;
    const hops = control.find(
      ({ level, type }) => (level === SOL.IP && type === IP.TTL) || (level === SOL.IPV6 && type === IPV6.HOPLIMIT),
    );
    const ttl = hops && hops.data.length >= 4 ? Buffer.from(hops.data).readInt32LE(0) : undefined;
    heard.push({ source, ttl, bytes: data });
  }
  return heard;
}
