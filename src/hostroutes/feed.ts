import type { Instant } from '../model/clock.ts';
import type { HostEvent } from './machine/types.ts';

/** Nothing that was heard before may make these wait. */
const URGENT: ReadonlySet<HostEvent['type']> = new Set(['portDown', 'blockPorts']);

export interface FeedOptions {
  readonly now: () => Instant;
  /** Tells the table, and performs what comes of it. */
  readonly handle: (event: HostEvent, at: Instant) => void;
  /** After the last of several. */
  readonly done: () => void;
}

/**
 * The events of the table, one after the other. Those that a listener causes while an earlier one is told wait for their
 * turn.
 *
 * What is heard on a port is told at once when it is the first of this turn of the loop; what other ports say in the same
 * turn is gathered and told at its end, or before whatever else happens: when a thousand hosts on forty ports speak at
 * once, that is one delta, one write to each neighbour and to the kernel, and not forty.
 */
export class Feed {
  readonly #options: FeedOptions;
  #pending: { event: HostEvent; at: Instant }[] | undefined;
  /** undefined: nothing was heard in this turn. */
  #heard: HostEvent[] | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  give(event: HostEvent, at: Instant): void {
    if (this.#heard !== undefined && this.#heard.length > 0 && !URGENT.has(event.type)) this.flush();
    this.#give(event, at);
  }

  hear(events: readonly HostEvent[]): void {
    if (this.#heard !== undefined) {
      for (const event of events) this.#heard.push(event);
      return;
    }
    this.#gather();
    this.#give(oneOf(events), this.#options.now());
  }

  /** Told at once, ahead of what else was heard in this turn. */
  ahead(event: HostEvent): void {
    if (this.#heard === undefined) this.#gather();
    this.#give(event, this.#options.now());
  }

  /** What was heard is told now. */
  flush(): void {
    const heard = this.#heard;
    if (heard === undefined || heard.length === 0) return;
    this.#heard = [];
    this.#give(oneOf(heard), this.#options.now());
  }

  /** What was heard is forgotten. */
  clear(): void {
    if (this.#heard) this.#heard = [];
  }

  #gather(): void {
    this.#heard = [];
    setImmediate(() => {
      const heard = this.#heard;
      this.#heard = undefined;
      if (heard !== undefined && heard.length > 0) this.#give(oneOf(heard), this.#options.now());
    });
  }

  #give(event: HostEvent, at: Instant): void {
    if (this.#pending) {
      this.#pending.push({ event, at });
      return;
    }
    const { handle, done } = this.#options;
    const pending: { event: HostEvent; at: Instant }[] = [];
    this.#pending = pending;
    try {
      handle(event, at);
      for (let next = pending.shift(); next; next = pending.shift()) handle(next.event, next.at);
    } finally {
      this.#pending = undefined;
    }
    done();
  }
}

export const oneOf = (events: readonly HostEvent[]): HostEvent =>
  events.length === 1 ? events[0]! : { type: 'batch', events };
