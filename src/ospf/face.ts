import type { Authentication } from 'node-ospf-lsa';
import type { Address, Prefix } from '../model/address.ts';
import type { Clock, Instant } from '../model/clock.ts';
import type { Announcer, ForeignClaim, ForeignShadow, HostDelta, LearnedRoute, WireReport } from '../model/hosts.ts';
import type { Log } from '../model/log.ts';
import type { CarriedFact, FactCarrier, HeardFact, HeardHostRoute } from '../model/port-facts.ts';
import type { LinkState, Port } from '../model/ports.ts';
import type { MemoryStore } from './memory.ts';
import type { OpenOspfSocket } from './socket.ts';

export type { Authentication } from 'node-ospf-lsa';

export type NetworkType = 'point-to-point' | 'broadcast';

/** RFC 2328 §10.1. `Attempt` exists on NBMA networks only, which we do not speak. */
export type NeighborState = 'Down' | 'Init' | '2-Way' | 'ExStart' | 'Exchange' | 'Loading' | 'Full';

/** RFC 2328 §9.1, without Loopback. */
export type InterfaceState = 'Down' | 'Waiting' | 'Point-to-point' | 'DR Other' | 'Backup' | 'DR';

export interface OspfInterfaceOptions {
  readonly name: string;
  readonly area: Address;
  readonly network: NetworkType;
  /** HelloInterval in milliseconds; the wire carries whole seconds, so 1000 is the least. */
  readonly hello: number;
  /** RouterDeadInterval in milliseconds, whole seconds on the wire. */
  readonly dead: number;
  /** Output cost, 1..65535; 10 when absent. */
  readonly cost?: number;
  /** Router Priority for the DR election, 0..255; 1 when absent. */
  readonly priority?: number;
  readonly authentication?: Authentication;
  /** RxmtInterval in milliseconds; 5000 when absent. */
  readonly retransmit?: number;
}

export interface OspfAnnounce {
  readonly as: 'external' | 'nssa' | 'stub-link';
  readonly metric: number;
  /** Externals only: E1 or E2. */
  readonly metricType: 1 | 2;
}

export interface NeighborChange {
  readonly interface: string;
  readonly routerId: Address;
  readonly address: Address;
  readonly from: NeighborState;
  readonly to: NeighborState;
  /** The event of RFC 2328 §10.2 that caused it, or `bfd` when the caller killed the neighbour. */
  readonly reason: string;
  readonly at: Instant;
}

/** What can change while the speaker runs. */
export interface OspfSettings {
  readonly interfaces: readonly OspfInterfaceOptions[];
  readonly announce: OspfAnnounce;
  /** Where hosts of ours and of the twin live; foreign claims are reported inside these only. */
  readonly prefixes: readonly Prefix[];
  /** 0.0.0.0/0 as an external of ours (type 7 in an NSSA), whether or not we have such a route; absent: not. */
  readonly originateDefault?: OspfDefault | undefined;
  /**
   * Only listens: hosts are never announced, the links to other routers stand at MaxLinkMetric (RFC 6987), and we are
   * never the Designated Router.
   */
  readonly observer?: boolean | undefined;
}

export interface OspfDefault {
  /** 1..16,777,214. */
  readonly metric: number;
  readonly metricType: 1 | 2;
}

export interface OspfOptions extends OspfSettings {
  readonly routerId: Address;
  /** Further prefixes of ours (a loopback), as stub links in the router LSA; metric 0 when absent. */
  readonly stubNetworks?: readonly { readonly prefix: Prefix; readonly metric?: number }[];
  /** Tests only: name in /run/netns or absolute path. */
  readonly netns?: string;
  /** Raw sockets when absent; simulations give their own. */
  readonly openSocket?: OpenOspfSocket;
  /** Where adjacencies are kept for the next life; they begin anew after each start when absent. */
  readonly memory?: MemoryStore;
  /** Milliseconds, whole seconds: how long neighbours are asked to wait in a planned restart (RFC 3623); not when absent or 0. */
  readonly gracePeriod?: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly links: LinkState;
  /** 0 <= x < 1; Math.random when absent. */
  readonly random?: () => number;
  /** Seconds that never go back over a restart, for the cryptographic sequence number; the wall clock when absent. */
  readonly wallClockSeconds?: () => number;
  /** /32s come with `LearnedRoute.backup`, and a change of that alone is a change; not when absent. */
  readonly backups?: boolean;
  onRoutes(changes: readonly LearnedRoute[]): void;
  onForeignClaim(claim: ForeignClaim): void;
  /** Somebody else stands by for a host inside `prefixes`, or does no more, or can be reached elsewhere. */
  onForeignShadow?(shadow: ForeignShadow): void;
  /** A port fact of another router that can be reached, or that it is no more. */
  onFact?(fact: HeardFact): void;
  /** Every /32 of every other router that can be reached, inside `prefixes` or not, loopbacks included. */
  onHostRoute?(route: HeardHostRoute): void;
  onNeighbor(change: NeighborChange): void;
}

export interface NeighborView {
  readonly interface: string;
  readonly area: Address;
  readonly routerId: Address;
  readonly address: Address;
  readonly state: NeighborState;
  /** When the state was entered. */
  readonly since: Instant;
  readonly priority: number;
  readonly designatedRouter: Address;
  readonly backupDesignatedRouter: Address;
  /** Milliseconds until the inactivity timer fires. */
  readonly deadIn: number;
  /** Link state retransmission list, link state request list. */
  readonly retransmissions: number;
  readonly requests: number;
}

export interface LsaView {
  /** Absent for AS-wide LSAs (types 5 and 11). */
  readonly area?: Address;
  /** Link-local LSAs (type 9) only. */
  readonly interface?: string;
  readonly type: number;
  readonly linkStateId: Address;
  readonly advertisingRouter: Address;
  /** Signed 32-bit. */
  readonly sequence: number;
  readonly age: number;
  readonly checksum: number;
  readonly length: number;
  readonly options: number;
  readonly selfOriginated: boolean;
}

export interface InterfaceView {
  readonly name: string;
  readonly area: Address;
  readonly network: NetworkType;
  readonly state: InterfaceState;
  readonly address: Address | undefined;
  readonly prefixLength: number | undefined;
  readonly mtu: number;
  readonly cost: number;
  readonly hello: number;
  readonly dead: number;
  readonly designatedRouter: Address;
  readonly backupDesignatedRouter: Address;
  readonly neighbors: number;
  readonly full: number;
}

/** What `OspfSpeaker` does; agent tests may put something else in its place. */
export interface Speaker extends Announcer, FactCarrier {
  start(): void;
  /** Withdraws everything, waits briefly for acknowledgements, leaves. Idempotent. */
  stop(): Promise<void>;
  /**
   * Ends for a restart: nothing is withdrawn, the neighbours are asked to wait, and what the next life needs to go on
   * unnoticed is in `memory` when this resolves. The adjacencies last for RouterDeadInterval from here, or `gracePeriod`.
   */
  pause(): Promise<void>;
  /**
   * Changes what differs and nothing else: adjacencies begin anew only where the area or the kind of network changed.
   *
   * @throws RangeError for settings that cannot be spoken with; nothing has changed then
   */
  configure(settings: OspfSettings): void;
  apply(delta: HostDelta): WireReport;
  /**
   * Says the facts to all routers of the AS, as opaque LSAs. A fact with more octets (key and value) than
   * MAX_FACT_OCTETS is left out and counted. To be called before `settled`, or the facts of an earlier life go and come.
   */
  publishFacts(facts: readonly CarriedFact[]): void;
  /** The host table is complete: LSAs of ours from an earlier life that it does not back are flushed now, not after 5 s. */
  settled(): void;
  /** Sends what is due by now of a burst that is spread over time, for a caller who keeps the loop busy. */
  pump(): void;
  /** The same as what `links.onChange` reports; idempotent, for a caller that orders its own reactions. */
  linkChanged(port: Port | undefined, name: string): void;
  /**
   * Planned work: our links to other routers at MaxLinkMetric (RFC 6987), so that nobody goes through us, and our hosts
   * at a metric that is worse than anybody's.
   */
  drain(on: boolean): void;
  /** Kills the adjacency at once, e.g. because BFD says so; hellos bring it back. */
  neighborDown(address: Address, reason: string): void;
  neighbors(): NeighborView[];
  lsdb(): LsaView[];
  interfaces(): InterfaceView[];
  /** Packets by kind and discards by reason, `rx.hello`, `drop.area-mismatch` ... */
  counters(): Record<string, number>;
  /** At least one neighbour on the interface is Full. */
  adjacencyUp(interfaceName: string): boolean;
}
