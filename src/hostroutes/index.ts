/** The face of the host table to the agent. */
import type { Address } from '../model/address.ts';
import type { Instant } from '../model/clock.ts';
import type { ForeignClaim, HostRoute } from '../model/hosts.ts';
import type { PortChange } from '../model/ports.ts';
import type { HostPolicy, HostView, RememberedHost } from './machine/types.ts';
import type { HostRoutesOptions, Report, Withdrawal } from './options.ts';

export type * from './machine/types.ts';
export type * from './options.ts';

/** Counters of the table, of the decoders (by reason) and of the sockets, flat. */
export type HostRoutesCounters = Readonly<Record<string, number>>;

export declare class HostRoutes {
  constructor(options: HostRoutesOptions);
  /** Opens the sockets of the ports that exist and takes the kernel's neighbours over. */
  start(): void;
  /** Closes everything; announces nothing and withdraws nothing. */
  stop(): void;
  /** To be called by the agent for every link change, before the port-link groups decide: withdrawal first. */
  portChange(change: PortChange): void;
  /** A port-link group shuts (true) or reopens ports: hosts withdrawn in one delta, nothing learned there meanwhile. */
  blockPorts(ports: readonly string[], blocked: boolean, reason: string, at?: Instant): void;
  foreignClaim(claim: ForeignClaim): void;
  report(report: Report): void;
  retract(withdrawal: Withdrawal): void;
  configure(policy: HostPolicy): void;
  hosts(): HostView[];
  find(address: Address): HostView | undefined;
  /** Hosts that left lately, with the reason; the newest last. */
  departed(): HostView[];
  /** Hosts that left `port` because it went down or was blocked, at most a day ago. */
  remembered(port: string): RememberedHost[];
  /** Everything that is announced now, for a new announcer or a reconcile. */
  announced(): HostRoute[];
  counters(): HostRoutesCounters;
}
