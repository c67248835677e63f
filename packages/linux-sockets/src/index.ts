/*
 * Linux sockets for Node: netlink, packet and raw IP sockets, with control data, batches, readiness, options on any
 * descriptor, and network namespaces. One thin addon does the calls; formats and policy are here.
 */
export { type ControlMessage, type SocketAddress, tcpMd5Key } from './address.ts';
export {
  attachClsact,
  BpfError,
  BpfLink,
  type BpfMapShape,
  BpfObject,
  type BpfOpenOptions,
  BpfProgram,
  type BpfRun,
  bpfLibrary,
  type ClsactFilter,
  detachClsact,
  removeClsact,
  TCX,
  type TcDirection,
  tcxPrograms,
} from './bpf.ts';
export { BPF_ANY, BPF_EXIST, BPF_MAP, BPF_NOEXIST, type BpfBatch, BpfMap, possibleCpus } from './bpf-map.ts';
export { isBpffs, mountBpffs, unmount, unpin } from './bpffs.ts';
export { type Btf, type BtfField, type BtfStruct, parseBtf } from './btf.ts';
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
export { getSocketOption, interfaceIndex, ioctl, lockFile, openFile, setSocketOption, withNetns } from './system.ts';
