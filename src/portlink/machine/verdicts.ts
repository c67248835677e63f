import type { Instant } from '../../model/clock.ts';
import type { Condition, PortLinkGroupConfig, UplinkView } from './types.ts';

interface Verdict {
  readonly ok: boolean;
  readonly reason: string;
  readonly since: Instant;
}

/** What is known of the uplinks, by condition. An uplink of which a wanted condition was never judged is not up. */
export class Verdicts {
  readonly #byPort = new Map<string, Map<Condition, Verdict>>();

  set(port: string, condition: Condition, ok: boolean, reason: string, now: Instant): void {
    let verdicts = this.#byPort.get(port);
    if (!verdicts) {
      verdicts = new Map();
      this.#byPort.set(port, verdicts);
    }
    const before = verdicts.get(condition);
    verdicts.set(condition, { ok, reason, since: before?.ok === ok ? before.since : now });
  }

  isUp(port: string, upWhen: readonly Condition[]): boolean {
    const verdicts = this.#byPort.get(port);
    for (const condition of upWhen) {
      if (!verdicts?.get(condition)?.ok) return false;
    }
    return true;
  }

  upCount({ uplinks, upWhen }: PortLinkGroupConfig): number {
    let count = 0;
    for (const port of uplinks) {
      if (this.isUp(port, upWhen)) count++;
    }
    return count;
  }

  /** `0 of 2 uplinks up, 1 needed (A0: no carrier; A9: no carrier)` */
  sentence(config: PortLinkGroupConfig): string {
    const down: string[] = [];
    for (const port of config.uplinks) {
      for (const { ok, condition, reason } of this.#verdictsOf(port, config.upWhen)) {
        if (!ok) down.push(`${port}: ${reason || `${condition} failed`}`);
      }
    }
    const up = `${this.upCount(config)} of ${config.uplinks.length} uplinks up, ${config.minUplinks} needed`;
    return down.length ? `${up} (${down.join('; ')})` : up;
  }

  view(port: string, upWhen: readonly Condition[], shutByUs: boolean): UplinkView {
    return { port, up: this.isUp(port, upWhen), verdicts: this.#verdictsOf(port, upWhen), shutByUs };
  }

  #verdictsOf(port: string, upWhen: readonly Condition[]): UplinkView['verdicts'] {
    const verdicts = this.#byPort.get(port);
    return upWhen.map((condition) => {
      const verdict = verdicts?.get(condition);
      return verdict
        ? { condition, ...verdict }
        : { condition, ok: false, reason: `${condition} not known yet`, since: undefined };
    });
  }
}
