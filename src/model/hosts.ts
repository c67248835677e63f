import type { Address, Mac, Prefix } from './address.ts';
import type { Instant } from './clock.ts';

/**
 * How strongly a host is claimed. An unmodified gateway knows nothing of who heard a server last, so a newer claim is
 * announced better than the one it displaces: by ORIGIN in BGP (INCOMPLETE, EGP, IGP), by `metric - level` in OSPF.
 * Once no rival claim is left for a while, the claim settles back to 0.
 */
export type ClaimLevel = 0 | 1 | 2;

/** One address that we serve, as the announcers and the kernel see it. */
export interface HostRoute {
  readonly address: Address;
  /** Interface that the kernel route points to: the port itself, or the SVI of a bridge port. */
  readonly interface: string;
  readonly ifindex: number;
  readonly mac: Mac;
  readonly level: ClaimLevel;
  /** ifindex of the port itself, where that is another than `ifindex` or may become one (a bridge's); the gateway's map names it. */
  readonly portIndex?: number;
  /**
   * Not behind a port of ours: the twin announces it, and we stand by. Announced worse than anything real, `level` 0; the
   * kernel lets packets for it that come from the fabric wait in `interface`.
   */
  readonly shadow?: true;
  /**
   * Of a shadow: the other switch and its port, where the fabric says so. The hosts of one port come together when its
   * server does.
   */
  readonly group?: string;
  /**
   * Another switch claims it above us: the kernel's route is only for what comes from the fabric, everybody else goes the
   * fabric's way. Announced as ever.
   */
  readonly yields?: true;
}

/**
 * What changed in the host table in one turn. An address is in at most one of the two lists; in `announced` it is new
 * or replaces what was announced before (other port, MAC or level).
 */
export interface HostDelta {
  readonly withdrawn: readonly Address[];
  readonly announced: readonly HostRoute[];
}

/** What an announcer did with a delta, for the failover trace. */
export interface WireReport {
  /** When the first byte was handed to the kernel; absent when there was no one to tell. */
  readonly firstByteAt?: Instant;
  readonly lastByteAt?: Instant;
  readonly packets: number;
}

/**
 * A projection of the host table: OSPF, BGP, the kernel. `apply` puts everything on the wire before it returns (the
 * same turn of the event loop); what a peer can't take yet is kept and sent when it can, by the announcer itself.
 */
export interface Announcer {
  readonly name: string;
  /** All hosts are in one message: a delta is not to be cut into portions. */
  readonly whole?: boolean;
  apply(delta: HostDelta): WireReport;
}

/** The fabric shows a host route of somebody else inside our prefixes; `level` undefined: not any more. */
export interface ForeignClaim {
  readonly address: Address;
  readonly level: ClaimLevel | undefined;
  /** Router id or BGP next hop of the other. */
  readonly from: string;
  /** Router id of the other, where the claim says it. */
  readonly routerId?: Address;
  /** It is announced as what gives way to others: planned work there. */
  readonly leaving?: boolean;
  /** Where the other can be reached through the fabric, for a tunnel to it; absent while unknown. */
  readonly endpoint?: Address;
  /** ifindex of the other's port that the host is behind, where the claim says it. */
  readonly portIndex?: number;
}

/** The fabric shows that somebody else stands by for a host (`HostRoute.shadow`), or does no more. No claim. */
export interface ForeignShadow {
  readonly address: Address;
  readonly up: boolean;
  readonly from: string;
  readonly endpoint?: Address;
}

/** So many shadows of one group are better served together than one by one, each when it was heard. */
export const LEAST_GROUP = 16;

/** IPv4 addresses that are asked for one by one when silent servers are looked for (hostRoutes.sweep). */
export const LARGEST_SWEEP = 4_096;

export interface NextHop {
  readonly via: Address;
  readonly interface?: string;
}

/** A route that a speaker selected for the kernel; no next hops means it is gone. */
export interface LearnedRoute {
  readonly prefix: Prefix;
  readonly nextHops: readonly NextHop[];
  readonly metric: number;
  /** The next hops of what would be selected without `nextHops`; a gateway keeps them in the kernel beforehand. */
  readonly backup?: readonly NextHop[];
}
