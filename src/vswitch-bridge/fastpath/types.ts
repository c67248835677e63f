import type { Address, Mac } from '../../model/address.ts';
import type { OverlayProjection } from '../../model/overlay.ts';
import type { PeerCounts } from './ageing/peers.ts';
import type { ConnectionState, ProgramName } from './maps/layout.ts';

/** Durations in ms. */
export interface FastPathSettings {
  readonly mode: 'tunnel' | 'rewrite';
  readonly keyField: 'ip-id' | 'dscp' | 'option';
  /** `receive` is longer than `send`. */
  readonly lifetime: { readonly send: number; readonly receive: number };
  readonly checkInterval: number;
  /** Of the seven-tuple; addresses, protocol and network always count. */
  readonly features: readonly string[];
  readonly timeouts: { readonly opening: number; readonly established: number; readonly closing: number };
}

/**
 * What carries packets past the slow path. It follows the table like every projection; without one everything works.
 *
 * Replaceable: another data path (DPDK, a SmartNIC) implements this. Calls that read are snapshots of what the data path
 * holds at that moment, in no order; they give the event loop back between portions.
 */
export interface FastPath extends OverlayProjection {
  /**
   * The ways over the underlay to these hosts (to every one, when absent) may have changed: a route, a next hop, the
   * device. Nothing is sent by what was known before once this has returned; the first packets after it take the slow path.
   */
  underlayChanged(hosts?: readonly Address[]): void;
  /** What stands behind a device of this host has changed (its MAC, its other end): the same for what is delivered there. */
  portChanged(ifindex: number): void;
  /** Anything else may lead elsewhere now: every connection learns its way anew. Translations of connections stay. */
  relearn(): void;
  cache(): Promise<CacheView>;
  flows(limit?: number): Promise<FlowView[]>;
  counters(): FastPathCounters;
  rules(): RuleView[];
  status(): FastPathStatus;
  /**
   * @param keep the data path goes on by itself, with its lifetimes, and waits for the next agent; else nothing of it is
   * left in the kernel
   */
  close(options: { readonly keep: boolean }): Promise<void>;
}

/** The four caches of the document, as they are seen together. */
export interface CacheView {
  readonly instances: readonly InstanceEntry[];
  readonly peers: readonly PeerEntry[];
  /** Ways out of this host: by tunnel to a peer, or by the underlay to the public world. */
  readonly egress: readonly WayView[];
  /** Ways to an instance of this host. */
  readonly ingress: readonly WayView[];
  /** Rewrite mode: what stands for a pair of addresses on the wire. Sent to the peer, and told to it for what it sends. */
  readonly keys: { readonly sent: readonly KeyView[]; readonly told: readonly KeyView[] };
}

export interface KeyView {
  readonly key: number;
  readonly peer: Address;
  readonly vni: number;
  readonly source: Address;
  readonly destination: Address;
  readonly dscp: number;
  readonly ttl: number;
  /** ms since it was told. */
  readonly age: number;
}

export interface InstanceEntry {
  readonly name: string;
  readonly interface: string;
  readonly ifindex: number;
  readonly vni: number;
  readonly address: Address;
  readonly mac?: Mac;
}

/** Ages in ms; undefined: never. */
export interface PeerEntry {
  readonly address: Address;
  readonly local: Address;
  readonly nextHop: Address;
  readonly ifindex: number;
  readonly mtu: number;
  readonly lastSent: number | undefined;
  readonly lastHeard: number | undefined;
}

export interface Tuple {
  readonly source: Address;
  readonly sourcePort: number;
  readonly destination: Address;
  readonly destinationPort: number;
}

export interface WayView extends Tuple {
  readonly protocol: number;
  /** 0: plain, not of a virtual network. */
  readonly vni: number;
  readonly kind: 'deliver' | 'tunnel' | 'public';
  /** Interface name, or the address of the peer. */
  readonly to: string;
  /** As it leaves, when that is otherwise. */
  readonly translated?: Tuple;
  readonly mtu: number;
  /** ms since the last packet, and since it was learned. */
  readonly idle: number;
  readonly age: number;
  readonly packets: number;
  readonly bytes: number;
}

export interface FlowView extends Tuple {
  readonly protocol: number;
  readonly vni: number;
  readonly state: ConnectionState;
  /** ms. */
  readonly age: number;
  readonly expiresIn: number;
  readonly verdict: 'none' | 'allow' | 'deny' | 'slow';
  readonly rule?: string;
  readonly rateRule?: string;
  /** As the first packet came, and its replies. `seen`: a packet has come that way; `way`: how such packets leave. */
  readonly directions: readonly FlowDirection[];
}

export interface FlowDirection {
  readonly seen: boolean;
  readonly way: 'unknown' | 'deliver' | 'tunnel' | 'public';
  readonly packets: number;
  readonly bytes: number;
  /** ms; undefined: never. */
  readonly idle: number | undefined;
}

export interface FastPathCounters {
  /** By program: what `bpf/layout.h` calls statistics, and `slow` by reason: packets that fell back. */
  readonly programs: Readonly<Record<ProgramName, ProgramCounters>>;
  readonly ageing: {
    readonly sweeps: number;
    readonly expired: number;
    readonly stale: number;
    /** Keys of rewrite mode that were not told again. */
    readonly keys: number;
    readonly connections: number;
    /** ms of the longest portion of a sweep. */
    readonly longestPortion: number;
  };
  /** Remote hosts that the data path has a record of, how many it can have, and how many records it has taken back. */
  readonly peers: PeerCounts;
  /** Writes by which something was made invalid, by reason. */
  readonly invalidated: Readonly<Record<string, number>>;
}

export interface ProgramCounters {
  readonly counts: Readonly<Record<string, number>>;
  readonly slow: Readonly<Record<string, number>>;
  readonly rewrite: Readonly<Record<string, number>>;
}

export interface RuleView {
  readonly name: string;
  readonly deniedPackets: number;
  readonly deniedBytes: number;
  readonly limitedPackets: number;
  readonly limitedBytes: number;
  /** Its packets are left to the slow path: why. */
  readonly slow?: string;
}

export interface FastPathStatus {
  readonly mode: 'tunnel' | 'rewrite';
  /** Where its maps and links are pinned. */
  readonly directory: string;
  /** Taken over from the agent before this one: connections and caches were kept. */
  readonly adopted: boolean;
  readonly attachments: readonly {
    readonly interface: string;
    readonly program: ProgramName;
    readonly by: 'tcx' | 'clsact';
  }[];
  readonly masks: number;
  readonly entries: number;
  /** What did not work, and is tried again at the next change. */
  readonly problems: readonly string[];
}
