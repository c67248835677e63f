/*
 * The kernel's numbers under the kernel's names without their prefix (AF_NETLINK is AF.NETLINK). Values are those of
 * asm-generic, which x86-64 and arm64 share. Source: include/uapi/linux/{socket,in,in6,tcp,if_packet,if_ether,netlink}.h.
 */

export const AF = {
  UNSPEC: 0,
  UNIX: 1,
  INET: 2,
  INET6: 10,
  BRIDGE: 7,
  NETLINK: 16,
  PACKET: 17,
} as const;

export const SOCK = { STREAM: 1, DGRAM: 2, RAW: 3, SEQPACKET: 5 } as const;

/** Levels of setsockopt that are not protocol numbers. */
export const SOL = { SOCKET: 1, IP: 0, TCP: 6, UDP: 17, IPV6: 41, RAW: 255, PACKET: 263, NETLINK: 270 } as const;

export const SO = {
  REUSEADDR: 2,
  TYPE: 3,
  ERROR: 4,
  DONTROUTE: 5,
  BROADCAST: 6,
  SNDBUF: 7,
  RCVBUF: 8,
  KEEPALIVE: 9,
  PRIORITY: 12,
  REUSEPORT: 15,
  BINDTODEVICE: 25,
  ATTACH_FILTER: 26,
  DETACH_FILTER: 27,
  TIMESTAMP: 29,
  SNDBUFFORCE: 32,
  RCVBUFFORCE: 33,
  TIMESTAMPNS: 35,
  MARK: 36,
  PROTOCOL: 38,
  DOMAIN: 39,
  RXQ_OVFL: 40,
  LOCK_FILTER: 44,
  BUSY_POLL: 46,
} as const;

export const IPPROTO = {
  IP: 0,
  ICMP: 1,
  IGMP: 2,
  IPIP: 4,
  TCP: 6,
  UDP: 17,
  IPV6: 41,
  GRE: 47,
  ESP: 50,
  ICMPV6: 58,
  OSPF: 89,
  RAW: 255,
} as const;

export const IP = {
  TOS: 1,
  TTL: 2,
  HDRINCL: 3,
  OPTIONS: 4,
  ROUTER_ALERT: 5,
  RECVOPTS: 6,
  PKTINFO: 8,
  MTU_DISCOVER: 10,
  RECVERR: 11,
  RECVTTL: 12,
  RECVTOS: 13,
  MTU: 14,
  FREEBIND: 15,
  TRANSPARENT: 19,
  MINTTL: 21,
  MULTICAST_IF: 32,
  MULTICAST_TTL: 33,
  MULTICAST_LOOP: 34,
  ADD_MEMBERSHIP: 35,
  DROP_MEMBERSHIP: 36,
  MULTICAST_ALL: 49,
} as const;

export const IPV6 = {
  CHECKSUM: 7,
  UNICAST_HOPS: 16,
  MULTICAST_IF: 17,
  MULTICAST_HOPS: 18,
  MULTICAST_LOOP: 19,
  ADD_MEMBERSHIP: 20,
  DROP_MEMBERSHIP: 21,
  MTU_DISCOVER: 23,
  V6ONLY: 26,
  MULTICAST_ALL: 29,
  RECVPKTINFO: 49,
  PKTINFO: 50,
  RECVHOPLIMIT: 51,
  HOPLIMIT: 52,
  RECVTCLASS: 66,
  TCLASS: 67,
  MINHOPCOUNT: 73,
  FREEBIND: 78,
} as const;

export const TCP = {
  NODELAY: 1,
  MAXSEG: 2,
  KEEPIDLE: 4,
  KEEPINTVL: 5,
  KEEPCNT: 6,
  SYNCNT: 7,
  INFO: 11,
  QUICKACK: 12,
  MD5SIG: 14,
  USER_TIMEOUT: 18,
  MD5SIG_EXT: 32,
} as const;

export const PACKET = {
  /** sll_pkttype */
  HOST: 0,
  BROADCAST: 1,
  MULTICAST: 2,
  OTHERHOST: 3,
  OUTGOING: 4,
  /** struct packet_mreq.mr_type */
  MR_MULTICAST: 0,
  MR_PROMISC: 1,
  MR_ALLMULTI: 2,
  /** options at SOL_PACKET */
  ADD_MEMBERSHIP: 1,
  DROP_MEMBERSHIP: 2,
  STATISTICS: 6,
  AUXDATA: 8,
  VNET_HDR: 15,
  QDISC_BYPASS: 20,
  IGNORE_OUTGOING: 23,
} as const;

export const NETLINK = {
  /** protocols */
  ROUTE: 0,
  SOCK_DIAG: 4,
  XFRM: 6,
  NETFILTER: 12,
  GENERIC: 16,
  /** options at SOL_NETLINK */
  ADD_MEMBERSHIP: 1,
  DROP_MEMBERSHIP: 2,
  PKTINFO: 3,
  BROADCAST_ERROR: 4,
  NO_ENOBUFS: 5,
  LISTEN_ALL_NSID: 8,
  LIST_MEMBERSHIPS: 9,
  CAP_ACK: 10,
  EXT_ACK: 11,
  GET_STRICT_CHK: 12,
} as const;

export const MSG = {
  OOB: 0x1,
  PEEK: 0x2,
  DONTROUTE: 0x4,
  CTRUNC: 0x8,
  TRUNC: 0x20,
  DONTWAIT: 0x40,
  EOR: 0x80,
  CONFIRM: 0x800,
  ERRQUEUE: 0x2000,
  NOSIGNAL: 0x4000,
  MORE: 0x8000,
} as const;

/** Host byte order; whoever hands one to this package never swaps bytes. */
export const ETH_P = {
  ALL: 0x0003,
  IP: 0x0800,
  ARP: 0x0806,
  VLAN_8021Q: 0x8100,
  IPV6: 0x86dd,
  LLDP: 0x88cc,
} as const;
