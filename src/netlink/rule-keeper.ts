/**
 * Rules of ours that another program takes out of the kernel (`ip rule flush`, a network manager that starts) are put back.
 * But not for ever at once: who takes them out again and again may have his reasons, and two programs that undo each
 * other's work help nobody. So often a minute, and then an operator is told.
 *
 * The socket is opened when somebody has rules to keep, since most boxes have none.
 */
import type { Change, Rule } from 'rtnetlink-ts';
import type { Clock, Instant, Timer } from '../model/clock.ts';
import type { Log } from '../model/log.ts';

export interface KeptRules {
  /** What they are for, in a word or two. */
  readonly name: string;
  isWanted(rule: Rule): boolean;
  /** Writes what is missing; sees to it by itself that what was refused is tried again. */
  restore(): void;
  /** Some are missing, and stay so for up to a minute. */
  onMissing?(): void;
}

/** `Subscription` of the kind `rule` fits. */
export interface RuleNews {
  onChange(listener: (change: Change) => void): unknown;
  close(): void;
}

export interface RuleKeeperOptions {
  readonly clock: Clock;
  readonly log: Log | undefined;
  readonly open: () => Promise<RuleNews>;
}

/** Put back so often in a minute. */
export const MOST = 10;
const MINUTE = 60_000;
/** Many are taken out at a stroke, one after the other (ms). */
const GATHER = 20;
const RETRY = 1_000;

interface Upkeep {
  readonly rules: KeptRules;
  /** When they were put back, in the last minute. */
  times: Instant[];
  contestedAt: Instant;
  timer: Timer | undefined;
}

export class RuleKeeper {
  readonly #options: RuleKeeperOptions;
  readonly #upkeeps = new Set<Upkeep>();
  readonly #counters = { removed: 0, putBack: 0, contested: 0 };
  #news: RuleNews | undefined;
  /** The first attempt to listen, and whether it was one in vain. */
  #opening: Promise<void> | undefined;
  #failed = false;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: RuleKeeperOptions) {
    this.#options = options;
  }

  /** From now on, until what it answers is called. */
  keep(rules: KeptRules): () => void {
    const upkeep: Upkeep = { rules, times: [], contestedAt: Number.NEGATIVE_INFINITY, timer: undefined };
    this.#upkeeps.add(upkeep);
    void this.listening();
    return () => {
      upkeep.timer?.cancel();
      this.#upkeeps.delete(upkeep);
    };
  }

  /** To be awaited before rules are written: what is removed from then on is noticed, unless there is no socket to be had. */
  listening(): Promise<void> {
    this.#opening ??= this.#open();
    return this.#opening;
  }

  /** By name those that somebody takes out again and again. */
  contested(): string[] {
    const since = this.#options.clock.now() - 2 * MINUTE;
    return [...this.#upkeeps].flatMap(({ rules, contestedAt }) => (contestedAt > since ? [rules.name] : []));
  }

  /** `removed`: rules that somebody else took out; `putBack`, `contested`: how often it was done, and put off. */
  counters(): Readonly<Record<string, number>> {
    return this.#counters;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const { timer } of this.#upkeeps) timer?.cancel();
    this.#upkeeps.clear();
    this.#news?.close();
  }

  async #open(): Promise<void> {
    const { open, clock, log } = this.#options;
    try {
      const news = await open();
      if (this.#closed) {
        news.close();
        return;
      }
      this.#news = news;
      news.onChange((change) => {
        if (change.kind === 'rule' && change.before && !change.after) this.#gone(change.before);
      });
      // Whatever became of them before somebody listened.
      if (this.#failed) for (const { rules } of this.#upkeeps) rules.restore();
    } catch (error) {
      if (this.#closed) return;
      this.#failed = true;
      log?.warn({ err: error }, 'rules that others remove are not noticed yet, it is tried again');
      this.#timer = clock.schedule(clock.now() + RETRY, () => void this.#open());
    }
  }

  #gone(rule: Rule): void {
    for (const upkeep of this.#upkeeps) {
      if (!upkeep.rules.isWanted(rule)) continue;
      this.#counters.removed++;
      if (!upkeep.timer) this.#putBack(upkeep);
    }
  }

  #putBack(upkeep: Upkeep): void {
    const { clock, log } = this.#options;
    const { rules } = upkeep;
    const now = clock.now();
    upkeep.times = upkeep.times.filter((time) => time > now - MINUTE);
    let at = now + GATHER;
    if (upkeep.times.length >= MOST) {
      at = upkeep.times[0]! + MINUTE;
      upkeep.contestedAt = now;
      this.#counters.contested++;
      log?.error(
        { rules: rules.name },
        'another program removes rules of ours again and again; they wait for a minute',
      );
      rules.onMissing?.();
    } else log?.warn({ rules: rules.name }, 'another program has removed rules of ours, they are put back');
    upkeep.timer = clock.schedule(at, () => {
      upkeep.timer = undefined;
      upkeep.times.push(clock.now());
      this.#counters.putBack++;
      rules.restore();
    });
  }
}
