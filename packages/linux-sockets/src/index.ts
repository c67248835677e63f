/*
 * Linux sockets for Node: netlink, packet and raw IP sockets, with control data, batches, readiness, options on any
 * descriptor, and network namespaces. One thin addon does the calls; formats and policy are here.
 */
export { type ControlMessage, type SocketAddress, tcpMd5Key } from './address.ts';
export { AF, ETH_P, IP, IPPROTO, IPV6, MSG, NETLINK, PACKET, SO, SOCK, SOL, TCP } from './constants.ts';
export { SystemCallError } from './errors.ts';
export {
  type FilterInstruction,
  type IncomingMessage,
  isWouldBlock,
  LinuxSocket,
  type OpenOptions,
  type OutgoingMessage,
} from './socket.ts';
export { getSocketOption, interfaceIndex, ioctl, openFile, setSocketOption, withNetns } from './system.ts';
