import type { Address } from '../model/address.ts';
import type { Clock, Instant } from '../model/clock.ts';
import type { Log } from '../model/log.ts';
import type { LinkState, PortChange } from '../model/ports.ts';
import type { SessionState } from './codec/packet.ts';
import type { Remembered } from './machine/session.ts';
import type { BfdSockets } from './socket.ts';

export interface BfdPeer {
  readonly address: Address;
  /** Undefined: many hops away (RFC 5883), by whatever way leads there. */
  readonly interface: string | undefined;
  /** Source of our packets; the kernel's choice when absent. */
  readonly localAddress?: Address | undefined;
}

export interface BfdSettings {
  readonly peers: readonly BfdPeer[];
  /** Between two packets, of both ends, ms. */
  readonly interval: number;
  readonly multiplier: number;
}

export interface SessionChange {
  readonly peer: Address;
  readonly interface: string | undefined;
  readonly from: SessionState;
  readonly to: SessionState;
  /** In plain words. */
  readonly reason: string;
  /** What relies on the way to the peer must fall: the session was Up, and not switched off by either end. */
  readonly failure: boolean;
  readonly at: Instant;
}

export interface SessionView {
  readonly peer: Address;
  readonly interface: string | undefined;
  readonly localAddress: Address | undefined;
  readonly state: SessionState;
  readonly remoteState: SessionState;
  /** By the peer, on purpose. */
  readonly switchedOff: boolean;
  readonly since: Instant;
  /** In plain words; empty when nothing has happened yet. */
  readonly reason: string;
  /** Has been Up, in this life or a remembered one. */
  readonly seenUp: boolean;
  /** RFC 5880 §4.1, in its words. */
  readonly diagnostic: string;
  readonly remoteDiagnostic: string;
  readonly localDiscriminator: number;
  readonly remoteDiscriminator: number;
  /** As negotiated, before jitter, ms. */
  readonly transmitInterval: number;
  /** The silence that ends the session, ms; 0 when nothing was heard yet. */
  readonly detectionTime: number;
  readonly multiplier: number;
  readonly remoteMultiplier: number;
  readonly controlPlaneIndependent: boolean;
  readonly failures: number;
  readonly received: number;
  readonly sent: number;
}

/** A session of an earlier life. */
export interface RememberedSession {
  readonly peer: Address;
  readonly interface: string | undefined;
  readonly sourcePort: number;
  /** Absent: it was not Up when the life ended. */
  readonly session?: Remembered | undefined;
}

/** Where sessions are kept for the next life; both may throw. */
export interface SessionStore {
  load(): readonly RememberedSession[];
  save(sessions: readonly RememberedSession[]): void;
}

export interface BfdOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly links: Pick<LinkState, 'port'>;
  readonly store?: SessionStore | undefined;
  /** 0 <= x < 1; Math.random when absent. */
  readonly random?: (() => number) | undefined;
  readonly netns?: string | undefined;
  /** UDP when absent. */
  readonly sockets?: BfdSockets | undefined;
  onChange(change: SessionChange): void;
}

export interface Speaker {
  /** All sessions that there should be. Those that stay are not disturbed; intervals are negotiated anew. */
  configure(settings: BfdSettings): void;
  /** For every change of a port, before others ask for sessions on it. */
  linkChanged(change: PortChange): void;
  sessions(): SessionView[];
  counters(): Record<string, number>;
  /** Says AdminDown to all peers (RFC 5882 §3.2: nothing of theirs falls with it), and is silent. */
  stop(): void;
  /**
   * Ends for a restart: peers agree to miss nothing for some seconds, and what the next life needs is in `store` when this
   * resolves. The process must end soon after.
   */
  pause(): Promise<void>;
}
