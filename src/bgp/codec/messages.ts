import type { Address, Family, Prefix } from '../../model/address.ts';

/** RFC 4271 §4: the messages as values. Numbers are the wire's, addresses are the model's text. */
export type Message = OpenMessage | UpdateMessage | NotificationMessage | KeepaliveMessage | RouteRefreshMessage;

export const MESSAGE_TYPE = { OPEN: 1, UPDATE: 2, NOTIFICATION: 3, KEEPALIVE: 4, 'ROUTE-REFRESH': 5 } as const;

export const HEADER_LENGTH = 19;
/** RFC 4271 §4.1; RFC 8654's longer ones are not used. */
export const MAXIMUM_LENGTH = 4096;
/** RFC 6793 §9: stands for an AS number that does not fit in two octets. */
export const AS_TRANS = 23456;

export const AFI = { ipv4: 1, ipv6: 2 } as const;
export const SAFI_UNICAST = 1;
/** Of the range for private use (RFC 4760 §6): facts of ports, see `facts.ts`. */
export const SAFI_PORT_FACTS = 241;

export const afiOf = (family: Family): number => (family === 4 ? AFI.ipv4 : AFI.ipv6);
/** Undefined when it is not IPv4 or IPv6 unicast. */
export const familyOfAfi = (afi: number, safi: number): Family | undefined =>
  safi !== SAFI_UNICAST ? undefined : afi === AFI.ipv4 ? 4 : afi === AFI.ipv6 ? 6 : undefined;

export interface OpenMessage {
  readonly type: 'OPEN';
  readonly version: number;
  /** The two-octet field: AS_TRANS when the AS number needs four. */
  readonly myAs: number;
  /** Seconds. */
  readonly holdTime: number;
  readonly identifier: Address;
  readonly capabilities: readonly Capability[];
}

export type Capability =
  | { readonly code: 'multiprotocol'; readonly afi: number; readonly safi: number }
  | { readonly code: 'route-refresh' }
  | { readonly code: 'four-octet-as'; readonly asn: number }
  | GracefulRestartCapability
  /** Ours, of the experimental range (RFC 8810): the sender only listens. */
  | { readonly code: 'observer' }
  | { readonly code: 'unknown'; readonly number: number; readonly value: Uint8Array };

/** RFC 4724 §3. With no families it says only: End-of-RIB is sent and understood. */
export interface GracefulRestartCapability {
  readonly code: 'graceful-restart';
  readonly restarting: boolean;
  /** Seconds, 0..4095. */
  readonly restartTime: number;
  readonly families: readonly { readonly afi: number; readonly safi: number; readonly forwarding: boolean }[];
}

export interface KeepaliveMessage {
  readonly type: 'KEEPALIVE';
}

export interface NotificationMessage {
  readonly type: 'NOTIFICATION';
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

export interface RouteRefreshMessage {
  readonly type: 'ROUTE-REFRESH';
  readonly afi: number;
  readonly safi: number;
  /** RFC 7313's message subtype; 0 is RFC 2918's request. */
  readonly subtype: number;
}

/** RFC 4271 §5.1.1: the smaller the better. */
export type Origin = 0 | 1 | 2;
export const ORIGIN = { IGP: 0, EGP: 1, INCOMPLETE: 2 } as const;

export type SegmentType = 'AS_SET' | 'AS_SEQUENCE' | 'AS_CONFED_SEQUENCE' | 'AS_CONFED_SET';
export interface AsSegment {
  readonly type: SegmentType;
  readonly asns: readonly number[];
}

export type LargeCommunity = readonly [global: number, local1: number, local2: number];

export interface PathAttributes {
  origin?: Origin;
  asPath?: readonly AsSegment[];
  nextHop?: Address;
  med?: number;
  localPreference?: number;
  atomicAggregate?: boolean;
  aggregator?: { readonly asn: number; readonly address: Address };
  communities?: readonly number[];
  originatorId?: Address;
  clusterList?: readonly Address[];
  /** RFC 4360: kept as eight octets each, end to end. */
  extendedCommunities?: Uint8Array;
  largeCommunities?: readonly LargeCommunity[];
  /** Optional attributes we have no name for. */
  unknown?: readonly RawAttribute[];
}

export interface RawAttribute {
  readonly flags: number;
  readonly type: number;
  readonly value: Uint8Array;
}

/** Routes of one family that share a next hop (and the UPDATE's attributes). */
export interface Reach {
  readonly family: Family;
  readonly nextHop: Address;
  /** RFC 2545 §3: the link-local address that comes beside a global one. */
  readonly linkLocal?: Address;
  readonly prefixes: readonly Prefix[];
}

/** RFC 7606 §2; its strongest, the session reset, is a `BgpError`. */
export type Treatment = 'attribute-discard' | 'treat-as-withdraw' | 'afi-safi-disable';

export interface Problem {
  readonly treatment: Treatment;
  readonly reason: string;
  /** Subcode and data of the NOTIFICATION, should the problem come to need one (RFC 7606 §5.2). */
  readonly subcode: number;
  readonly data: Uint8Array;
}

/** After RFC 7606: `reach` holds only what may be used, `withdrawn` also what was treated as withdrawn. */
export interface UpdateMessage {
  readonly type: 'UPDATE';
  readonly withdrawn: readonly Prefix[];
  readonly reach: readonly Reach[];
  readonly attributes: PathAttributes;
  readonly problems: readonly Problem[];
  /** RFC 4724 §2. */
  readonly endOfRib: Family | undefined;
  /** Of SAFI 241, where it was agreed on. */
  readonly facts?: FactsUpdate;
}

/** Facts of ports; those that are said have one value in common. */
export interface FactsUpdate {
  readonly withdrawn: readonly Uint8Array[];
  readonly said: readonly Uint8Array[];
  readonly value: Uint8Array;
  readonly endOfRib: boolean;
}
