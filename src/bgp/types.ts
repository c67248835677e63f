import type { Address, Prefix } from '../model/address.ts';
import type { Clock, Instant } from '../model/clock.ts';
import type { Announcer, ForeignClaim, ForeignShadow, LearnedRoute } from '../model/hosts.ts';
import type { Log } from '../model/log.ts';
import type { FactCarrier, HeardFact, HeardHostRoute } from '../model/port-facts.ts';
import type { LinkState, PortChange } from '../model/ports.ts';
import type { State } from './machine/state.ts';
import type { RestartOptions } from './restart.ts';
import type { Transport } from './transport.ts';

/** One configured neighbour. All durations are milliseconds. */
export interface BgpNeighborOptions {
  readonly address: Address;
  readonly remoteAs: number;
  /** Source address of our connections, and the only address on which this neighbour's connections are taken. */
  readonly localAddress?: Address;
  /** TCP port of the neighbour; 179 when absent. */
  readonly port?: number;
  /** Never connect, only accept (RFC 4271 §8.1.1 PassiveTcpEstablishment). */
  readonly passive?: boolean;
  /** RFC 2385 key, at most 80 octets. */
  readonly password?: Uint8Array | string;
  /** RFC 5082: send with TTL 255 and accept nothing below 255. */
  readonly ttlSecurity?: boolean;
  /** The neighbour may be more than one hop away: normal TTL, and no tie to an interface. */
  readonly multihop?: boolean;
  readonly keepalive: number;
  /** 0 (no keepalives, no hold timer) or at least 3,000. */
  readonly hold: number;
  /** Ceiling of the pause between attempts; 5,000 when absent. */
  readonly connectRetry?: number;
  /** More prefixes than this close the session with Cease/1 (RFC 4486); 0 or absent: no limit. */
  readonly maximumPrefixes?: number;
  /**
   * Unless false, facts of our ports are offered to this neighbour (SAFI 241), and what we announce to it names the port
   * of each host (large community `asn:20557:ifindex`).
   */
  readonly portFacts?: boolean;
}

export interface BgpOptions {
  readonly asn: number;
  /** Our BGP Identifier, an IPv4 address. */
  readonly routerId: Address;
  readonly neighbors: readonly BgpNeighborOptions[];
  /** `asn:value` (RFC 1997), `a:b:c` (RFC 8092), or a well-known name such as `graceful-shutdown`, `no-export`. */
  readonly announce: { readonly communities: readonly string[] };
  /** Only /32 and /128 inside these are ever announced, and only inside these do others' host routes count as claims. */
  readonly prefixes: readonly Prefix[];
  /**
   * Where to accept connections. Without `address`: the neighbours' own `localAddress`es, or all addresses when a
   * neighbour has none. Absent: port 179. `false`: never listen.
   */
  readonly listen?: { readonly port: number; readonly address?: Address } | false;
  readonly clock: Clock;
  readonly log: Log;
  readonly links: LinkState;
  /** Jitter of the timers (RFC 4271 §10), in [0, 1); Math.random when absent. */
  readonly random?: () => number;
  /** How many next hops a learned route may have; 16 when absent. */
  readonly maximumPaths?: number;
  /**
   * Another switch may have our AS number. Unless false, all we announce is marked with a large community of our own
   * (`claims.ts`), by which our routes and the twin's are told apart when they come back with the same path.
   */
  readonly sharedAs?: boolean;
  /** RFC 4724; absent: our routes go with the session, and so do the neighbours'. */
  readonly gracefulRestart?: RestartOptions | undefined;
  readonly servers?: ServerSettings | undefined;
  /** We only listen, and say so to each neighbour (capability 239): it does not count us among its ways to the fabric. */
  readonly observer?: boolean;
  /**
   * Of a gateway: external neighbours are told what we have learned from the others (RFC 4271 §9.2), with our AS in front
   * and ourselves as next hop. Then learned routes name their `backup`, too. Nobody is told a route of its own; whose
   * route is the best one is told the best of the others, by which switches see their twin's claims and shadows.
   */
  readonly propagate?: boolean;
  /** Each neighbour is told a default route with us as next hop, of each family that was agreed on. */
  readonly defaultOriginate?: boolean;
  /** The downlink behind which a server is; undefined: it is behind none, and gets no session. */
  portOf?(server: Address): string | undefined;
  onServerRoute?(route: ServerRoute): void;
  onServerSession?(change: SessionChange): void;
  /** TCP when absent; tests and simulations pass their own. */
  readonly transport?: Transport;
  onRoutes(changes: readonly LearnedRoute[]): void;
  onForeignClaim(claim: ForeignClaim): void;
  onForeignShadow?(shadow: ForeignShadow): void;
  /** What neighbours say of their ports. A session's end takes back all that was heard in it. */
  onFact?(fact: HeardFact): void;
  /** Every host route heard, for each that announces it, whether it is of use as a route or not. */
  onHostRoute?(route: HeardHostRoute): void;
  /** A session is lost and its routes go with it: told before anything is made of that. */
  onNeighborLost?(loss: NeighborLoss): void;
  onSession(change: SessionChange): void;
}

export interface NeighborLoss {
  readonly neighbor: Address;
  /** Where its routes led, but to those with whom we have a session of their own. */
  readonly nextHops: readonly Address[];
  /** The port that the session was on; undefined: it was a multihop one. */
  readonly interface: string | undefined;
}

/** Servers that announce themselves, see servers.ts. */
export interface ServerSettings {
  /** Connections are taken from inside this. */
  readonly listenRange: Prefix;
  readonly remoteAs: number | 'external' | 'internal';
  /** Hosts of one session; more are refused. */
  readonly maximumPrefixes: number;
  /** Tell them a default route with us as next hop. */
  readonly defaultOriginate: boolean;
}

/** A server names a host as its own, or does not any more. Said again with each KEEPALIVE. */
export interface ServerRoute {
  readonly address: Address;
  readonly server: Address;
  /** The downlink behind which the server was when its session began. */
  readonly port: string;
  readonly up: boolean;
}

export interface ServerView {
  readonly server: Address;
  readonly port: string;
  readonly remoteAs: number | undefined;
  readonly remoteId: Address | undefined;
  readonly localAddress: Address | undefined;
  readonly state: State;
  readonly since: Instant;
  readonly reason: string;
  readonly hold: number | undefined;
  readonly accepted: readonly Address[];
  /** How many prefixes were refused, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  /** The newest of them. */
  readonly lastRefused: readonly { readonly prefix: Prefix; readonly reason: string }[];
  readonly messagesReceived: number;
  readonly messagesSent: number;
}

/** What can change while the speaker runs. */
export type BgpSettings = Pick<
  BgpOptions,
  | 'asn'
  | 'neighbors'
  | 'announce'
  | 'prefixes'
  | 'sharedAs'
  | 'gracefulRestart'
  | 'servers'
  | 'observer'
  | 'propagate'
  | 'defaultOriginate'
>;

export interface SessionChange {
  readonly neighbor: Address;
  readonly from: State;
  readonly to: State;
  readonly reason: string;
  readonly at: Instant;
  /** The neighbour said in its OPEN, now or last time, that it only listens. */
  readonly observer?: boolean;
}

export interface SessionView {
  readonly neighbor: Address;
  readonly remoteAs: number;
  readonly state: State;
  /** When the present state was entered. */
  readonly since: Instant;
  readonly reason: string;
  readonly interface: string | undefined;
  readonly localAddress: Address | undefined;
  readonly remoteId: Address | undefined;
  /** Negotiated, in milliseconds; undefined before OpenConfirm. */
  readonly hold: number | undefined;
  readonly keepalive: number | undefined;
  readonly families: readonly ('ipv4' | 'ipv6')[];
  readonly fourOctetAs: boolean;
  readonly routeRefresh: boolean;
  readonly prefixesReceived: number;
  readonly prefixesSent: number;
  readonly initialRoutesReceived: boolean;
  /** What the neighbour promised for its own restart, in milliseconds; undefined: nothing, or no session. */
  readonly gracefulRestart:
    | { readonly restartTime: number; readonly families: readonly ('ipv4' | 'ipv6')[] }
    | undefined;
  /** The session broke in silence, and its routes are kept as stale until the neighbour is back. */
  readonly restarting: boolean;
  /** Routes of the session before this one that the neighbour has not said again. */
  readonly prefixesStale: number;
  readonly established: number;
  readonly messagesReceived: number;
  readonly messagesSent: number;
  /** Hosts whose newest word waits for the TCP connection to take it. */
  readonly queued: number;
  /** The neighbour said in its OPEN, now or last time, that it only listens: it is no way to the fabric. */
  readonly observer: boolean;
  /** Both offered to carry facts of ports. */
  readonly portFacts: boolean;
  readonly factsReceived: number;
  readonly factsSent: number;
}

export interface RouteView {
  readonly table: 'in' | 'loc' | 'out';
  readonly prefix: Prefix;
  readonly neighbor: Address;
  readonly nextHop: Address | undefined;
  readonly asPath: string;
  readonly origin: 'IGP' | 'EGP' | 'INCOMPLETE';
  readonly med: number | undefined;
  readonly localPreference: number | undefined;
  readonly communities: readonly string[];
  readonly best: boolean;
  /** Why a received route is not used, when it isn't eligible. */
  readonly rejected: string | undefined;
}

/** The face of the folder, as the agent uses it. */
export interface Speaker extends Announcer, FactCarrier {
  readonly name: 'bgp';
  /** `restarted`: the kernel still had host routes of an earlier life. */
  start(restarted?: boolean): void;
  /** After `start(true)`: the host table is as whole as it will be, End-of-RIB may be said. */
  settled(): void;
  /**
   * Other settings from now on. Only sessions that differ in what was agreed on are ended (Cease/6), or gone (Cease/3);
   * other communities are announced in the sessions that stand. An absent key is its default.
   *
   * @throws RangeError as the constructor does; then nothing was changed
   */
  configure(settings: BgpSettings): void;
  /** Withdraws everything, says Cease/Administrative Shutdown, resolves when the connections are closed. */
  stop(communication?: string): Promise<void>;
  linkChanged(change: PortChange): void;
  /** BFD says that the neighbour is gone: the session ends now, with Cease/10 (RFC 9384), and is tried again. */
  neighborFailed(address: Address, reason: string): void;
  sessions(): SessionView[];
  /** Sessions of servers that announce themselves. */
  servers(): ServerView[];
  routes(): RouteView[];
  counters(): Record<string, number>;
  establishedWith(address: Address): boolean;
  /** End-of-RIB seen for all families, or the first routes have come and then nothing for a second. */
  initialRoutesReceived(address: Address): boolean;
  /**
   * RFC 8326: adds the GRACEFUL_SHUTDOWN community to all we announce, and announces it again; with a longer path
   * (internal neighbours: LOCAL_PREF 0) for gateways that don't heed it.
   */
  setGracefulShutdown(on: boolean): void;
  /**
   * Where a tunnel to us may end, an IPv4 address; all we announce names it (large community `asn:20558:address`), and is
   * announced again when it changes. undefined: nowhere.
   */
  setTunnelEndpoint(endpoint: Address | undefined): void;
  /** RFC 2918: asks the neighbour for its routes again; false when it can't be asked. */
  requestRefresh(address: Address): boolean;
}
