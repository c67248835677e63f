/*
 * Port-link groups: uplinks towards G tied to downlinks towards servers (R4.4). When too few uplinks are left, the
 * downlinks are shut in one batch and their hosts withdrawn (R4.6), so that the servers, who see carrier and nothing else,
 * move to the other switch. When the uplinks are back the downlinks reopen, but only after the break has been mended
 * behind them (make before break): enough uplinks for recoveryDelay, a session to G up, and G's routes installed.
 *
 * The machine is pure. An event changes what is known; then every group compares what it wants with what is and says the
 * difference. Nothing is remembered as "to do", so no order of events can leave a port behind.
 *
 * Invariants
 * - A port is shut by us only while a reason of its group holds, or until recoveryDelay and the upstream gate have passed
 *   after it. Ports of a group that was removed, disabled or made dryRun are opened at once.
 * - A port that is drained is opened by no group, and is no loss to one (drained.ts); nor is one that is bounced.
 * - A port that was shut by somebody else is never opened. One that we shut and somebody opened is left to them until the
 *   group was up again, or got it anew.
 * - A port that is spared is not shut, and is opened if it was.
 * - While blind, and during startup, nothing is shut for a loss; ports shut by an earlier run may reopen during startup.
 * - While at least one uplink is left, `shut: N` bounds what the group shuts; with none left it is all.
 */
import type { Instant } from '../../model/clock.ts';
import { Actions } from './actions.ts';
import { Bounced } from './bounced.ts';
import { Drained, keepsShut } from './drained.ts';
import { Group, wantedShut } from './group.ts';
import { openOrphans } from './orphans.ts';
import { Ports } from './ports.ts';
import { refusals } from './refusals.ts';
import type {
  GroupState,
  GroupView,
  Memory,
  PortLinkEffect,
  PortLinkEvent,
  PortLinkGroupConfig,
  Side,
} from './types.ts';
import { Verdicts } from './verdicts.ts';
import { type Knowledge, viewOf, why } from './view.ts';

/**
 * Ports that we have opened take this long (ms) to come up: until then their being down is no loss, or direction `both`
 * would shut one side for having opened the other, and so on for ever.
 */
const COMING_UP = 5_000;

export class PortLinkGroups {
  readonly #startedAt: Instant;
  readonly #groups = new Map<string, Group>();
  readonly #verdicts = new Verdicts();
  readonly #ports = new Ports();
  readonly #actions = new Actions(this.#ports);
  readonly #drained = new Drained(this.#ports, this.#actions);
  readonly #bounced = new Bounced(this.#ports, this.#actions);
  #upstream = { ready: false, reason: 'upstream not known yet' };
  #blind = false;
  #deadline: Instant | undefined;
  #holdVersion = 0;

  /** `startedAt`: when the agent started; startupDelay counts from it. */
  constructor(groups: readonly PortLinkGroupConfig[], startedAt: Instant) {
    this.#startedAt = startedAt;
    for (const config of groups) this.#groups.set(config.name, new Group(config, startedAt));
  }

  /** Several events are taken in together before anything is decided: a first picture, a reload with its observations. */
  handle(events: PortLinkEvent | readonly PortLinkEvent[], now: Instant): PortLinkEffect[] {
    const effects: PortLinkEffect[] = [];
    for (const event of [events].flat()) this.#take(event, now, effects);
    this.#deadline = undefined;
    for (const { kind, port, group } of this.#ports.settle(now, this.#consider)) {
      if (kind === 'openedByOther') this.#openedByOther(port, group, effects);
    }
    openOrphans(this.#groups, this.#ports, this.#actions, effects);
    for (const group of this.#groups.values()) this.#evaluate(group, now, effects);
    // After them: what is opened here must not be shut by a group in the same breath.
    this.#bounced.release([...this.#groups.values()], effects);
    return effects;
  }

  /** When `tick` is due; undefined: never, unless something happens. */
  nextDeadline(): Instant | undefined {
    return this.#deadline;
  }

  /** What must survive a crash. */
  memory(): Memory {
    const holds: Memory['holds'] = Object.fromEntries(
      [...this.#groups.values()].flatMap((group) => (group.hold ? [[group.config.name, group.hold]] : [])),
    );
    return { ports: this.#ports.remembered(), holds };
  }

  /** Changes whenever memory() does. */
  get memoryVersion(): number {
    return this.#ports.version + this.#holdVersion;
  }

  configs(): PortLinkGroupConfig[] {
    return [...this.#groups.values()].map(({ config }) => config);
  }

  /** The group that has shut this port, DRAIN for planned work, BOUNCE; undefined: it is not shut by us. */
  keeperOf(port: string): string | undefined {
    return this.#ports.shutEntry(port)?.group;
  }

  /** The group that would keep this port shut if planned work did not. */
  heirOf(port: string): string | undefined {
    return [...this.#groups.values()].find((group) => keepsShut(group, port))?.config.name;
  }

  /** The same as `keeperOf`, of a port whose opening is under way. */
  openerOf(port: string): string | undefined {
    return this.#ports.openedFor(port);
  }

  views(): GroupView[] {
    return [...this.#groups.values()].map((group) => viewOf(group, this.#knowledge()));
  }

  view(name: string): GroupView | undefined {
    const group = this.#groups.get(name);
    return group && viewOf(group, this.#knowledge());
  }

  // ---- what is known

  #take(event: PortLinkEvent, now: Instant, effects: PortLinkEffect[]): void {
    switch (event.type) {
      case 'verdict':
        this.#verdicts.set(event.port, event.condition, event.ok, event.reason, now);
        break;
      case 'port': {
        const { port, adminUp, carrier } = event;
        const reason = !adminUp ? 'shut' : carrier ? 'carrier' : 'no carrier';
        this.#verdicts.set(port, 'carrier', adminUp && carrier, reason, now);
        const judgement = this.#ports.observe(port, adminUp, carrier);
        if (judgement?.kind === 'openedByOther') this.#openedByOther(port, judgement.group, effects);
        break;
      }
      case 'portGone':
        this.#verdicts.set(event.port, 'carrier', false, 'no such interface', now);
        this.#ports.gone(event.port);
        break;
      case 'upstream':
        this.#upstream = { ready: event.ready, reason: event.reason };
        break;
      case 'hold':
        this.#setHold(event.group, event.state);
        break;
      case 'release':
        this.#setHold(event.group, undefined);
        break;
      case 'drain':
        this.#drained.shut(event.ports, event.reason, now, effects);
        break;
      case 'undrain':
        this.#drained.release(event.ports, [...this.#groups.values()], effects);
        break;
      case 'bounce':
        if (!this.#blind)
          effects.push(...this.#bounced.shut(event.ports, event.reason, [...this.#groups.values()], now));
        break;
      case 'configure':
        this.#configure(event.groups, now);
        break;
      case 'blind':
        if (event.blind !== this.#blind) this.#setBlind(event.blind, event.reason, now, effects);
        break;
      case 'restore':
        this.#ports.restore(event.memory.ports);
        for (const [name, hold] of Object.entries(event.memory.holds)) this.#setHold(name, hold);
        break;
      case 'shutDone':
      case 'openDone':
        this.#ports.acknowledged(event.ports, event.type === 'openDone', now);
        if (event.type === 'openDone') this.#coming(this.#ports.notShut(event.ports), now);
        break;
      case 'shutFailed':
      case 'openFailed': {
        const opening = event.type === 'openFailed';
        this.#ports.failed(event.ports, opening, now);
        const what = `${opening ? 'opening' : 'shutting'} ${event.ports.join(', ')} failed: ${event.reason}`;
        effects.push(...refusals(event.ports, this.configs(), (port) => this.keeperOf(port), what));
        break;
      }
      case 'tick':
        break;
    }
  }

  /** Until these are up, their being down is no loss. */
  #coming(ports: readonly string[], now: Instant): void {
    for (const group of this.#groups.values()) {
      if (!group.config.downlinks.some((port) => ports.includes(port))) continue;
      group.downlinkGraceUntil = Math.max(group.downlinkGraceUntil ?? 0, now + COMING_UP);
    }
  }

  #setHold(name: string, hold: Group['hold']): void {
    const group = this.#groups.get(name);
    if (!group) return;
    if (hold === undefined && group.hold !== 'open') group.released = true;
    if (hold !== undefined) group.overrides.clear();
    group.hold = hold;
    this.#holdVersion++;
  }

  #setBlind(blind: boolean, reason: string, now: Instant, effects: PortLinkEffect[]): void {
    this.#blind = blind;
    for (const group of this.#groups.values()) {
      if (!blind) group.distrust(now);
      else if (group.config.enabled) {
        effects.push({ type: 'alarm', group: group.config.name, reason: `frozen: ${reason}` });
      }
    }
  }

  #configure(configs: readonly PortLinkGroupConfig[], now: Instant): void {
    const wanted = new Set(configs.map((config) => config.name));
    for (const name of this.#groups.keys()) {
      if (!wanted.has(name)) this.#groups.delete(name);
    }
    for (const config of configs) {
      const group = this.#groups.get(config.name);
      if (group) group.configure(config);
      else this.#groups.set(config.name, new Group(config, now));
    }
    this.#holdVersion++;
  }

  #openedByOther(port: string, name: string, effects: PortLinkEffect[]): void {
    this.#groups.get(name)?.overrides.add(port);
    effects.push({
      type: 'alarm',
      group: name,
      ports: [port],
      reason: `${port} was opened by somebody else while the group had it shut`,
    });
  }

  #knowledge(): Knowledge {
    return { verdicts: this.#verdicts, ports: this.#ports, upstream: this.#upstream, blind: this.#blind };
  }

  // ---- what follows

  readonly #consider = (at: Instant): void => {
    if (this.#deadline === undefined || at < this.#deadline) this.#deadline = at;
  };

  #evaluate(group: Group, now: Instant, effects: PortLinkEffect[]): void {
    const { config } = group;
    if (!config.enabled) {
      group.pretended.clear();
      group.overrides.clear();
      this.#setState(group, 'disabled', 'disabled by configuration', now, effects);
      return;
    }
    if (!config.dryRun) group.pretended.clear();
    const graceUp = this.#inGrace(group.uplinkGraceUntil, now) || this.#actions.ours(group, 'uplink').length > 0;
    const lossMatters = config.direction !== 'downlink' && !graceUp;
    group.judgeUplinks(lossMatters ? this.#verdicts.upCount(config) : Number.POSITIVE_INFINITY, now);
    const kept = (port: string): boolean =>
      this.#drained.has(port) || this.#bounced.has(port) || this.#ports.openingEntry(port) !== undefined;
    const shutByUs = this.#actions.ours(group, 'downlink').length > 0 || config.downlinks.some(kept);
    const graceDown = this.#inGrace(group.downlinkGraceUntil, now) || shutByUs;
    const lost = !graceDown && !config.downlinks.some((port) => this.#ports.isUp(port));
    group.judgeDownlinks(config.direction !== 'uplink' && lost, now);

    if (group.hold) {
      this.#hold(group, now, effects);
      return;
    }
    if (this.#blind) return;
    const startupEnds = this.#startedAt + config.startupDelay;
    const startup = now < startupEnds;
    if (startup) this.#consider(startupEnds);

    const acted = this.#actOnUplinks(group, startup, now, effects);
    this.#actOnDownlinks(group, startup, now, effects);
    this.#settleState(group, startup, acted, now, effects);
  }

  /** Ports that we shut, or have just reopened, are not lost by being down. */
  #inGrace(until: Instant | undefined, now: Instant): boolean {
    if (until === undefined || until <= now) return false;
    this.#consider(until);
    return true;
  }

  /** Returns whether the group stands on a loss, whatever ports there were to shut. */
  #actOnUplinks(group: Group, startup: boolean, now: Instant, effects: PortLinkEffect[]): boolean {
    const { config } = group;
    const acting = startup ? 'enough' : group.actingLevel(now, this.#consider);
    if (acting !== 'enough') {
      this.#actions.shut(
        group,
        'downlink',
        wantedShut(config, acting),
        () => this.#verdicts.sentence(config),
        now,
        effects,
      );
    }
    const ours = this.#actions.ours(group, 'downlink');
    if (ours.length > 0 && this.#mayRecover(group)) {
      const keep = new Set(wantedShut(config, group.level));
      const surplus = ours.filter(({ port }) => !keep.has(port));
      const since = group.level === 'enough' ? group.enoughSince : group.someSince;
      if (surplus.length > 0 && since !== undefined) {
        if (since + config.recoveryDelay > now) this.#consider(since + config.recoveryDelay);
        else if (this.#upstream.ready) {
          group.downlinkGraceUntil = now + Math.max(config.recoveryDelay, COMING_UP);
          this.#inGrace(group.downlinkGraceUntil, now);
          this.#actions.open(group, surplus, `${this.#verdicts.sentence(config)}; upstream ready`, effects);
        }
      }
    }
    return acting !== 'enough';
  }

  #actOnDownlinks(group: Group, startup: boolean, now: Instant, effects: PortLinkEffect[]): void {
    const { config } = group;
    if (config.direction === 'uplink') return;
    if (group.lostSince !== undefined && !startup) {
      if (group.lostSince + config.deferDelay > now) {
        this.#consider(group.lostSince + config.deferDelay);
        return;
      }
      const reason = 'every downlink is lost';
      if (!group.withdrawn) {
        group.withdrawn = true;
        if (!config.dryRun) {
          effects.push({ type: 'withdraw', group: config.name, ports: config.downlinks, reason });
        }
      }
      if (config.shutUplinks) {
        const spare = config.uplinks.filter((port) => !this.#neededElsewhere(port, group));
        this.#actions.shut(group, 'uplink', spare, () => reason, now, effects);
      }
      return;
    }
    if (group.lostSince !== undefined) return;
    group.withdrawn = false;
    const ours = this.#actions.ours(group, 'uplink');
    if (ours.length === 0 || !this.#mayRecover(group)) return;
    const due = (group.backSince ?? now) + config.recoveryDelay;
    if (due > now) this.#consider(due);
    else {
      group.uplinkGraceUntil = now + Math.max(config.recoveryDelay, COMING_UP);
      this.#inGrace(group.uplinkGraceUntil, now);
      this.#actions.open(group, ours, 'a downlink is back', effects);
    }
  }

  #hold(group: Group, now: Instant, effects: PortLinkEffect[]): void {
    const { config } = group;
    const side: Side = config.direction === 'downlink' ? 'uplink' : 'downlink';
    const reason = `held ${group.hold} by an operator`;
    if (group.hold === 'open') {
      this.#actions.open(group, this.#actions.ours(group, 'downlink'), reason, effects);
      this.#actions.open(group, this.#actions.ours(group, 'uplink'), reason, effects);
    } else if (side === 'downlink') {
      this.#actions.shut(group, side, config.downlinks, () => reason, now, effects);
    } else if (config.shutUplinks) {
      const spare = config.uplinks.filter((port) => !this.#neededElsewhere(port, group));
      this.#actions.shut(group, side, spare, () => reason, now, effects);
    }
    this.#setState(group, 'held', reason, now, effects);
  }

  #settleState(group: Group, startup: boolean, acted: boolean, now: Instant, effects: PortLinkEffect[]): void {
    const ours = this.#actions.ours(group, 'downlink').length + this.#actions.ours(group, 'uplink').length;
    let state: GroupState = 'up';
    if (startup) state = 'startup';
    else if (group.withdrawn) state = 'shut';
    else if (acted || ours > 0) state = group.level === 'enough' && this.#mayRecover(group) ? 'recovering' : 'shut';
    if (state === 'up') {
      group.overrides.clear();
      group.released = false;
    }
    if (state !== group.state) this.#setState(group, state, why(group, state, this.#knowledge()), now, effects);
  }

  #mayRecover(group: Group): boolean {
    return group.config.autoRecover || group.released;
  }

  /** Another group that counts on this uplink and still has a downlink up. */
  #neededElsewhere(port: string, group: Group): boolean {
    for (const other of this.#groups.values()) {
      if (other === group || !other.config.enabled || !other.config.uplinks.includes(port)) continue;
      if (other.config.direction === 'uplink' || other.lostSince === undefined) return true;
    }
    return false;
  }

  // ---- state

  #setState(group: Group, to: GroupState, reason: string, now: Instant, effects: PortLinkEffect[]): void {
    if (group.state === to) {
      group.reason = reason;
      return;
    }
    effects.push({ type: 'state', group: group.config.name, from: group.state, to, reason });
    group.state = to;
    group.since = now;
    group.reason = reason;
  }
}
