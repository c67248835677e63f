import type { EventLog } from '../events.ts';

export type BlindListener = (blind: boolean, reason: string) => void;
export type OnBlind = (listener: BlindListener) => () => void;

/** One eye of several: blind as long as any of the sources is. */
export function anyBlind(...sources: readonly OnBlind[]): OnBlind {
  return (listener) => {
    const lost = new Map<OnBlind, string>();
    const ends = sources.map((source) =>
      source((blind, reason) => {
        const before = lost.size;
        if (blind) lost.set(source, reason);
        else if (!lost.delete(source)) return;
        if (lost.size === 0) listener(false, reason);
        else if (before === 0) listener(true, reason);
      }),
    );
    return () => {
      for (const end of ends) end();
    };
  };
}

/** Whether the ports can be seen; without sight the port-link groups are frozen, and the operator has to know. */
export class Sight {
  readonly #events: EventLog;
  readonly #freeze: BlindListener;
  #lost: string | undefined;
  #losses = 0;

  constructor(events: EventLog, freeze: BlindListener) {
    this.#events = events;
    this.#freeze = freeze;
  }

  readonly changed: BlindListener = (blind, reason) => {
    if (blind === (this.#lost !== undefined)) return;
    this.#lost = blind ? reason : undefined;
    if (blind) this.#losses++;
    this.#freeze(blind, reason);
    this.#events.record({
      type: blind ? 'ports.blind' : 'ports.seen',
      severity: blind ? 'warning' : 'info',
      message: blind ? `the ports can not be seen, port-link groups are frozen: ${reason}` : reason,
      fields: { blind, reason },
    });
  };

  warnings(): string[] {
    return this.#lost === undefined ? [] : [`the ports can not be seen, port-link groups are frozen: ${this.#lost}`];
  }

  counters(): Record<string, number> {
    return { losses: this.#losses, blind: this.#lost === undefined ? 0 : 1 };
  }
}
