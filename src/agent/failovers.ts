import type { Clock, Instant } from '../model/clock.ts';
import type { FailoverView } from './api.ts';
import type { WallClock } from './events.ts';

const KEPT = 1000;

/**
 * One failover while it happens. On the path to the wire a step is one push of two values; names, rounding and wall
 * time wait until somebody asks.
 */
export class FailoverTrace {
  readonly id: number;
  readonly start: Instant;
  readonly cause: string;
  readonly port: string | undefined;
  hosts = 0;
  readonly #clock: Clock;
  readonly #names: string[] = [];
  readonly #instants: Instant[] = [];

  constructor(clock: Clock, id: number, start: Instant, cause: string, port: string | undefined) {
    this.#clock = clock;
    this.id = id;
    this.start = start;
    this.cause = cause;
    this.port = port;
  }

  /** A step of the same name counts once, at its first time. */
  step(name: string, at: Instant = this.#clock.now()): void {
    if (this.#names.includes(name)) return;
    this.#names.push(name);
    this.#instants.push(at);
  }

  view(wall: WallClock): FailoverView {
    const steps = this.#names
      .map((name, index) => ({ name, us: Math.round((this.#instants[index]! - this.start) * 1000) }))
      .sort((left, right) => left.us - right.us);
    return {
      id: this.id,
      time: wall.iso(this.start),
      cause: this.cause,
      ...(this.port === undefined ? {} : { port: this.port }),
      hosts: this.hosts,
      steps: [{ name: 'link event', us: 0 }, ...steps],
    };
  }
}

/** The failovers of this agent's life, bounded, newest last. */
export class Failovers {
  readonly #clock: Clock;
  readonly #wall: WallClock;
  readonly #kept: FailoverTrace[] = [];
  #count = 0;

  constructor(clock: Clock, wall: WallClock) {
    this.#clock = clock;
    this.#wall = wall;
  }

  begin(cause: string, start: Instant, port?: string): FailoverTrace {
    return new FailoverTrace(this.#clock, ++this.#count, start, cause, port);
  }

  /** Keeps a trace that turned out to concern hosts or ports. */
  keep(trace: FailoverTrace): void {
    this.#kept.push(trace);
    if (this.#kept.length > KEPT) this.#kept.shift();
  }

  last(count = KEPT): FailoverView[] {
    return this.#kept.slice(-count).map((trace) => trace.view(this.#wall));
  }
}
