/*
 * Binds the groups to ports, clock and disk. Everything up to the kernel's socket happens in the turn of the event, in
 * this order: hosts withdrawn (the hook), the intent on disk (see state-file.ts), all ports to shut in one batch, all
 * ports to open in one batch. Only then hooks for the rest, the log, the timer, and the snapshot.
 *
 * The withdrawal comes first because it costs some hundred microseconds, while the kernel may take many milliseconds to
 * close the devices one after another.
 */
import { Alarm, type Clock, type Instant, type Timer } from '../model/clock.ts';
import type { Log } from '../model/log.ts';
import { isOpen, type LinkState, type Port, type PortChange, type PortDriver, PortError } from '../model/ports.ts';
import { BOUNCE } from './machine/bounced.ts';
import { DRAIN } from './machine/drained.ts';
import type { PortLinkGroups } from './machine/groups.ts';
import type { Memory, PortLinkEffect, PortLinkEvent, PortLinkGroupConfig, RememberedPort } from './machine/types.ts';
import { StateFile, type StateStore, type StoredPort } from './state-file.ts';

export interface PortLinkDriverOptions {
  readonly groups: PortLinkGroups;
  readonly ports: PortDriver;
  readonly links: LinkState;
  readonly clock: Clock;
  readonly log: Log;
  /** Its folder is made when missing; `<stateFile>.intent` and `.new` stand beside it. */
  readonly stateFile: string;
  /** Kept in `stateFile` when absent. */
  readonly state?: StateStore;
  /** ms since 1970; default Date.now. Only for what is stored. */
  readonly wallClock?: () => number;
  /**
   * Called for every effect in the turn of its event. On `withdraw` the hosts of the ports must leave the announcements
   * before it returns; everything else comes after the kernel has been asked, for traces and events.
   */
  readonly onEffect?: (effect: PortLinkEffect, at: Instant) => void;
  /** What was shut can't be written down, and why; undefined: it can again. */
  readonly onUnwritable?: (problem: string | undefined) => void;
}

/** After a snapshot that could not be written, until the next attempt, ms. */
const SAVE_AGAIN = 5_000;

export class PortLinkDriver {
  readonly #options: PortLinkDriverOptions;
  readonly #state: StateStore;
  readonly #wallClock: () => number;
  readonly #queue: (PortLinkEvent | readonly PortLinkEvent[])[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #watched = new Set<string>();
  #memory: Memory | undefined;
  /** Ports that were drained or bounced once; they may be in no group. */
  readonly #beside = new Set<string>();
  #handling = false;
  /** undefined: what was to be saved last was not. */
  #savedVersion: number | undefined;
  #saveTimer: Timer | undefined;
  #unwritable: string | undefined;
  readonly #alarm: Alarm;
  #stopped = false;

  constructor(options: PortLinkDriverOptions) {
    this.#options = options;
    this.#wallClock = options.wallClock ?? Date.now;
    this.#state = options.state ?? new StateFile(options.stateFile);
    this.#savedVersion = options.groups.memoryVersion;
    this.#alarm = new Alarm(options.clock, () => this.handle({ type: 'tick' }));
  }

  get groups(): PortLinkGroups {
    return this.#options.groups;
  }

  /**
   * Reads what an earlier run left shut and the ports as they are, and takes both, with what the agent already knows
   * (verdicts, upstream), as one picture. The links must have been read before.
   */
  start(known: readonly PortLinkEvent[] = []): void {
    const memory = this.#earlier();
    this.handle([{ type: 'restore', memory }, ...this.#observations(this.groups.configs(), memory.ports), ...known]);
  }

  /** Before `start`: ports that the caller is about to shut are remembered beside what an earlier run left. */
  remember(ports: readonly RememberedPort[]): void {
    const { ports: earlier, holds } = this.#earlier();
    const fresh = new Set(ports.map(({ port }) => port));
    this.#memory = { ports: [...earlier.filter(({ port }) => !fresh.has(port)), ...ports], holds };
    this.handle({ type: 'restore', memory: this.#memory });
  }

  /** Read once: what is handled before `start` is written over it. */
  #earlier(): Memory {
    if (this.#memory) return this.#memory;
    const { clock, log } = this.#options;
    const { ports, holds, problems, unwritable } = this.#state.load();
    for (const problem of problems) log.error({ file: this.#options.stateFile }, `portlink: state file: ${problem}`);
    if (unwritable !== undefined) {
      this.#disk(unwritable);
      this.#saveAgain();
    }
    const shift = clock.now() - this.#wallClock();
    for (const { port, group } of ports) if (group === DRAIN || group === BOUNCE) this.#beside.add(port);
    if (ports.length > 0) {
      log.info({ ports: ports.map(({ port }) => port) }, 'portlink: ports were left shut by an earlier run');
    }
    this.#memory = { ports: ports.map((port) => ({ ...port, since: port.since + shift })), holds };
    return this.#memory;
  }

  /** To be called for every change that LinkState reports, after the host table has had it. */
  portChanged({ name, after }: PortChange): void {
    if (!this.#watched.has(name)) return;
    this.handle(after ? observation(after) : { type: 'portGone', port: name });
  }

  /**
   * Groups change, are added, or go. `known`: verdicts other than carrier on uplinks that are new; without them such an
   * uplink is not up.
   */
  configure(groups: readonly PortLinkGroupConfig[], known: readonly PortLinkEvent[] = []): void {
    this.handle([{ type: 'configure', groups }, ...this.#observations(groups), ...known]);
  }

  /** Planned work, for ports of any group and of none: shut until `undrain` gives them back to their groups. */
  drain(ports: readonly string[], reason: string): void {
    for (const port of ports) this.#beside.add(port);
    this.handle([...this.#observations(this.groups.configs()), { type: 'drain', ports, reason }]);
  }

  /** Shut and opened again, for ports of any group and of none; not where a group wants it open. */
  bounce(ports: readonly string[], reason: string): void {
    for (const port of ports) this.#beside.add(port);
    this.handle([...this.#observations(this.groups.configs()), { type: 'bounce', ports, reason }]);
  }

  undrain(ports: readonly string[]): void {
    this.handle({ type: 'undrain', ports });
  }

  /** What a hook hands in while an event is handled waits for that event's effects. */
  handle(events: PortLinkEvent | readonly PortLinkEvent[]): void {
    if (this.#stopped) return;
    this.#queue.push(events);
    if (this.#handling) return;
    this.#handling = true;
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
        const now = this.#options.clock.now();
        this.#perform(this.#options.groups.handle(next, now), now);
      }
    } finally {
      this.#handling = false;
    }
    this.#alarm.set(this.#stopped ? undefined : this.groups.nextDeadline());
    this.#saveIfChanged();
  }

  /** Resolves when the kernel has answered and the disk holds everything so far. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /**
   * Reopens what groups with `onStop: reopen` have shut; the others leave it to the next start, unless that would not know
   * of it: nothing can be written.
   */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    const configs = this.groups.configs();
    const reopens = ({ onStop }: PortLinkGroupConfig): boolean => onStop === 'reopen' || this.#unwritable !== undefined;
    if (configs.some(reopens)) {
      this.handle({
        type: 'configure',
        groups: configs.map((config) => (reopens(config) ? { ...config, enabled: false } : config)),
      });
    }
    await this.settled();
    this.#stopped = true;
    this.#alarm.set(undefined);
    this.#saveTimer?.cancel();
    await this.settled();
    await this.#state.close();
  }

  /** Also of ports that we have shut and that are in no group any more: unseen they could not be opened. */
  #observations(
    configs: readonly PortLinkGroupConfig[],
    shut: Memory['ports'] = this.groups.memory().ports,
  ): PortLinkEvent[] {
    const ofGroups = configs.flatMap(({ uplinks, downlinks }) => [...uplinks, ...downlinks]);
    this.#watched = new Set([...ofGroups, ...this.#beside, ...shut.map(({ port }) => port)]);
    return [...this.#watched].map((name) => {
      const port = this.#options.links.port(name);
      return port ? observation(port) : { type: 'portGone', port: name };
    });
  }

  #perform(effects: readonly PortLinkEffect[], now: Instant): void {
    if (effects.length === 0) return;
    const shut: string[] = [];
    const open: string[] = [];
    for (const effect of effects) {
      if (effect.type === 'withdraw') this.#hook(effect, now);
      else if (effect.type === 'shut') shut.push(...effect.ports);
      else if (effect.type === 'open') open.push(...effect.ports);
    }
    if (shut.length > 0) {
      this.#intend(shut);
      this.#setAdmin(shut, false);
    }
    if (open.length > 0) this.#setAdmin(open, true);
    for (const effect of effects) {
      if (effect.type !== 'withdraw') this.#hook(effect, now);
      this.#report(effect);
    }
  }

  #hook(effect: PortLinkEffect, now: Instant): void {
    try {
      this.#options.onEffect?.(effect, now);
    } catch (error) {
      // Whatever the agent failed at, the ports still have to be shut.
      this.#options.log.error({ err: error, effect }, 'portlink: an effect was not carried through');
    }
  }

  #intend(ports: readonly string[]): void {
    const wanted = new Set(ports);
    try {
      this.#state.intend(this.#stored(this.groups.memory()).filter(({ port }) => wanted.has(port)));
    } catch (error) {
      // A broken disk must not stop a failover; until it is mended a crash would leave these ports shut and unknown.
      this.#options.log.error({ err: error, ports }, 'portlink: shutting ports without a record on disk');
      this.#disk((error as Error).message);
    }
  }

  #setAdmin(ports: readonly string[], up: boolean): void {
    const done = (): void => this.handle({ type: up ? 'openDone' : 'shutDone', ports });
    const failed = (error: unknown): void => {
      const reason = error instanceof Error ? error.message : String(error);
      const named = portsNamedBy(error);
      const refused = named ? ports.filter((port) => named.has(port)) : ports;
      const others = named ? ports.filter((port) => !named.has(port)) : [];
      this.handle([
        ...(others.length > 0 ? [{ type: up ? 'openDone' : 'shutDone', ports: others } as const] : []),
        { type: up ? 'openFailed' : 'shutFailed', ports: refused, reason },
      ]);
    };
    let answer: Promise<void>;
    try {
      answer = this.#options.ports.setAdmin(ports, up);
    } catch (error) {
      answer = Promise.reject(error);
    }
    this.#track(answer.then(done, failed));
  }

  #report(effect: PortLinkEffect): void {
    const { log } = this.#options;
    const { type, group, ...fields } = effect;
    if (effect.type === 'alarm') log.warn({ group }, `portlink: ${group}: ${effect.reason}`);
    else if (effect.type === 'state') {
      log.info({ group, ...fields }, `portlink: ${group}: ${effect.from} -> ${effect.to}: ${effect.reason}`);
    } else {
      const what = effect.type === 'dryRun' ? `dry run, would ${effect.action}` : type;
      log.info({ group, ...fields }, `portlink: ${group}: ${what} ${effect.ports.join(', ')}`);
    }
  }

  #saveIfChanged(): void {
    const version = this.groups.memoryVersion;
    if (version === this.#savedVersion) return;
    this.#savedVersion = version;
    const memory = this.groups.memory();
    this.#track(
      this.#state.save({ ports: this.#stored(memory), holds: memory.holds }).then(
        () => this.#disk(undefined),
        (error: Error) => {
          this.#disk(error.message);
          this.#saveAgain();
        },
      ),
    );
  }

  #disk(problem: string | undefined): void {
    if (problem === this.#unwritable) return;
    this.#unwritable = problem;
    const file = this.#options.stateFile;
    if (problem === undefined) this.#options.log.info({ file }, 'portlink: the state is saved again');
    else this.#options.log.error({ file }, `portlink: the state was not saved: ${problem}`);
    this.#options.onUnwritable?.(problem);
  }

  /** Or a hold that was ended while the disk was full would be there again after a crash. */
  #saveAgain(): void {
    const { clock } = this.#options;
    if (this.#stopped) return;
    this.#saveTimer?.cancel();
    this.#saveTimer = clock.schedule(clock.now() + SAVE_AGAIN, () => {
      this.#saveTimer = undefined;
      this.#savedVersion = undefined;
      this.#saveIfChanged();
    });
  }

  #stored(memory: Memory): StoredPort[] {
    const shift = this.#wallClock() - this.#options.clock.now();
    return memory.ports.map((port) => ({ ...port, since: Math.round(port.since + shift) }));
  }

  #track(promise: Promise<void>): void {
    this.#underWay.add(promise);
    const over = (): void => {
      this.#underWay.delete(promise);
    };
    promise.then(over, over);
  }
}

/** undefined: it does not say of every failure which port it was. */
function portsNamedBy(error: unknown): ReadonlySet<string> | undefined {
  if (!(error instanceof AggregateError) || error.errors.length === 0) return undefined;
  const named = error.errors.filter((each) => each instanceof PortError);
  return named.length === error.errors.length ? new Set(named.map(({ port }) => port)) : undefined;
}

/** Shut is shut, by admin state or by protodown: which one was ours only the driver of the ports knows. */
const observation = (port: Port): PortLinkEvent => ({
  type: 'port',
  port: port.name,
  adminUp: isOpen(port),
  carrier: port.carrier,
});
