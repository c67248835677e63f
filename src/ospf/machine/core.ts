/**
 * What the parts of the machine share: the data structures of RFC 2328 §5 (areas, interfaces, neighbours, link state
 * database) and the list of effects that the current event has so far. The parts are plain functions over `Core`; they
 * reach each other downwards by import and upwards (a neighbour event raised while a packet is processed) through
 * `Core.neighborEvent` and its like, which `machine.ts` fills in.
 */
import type { Authentication, Lsa, LsaHeader, LsaKey, OspfPacket, OutgoingPacket, U32 } from 'node-ospf-lsa';
import type { Address, Prefix } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { ForeignClaim, ForeignShadow, HostDelta, HostRoute, LearnedRoute } from '../../model/hosts.ts';
import type { CarriedFact, HeardFact, HeardHostRoute } from '../../model/port-facts.ts';
import type { Kept } from '../codec/memory.ts';
import type {
  InterfaceState,
  NeighborState,
  NetworkType,
  OspfAnnounce,
  OspfDefault,
  OspfInterfaceOptions,
} from '../face.ts';
import type { ClaimSink, Claims } from './claims.ts';
import type { Deadline, Deadlines } from './deadlines.ts';
import type { HeardFacts } from './heard-facts.ts';
import type { RouteTable } from './route-table.ts';
import type { SpfResult } from './spf.ts';

export const AllSPFRouters = 0xe0000005;
export const AllDRouters = 0xe0000006;
/** RFC 2328 Appendix B, milliseconds; ours to receive with, and what we assume of neighbours when we send. */
export const MinLSArrivalMs = 1000;
/** RFC 2328 Appendix C.3: seconds added to an LSA's age as it is sent. */
export const InfTransDelay = 1;

export interface Retransmission {
  /** When this instance was first sent to the neighbour. */
  readonly firstSentAt: Instant;
  due: Instant;
  /** Further early resends, ascending, before RxmtInterval takes over. */
  again: Instant[] | undefined;
  /** By the model in `retransmission.ts`, the neighbour has taken this instance. */
  believed: boolean;
}

/** What we know about the instances of one LSA at one neighbour, see `retransmission.ts`. */
export interface Offered {
  /** When the neighbour, as far as we can tell, last installed an instance that we sent. */
  acceptedAt: Instant;
  /** When we last sent it any instance. */
  sentAt: Instant;
}

export interface Neighbor {
  readonly interface: Interface;
  readonly routerId: U32;
  address: U32;
  state: NeighborState;
  since: Instant;
  priority: number;
  options: number;
  designatedRouter: U32;
  backupDesignatedRouter: U32;
  /** RFC 2328 §10: we are the master of the exchange. */
  master: boolean;
  ddSequence: U32;
  /** I, M, MS; options; sequence of the last DD packet taken, to know a duplicate by. */
  lastDd: { readonly flags: number; readonly options: number; readonly sequence: U32 } | undefined;
  sentDd: OutgoingPacket | undefined;
  sentMore: boolean;
  /** Database summary list; what is before `summaryAt` has been sent. */
  summary: LsaHeader[];
  summaryAt: number;
  /** Link state request list. */
  readonly requests: Map<string, LsaHeader>;
  /** The part of it that the last LSR asked for. */
  readonly outstanding: Set<string>;
  /** Link state retransmission list; bounded by the database, which has one entry per LSA. */
  readonly retransmit: Map<LsdbEntry, Retransmission>;
  readonly offered: Map<LsdbEntry, Offered>;
  /** RFC 2328 §D.3: the highest sequence number seen; undefined before the first. */
  cryptoSequence: U32 | undefined;
  /** Taken up from an earlier life of ours, see `resume.ts`. */
  resumedAt: Instant | undefined;
  readonly inactivityTimer: Deadline;
  readonly ddTimer: Deadline;
  readonly lsrTimer: Deadline;
  readonly rxmtTimer: Deadline;
}

export interface Departed {
  /** LSAs of ours: the last sequence number, which goes on when they come back (§12.1.6). */
  readonly sequence: number | undefined;
  /** What neighbours may still hold, and how fresh. */
  readonly offered: readonly (readonly [Neighbor, Offered])[];
}

/** What the link below says; undefined at the interface while it is down. */
export interface Link {
  readonly ifindex: number;
  readonly mtu: number;
  readonly address: U32;
  readonly prefixLength: number;
}

export interface Interface {
  readonly name: string;
  readonly area: Area;
  readonly network: NetworkType;
  cost: number;
  priority: number;
  /** Whole seconds, as on the wire. */
  helloInterval: number;
  deadInterval: number;
  /** Milliseconds. */
  rxmtInterval: number;
  readonly authentication: Authentication;
  link: Link | undefined;
  state: InterfaceState;
  /** Addresses of the interfaces that hold the roles, 0 when none. */
  designatedRouter: U32;
  backupDesignatedRouter: U32;
  /** By router id on point-to-point, by source address on broadcast (RFC 2328 §10.5). */
  readonly neighbors: Map<U32, Neighbor>;
  readonly database: Database;
  /** LSAs to be flooded here when the event is done: one packing, one pass. */
  readonly floodQueue: Set<LsdbEntry>;
  delayedAcks: LsaHeader[];
  lastHelloAt: Instant;
  readonly helloTimer: Deadline;
  readonly waitTimer: Deadline;
  readonly ackTimer: Deadline;
}

export interface Area {
  readonly id: U32;
  readonly address: Address;
  readonly nssa: boolean;
  readonly interfaces: Interface[];
  readonly database: Database;
  routerLsaDirty: boolean;
  /** The change may not wait for the pacing of topology changes: hosts are in it. */
  routerLsaUrgent: boolean;
  routerLsaAt: Instant;
  readonly routerLsaTimer: Deadline;
  /** Host stubs of an earlier life of ours, kept until the host table has settled: address to metric. */
  readonly inheritedStubs: Map<U32, number>;
}

export interface LsdbEntry {
  readonly key: string;
  readonly database: Database;
  /** The instance that counts; its own bytes are never changed. */
  lsa: Lsa;
  installedAt: Instant;
  /** Came by flooding: MinLSArrival counts from `installedAt` (RFC 2328 §13 (5a)). */
  flooded: boolean;
  /** Instances in a row that came earlier than MinLSArrival and were taken. */
  early: number;
  readonly self: boolean;
  /** Of ours from before a restart, not yet backed by anything; see `inheritance.ts`. */
  inherited: boolean;
  /** False once it was taken out of the database. */
  live: boolean;
  /** How often, since when, others contested this LSA of ours with newer instances of their own (§13.4). */
  contests: number;
  contestedAt: Instant;
  /** On how many retransmission lists it is. */
  pending: number;
  /** RFC 2328 §13 (8): when the copy was last sent to someone who was behind. */
  sentBackAt: Instant;
  /** Age-out, or refresh when it is our own. */
  readonly timer: Deadline;
}

/** The LSAs of one flooding scope (RFC 5250 §3): a link, an area, or the AS. */
export interface Database {
  readonly scope: { readonly kind: 'link' | 'area' | 'as'; readonly name: string };
  readonly entries: Map<string, LsdbEntry>;
}

export interface HostRecord {
  readonly address: Address;
  readonly id: U32;
  route: HostRoute;
  /** One for an external, one per area as type 7, none as stub link. */
  entries: LsdbEntry[];
}

/** A port fact of ours, see `facts.ts`. */
export interface FactRecord {
  readonly key: Uint8Array;
  readonly opaqueId: number;
  /** What it says, or is to say when its time has come. */
  value: Uint8Array;
  saidAt: Instant;
  /** One in the AS, one in each NSSA. */
  entries: LsdbEntry[];
  readonly timer: Deadline;
}

export type Effect =
  | { readonly kind: 'send'; readonly interface: string; readonly to: U32; readonly packet: OutgoingPacket }
  /** LSAs in their order; the driver packs them into as few updates as the MTU allows. */
  | {
      readonly kind: 'update';
      readonly interface: string;
      readonly to: U32;
      readonly lsas: readonly Uint8Array[];
      /** The ages in `lsas` are void: each goes out at MaxAge. */
      readonly flush?: true;
    }
  | { readonly kind: 'membership'; readonly interface: string; readonly group: U32; readonly joined: boolean }
  | {
      readonly kind: 'neighbor';
      readonly interface: string;
      readonly routerId: U32;
      readonly address: U32;
      readonly from: NeighborState;
      readonly to: NeighborState;
      readonly reason: string;
    }
  | { readonly kind: 'routes'; readonly changes: readonly LearnedRoute[] }
  | { readonly kind: 'claim'; readonly claim: ForeignClaim }
  | { readonly kind: 'shadow'; readonly shadow: ForeignShadow }
  | { readonly kind: 'fact'; readonly fact: HeardFact }
  | { readonly kind: 'host-route'; readonly route: HeardHostRoute }
  | { readonly kind: 'log'; readonly level: 'info' | 'warn'; readonly fields: object; readonly message: string };

export type OspfEvent =
  /** A packet that was decoded, authenticated, and addressed to us. */
  | {
      readonly kind: 'packet';
      readonly interface: string;
      readonly source: U32;
      readonly destination: U32;
      readonly packet: OspfPacket;
    }
  | { readonly kind: 'timer' }
  | { readonly kind: 'link'; readonly interface: string; readonly link: Link | undefined }
  /** Once, before anything else: what an earlier life kept, and the links that are up now. */
  | {
      readonly kind: 'resume';
      readonly kept: Pick<Kept, 'adjacencies' | 'late' | 'lsas'>;
      readonly links: ReadonlyMap<string, Link>;
      /** Until when the neighbours were asked to wait; 0: they were not. */
      readonly graceUntil: Instant;
    }
  /** We end in a moment, for the next life to take up; neighbours are asked to wait `grace` seconds. */
  | { readonly kind: 'pause'; readonly grace: number }
  /** The configuration was read anew; all of it comes, what differs is changed. */
  | { readonly kind: 'configure'; readonly settings: MachineSettings }
  | { readonly kind: 'hosts'; readonly delta: HostDelta }
  | { readonly kind: 'facts'; readonly facts: readonly CarriedFact[] }
  | { readonly kind: 'settled' }
  | { readonly kind: 'kill'; readonly address: U32; readonly reason: string }
  /** The kernel did not take an update: its LSAs are due again shortly. */
  | { readonly kind: 'send-failed'; readonly interface: string }
  | { readonly kind: 'drain'; readonly on: boolean }
  | { readonly kind: 'leave' }
  /** After `leave` has been acknowledged or given up: everything down, hellos without neighbours. */
  | { readonly kind: 'goodbye' };

/** What can change while the machine runs. */
export interface MachineSettings {
  readonly interfaces: readonly OspfInterfaceOptions[];
  readonly announce: OspfAnnounce;
  readonly prefixes: readonly Prefix[];
  readonly originateDefault?: OspfDefault | undefined;
  readonly observer?: boolean | undefined;
}

export interface MachineOptions extends MachineSettings {
  /** Hosts are learned with `LearnedRoute.backup`; not when absent. */
  readonly backups?: boolean | undefined;
  readonly routerId: U32;
  readonly stubNetworks: readonly { readonly network: U32; readonly mask: U32; readonly metric: number }[];
  readonly random: () => number;
  /** Milliseconds; RFC 2328's MinLSArrival when absent. */
  readonly minLsArrival?: number;
  /** How many instances of one LSA in a row may come earlier than MinLSArrival; RFC 2328's 0 when absent. */
  readonly earlyArrivals?: number;
}

export type NeighborEvent =
  | 'HelloReceived'
  | '2-WayReceived'
  | 'NegotiationDone'
  | 'ExchangeDone'
  | 'BadLSReq'
  | 'LoadingDone'
  | 'AdjOK?'
  | 'SeqNumberMismatch'
  | '1-WayReceived'
  | 'KillNbr'
  | 'InactivityTimer'
  | 'LLDown';

export type InterfaceEvent = 'InterfaceUp' | 'WaitTimer' | 'BackupSeen' | 'NeighborChange' | 'InterfaceDown';

export interface Core {
  /** Those of now, see `reconfigure.ts`. */
  options: MachineOptions;
  readonly routerId: U32;
  readonly minLsArrival: number;
  readonly earlyArrivals: number;
  readonly areas: Map<U32, Area>;
  readonly interfaces: Map<string, Interface>;
  readonly external: Database;
  readonly deadlines: Deadlines;
  readonly claims: Claims;
  readonly claimSink: ClaimSink;
  readonly routes: RouteTable;
  readonly hosts: Map<Address, HostRecord>;
  /** Port facts of ours, by the octets of their keys; and those of others. */
  readonly facts: Map<string, FactRecord>;
  readonly heardFacts: HeardFacts;
  /** LSAs that are no longer in the database, as far as it still matters; bounded, the oldest go first. */
  readonly departed: Map<string, Departed>;
  /** Own LSAs at the last sequence number there is: flushed, and originated anew once they are gone (§12.1.6). */
  readonly wrapping: Map<LsdbEntry, (now: Instant) => void>;
  readonly maxAged: Set<LsdbEntry>;
  readonly counters: Map<string, number>;
  /** Neighbours in Exchange or Loading; while there are any, MaxAge LSAs stay (§14). */
  exchanging: number;
  size: number;
  settled: boolean;
  /** Adjacencies that neighbours keep by grace, see `grace.ts`; undefined: none. */
  restarting: { readonly waiting: Set<Interface>; readonly timer: Deadline } | undefined;
  leaving: boolean;
  /** 0.0.0.0/0 is among our LSAs; `defaultDue`: whether it should be has to be looked at. */
  defaultSaid: boolean;
  defaultDue: boolean;
  draining: boolean;
  effects: Effect[];
  /** Flushes that are in `effects` already, and still to be entered in the database and the lists. */
  readonly unbooked: LsdbEntry[];
  /** LSAs that were installed or went since the driver last looked, for the memory; undefined: nobody keeps one. */
  touched: Set<LsdbEntry> | undefined;
  /** Withdrawn hosts that are still in `hosts`. */
  readonly leavers: Address[];
  readonly settleTimer: Deadline;
  readonly spfTimer: Deadline;
  /** What the last SPF found. */
  spf: SpfResult | undefined;
  /** External LSAs of others by the host that they are for; hosts whose way is to be found anew. */
  readonly hostExternals: Map<U32, Set<LsdbEntry>>;
  readonly staleHosts: Set<U32>;
  readonly hostsTimer: Deadline;
  spfAt: Instant;
  spfHold: number;
  spfNotBefore: Instant;
  spfPostponedUntil: Instant;

  neighborEvent(neighbor: Neighbor, event: NeighborEvent, now: Instant, reason?: string): void;
  interfaceEvent(iface: Interface, event: InterfaceEvent, now: Instant): void;
  /** MaxAge reached, or time to refresh an LSA of ours. */
  lsaTimer(entry: LsdbEntry, now: Instant): void;
  /** The database changed: claims and routes follow. `before` undefined: new; `after` undefined: removed. */
  databaseChanged(entry: LsdbEntry, before: Lsa | undefined, after: Lsa | undefined, now: Instant): void;
}

export function count(core: Core, name: string, by = 1): void {
  core.counters.set(name, (core.counters.get(name) ?? 0) + by);
}

const ORDER: readonly NeighborState[] = ['Down', 'Init', '2-Way', 'ExStart', 'Exchange', 'Loading', 'Full'];
/** RFC 2328 §10.1: the states have an order. */
export function atLeast(state: NeighborState, floor: NeighborState): boolean {
  return ORDER.indexOf(state) >= ORDER.indexOf(floor);
}

export function maskOf(prefixLength: number): U32 {
  return prefixLength === 0 ? 0 : (0xffffffff << (32 - prefixLength)) >>> 0;
}

export type { LsaKey };
