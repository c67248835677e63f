/**
 * What comes in by an uplink is looked up in a table before the main one (`ip rule iif`): there stand the routes of hosts
 * that another switch claims above us (`HostRoute.yields`). Our own servers, and the box itself, don't see them.
 *
 * A box with strict reverse path filtering (`rp_filter` 1) can't have that: what such a host still sends would be dropped,
 * since the main table has its way through the fabric, and so would be what the gateway sends back.
 *
 * The rules are known as ours by the protocol number of the host routes. What the kernel refused is tried again, what
 * another program removed is put back (rule-keeper.ts); while it can't be, no host yields.
 */
import { AF, FR_ACT, type Rtnetlink, type Rule, requests } from 'rtnetlink-ts';
import type { Clock, Timer } from '../model/clock.ts';
import { type Counters, sendPaced } from './installing.ts';
import { compareRules, rulesOf, sameRule } from './policy-rules.ts';
import { ReversePath } from './reverse-path.ts';
import type { RuleKeeper } from './rule-keeper.ts';

export interface FabricRulesOptions {
  readonly table: number;
  readonly protocol: number;
  /** Name in /run/netns or absolute path. */
  readonly netns?: string | undefined;
  readonly keeper?: Pick<RuleKeeper, 'keep' | 'listening'>;
  /** `ready`: all rules are there. */
  onReady(ready: boolean): void;
  /** `strict` says something else than it said last. */
  onStrict?(strict: boolean): void;
}

/** Before those of shadows (20100) and of the repair tunnel. */
const PRIORITY = 20_000;
const RETRY = 1_000;
const FAMILIES = [AF.INET, AF.INET6] as const;

export class FabricRules {
  readonly #rtnetlink: Pick<Rtnetlink, 'dumpRules' | 'sendNow'>;
  readonly #clock: Clock;
  readonly #options: FabricRulesOptions;
  readonly #counters: Counters = {};
  readonly #reversePath: ReversePath;
  #uplinks: readonly string[] = [];
  #ready = false;
  #running: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #unkeep: (() => void) | undefined;
  #closed = false;

  constructor(rtnetlink: Pick<Rtnetlink, 'dumpRules' | 'sendNow'>, clock: Clock, options: FabricRulesOptions) {
    this.#rtnetlink = rtnetlink;
    this.#clock = clock;
    this.#options = options;
    const { netns, onStrict = () => undefined } = options;
    this.#reversePath = new ReversePath({ netns, clock, onChange: (strict) => onStrict(strict) });
  }

  /** There are uplinks, and what comes in by any of them is looked up as it should be. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Some interface takes only what it would itself answer by, as it is now. */
  strict(): boolean {
    return this.#reversePath.strict;
  }

  /** Resolves when it was tried; then, or later, `onReady` says how it went. */
  configure(uplinks: readonly string[]): Promise<void> {
    if (uplinks.some((name) => !this.#uplinks.includes(name))) this.#tell(false);
    this.#uplinks = uplinks;
    if (uplinks.length > 0 && !this.#closed) this.#keep();
    return this.#compareNext();
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.#counters, 'rp_filter.readings': this.#reversePath.readings };
  }

  async leave(): Promise<void> {
    this.close();
    this.#uplinks = [];
    await this.#running;
    await this.#compare();
  }

  close(): void {
    this.#closed = true;
    this.#reversePath.close();
    this.#unkeep?.();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #keep(): void {
    this.#unkeep ??= this.#options.keeper?.keep({
      name: 'uplinks',
      isWanted: (rule) =>
        rule.protocol === this.#options.protocol && this.#wanted(rule.family).some((each) => sameRule(each, rule)),
      restore: () => void this.#compareNext(),
      onMissing: () => this.#tell(false),
    });
  }

  #compareNext(): Promise<void> {
    const { keeper } = this.#options;
    this.#running = this.#running
      .then(() => (this.#unkeep ? keeper?.listening() : undefined))
      .then(() => this.#compare());
    return this.#running;
  }

  async #compare(): Promise<void> {
    const uplinks = this.#uplinks;
    let right = false;
    try {
      right = (await this.#write()) === 0;
    } catch {
      this.#counters.unread = (this.#counters.unread ?? 0) + 1;
    }
    if (this.#closed || uplinks !== this.#uplinks) return;
    if (!right) {
      this.#timer ??= this.#clock.schedule(this.#clock.now() + RETRY, () => {
        this.#timer = undefined;
        void this.#compareNext();
      });
    }
    this.#tell(right && uplinks.length > 0);
  }

  #tell(ready: boolean): void {
    if (ready === this.#ready) return;
    this.#ready = ready;
    this.#options.onReady(ready);
  }

  #wanted(family: number): Rule[] {
    const { table, protocol } = this.#options;
    return this.#uplinks.map((inputInterface, index) => ({
      ...{ family, priority: PRIORITY + index, action: FR_ACT.TO_TBL },
      ...{ table, inputInterface, protocol },
    }));
  }

  /** @returns how many rules the kernel refused */
  async #write(): Promise<number> {
    let failed = 0;
    for (const family of FAMILIES) {
      const wanted = this.#wanted(family);
      const present = await rulesOf(this.#rtnetlink, family);
      if (present === undefined) continue;
      const { missing, left } = compareRules(present, wanted, this.#options.protocol);
      failed += await sendPaced(this.#rtnetlink, missing, (rule) => [requests.addRule(rule)], this.#counters);
      failed += await sendPaced(this.#rtnetlink, left, (rule) => [requests.deleteRule(rule)], this.#counters);
    }
    return failed;
  }
}

/** By our protocol number. Rejects when the kernel can't be read. */
export async function findFabricRules(
  rtnetlink: Pick<Rtnetlink, 'dumpRules'>,
  protocol: number,
): Promise<readonly Rule[]> {
  const rules: Rule[] = [];
  for (const family of FAMILIES) rules.push(...((await rulesOf(rtnetlink, family)) ?? []));
  return rules.filter((rule) => rule.protocol === protocol);
}
