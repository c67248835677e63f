import type { PortLinkGroup } from '../../config/index.ts';
import { formatDuration } from '../../config/index.ts';
import type { Clock, Instant } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import {
  isOpen,
  type LinkState,
  type PortChange,
  type PortDriver,
  PortError,
  type PortNeighbour,
} from '../../model/ports.ts';
import {
  BOUNCE,
  type GroupView as DomainView,
  DRAIN,
  type Hold,
  PortLinkDriver,
  type PortLinkEffect,
  type PortLinkEvent,
  type PortLinkGroupConfig,
  PortLinkGroups,
  type StateStore,
} from '../../portlink/index.ts';
import type { GroupView, PortLinkSettings } from '../api.ts';
import type { EventLog, WallClock } from '../events.ts';
import type { Readiness } from './fabric/types.ts';

export interface PortGroupsOptions {
  readonly groups: readonly PortLinkGroup[];
  readonly ports: PortDriver;
  readonly links: LinkState;
  readonly clock: Clock;
  readonly log: Log;
  readonly wall: WallClock;
  readonly events: EventLog;
  readonly stateFile: string;
  /** Instead of `stateFile`, and ms since 1970 for what is kept there; both the machine's own when absent. */
  readonly state?: StateStore | undefined;
  readonly wallClock?: (() => number) | undefined;
  /** By LLDP. */
  neighbours?(port: string): readonly PortNeighbour[];
  /** Hosts of these ports leave the announcements before it returns; `blocked` false: they may be learned again. */
  onBlock(ports: readonly string[], blocked: boolean, reason: string, at: Instant): void;
  /** Drained ports were opened by somebody, or could not be shut or opened. */
  onDrainTrouble?(ports: readonly string[], reason: string): void;
}

/** What the fabric can say of an uplink beside its carrier. */
export interface UplinkJudge {
  adjacency(port: string): Readiness;
  defaultRoute(port: string): Readiness;
  nexthop(port: string): Readiness;
  bfd(port: string): Readiness;
  readiness(): Readiness;
}

/** When they are shut, their members, or what they stand on, keep the carrier: who is at the other end is told nothing. */
const LAGS = ['bond', 'team'];
const UNSEEN = [...LAGS, 'bridge', 'vlan'];

/** How long (ms) the kernel may take to report ports that it has acknowledged as shut. */
const SEEN_WAIT = 5_000;

/** The port-link groups inside the agent: configuration in, verdicts in, blocked ports and views out. */
export class PortGroups {
  readonly #options: PortGroupsOptions;
  readonly #driver: PortLinkDriver;
  /** Ports whose hosts a group has withdrawn -> the group. */
  readonly #blocked = new Map<string, string>();
  #configs: readonly PortLinkGroup[];
  #spared: ReadonlySet<string> = new Set();
  #unwritable: string | undefined;

  constructor(options: PortGroupsOptions) {
    this.#options = options;
    this.#configs = options.groups;
    this.#driver = new PortLinkDriver({
      groups: new PortLinkGroups(options.groups, options.clock.now()),
      ports: options.ports,
      links: options.links,
      clock: options.clock,
      log: options.log,
      stateFile: options.stateFile,
      ...(options.state === undefined ? {} : { state: options.state }),
      ...(options.wallClock === undefined ? {} : { wallClock: options.wallClock }),
      onEffect: (effect, at) => this.#onEffect(effect, at),
      onUnwritable: (problem) => this.#onUnwritable(problem),
    });
  }

  warnings(): string[] {
    return this.#unwritable === undefined ? [] : [unwritableText(this.#unwritable)];
  }

  /**
   * `holdAtBoot`: on a box that has just booted the downlinks stay shut until there is a working path (the vendors'
   * "reload delay"). They count as shut by us, so the usual rules reopen them, also after a crash. `drained`: these stay
   * shut, or are shut again, until they are undrained.
   */
  async start(holdAtBoot: boolean, judge: UplinkJudge, drained: readonly string[] = []): Promise<void> {
    const held = holdAtBoot ? this.#configs.filter((group) => group.enabled && !group.dryRun) : [];
    const ports = held
      .filter((group) => group.direction !== 'downlink')
      .flatMap((group) => group.downlinks.map((port) => ({ port, group: group.name })))
      .filter(({ port }) => !drained.includes(port) && !this.#spared.has(port))
      .concat(drained.map((port) => ({ port, group: DRAIN })))
      .filter(({ port }) => this.#options.links.port(port) !== undefined);
    if (ports.length > 0) {
      const since = this.#options.clock.now();
      const reasonOf = (group: string) => (group === DRAIN ? 'drained' : 'booting: waiting for the fabric');
      const entries = ports.map(
        (entry) => ({ ...entry, side: 'downlink', since, reason: reasonOf(entry.group) }) as const,
      );
      this.#driver.remember(entries);
      await this.#driver.settled();
      await this.#shutFirst(ports.map(({ port }) => port));
    }
    this.#driver.start(this.#verdicts(judge));
    if (drained.length > 0) this.drain(drained);
  }

  /** A port that can't be shut, or that somebody else keeps opening, is no reason to leave all the others without failover. */
  async #shutFirst(ports: readonly string[]): Promise<void> {
    const { links, events } = this.#options;
    const problems: string[] = [];
    const failed = (error: unknown): void => void problems.push((error as Error).message);
    let refused: readonly string[] = [];
    await this.#options.ports.setAdmin(ports, false).catch((error: unknown) => {
      failed(error);
      const named = error instanceof AggregateError ? error.errors.filter((each) => each instanceof PortError) : [];
      refused = named.length === 0 ? ports : named.map(({ port }) => port);
    });
    // The groups compare what they remember with what they observe: the observation must have caught up.
    await this.#seenShut(ports.filter((port) => !refused.includes(port))).catch(failed);
    if (problems.length === 0) return;
    const open = ports.filter((name) => {
      const port = links.port(name);
      return port !== undefined && isOpen(port);
    });
    events.record({
      type: 'portlink.alarm',
      severity: 'warning',
      message: `open at the start, though to be kept shut: ${open.join(' ')}: ${problems.join('; ')}`,
      fields: { ports: open },
    });
  }

  async #seenShut(names: readonly string[]): Promise<void> {
    const { links, clock } = this.#options;
    const shut = (): boolean => names.map((name) => links.port(name)).every((port) => !port || !isOpen(port));
    if (shut()) return;
    await new Promise<void>((resolve, reject) => {
      const timer = clock.schedule(clock.now() + SEEN_WAIT, () => {
        unsubscribe();
        reject(new Error(`the kernel did not report ${names.join(' ')} as shut within ${SEEN_WAIT} ms`));
      });
      const unsubscribe = links.onChange(() => {
        if (!shut()) return;
        unsubscribe();
        timer.cancel();
        resolve();
      });
    });
  }

  portChanged(change: PortChange): void {
    this.#driver.portChanged(change);
  }

  /** What is known of the ports is not the truth any more, or is again. */
  blind(blind: boolean, reason: string): void {
    this.#driver.handle({ type: 'blind', blind, reason });
  }

  judge(judge: UplinkJudge): void {
    this.#driver.handle(this.#verdicts(judge));
  }

  /** All that is known of the uplinks beside their carriers, as one picture. */
  #verdicts(judge: UplinkJudge): PortLinkEvent[] {
    const verdicts: PortLinkEvent[] = [];
    for (const group of this.#configs) {
      for (const condition of group.upWhen) {
        if (condition === 'carrier') continue;
        for (const port of group.uplinks) {
          const verdict = judge[condition === 'default-route' ? 'defaultRoute' : condition](port);
          verdicts.push({ type: 'verdict', port, condition, ok: verdict.ready, reason: verdict.reason });
        }
      }
    }
    const upstream = judge.readiness();
    return [...verdicts, { type: 'upstream', ready: upstream.ready, reason: upstream.reason }];
  }

  configure(groups: readonly PortLinkGroup[], judge: UplinkJudge): void {
    this.#configs = groups;
    this.#driver.configure(this.#effective(), this.#verdicts(judge));
    const names = new Set(groups.map((group) => group.name));
    for (const [port, group] of this.#blocked)
      if (!names.has(group)) this.#block([port], false, group, 'no group has it', this.#options.clock.now());
  }

  /** These are not shut until further notice, and opened if they were. */
  spare(ports: readonly string[]): void {
    this.#spared = new Set(ports);
    this.#driver.configure(this.#effective());
  }

  #effective(): PortLinkGroupConfig[] {
    if (this.#spared.size === 0) return [...this.#configs];
    const spared = [...this.#spared];
    return this.#configs.map((group) => ({ ...group, spared }));
  }

  hold(group: string, state: Hold): void {
    this.#driver.handle({ type: 'hold', group, state });
  }

  release(group: string): void {
    this.#driver.handle({ type: 'release', group });
  }

  /** Planned work: shut, whatever the groups say. */
  drain(ports: readonly string[]): void {
    this.#driver.drain(ports, 'drained');
  }

  /** Opened, unless a group wants them shut. */
  undrain(ports: readonly string[]): void {
    this.#driver.undrain(ports);
    // Whose group keeps it shut is blocked by that group from now on, and free when that is up again.
    for (const port of ports) {
      const keeper = this.keeperOf(port);
      if (keeper !== undefined && keeper !== DRAIN) this.#blocked.set(port, keeper);
    }
  }

  /** Shut, and opened again in the way of every opening: after the fabric was told. false: it is not to be shut. */
  bounce(port: string, reason: string): boolean {
    if (this.#spared.has(port) || !this.#isSeenShut(port)) return false;
    this.#driver.bounce([port], reason);
    return this.keeperOf(port) === BOUNCE;
  }

  /** Whoever is at the other end sees it when this port is shut. Of one member of a LAG that says nothing. */
  #isSeenShut(name: string): boolean {
    const { links } = this.#options;
    const port = links.port(name);
    const master = port && port.master !== 0 ? links.portByIndex(port.master) : undefined;
    return !UNSEEN.includes(port?.kind ?? '') && !LAGS.includes(master?.kind ?? '');
  }

  /** The group that is about to open this port, and has told the fabric first. */
  openerOf(port: string): string | undefined {
    return this.#driver.groups.openerOf(port);
  }

  /** The group that has shut this port, DRAIN for planned work, BOUNCE for the way back of many. */
  keeperOf(port: string): string | undefined {
    return this.#driver.groups.keeperOf(port);
  }

  /** The group that a drained port would be left to, and that keeps it shut. */
  heirOf(port: string): string | undefined {
    return this.#driver.groups.heirOf(port);
  }

  settled(): Promise<void> {
    return this.#driver.settled();
  }

  stop(): Promise<void> {
    return this.#driver.stop();
  }

  views(): GroupView[] {
    return this.#driver.groups.views().map((view) => this.#view(view));
  }

  view(name: string): GroupView | undefined {
    const view = this.#driver.groups.view(name);
    return view && this.#view(view);
  }

  #onUnwritable(problem: string | undefined): void {
    this.#unwritable = problem;
    this.#options.events.record({
      type: problem === undefined ? 'portlink.written' : 'portlink.unwritable',
      severity: problem === undefined ? 'info' : 'warning',
      message: problem === undefined ? 'what is shut is on the disk again' : unwritableText(problem),
      ...(problem === undefined ? {} : { fields: { problem } }),
    });
  }

  #onEffect(effect: PortLinkEffect, at: Instant): void {
    const { events } = this.#options;
    switch (effect.type) {
      case 'withdraw':
        this.#block(effect.ports, true, effect.group, effect.reason, at);
        return;
      case 'open':
        this.#block(effect.ports, false, effect.group, effect.reason, at);
        break;
      case 'state':
        if (effect.to === 'up' || effect.to === 'disabled') {
          const ports = [...this.#blocked].filter(([, group]) => group === effect.group).map(([port]) => port);
          if (ports.length > 0) this.#block(ports, false, effect.group, effect.reason, at);
        }
        break;
    }
    if (effect.type === 'alarm' && effect.group === DRAIN) {
      this.#options.onDrainTrouble?.(effect.ports ?? [], effect.reason);
    }
    const { type, group, ...fields } = effect;
    events.record({
      type: `portlink.${type}`,
      severity: type === 'alarm' || type === 'shut' ? 'warning' : 'info',
      message: `${group}: ${sentence(effect)}`,
      at,
      fields: { group, ...fields },
    });
  }

  #block(ports: readonly string[], blocked: boolean, group: string, reason: string, at: Instant): void {
    for (const port of ports) {
      if (blocked) this.#blocked.set(port, group);
      else this.#blocked.delete(port);
    }
    this.#options.onBlock(ports, blocked, `group ${group}: ${reason}`, at);
  }

  #view(view: DomainView): GroupView {
    const { wall } = this.#options;
    const config = this.#configs.find((group) => group.name === view.name)!;
    return {
      name: view.name,
      description: view.description,
      state: view.state,
      ...(view.held === undefined ? {} : { held: view.held }),
      since: wall.iso(view.since),
      reason: view.reason,
      dryRun: view.dryRun,
      uplinks: view.uplinks.map(({ port, up, verdicts }) => ({
        port,
        up,
        ...this.#lldp(port),
        verdicts: verdicts.map(({ condition, ok, reason }) => ({ condition, ok, reason })),
      })),
      downlinks: view.downlinks.map(({ since, ...downlink }) => ({
        ...downlink,
        ...this.#lldp(downlink.port),
        ...(since === undefined ? {} : { since: wall.iso(since) }),
      })),
      config: settingsOf(config),
    };
  }

  #lldp(port: string): { lldp?: readonly PortNeighbour[] } {
    const lldp = this.#options.neighbours?.(port) ?? [];
    return lldp.length === 0 ? {} : { lldp };
  }
}

const unwritableText = (problem: string): string =>
  `what port-link groups shut can not be written down, after a crash such ports would stay shut: ${problem}`;

function settingsOf({ name: _, ...group }: PortLinkGroup): Required<PortLinkSettings> {
  return {
    ...group,
    shut: shutText(group.shut),
    uplinks: [...group.uplinks],
    downlinks: [...group.downlinks],
    upWhen: [...group.upWhen],
    nexthops: [...group.nexthops],
    priority: [...group.priority],
    deferDelay: formatDuration(group.deferDelay),
    recoveryDelay: formatDuration(group.recoveryDelay),
    startupDelay: formatDuration(group.startupDelay),
  };
}

function shutText(shut: PortLinkGroup['shut']): Required<PortLinkSettings>['shut'] {
  if (shut === 'all') return shut;
  return 'count' in shut ? shut.count : `${shut.percent}%`;
}

function sentence(effect: Exclude<PortLinkEffect, { type: 'withdraw' }>): string {
  switch (effect.type) {
    case 'shut':
    case 'open':
      return `${effect.type} ${effect.ports.join(' ')}: ${effect.reason}`;
    case 'dryRun':
      return `dry run, would ${effect.action} ${effect.ports.join(' ')}: ${effect.reason}`;
    case 'state':
      return `${effect.from} -> ${effect.to}: ${effect.reason}`;
    case 'alarm':
      return effect.reason;
  }
}
