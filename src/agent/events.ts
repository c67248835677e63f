import type { Clock, Instant } from '../model/clock.ts';
import type { Log } from '../model/log.ts';
import type { EventView, Severity } from './api.ts';

const KEPT = 4096;

export interface NewEvent {
  readonly type: string;
  readonly severity?: Severity;
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
  /** When it happened, if not now. */
  readonly at?: Instant;
}

/** Maps instants of the monotonic clock to wall-clock time for people; the only place where the two meet. */
export class WallClock {
  readonly #clock: Clock;
  readonly #wall: () => number;

  constructor(clock: Clock, wall: () => number = Date.now) {
    this.#clock = clock;
    this.#wall = wall;
  }

  iso(at: Instant): string {
    return new Date(this.#wall() - (this.#clock.now() - at)).toISOString();
  }
}

/** What happened, newest last: a bounded ring that the log, `peerless events` and its followers read. */
export class EventLog {
  readonly #clock: Clock;
  readonly #wall: WallClock;
  readonly #log: Log;
  readonly #ring: EventView[] = [];
  readonly #followers = new Set<(event: EventView) => void>();
  #sequence = 0;

  constructor(clock: Clock, wall: WallClock, log: Log) {
    this.#clock = clock;
    this.#wall = wall;
    this.#log = log;
  }

  record(event: NewEvent): void {
    const at = event.at ?? this.#clock.now();
    const view: EventView = {
      seq: ++this.#sequence,
      time: this.#wall.iso(at),
      monotonicUs: Math.round(at * 1000),
      type: event.type,
      severity: event.severity ?? 'info',
      message: event.message,
      fields: event.fields ?? {},
    };
    this.#ring.push(view);
    if (this.#ring.length > KEPT) this.#ring.shift();
    const level = view.severity === 'warning' ? 'warn' : view.severity;
    this.#log[level]({ event: view.type, ...view.fields }, view.message);
    for (const follower of this.#followers) follower(view);
  }

  since(sequence: number): EventView[] {
    return this.#ring.filter((event) => event.seq > sequence);
  }

  follow(follower: (event: EventView) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }
}
