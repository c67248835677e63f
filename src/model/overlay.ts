/**
 * The overlay as the host role knows it: networks, instances, remotes and policy. One table holds it
 * (`vswitch-bridge/overlay`); the slow path, the fast path, the tunnel neighbours and the encryption are projections of it.
 */
import type { Address, Mac, Prefix } from './address.ts';
import { prefixLength } from './address.ts';

export type Encapsulation = 'vxlan' | 'gre' | 'geneve' | 'ipip';

/** A virtual network. Two networks may hold the same subnet. */
export interface OverlayNetwork {
  readonly name: string;
  /** 24 bits. */
  readonly vni: number;
  readonly subnet: Prefix;
  /** The bridge's own address on every host; absent: nothing is routed out of this network. */
  readonly gateway?: Address;
  readonly encapsulation: Encapsulation;
  /** Of a VXLAN that another has laid out: its UDP port, where that is not 4789. */
  readonly port?: number;
  /**
   * VXLAN alone. `worker`: its tunnel port is the packet worker's TAP, of the tunnel port's name; `kernel`: it is the kernel's own,
   * and what it sends is encrypted behind it.
   */
  readonly encrypted?: 'worker' | 'kernel';
  /** `kernel`: laid out by another, whose bridge and tunnel these are; absent: ours. */
  readonly origin?: OverlayOrigin;
  readonly devices?: { readonly bridge: string; readonly tunnel?: string };
}

/** Where a fact of the overlay came from: the file, the control socket, the CNI plugin, or what stood in the kernel. */
export type OverlayOrigin = 'configuration' | 'control' | 'cni' | 'kernel';

/** A virtual machine or container on this host. */
export interface OverlayInstance {
  readonly name: string;
  readonly network: string;
  readonly address: Address;
  /** Absent: learned from what it sends. */
  readonly mac?: Mac;
  /** The host's side of its veth or tap. */
  readonly interface: string;
  readonly origin: OverlayOrigin;
}

/** What lies behind another host in one network. */
export interface OverlayRemote {
  /** Underlay address. */
  readonly host: Address;
  readonly network: string;
  readonly addresses: readonly Prefix[];
  readonly origin: OverlayOrigin;
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export type TcpFlag = 'fin' | 'syn' | 'rst' | 'psh' | 'ack' | 'urg';

/** A rule judges a connection by the packet that opened it, as that packet came (before any rewriting). */
export interface PolicyRule {
  readonly name: string;
  /** Absent: every network. */
  readonly network?: string;
  /** Seen from the instance: `out` is what it sends, `in` what comes for it. */
  readonly direction: 'in' | 'out' | 'both';
  readonly from: Prefix | 'any';
  readonly to: Prefix | 'any';
  /** IP protocol number. */
  readonly protocol: number | 'any';
  /** Destination ports; empty: any. */
  readonly ports: readonly PortRange[];
  readonly sourcePorts: readonly PortRange[];
  /** Of the flags in `of` exactly those in `set` stand in the packet. */
  readonly tcpFlags?: { readonly set: readonly TcpFlag[]; readonly of: readonly TcpFlag[] };
  /** Absent: the rule only limits the rate. */
  readonly action?: 'allow' | 'deny';
  /** Bits per second. */
  readonly rate?: number;
}

export interface OverlayPolicy {
  /** `allow`: the rules are a deny list. `deny`: an allow list. */
  readonly default: 'allow' | 'deny';
  /** `inside`: what comes from outside the virtual network may not open a connection. */
  readonly initiate: 'both' | 'inside';
  /** In the order of the file. */
  readonly rules: readonly PolicyRule[];
}

export interface OverlayBackend {
  readonly address: Address;
  readonly port: number;
}

/** A virtual address in front of backends. */
export interface OverlayService {
  readonly name: string;
  readonly network: string;
  readonly address: Address;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly backends: readonly OverlayBackend[];
  readonly balance: 'random' | 'least-loaded';
  /** A backend that takes no TCP connection (or answers a UDP probe with port unreachable) is left out. ms. */
  readonly healthCheck?: { readonly interval: number; readonly timeout: number; readonly retries: number };
}

/** The source address for what leaves a network towards the public destinations `to`; the longest prefix decides. */
export interface OverlaySnat {
  readonly network: string;
  readonly to: Prefix;
  readonly address: Address;
}

export interface OverlayUnderlay {
  /** Source of the tunnels. */
  readonly address: Address;
  readonly device: string;
}

/** A snapshot: the table never changes one that it has given away. */
export interface OverlayState {
  readonly underlay: OverlayUnderlay;
  readonly networks: ReadonlyMap<string, OverlayNetwork>;
  /** By name. */
  readonly instances: ReadonlyMap<string, OverlayInstance>;
  /** By `network/host`. */
  readonly remotes: ReadonlyMap<string, OverlayRemote>;
  readonly policy: OverlayPolicy;
  readonly services: ReadonlyMap<string, OverlayService>;
  readonly snat: readonly OverlaySnat[];
}

export type OverlayChange =
  | { readonly kind: 'network'; readonly op: 'added' | 'removed'; readonly item: OverlayNetwork }
  | { readonly kind: 'instance'; readonly op: 'added' | 'removed'; readonly item: OverlayInstance }
  | { readonly kind: 'remote'; readonly op: 'added' | 'removed'; readonly item: OverlayRemote }
  | { readonly kind: 'service'; readonly op: 'added' | 'removed'; readonly item: OverlayService }
  | { readonly kind: 'policy' }
  | { readonly kind: 'snat' };

/**
 * What follows the table. `apply` gets what changed and the state after it; a change of an item is its removal and its
 * addition in one call. It rejects when the kernel refused: the table stays, the refusal is shown, and the next `apply`
 * or `reconcile` tries again.
 */
export interface OverlayProjection {
  apply(state: OverlayState, changes: readonly OverlayChange[]): Promise<void>;
}

/**
 * Most specific first: longer prefixes, then a protocol, ports, flags; among equals `deny` before `allow`, then the file's
 * order. Slow path and fast path judge by this one order.
 */
export function bySpecificity(rules: readonly PolicyRule[]): readonly PolicyRule[] {
  const length = (prefix: Prefix | 'any') => (prefix === 'any' ? 0 : prefixLength(prefix));
  const width = (ranges: readonly PortRange[]) =>
    ranges.length === 0 ? 65_536 : ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  const criteria: readonly ((rule: PolicyRule) => number)[] = [
    (rule) => -(length(rule.from) + length(rule.to)),
    (rule) => (rule.protocol === 'any' ? 1 : 0),
    (rule) => width(rule.ports),
    (rule) => width(rule.sourcePorts),
    (rule) => (rule.tcpFlags ? -rule.tcpFlags.of.length : 0),
    (rule) => (rule.network === undefined ? 1 : 0),
    (rule) => (rule.direction === 'both' ? 1 : 0),
    (rule) => (rule.action === 'deny' ? 0 : 1),
  ];
  return rules
    .map((rule, index) => ({ rule, index, ranks: criteria.map((criterion) => criterion(rule)) }))
    .sort((a, b) => {
      const at = a.ranks.findIndex((rank, place) => rank !== b.ranks[place]);
      return at < 0 ? a.index - b.index : a.ranks[at]! - b.ranks[at]!;
    })
    .map(({ rule }) => rule);
}
