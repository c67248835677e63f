import { AF, FR_ACT, type Rtnetlink, type Rule } from 'rtnetlink-ts';
import type { Clock, Timer } from '../../model/clock.ts';
import { compareRules, rulesOf, sameRule } from '../policy-rules.ts';
import type { RuleKeeper } from '../rule-keeper.ts';

/**
 * Where packets go that come out of the tunnel: to a host of ours (`hosts`, a table that holds nothing else), into the
 * waiting room with those of a host that we stand by for (`shadows`), or nowhere. Never back into the fabric or a
 * tunnel, so that two switches that have both lost a server can't play ball with its packets.
 */
export interface ExitTables {
  readonly hosts: number;
  readonly shadows: number;
}

export interface ExitRulesOptions {
  readonly rtnetlink: Pick<Rtnetlink, 'dumpRules' | 'addRule' | 'deleteRule'>;
  readonly clock: Clock;
  readonly keeper: Pick<RuleKeeper, 'keep' | 'listening'> | undefined;
  readonly device: string;
  readonly tables: ExitTables;
  /** By which they are known as ours. */
  readonly protocol: number;
  /** What somebody removed could not be put back yet. */
  onError(error: Error): void;
}

/** Beyond those of the shadows (20100 and up), before the main table's. */
const PRIORITY = 20_200;
const RETRY = 1000;
const FAMILIES = [AF.INET, AF.INET6] as const;

export class ExitRules {
  readonly #options: ExitRulesOptions;
  #unkeep: (() => void) | undefined;
  /** One after the other: of two at once the second would find there what the first has just written. */
  #running: Promise<void> = Promise.resolve();
  #retry: Timer | undefined;
  #closed = false;

  constructor(options: ExitRulesOptions) {
    this.#options = options;
  }

  /** Writes what is missing, takes out what does not fit, and keeps it so until `close`. */
  async open(): Promise<void> {
    const { keeper, device, protocol } = this.#options;
    this.#unkeep = keeper?.keep({
      name: device,
      isWanted: (rule) => rule.protocol === protocol && this.#wanted(rule.family).some((each) => sameRule(each, rule)),
      restore: () => this.#restore(),
    });
    await keeper?.listening();
    await this.#write();
  }

  close(): void {
    this.#closed = true;
    this.#unkeep?.();
    this.#retry?.cancel();
  }

  #wanted(family: number): Rule[] {
    const { device, tables, protocol } = this.#options;
    const common = { family, inputInterface: device, protocol };
    // The last one first: until the others are there nothing gets out.
    return [
      { ...common, priority: PRIORITY + 2, action: FR_ACT.BLACKHOLE, table: 0 },
      { ...common, priority: PRIORITY + 1, action: FR_ACT.TO_TBL, table: tables.shadows },
      { ...common, priority: PRIORITY, action: FR_ACT.TO_TBL, table: tables.hosts },
    ];
  }

  async #write(): Promise<void> {
    const { rtnetlink, protocol } = this.#options;
    for (const family of FAMILIES) {
      const present = await rulesOf(rtnetlink, family);
      if (!present) continue;
      const { missing, left } = compareRules(present, this.#wanted(family), protocol);
      for (const rule of missing) if (!this.#closed) await rtnetlink.addRule(rule);
      for (const rule of left) if (!this.#closed) await rtnetlink.deleteRule(rule);
    }
  }

  #restore(): void {
    const { clock, onError } = this.#options;
    this.#running = this.#running
      .then(() => this.#write())
      .catch((error: Error) => {
        if (this.#closed) return;
        this.#retry?.cancel();
        this.#retry = clock.schedule(clock.now() + RETRY, () => this.#restore());
        onError(error);
      });
  }
}

export async function findExitRules(rtnetlink: Pick<Rtnetlink, 'dumpRules'>, protocol: number): Promise<Rule[]> {
  const rules: Rule[] = [];
  for (const family of FAMILIES) rules.push(...((await rulesOf(rtnetlink, family)) ?? []));
  return rules.filter((rule) => rule.protocol === protocol);
}
