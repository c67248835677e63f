/**
 * A server that has gone bad, in a process of its own: ARP and neighbour discovery as fast as it is told, for addresses
 * and from MACs of its own making.
 *
 * Arguments: network namespace, device
 */
import { AF, ETH_P, interfaceIndex, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { serveHelper } from '../../lab/helper.ts';
import { arpRequest } from '../../lab/team/arp.ts';
import { type Address, ipv4FromNumber, type Mac } from '../../src/model/address.ts';
import { ETHERNET_HEADER, encodeNd, makeFrame, type NdPacket, ndLength } from '../../src/netlink/frames/index.ts';
import { randomFrom } from './stand.ts';

export interface Flood {
  /** At most; it ends earlier when it is told to. */
  readonly ms: number;
  /** Frames a second at most; the machine may give less. */
  readonly rate: number;
  readonly seed: number;
  /** Claimed again and again between the random ones. */
  readonly claims: readonly string[];
  /** Who is asked for in a part of the requests, so that the kernel makes entries of its own. */
  readonly gateway: string;
}

const [netns, device] = process.argv.slice(2) as [string, string];
const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns });
const to = { family: 'packet', ifindex: withNetns(netns, () => interfaceIndex(device)), protocol: ETH_P.ALL } as const;
const BURST = 64;
/** Frames made beforehand: the flood is to cost the switch, not the one who sends it. */
const STOCK = 8_192;

function stock({ seed, claims, gateway }: Flood): Uint8Array[] {
  const random = randomFrom(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const hex = () => below(256).toString(16).padStart(2, '0');
  const mac = () => `02:66:${hex()}:${hex()}:${hex()}:${hex()}` as Mac;
  const makers: (() => Uint8Array)[] = [
    // Inside the prefix, anywhere at all, for us to answer, and what somebody else has.
    () => arpFor(ipv4FromNumber(0x0a0a0a00 + below(256))),
    () => arpFor(ipv4FromNumber(below(2 ** 32))),
    () => arpRequest(mac(), ipv4FromNumber(0x0a0a0a00 + below(256)), gateway),
    () => arpFor(claims[below(claims.length)]!),
    () => nd('solicitation', mac(), `2001:db8::${(1 + below(65_534)).toString(16)}`),
    () => nd('advertisement', mac(), `2001:db8::${(1 + below(65_534)).toString(16)}`),
    () => arpFor(ipv4FromNumber(0x0a0a0a00 + below(256))).subarray(0, 14 + below(28)),
  ];
  const arpFor = (address: string) => arpRequest(mac(), address, address);
  return Array.from({ length: STOCK }, () => makers[below(makers.length)]!());
}

function nd(type: NdPacket['type'], mac: Mac, address: string): Uint8Array {
  const own = address as Address;
  const other = '2001:db8::fe' as Address;
  const packet: NdPacket = {
    type,
    source: type === 'solicitation' ? own : ('fe80::66' as Address),
    destination: 'ff02::1' as Address,
    target: type === 'solicitation' ? other : own,
    linkLayer: mac,
    router: false,
    solicited: false,
    override: true,
  };
  const frame = makeFrame('33:33:00:00:00:01' as Mac, mac, 0x86dd, ndLength(packet));
  encodeNd(packet, frame, ETHERNET_HEADER);
  return frame;
}

let enough = false;

serveHelper({
  enough() {
    enough = true;
  },
  async flood(options: Flood): Promise<{ sent: number; ms: number }> {
    const frames = stock(options).map((data) => ({ data, to }));
    const start = performance.now();
    let sent = 0;
    enough = false;
    for (let now = start; !enough && now - start < options.ms; now = performance.now()) {
      const due = ((now - start) / 1000) * options.rate;
      if (sent >= due) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        continue;
      }
      // A burst at most: what the machine's own queues can't hold would be lost for everybody.
      const at = sent % STOCK;
      sent += socket.sendBatch(frames.slice(at, at + BURST));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { sent, ms: performance.now() - start };
  },
});
