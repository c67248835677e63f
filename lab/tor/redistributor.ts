/**
 * Today's practice, part one: a neighbour-table redistributor with rdnbrd's behaviour. Every host that the kernel's
 * neighbour table shows on a server port becomes a /32 kernel route to that port, which FRR redistributes. Each known
 * host is asked by ARP once a second; one that hasn't answered for three seconds is removed, and all of a port at once
 * when its carrier goes.
 *
 * Arguments: lab, ToR, port ...
 */
import { AF, ETH_P, interfaceIndex, LinuxSocket, PACKET, SOCK, SOL, withNetns } from 'linux-sockets';
import { decodeNeighbour, encodeRoute, Malformed, makeRoute, NUD_VALID, RTM, RTPROT } from 'rtnetlink-ts';
import { monotonic } from '../monotonic.ts';
import { isUsable, listenLinks, listenNeighbours, RequestSender } from '../netlink.ts';
import { arpSender } from '../observer/packets.ts';
import { GATEWAY_ADDRESS, GATEWAY_MAC, namespaceOf, SUBNET, type TorName } from '../topology/plan.ts';

const KEEPALIVE = 1000;
const HOLD = 3000;

interface Host {
  readonly ifindex: number;
  lastHeard: number;
}

const [lab, tor, ...ports] = process.argv.slice(2) as [string, TorName, ...string[]];
const netns = namespaceOf(lab, tor);
const indexes = withNetns(netns, () => new Set(ports.map(interfaceIndex)));
const hosts = new Map<string, Host>();
const requests = new RequestSender(netns, (errno) => console.error(`route refused: errno ${errno}`));
const arp = LinuxSocket.open({ family: AF.PACKET, type: SOCK.DGRAM, protocol: 0, netns });
arp.setOption(SOL.PACKET, PACKET.IGNORE_OUTGOING, 1);
arp.bind({ family: 'packet', ifindex: 0, protocol: ETH_P.ARP });

const inSubnet = (address: string): boolean => address.startsWith(SUBNET.slice(0, SUBNET.lastIndexOf('.') + 1));

function setRoute(address: string, ifindex: number, present: boolean): void {
  const route = makeRoute({ destination: `${address}/32`, nextHops: [{ ifindex }], protocol: RTPROT.STATIC });
  requests.send(present ? RTM.NEWROUTE : RTM.DELROUTE, present ? REPLACE : 0, (writer) => encodeRoute(writer, route));
}

/** NLM_F_CREATE | NLM_F_REPLACE */
const REPLACE = 0x500;

function heard(address: string, ifindex: number): void {
  if (!indexes.has(ifindex) || !inSubnet(address) || address === GATEWAY_ADDRESS) return;
  const host = hosts.get(address);
  if (host?.ifindex === ifindex) {
    host.lastHeard = monotonic();
    return;
  }
  hosts.set(address, { ifindex, lastHeard: monotonic() });
  setRoute(address, ifindex, true);
}

function forget(address: string, host: Host): void {
  hosts.delete(address);
  setRoute(address, host.ifindex, false);
}

arp.onReadable(() => {
  for (const { data, from } of arp.receiveBatch()) {
    const address = arpSender(data);
    if (address !== undefined && from?.family === 'packet') heard(address, from.ifindex);
  }
});

listenNeighbours(netns, (message) => {
  if (message.type !== RTM.NEWNEIGH) return;
  const neighbour = decodeNeighbour(message);
  if (neighbour instanceof Malformed || !(neighbour.state & NUD_VALID) || neighbour.destination === undefined) return;
  // An entry that only ages says nothing about the host: a new one does.
  if (!hosts.has(neighbour.destination)) heard(neighbour.destination, neighbour.ifindex);
});

listenLinks(netns, (link, gone) => {
  if (!indexes.has(link.ifindex) || (!gone && isUsable(link))) return;
  for (const [address, host] of hosts) if (host.ifindex === link.ifindex) forget(address, host);
});

function ask(address: string, ifindex: number): void {
  const payload = Buffer.alloc(28);
  payload.writeUInt32BE(0x00010800, 0);
  payload.writeUInt32BE(0x06040001, 4);
  Buffer.from(GATEWAY_MAC.replaceAll(':', ''), 'hex').copy(payload, 8);
  Buffer.from(GATEWAY_ADDRESS.split('.').map(Number)).copy(payload, 14);
  Buffer.from(address.split('.').map(Number)).copy(payload, 24);
  try {
    arp.send({
      data: payload,
      to: { family: 'packet', ifindex, protocol: ETH_P.ARP, address: Buffer.alloc(6, 0xff) },
    });
  } catch (error) {
    // A port that went down between two looks; its hosts go with the link event.
    console.error(`ARP to ${address}: ${(error as Error).message}`);
  }
}

setInterval(() => {
  const now = monotonic();
  for (const [address, host] of hosts) {
    if (now - host.lastHeard >= HOLD) forget(address, host);
    else ask(address, host.ifindex);
  }
}, KEEPALIVE);
