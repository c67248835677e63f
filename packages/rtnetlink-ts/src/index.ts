export * from './codec/constants.ts';
export { type IpTunnel, ipTunnel, LWTUNNEL_ENCAP, readIpTunnel } from './codec/encapsulation.ts';
export { decodeInterfaceAddress, encodeInterfaceAddress, type InterfaceAddress } from './codec/interface-address.ts';
export {
  type BridgePort,
  type BridgeSettings,
  bridgeData,
  decodeLink,
  encodeLink,
  type Link,
  type LinkChange,
  vethPeer,
  vlanData,
  vrfData,
  vrfTable,
} from './codec/link.ts';
export {
  AttributeCursor,
  attributeBytes,
  forEachMessage,
  Malformed,
  type Message,
  MessageWriter,
} from './codec/message.ts';
export { decodeNeighbour, encodeNeighbour, type Neighbour, type NeighbourEntry } from './codec/neighbour.ts';
export { decodeNextHop, encodeNextHop, type NextHop, type NextHopFilter } from './codec/nexthop.ts';
export { decodeRoute, encodeRoute, makeRoute, type Route, type RouteFilter, type RouteNextHop } from './codec/route.ts';
export { decodeRule, encodeRule, type Rule } from './codec/rule.ts';
export {
  type GeneveSettings,
  type GreSettings,
  geneveData,
  greData,
  type IpipSettings,
  ipipData,
  readTunnelEnds,
  readVxlan,
  type TunnelEnds,
  type VxlanSettings,
  vxlanData,
} from './codec/tunnel-link.ts';
export { type BatchResult, Connection, type Request } from './connection.ts';
export { lacksFamily, NetlinkError, type Refusal } from './error.ts';
export type { ReceiveCounters, SocketOptions } from './receive.ts';
export * as requests from './requests.ts';
export { type NeighbourFilter, type RouteLookup, Rtnetlink } from './rtnetlink.ts';
export * from './subscription.ts';
