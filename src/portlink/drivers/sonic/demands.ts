/** What was asked of SONiC and has not been seen done: each demand is answered once, whatever happens meanwhile. Pure. */
import type { Instant } from '../../../model/clock.ts';
import type { Picture } from './picture.ts';

interface Demand {
  readonly up: boolean;
  readonly waiting: Set<string>;
  readonly due: Instant;
  readonly failed: string[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Demands {
  #open: Demand[] = [];
  /** What we asked last of each port. */
  readonly #last = new Map<string, boolean>();
  /** Ports that were to be shut; that was given up, and may still lie in APPL_DB for an orchagent that comes later. */
  readonly #strays = new Set<string>();

  /** A port that is asked for the opposite while one demand is open is done, as far as that one is concerned. */
  add(ports: readonly string[], up: boolean, due: Instant): Promise<void> {
    for (const port of ports) {
      this.#last.set(port, up);
      this.#strays.delete(port);
    }
    for (const demand of this.#open) if (demand.up !== up) for (const port of ports) demand.waiting.delete(port);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#open.push({ up, waiting: new Set(ports), due, failed: [], resolve, reject });
    this.#answer();
    return promise;
  }

  lastAsked(port: string): boolean | undefined {
    return this.#last.get(port);
  }

  isUnderWay(port: string): boolean {
    return this.#open.some(({ waiting }) => waiting.has(port));
  }

  /** When the first of them has waited long enough. */
  due(): Instant | undefined {
    return this.#open.length === 0 ? undefined : Math.min(...this.#open.map(({ due }) => due));
  }

  /** `admin` of the running row is what counts: orchagent writes it when it takes the demand up, then sets the hardware. */
  seen({ ports }: Picture): void {
    for (const { waiting, up, failed } of this.#open) {
      for (const port of waiting) {
        const row = ports.get(port);
        if (row?.admin === up && row.demanded !== !up) waiting.delete(port);
        else if (row?.admin === undefined) {
          waiting.delete(port);
          failed.push(`${port}: SONiC has no such port any more`);
          if (!up) this.#giveUp(port);
        }
      }
    }
    this.#answer();
  }

  /** After a loss of the connection: what is neither done nor on its way was lost with it. */
  lost({ ports }: Picture): void {
    for (const { waiting, up, failed } of this.#open) {
      for (const port of waiting) {
        if (ports.get(port)?.demanded === up) continue;
        waiting.delete(port);
        failed.push(`${port}: the demand was lost with the connection to Redis`);
      }
    }
    this.#answer();
  }

  /** Gives up those that are due. */
  expire(now: Instant): void {
    for (const { waiting, up, due, failed } of this.#open) {
      if (due > now) continue;
      for (const port of waiting) {
        failed.push(`${port}: SONiC has not ${up ? 'opened' : 'shut'} it in time`);
        if (!up) this.#giveUp(port);
      }
      waiting.clear();
    }
    this.#answer();
  }

  /**
   * The ports whose shutting was given up, and is under way or done all the same: nobody remembers it, so they must be
   * asked for the opposite. A port is forgotten here when it runs as the operator wants it.
   */
  strays({ ports }: Picture): string[] {
    const due: string[] = [];
    for (const port of this.#strays) {
      const row = ports.get(port);
      if (!row) continue;
      const shut = row.demanded === false || (row.admin === false && row.demanded === undefined);
      if (!row.configUp || (row.admin && !shut)) this.#strays.delete(port);
      else if (shut) due.push(port);
    }
    return due;
  }

  /** What comes up now comes up because we want it. */
  #giveUp(port: string): void {
    this.#last.set(port, true);
    this.#strays.add(port);
  }

  abandon(reason: string): void {
    for (const { waiting, failed } of this.#open) {
      for (const port of waiting) failed.push(`${port}: ${reason}`);
      waiting.clear();
    }
    this.#answer();
  }

  #answer(): void {
    const done = this.#open.filter(({ waiting }) => waiting.size === 0);
    if (done.length === 0) return;
    this.#open = this.#open.filter(({ waiting }) => waiting.size > 0);
    for (const { failed, resolve, reject } of done) {
      if (failed.length === 0) resolve();
      else
        reject(
          new AggregateError(
            failed.map((each) => new Error(each)),
            failed.join('; '),
          ),
        );
    }
  }
}

export function errorsOf(reason: unknown): Error[] {
  if (reason instanceof AggregateError) return reason.errors as Error[];
  return [reason instanceof Error ? reason : new Error(String(reason))];
}
