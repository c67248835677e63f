/**
 * All servers of the scale benchmarks, in a process of its own: thousands of addresses behind dozens of ports, of which
 * each answers ARP where it is now and nowhere else. The kernel could not play this: it answers at every port.
 *
 * Arguments: network namespace of the servers, number of ports, number of hosts
 */
import {
  AF,
  ETH_P,
  interfaceIndex,
  LinuxSocket,
  type OutgoingMessage,
  PACKET,
  SO,
  SOCK,
  SOL,
  withNetns,
} from 'linux-sockets';
import { serveHelper } from '../../lab/helper.ts';
import { sleep } from '../../lab/processes.ts';
import { FIRST_HOST, HOST_NETWORK, serverPort } from './plan.ts';

const [netns, ports, hosts] = process.argv.slice(2) as [string, string, string];

/** Spoken at once, then a pause of as many milliseconds: as racks do. */
const BURST = 50;
const PAUSE = 2;
const REPLY = 2;
const REQUEST = 1;

const ifindexes = withNetns(netns, () =>
  Array.from({ length: Number(ports) }, (_, port) => interfaceIndex(serverPort(port))),
);
/** ifindex of the port behind which a host lives; 0: it is silent. */
const placeOf = new Int32Array(Number(hosts));
const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: ETH_P.ARP, netns });
socket.setOption(SOL.PACKET, PACKET.IGNORE_OUTGOING, 1);
socket.setOption(SOL.SOCKET, SO.RCVBUFFORCE, 8 << 20);
socket.onReadable(answer);

let asked = 0;

function answer(): void {
  for (;;) {
    const frames = socket.receiveBatch();
    const replies: OutgoingMessage[] = [];
    for (const { data, from } of frames) {
      if (data.length < 42 || data.readUInt16BE(20) !== REQUEST || from?.family !== 'packet') continue;
      asked++;
      const host = data.readUInt32BE(38) - HOST_NETWORK - FIRST_HOST;
      if (host < 0 || host >= placeOf.length || placeOf[host] !== from.ifindex) continue;
      replies.push({ data: frameOf(host, REPLY, data.subarray(22, 28), data.readUInt32BE(28)), to: out(from.ifindex) });
    }
    sendAll(replies);
    if (frames.length < 64) return;
  }
}

/** RFC 826; without a target of its own a request for the own address, to everybody. */
function frameOf(host: number, operation: number, targetMac?: Uint8Array, target?: number): Buffer {
  const frame = Buffer.alloc(42);
  const address = HOST_NETWORK + FIRST_HOST + host;
  if (targetMac) frame.set(targetMac, 0);
  else frame.fill(0xff, 0, 6);
  writeMac(frame, 6, host);
  frame.writeUInt16BE(0x0806, 12);
  frame.writeUInt32BE(0x00010800, 14);
  frame.writeUInt16BE(0x0604, 18);
  frame.writeUInt16BE(operation, 20);
  writeMac(frame, 22, host);
  frame.writeUInt32BE(address, 28);
  if (targetMac) frame.set(targetMac, 32);
  frame.writeUInt32BE(target ?? address, 38);
  return frame;
}

function writeMac(frame: Buffer, at: number, host: number): void {
  frame.writeUInt16BE(0x0200, at);
  frame.writeUInt32BE(host, at + 2);
}

const out = (ifindex: number) => ({ family: 'packet', ifindex, protocol: ETH_P.ARP }) as const;

function sendAll(messages: readonly OutgoingMessage[]): void {
  let next = 0;
  while (next < messages.length) {
    try {
      next += socket.sendBatch(messages.slice(next, next + 64));
    } catch {
      // A port that is down: its servers say nothing.
      next++;
    }
  }
}

serveHelper({
  /** They live behind their ports from now on, and say so when asked to. */
  async place({ at, speak }: { at: readonly (readonly [host: number, port: number])[]; speak: boolean }) {
    for (const [host, port] of at) placeOf[host] = ifindexes[port]!;
    if (!speak) return;
    for (let start = 0; start < at.length; start += BURST) {
      sendAll(
        at
          .slice(start, start + BURST)
          .map(([host, port]) => ({ data: frameOf(host, REQUEST), to: out(ifindexes[port]!) })),
      );
      if (start + BURST < at.length) await sleep(PAUSE);
    }
  },
  silence(silent: readonly number[]) {
    for (const host of silent) placeOf[host] = 0;
  },
  asked: () => asked,
});
