/*
 * Frames between neighbours on a wire: ARP and neighbour discovery (pure codecs), and the packet socket of one port that
 * hears and sends them. They stand here because two domains speak them, of which neither may know the other: hosts are
 * heard and asked on the downlinks, next hops on the uplinks.
 */
export { allNodesEcho } from './all-nodes.ts';
export {
  ARP_LENGTH,
  type ArpError,
  type ArpPacket,
  arpSender,
  decodeArp,
  decodeRarp,
  encodeArp,
  type RarpPacket,
} from './arp.ts';
export { clearGuards, guardedPorts } from './arp-guard.ts';
export { BROADCAST, ETHERNET_HEADER, ETHERTYPE, ethertypeOf, makeFrame, sourceMac, tagged } from './ethernet.ts';
export { GuardMemory, type MemoryStore } from './guard-memory.ts';
export { decodeNd, encodeNd, type NdError, type NdPacket, ndLength, solicitedNode, UNSPECIFIED } from './nd.ts';
export { type Frame, PortSocket, type PortSocketOptions } from './port-socket.ts';
export { type Asker, answer, question } from './question.ts';
export { STORM_SAMPLE, stormFilter } from './storm-filter.ts';
