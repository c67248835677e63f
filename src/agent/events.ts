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
    return new Date(this.ms(at)).toISOString();
  }

  /** ms since 1970. */
  ms(at: Instant): number {
    return this.#wall() - (this.#clock.now() - at);
  }
}

/** An event that nobody has looked at yet: mostly nobody ever does. */
interface Kept extends Required<NewEvent> {
  readonly seq: number;
  /** ms since 1970, as it was when it was written. */
  readonly ms: number;
}

const viewOf = ({ seq, ms, at, type, severity, message, fields }: Kept): EventView => ({
  seq,
  time: new Date(ms).toISOString(),
  monotonicUs: Math.round(at * 1000),
  type,
  severity,
  message,
  fields,
});

/**
 * What happened, newest last: a bounded ring that the log, `peerless events` and its followers read. `record` notes the
 * instant and nothing more; texts, log lines and followers wait until the turn is over, since a turn may be a failover.
 */
export class EventLog {
  readonly #clock: Clock;
  readonly #wall: WallClock;
  readonly #log: Log;
  readonly #ring: Kept[] = [];
  readonly #followers = new Set<(event: EventView) => void>();
  #pending: (NewEvent & { readonly at: Instant })[] = [];
  #sequence = 0;

  constructor(clock: Clock, wall: WallClock, log: Log) {
    this.#clock = clock;
    this.#wall = wall;
    this.#log = log;
  }

  record(event: NewEvent): void {
    if (this.#pending.length === 0) setImmediate(() => this.#write());
    this.#pending.push({ ...event, at: event.at ?? this.#clock.now() });
  }

  since(sequence: number): EventView[] {
    this.#write();
    return this.#ring.filter((event) => event.seq > sequence).map(viewOf);
  }

  follow(follower: (event: EventView) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  #write(): void {
    const pending = this.#pending;
    this.#pending = [];
    for (const { type, severity = 'info', message, fields = {}, at } of pending) {
      const kept: Kept = { seq: ++this.#sequence, ms: this.#wall.ms(at), at, type, severity, message, fields };
      this.#ring.push(kept);
      if (this.#ring.length > KEPT) this.#ring.shift();
      this.#log[severity === 'warning' ? 'warn' : severity]({ event: type, ...fields }, message);
      if (this.#followers.size === 0) continue;
      const view = viewOf(kept);
      for (const follower of this.#followers) follower(view);
    }
  }
}
