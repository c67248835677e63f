import type { Instant } from '../../model/clock.ts';

export const CONDITIONS = ['carrier', 'adjacency', 'nexthop', 'default-route', 'bfd'] as const;
export type Condition = (typeof CONDITIONS)[number];

/** `disabled` by configuration; `held` by an operator; the others as the uplinks say. */
export type GroupState = 'disabled' | 'startup' | 'up' | 'shut' | 'recovering' | 'held';
export type Hold = 'open' | 'shut';

/** One group, validated, with defaults filled in. Durations in milliseconds. */
export interface PortLinkGroupConfig {
  readonly name: string;
  readonly description: string;
  readonly enabled: boolean;
  readonly uplinks: readonly string[];
  readonly downlinks: readonly string[];
  /** `uplink`: too few uplinks shut downlinks. `downlink`: no downlink left withdraws (and shuts uplinks if asked). */
  readonly direction: 'uplink' | 'downlink' | 'both';
  readonly minUplinks: number;
  /** All of them must hold for an uplink to be up. */
  readonly upWhen: readonly Condition[];
  /** How many downlinks while at least one uplink is left; with none left it is always all. */
  readonly shut: 'all' | { readonly count: number } | { readonly percent: number };
  /** Who is shut first when partial; the others follow in the order of `downlinks`. */
  readonly priority: readonly string[];
  readonly deferDelay: number;
  readonly recoveryDelay: number;
  readonly autoRecover: boolean;
  readonly startupDelay: number;
  readonly dryRun: boolean;
  /** What becomes of ports that we shut when the agent is stopped; default `leave`. */
  readonly onStop?: 'leave' | 'reopen';
  /** Ports that are not to be shut now, whatever happens: an operator would be cut off. */
  readonly spared?: readonly string[];
  /** Direction `downlink` or `both`: shut the uplinks too once every downlink is lost; default false. */
  readonly shutUplinks?: boolean;
}

/** A port that this agent shut, as it stands in the state file. */
export interface RememberedPort {
  readonly port: string;
  readonly group: string;
  readonly side: Side;
  readonly since: Instant;
  readonly reason: string;
}

export type Side = 'uplink' | 'downlink';

/** What must outlive a crash. */
export interface Memory {
  readonly ports: readonly RememberedPort[];
  readonly holds: Readonly<Record<string, Hold>>;
}

export type PortLinkEvent =
  /** Is an uplink up, by one condition? `carrier` also follows from `port`. */
  | {
      readonly type: 'verdict';
      readonly port: string;
      readonly condition: Condition;
      readonly ok: boolean;
      readonly reason: string;
    }
  /** A port of any group as observed. */
  | { readonly type: 'port'; readonly port: string; readonly adminUp: boolean; readonly carrier: boolean }
  | { readonly type: 'portGone'; readonly port: string }
  /** The gate of make-before-break: a session to G is up and G's routes are installed. */
  | { readonly type: 'upstream'; readonly ready: boolean; readonly reason: string }
  | { readonly type: 'hold'; readonly group: string; readonly state: Hold }
  /** Ends a hold; in a group that is shut with autoRecover off: lets it recover once. */
  | { readonly type: 'release'; readonly group: string }
  /** Planned work: these ports are shut whatever their groups say, until they are released. */
  | { readonly type: 'drain'; readonly ports: readonly string[]; readonly reason: string }
  | { readonly type: 'undrain'; readonly ports: readonly string[] }
  /** Shut, and opened as soon as they are. */
  | { readonly type: 'bounce'; readonly ports: readonly string[]; readonly reason: string }
  | { readonly type: 'tick' }
  | { readonly type: 'configure'; readonly groups: readonly PortLinkGroupConfig[] }
  /** All information is lost (netlink resync): freeze until it is back. */
  | { readonly type: 'blind'; readonly blind: boolean; readonly reason: string }
  /** From the state file, once, before the first `port`. */
  | { readonly type: 'restore'; readonly memory: Memory }
  /** The kernel has acknowledged, or refused, what a `shut` or `open` asked. One of the two must follow each. */
  | { readonly type: 'shutDone' | 'openDone'; readonly ports: readonly string[] }
  | { readonly type: 'shutFailed' | 'openFailed'; readonly ports: readonly string[]; readonly reason: string };

export type PortLinkEffect =
  /** The hosts of these ports must leave the announcements now; comes before the `shut` it belongs to. */
  | { readonly type: 'withdraw'; readonly group: string; readonly ports: readonly string[]; readonly reason: string }
  /** To be done in one batch. */
  | {
      readonly type: 'shut' | 'open';
      readonly group: string;
      readonly ports: readonly string[];
      readonly reason: string;
    }
  /** What a group with dryRun would have done. */
  | {
      readonly type: 'dryRun';
      readonly group: string;
      readonly action: 'shut' | 'open';
      readonly ports: readonly string[];
      readonly reason: string;
    }
  | {
      readonly type: 'state';
      readonly group: string;
      readonly from: GroupState;
      readonly to: GroupState;
      readonly reason: string;
    }
  /** `ports`: where it is about some of them only. */
  | { readonly type: 'alarm'; readonly group: string; readonly ports?: readonly string[]; readonly reason: string };

export interface UplinkView {
  readonly port: string;
  readonly up: boolean;
  readonly verdicts: readonly {
    readonly condition: Condition;
    readonly ok: boolean;
    readonly reason: string;
    /** undefined: nobody has judged yet. */
    readonly since: Instant | undefined;
  }[];
  readonly shutByUs: boolean;
}

export interface DownlinkView {
  readonly port: string;
  /** false also when there is no such interface. */
  readonly adminUp: boolean;
  readonly carrier: boolean;
  readonly shutByUs: boolean;
  /** Shut for planned work, not by the group. */
  readonly drained?: true;
  /** When we shut it. */
  readonly since?: Instant;
}

export interface GroupView {
  readonly name: string;
  readonly description: string;
  readonly state: GroupState;
  readonly held?: Hold;
  readonly since: Instant;
  /** One sentence: why it is in this state. */
  readonly reason: string;
  readonly dryRun: boolean;
  readonly uplinks: readonly UplinkView[];
  readonly downlinks: readonly DownlinkView[];
  readonly config: PortLinkGroupConfig;
}
