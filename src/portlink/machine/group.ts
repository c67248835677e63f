/*
 * One group: its timers and what it wants of its ports. How long something has held counts from when it began, so a
 * change of a delay or a release from a hold takes effect at once.
 */
import type { Instant } from '../../model/clock.ts';
import type { GroupState, Hold, PortLinkGroupConfig, RememberedPort } from './types.ts';

/** none: no uplink left; few: some, but fewer than minUplinks. */
export type Level = 'enough' | 'few' | 'none';

export class Group {
  config: PortLinkGroupConfig;
  state: GroupState;
  since: Instant;
  reason: string;
  hold: Hold | undefined;
  /** An operator lets a group with autoRecover off come back. */
  released = false;
  /** Ports that somebody opened against us in this shut: not fought over until the group was up again. */
  readonly overrides = new Set<string>();
  /** dryRun: what would be shut. */
  readonly pretended = new Map<string, RememberedPort>();
  level: Level = 'none';
  belowSince: Instant | undefined;
  noneSince: Instant | undefined;
  enoughSince: Instant | undefined;
  someSince: Instant | undefined;
  /** Every downlink is down, for directions downlink and both; and when one came back. */
  lostSince: Instant | undefined;
  backSince: Instant | undefined;
  withdrawn = false;
  /** After reopening our own ports: their being down is no loss until then. */
  uplinkGraceUntil: Instant | undefined;
  downlinkGraceUntil: Instant | undefined;

  constructor(config: PortLinkGroupConfig, now: Instant) {
    this.config = config;
    this.state = config.enabled ? 'startup' : 'disabled';
    this.since = now;
    this.reason = config.enabled ? 'the agent has just started' : 'disabled by configuration';
  }

  /** Who takes a port out of the group and puts it in again has decided about it anew. */
  configure(config: PortLinkGroupConfig): void {
    this.config = config;
    for (const port of this.overrides)
      if (!config.downlinks.includes(port) && !config.uplinks.includes(port)) this.overrides.delete(port);
  }

  /** `upCount` uplinks are up now. */
  judgeUplinks(upCount: number, now: Instant): void {
    const { minUplinks } = this.config;
    this.level = upCount >= minUplinks ? 'enough' : upCount > 0 ? 'few' : 'none';
    this.enoughSince = this.level === 'enough' ? (this.enoughSince ?? now) : undefined;
    this.belowSince = this.level === 'enough' ? undefined : (this.belowSince ?? now);
    this.noneSince = this.level === 'none' ? (this.noneSince ?? now) : undefined;
    this.someSince = this.level === 'none' ? undefined : (this.someSince ?? now);
  }

  judgeDownlinks(lost: boolean, now: Instant): void {
    this.lostSince = lost ? (this.lostSince ?? now) : undefined;
    this.backSince = lost ? undefined : (this.backSince ?? now);
  }

  /** What was seen while blind proves nothing: recovery counts anew. */
  distrust(now: Instant): void {
    if (this.enoughSince !== undefined) this.enoughSince = now;
    if (this.someSince !== undefined) this.someSince = now;
    if (this.backSince !== undefined) this.backSince = now;
  }

  /** The level on which the group acts: the present one once it has lasted for deferDelay. */
  actingLevel(now: Instant, consider: (at: Instant) => void): Level {
    const { deferDelay } = this.config;
    if (this.noneSince !== undefined) {
      if (this.noneSince + deferDelay <= now) return 'none';
      consider(this.noneSince + deferDelay);
    }
    if (this.belowSince === undefined) return 'enough';
    if (this.belowSince + deferDelay <= now) return 'few';
    consider(this.belowSince + deferDelay);
    return 'enough';
  }
}

/** The downlinks that have to be shut on a level, those that go first at the head. */
export function wantedShut(config: PortLinkGroupConfig, level: Level): readonly string[] {
  if (level === 'enough') return [];
  if (level === 'none' || config.shut === 'all') return config.downlinks;
  const total = config.downlinks.length;
  const count = 'count' in config.shut ? config.shut.count : Math.ceil((total * config.shut.percent) / 100);
  const first = config.priority.filter((port) => config.downlinks.includes(port));
  const rest = config.downlinks.filter((port) => !first.includes(port));
  return [...first, ...rest].slice(0, Math.max(1, count));
}
