import type { HostConfig } from '../../config/index.ts';
import type { Address } from '../../model/address.ts';
import type { Clock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { OverlayProjection, OverlayState } from '../../model/overlay.ts';
import type { Kernel } from '../../netlink/index.ts';
import type { NewEvent } from '../events.ts';
import type { BackendView, InstanceView } from '../host-api.ts';

/**
 * What follows the overlay's table on this host: the slow path's networks and its policy, the fast path, the tunnel
 * neighbours, the encryption. Each may be absent, and none knows of another: what one of them has to hear of another goes
 * through the host.
 */
export interface HostPart extends OverlayProjection {
  /** Numbers, and groups of them, to any depth. */
  counters?(): CounterTree;
  /** What the kernel refuses for now, by itself or of the last change; it is tried again. */
  problems?(): readonly string[];
  /** What else the operator should know of, in plain words. */
  warnings?(): readonly string[];
  /** For `peerless host status`. */
  detail?(): Readonly<Record<string, string | number | boolean>>;
  /** Listings, by the last part of their path: `neighbours`, `cache`, `flows`, `peers`. */
  readonly views?: Readonly<Record<string, (query: URLSearchParams) => unknown>>;
  /** For `peerless host stats`. */
  stats?(): unknown;
  /** By name of the network or instance: what the kernel has of it. */
  networks?(): ReadonlyMap<string, { readonly mtu: number }>;
  instances?(): ReadonlyMap<string, InstanceState>;
  /** By `network/service`: how its backends are. */
  backends?(): ReadonlyMap<string, readonly BackendView[]>;
  /** By the name of the rule: what it has stopped or limited. */
  ruleCounters?(): ReadonlyMap<string, { readonly packets: number; readonly bytes: number }>;
  /** Reads what `ruleCounters` and `counters` answer from. */
  refresh?(): Promise<void>;
  /** Connections were ended behind its back: what it has learned of them may be wrong. */
  relearn?(): void;
  /** The ways to these hosts (to all when absent) have changed; nothing is sent by the old ones once this returns. */
  underlayChanged?(hosts?: readonly Address[]): void;
  /** Another configuration than the one that it was opened with; the overlay itself comes by `apply`. */
  configure?(config: HostConfig): void;
  /** `keep`: everything goes on in the kernel for the next agent to take over; otherwise nothing of it is left there. */
  close(options: { readonly keep: boolean }): Promise<void>;
}

export interface HostPartContext {
  readonly config: HostConfig;
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Log;
  record(event: NewEvent): void;
  state(): OverlayState;
  /** For the other parts to hear. */
  underlayChanged(hosts?: readonly Address[]): void;
  relearn(): void;
}

export interface CounterTree {
  readonly [name: string]: number | CounterTree;
}

/**
 * Takes up what an agent before this one has left, and has followed the state as it is when it resolves: `apply` gets what
 * changes afterwards. undefined: the configuration doesn't ask for it.
 */
export type OpenHostPart = (context: HostPartContext) => Promise<HostPart | undefined>;

export const PART_NAMES = ['policy', 'network', 'encryption', 'neighbours', 'fastPath'] as const;
export type PartName = (typeof PART_NAMES)[number];

/**
 * Those of this build. They are opened, and hear of changes, in the order of PART_NAMES: no instance is reachable before its
 * rules, and what learns from the packets of the slow path comes after it.
 */
export type HostParts = Readonly<Partial<Record<PartName, OpenHostPart>>>;

export type InstanceState = InstanceView['state'];

/** Without these everything works, more slowly: that they can't be had is a warning. */
export const DISPENSABLE: ReadonlySet<PartName> = new Set(['fastPath', 'neighbours']);

export const PART_TITLES: Readonly<Record<PartName, string>> = {
  policy: 'policy',
  network: 'networks',
  encryption: 'encryption',
  neighbours: 'tunnel neighbours',
  fastPath: 'fast path',
};
