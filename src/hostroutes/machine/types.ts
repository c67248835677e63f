import type { Address, Mac, Prefix } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { ClaimLevel, ForeignClaim, HostDelta, HostRoute } from '../../model/hosts.ts';

/** Who says that an address is behind a port. */
export type Source = 'arp' | 'neighbour' | 'static' | 'bgp' | 'kernel';

/** What exactly a source has seen or heard. */
export type Evidence =
  | 'arp-request'
  | 'arp-reply'
  | 'arp-gratuitous'
  | 'nd-solicitation'
  | 'nd-advertisement'
  | 'nd-unsolicited'
  /** The answer to a question that was sent for the whole subnet. */
  | 'sweep'
  /** A RARP frame from its MAC: what a hypervisor sends for a VM that it has taken over. */
  | 'rarp'
  /** The bridge has heard its MAC on the port. */
  | 'bridge'
  /** The kernel's neighbour table has confirmed it, or has it and doesn't say how fresh it is. */
  | 'kernel-reachable'
  | 'kernel-stale';

/** `shadow`: behind no port of ours, see shadows.ts. */
export type HostState = 'reachable' | 'probing' | 'gone' | 'duplicate' | 'shadow';

/**
 * A static host says where an address lives, not that it is alive: it is looked for on `port` (and accepted on no
 * other) and announced once it answers. A host that answers no ARP could not be reached by the kernel either.
 */
export interface StaticHost {
  readonly address: Address;
  readonly port: string;
  readonly mac?: Mac;
}

/** Anti-spoofing: the address is accepted only on one of `ports` and from one of `macs`; absent means any. */
export interface Binding {
  readonly address: Address;
  readonly ports?: readonly string[];
  readonly macs?: readonly Mac[];
}

export interface ActiveActive {
  readonly ports: readonly string[];
  readonly prefixes: readonly Prefix[];
}

/** All durations in milliseconds. */
export interface HostPolicy {
  /** Hosts are learned only inside these. */
  readonly prefixes: readonly Prefix[];
  /** The downlinks. */
  readonly ports: readonly string[];
  readonly sources: {
    readonly arp: boolean;
    readonly neighbours: boolean;
    readonly bgp: boolean;
    readonly kernel: boolean;
    readonly static: readonly StaticHost[];
  };
  /** `interval` 0 switches probing off: hosts then go only by their port, `lost` or a static change. */
  readonly probe: { readonly interval: number; readonly retries: number; readonly timeout: number };
  readonly limits: { readonly perPort: number; readonly total: number };
  /**
   * Hosts that use both links at once: announced by both switches, at level 0, and a rival's claim only makes us ask.
   * true: all of them; else those behind `ports` or inside `prefixes`.
   */
  readonly activeActive: boolean | ActiveActive;
  /** Silent servers are looked for at the start and when a port comes up: questions a second. Absent: never by itself. */
  readonly sweep?: { readonly enabled: boolean; readonly rate: number };
  /** Our own and the gateways' addresses: never learned. */
  readonly ownAddresses: readonly Address[];
  readonly bindings?: readonly Binding[];
  /**
   * Hosts that come back to a port are announced before they do (see returning.ts). `learned`: those that came back by
   * themselves before. `wait`: how long they may take once announced. `door`: where their packets wait meanwhile.
   */
  readonly returning?: {
    readonly mode: 'learned' | 'always' | 'never';
    readonly wait: number;
    readonly door: Pick<HostRoute, 'interface' | 'ifindex' | 'mac'>;
  };
  /**
   * Hosts that another switch announces are announced here too, worse than it does (see shadows.ts). `twin`: only if its
   * claim does not name another router id. `hold`: how long after its claim has gone. `door`: where their packets wait.
   */
  readonly shadow?: {
    readonly twin?: Address;
    readonly hold: number;
    readonly door: Pick<HostRoute, 'interface' | 'ifindex' | 'mac'>;
  };
  /** The kernel can tell what comes from the fabric from what our own servers send (see yielding.ts). */
  readonly yielding?: boolean;
  /** More than `moves` moves inside `window`: duplicate, held where it is for `floor`, doubling up to `ceiling`. */
  readonly damping?: {
    readonly moves: number;
    readonly window: number;
    readonly floor: number;
    readonly ceiling: number;
  };
}

/** One piece of evidence that an address is alive behind a port. */
export interface Heard {
  readonly type: 'heard';
  readonly source: Source;
  readonly address: Address;
  readonly mac: Mac;
  /** The downlink on which it was heard. */
  readonly port: string;
  /** Where the kernel route points: the port itself, or the SVI of a bridge port. */
  readonly interface: string;
  readonly ifindex: number;
  readonly gratuitous?: boolean;
  readonly how?: Evidence;
  /** VLAN id of the frame on a bridge's port, 0 for none; absent: not known. Questions go out with the same tag. */
  readonly vlan?: number;
  /** Evidence of unknown age (a STALE neighbour): neither refreshes nor moves a host; an unknown one is asked first. */
  readonly stale?: boolean;
}

export type HostEvent =
  | Heard
  /** Like `heard`, but with ARP snooping off: counts only for a host or a search we know of. */
  | (Omit<Heard, 'type' | 'source'> & { readonly type: 'probeReply' })
  /**
   * The MAC of a known host was seen on a port, the address itself wasn't: it is taken to be there at once, and asked;
   * when it doesn't answer there, it is taken to be where it was, and asked again.
   */
  | (Omit<Heard, 'type' | 'source'> & { readonly type: 'present' })
  /** Its MAC was seen where we don't look, or is not seen on its port any more: it is asked. */
  | { readonly type: 'doubt'; readonly address: Address; readonly port: string }
  /** Somebody claims the address, heard by nobody whom we believe more than the host: that is asked where it is. */
  | (Omit<Heard, 'type'> & { readonly type: 'claimed' })
  /** A host of an earlier run: it is asked, and believed once it answers. */
  | { readonly type: 'recall'; readonly address: Address; readonly mac: Mac; readonly port: string }
  /** Somebody says that the address is behind that port, but not its MAC: it is looked for until it answers or `unseek`. */
  | { readonly type: 'seek'; readonly address: Address; readonly port: string }
  | { readonly type: 'unseek'; readonly address: Address }
  /** Moves of before count for nothing any more; whoever is held is asked where it is. */
  | { readonly type: 'forgive'; readonly addresses: readonly Address[] }
  /** The source does not vouch for the address any more. */
  | { readonly type: 'lost'; readonly source: Source; readonly address: Address; readonly port: string }
  /** The probe could not be sent (local error): the attempt does not count against the host. */
  | { readonly type: 'probeUnsent'; readonly address: Address; readonly port: string }
  | { readonly type: 'portDown'; readonly ports: readonly string[]; readonly reason: string }
  | { readonly type: 'portUp'; readonly port: string }
  | {
      readonly type: 'blockPorts';
      readonly ports: readonly string[];
      readonly blocked: boolean;
      readonly reason: string;
    }
  /** These ports are about to carry their hosts again; now they are opened. */
  | { readonly type: 'expect'; readonly ports: readonly string[] }
  | { readonly type: 'opening'; readonly ports: readonly string[] }
  /** These ports are about to be shut for planned work (see leaving.ts); or the hosts have left by now. */
  | { readonly type: 'leave'; readonly ports: readonly string[]; readonly reason: string }
  | { readonly type: 'left'; readonly addresses: readonly Address[]; readonly turned: boolean }
  /** From an earlier life: who was behind which port. Ports that have a memory of their own keep it. */
  | { readonly type: 'remember'; readonly hosts: readonly Memory[] }
  /** A life begins: who was behind these ports, and is not known to be anywhere, is asked there. */
  | { readonly type: 'search'; readonly ports: readonly string[] }
  | { readonly type: 'foreignClaim'; readonly claim: ForeignClaim }
  | { readonly type: 'configure'; readonly policy: HostPolicy }
  | { readonly type: 'tick' }
  /** What was read in one turn: one delta for all of it. */
  | { readonly type: 'batch'; readonly events: readonly HostEvent[] };

export type CauseKind =
  | 'heard'
  | 'moved'
  | 'updated'
  | 'silent'
  | 'rival'
  | 'lost'
  | 'portDown'
  | 'blocked'
  | 'settled'
  /** Announced ahead of its return; it did not come. */
  | 'returning'
  | 'stayedAway'
  /** Its port is about to be shut; it is elsewhere now. */
  | 'leaving'
  | 'left'
  /** Another switch's host, which we stand by for from now on, or no more. */
  | 'shadow'
  | 'shadowEnded'
  /** Our own servers reach it through the fabric from now on, or no more. */
  | 'yielding'
  | 'policy';

/** A host whose moves of before still count against it. */
export interface Damped {
  readonly address: Address;
  /** Behind it, or it was. */
  readonly port: string;
  /** It stays there, whatever is heard elsewhere. */
  readonly held: boolean;
  /** How long the last hold was, or is (ms); 0: there was none yet. */
  readonly hold: number;
  /** In the present window. */
  readonly moves: number;
  /** So long (ms) whoever claims it elsewhere waits until it is silent here; 0: he is believed at once. */
  readonly suspicion: number;
}

/** Why a delta came about; `port` is absent when several ports are in it. */
export interface HostCause {
  readonly kind: CauseKind;
  readonly port?: string;
  readonly reason: string;
}

export type RefusalReason =
  | 'not-a-downlink'
  | 'source-off'
  | 'port-down'
  | 'port-blocked'
  | 'bad-address'
  | 'link-local'
  | 'bad-mac'
  | 'outside-prefixes'
  | 'network-address'
  | 'broadcast-address'
  | 'own-address'
  | 'binding'
  | 'static-elsewhere'
  | 'outranked'
  | 'duplicate'
  /** Such a claim was refuted lately: its host is asked first. */
  | 'refuted'
  | 'port-limit'
  | 'total-limit'
  | 'claim-limit'
  | 'search-limit';

export type HostEffect =
  /** At most one in the answer to an event, and then the first. */
  | { readonly type: 'delta'; readonly delta: HostDelta; readonly cause: HostCause }
  /** Ask the address whether it is there: unicast to `mac`, or broadcast when it is not known. */
  | {
      readonly type: 'probe';
      readonly address: Address;
      readonly mac: Mac | undefined;
      readonly port: string;
      readonly vlan?: number;
    }
  /** At most one a second for each port and reason; `suppressed`: how many were left unsaid since the last. */
  | {
      readonly type: 'refused';
      readonly address: Address;
      readonly port: string;
      /** Of who claims a host that he may not be. */
      readonly mac?: Mac;
      readonly reason: RefusalReason;
      readonly suppressed: number;
    }
  | {
      readonly type: 'changed';
      readonly address: Address;
      readonly port: string;
      readonly from: HostState | undefined;
      readonly to: HostState;
      readonly reason: string;
    }
  /** Somebody with `mac` on `port` claimed the address; it answered at home. */
  | {
      readonly type: 'spoofed';
      readonly address: Address;
      readonly port: string;
      readonly mac: Mac;
      readonly home: { readonly mac: Mac; readonly port: string };
    }
  | { readonly type: 'alarm'; readonly reason: string; readonly port?: string }
  /** More is spoken on a port than can be listened to, or not any more; not of the table, but of its ears. */
  | { readonly type: 'storm'; readonly port: string; readonly began: boolean; readonly reason: string };

/** A host by its MAC. */
export interface Stationed {
  readonly address: Address;
  readonly port: string;
  readonly vlan: number | undefined;
  readonly live: boolean;
}

export interface SourceView {
  readonly source: Source;
  /** From 1, the most trusted, to 5. */
  readonly rank: number;
  /** When it vouched last. */
  readonly heardAt: Instant;
  /** Absent: there is nothing to say beyond the name of the source. */
  readonly how?: Evidence;
}

/** A host as one may look at it. Instants are of the agent's clock. */
export interface HostView {
  readonly address: Address;
  readonly mac: Mac;
  /** Of a shadow: empty, and without `mac` where none was ever heard (all zero). */
  readonly port: string;
  readonly interface: string;
  readonly ifindex: number;
  readonly vlan?: number;
  readonly state: HostState;
  readonly level: ClaimLevel;
  /** The highest-ranking source that vouches for it now; `fabric`: somebody else does, it is a shadow. */
  readonly source: Source | 'fabric';
  readonly sources: readonly SourceView[];
  /** At this port since. */
  readonly since: Instant;
  readonly heardAt: Instant;
  /** Why it is in this state. */
  readonly reason: string;
  readonly rivals: readonly { readonly from: string; readonly level: ClaimLevel }[];
}

/** A host as it may be written down for the next life of the agent. */
export interface Memory {
  readonly address: Address;
  readonly mac: Mac;
  readonly port: string;
  readonly interface: string;
  readonly ifindex: number;
  /** It has come back to its port by itself. */
  readonly returns: boolean | undefined;
}

/** A host that left because its port went down or was blocked. */
export interface RememberedHost extends HostRoute {
  readonly port: string;
  readonly leftAt: Instant;
}

export interface HostCounters {
  readonly hosts: number;
  readonly hostsByPort: Readonly<Record<string, number>>;
  readonly duplicates: number;
  readonly remembered: number;
  readonly searches: number;
  readonly foreignClaims: number;
  /** Stood by for now, and how that began and ended so far. */
  readonly shadows: number;
  readonly shadowsBegun: number;
  readonly shadowsServed: number;
  readonly shadowsEnded: number;
  readonly shadowsDisplaced: number;
  readonly shadowsRefused: number;
  /** Announced ahead of their return now, and how such announcements ended so far. */
  readonly expecting: number;
  /** Announced although their port is shut, until the other switch is seen to announce them. */
  readonly leaving: number;
  readonly expected: number;
  readonly returned: number;
  readonly stayedAway: number;
  readonly heard: number;
  readonly learned: number;
  readonly moved: number;
  readonly updated: number;
  readonly withdrawn: number;
  readonly settled: number;
  readonly probes: number;
  readonly probesUnsent: number;
  readonly verifications: number;
  readonly yielded: number;
  /** Claims of hosts that were believed until the host answered at its former place. */
  readonly refuted: number;
  readonly refused: Readonly<Record<RefusalReason, number>>;
}
