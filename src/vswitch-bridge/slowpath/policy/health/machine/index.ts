/**
 * Whether a backend lives, by probes: pure. A backend that is new counts as alive, so that a service works from its first
 * moment; after `retries` failures in a row it is out, after one success it is in again.
 */
import type { Instant } from '../../../../../model/clock.ts';

export interface CheckSettings {
  /** Milliseconds. */
  readonly interval: number;
  readonly timeout: number;
  readonly retries: number;
  /** What no answer within `timeout` says: of TCP that it is dead, of UDP nothing bad. */
  readonly silence: 'alive' | 'dead';
}

export type HealthEvent =
  | { readonly kind: 'deadline' }
  /** The answer to the probe with this number; of an older probe it is no answer any more. */
  | { readonly kind: 'answer'; readonly probe: number; readonly alive: boolean };

export type HealthEffect =
  | { readonly kind: 'probe'; readonly probe: number }
  | { readonly kind: 'abandon'; readonly probe: number }
  | { readonly kind: 'changed'; readonly alive: boolean };

export class HealthMachine {
  readonly #settings: CheckSettings;
  #alive: boolean;
  #failures: number;
  #probe = 0;
  /** A probe is under way, until this moment. */
  #until: Instant | undefined;
  #next: Instant;

  /** `alive`: what was known of it before; `at`: the first probe. */
  constructor(settings: CheckSettings, at: Instant, alive = true) {
    this.#settings = settings;
    this.#next = at;
    this.#alive = alive;
    this.#failures = alive ? 0 : settings.retries;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get failures(): number {
    return this.#failures;
  }

  nextDeadline(): Instant {
    return this.#until ?? this.#next;
  }

  handle(event: HealthEvent, now: Instant): readonly HealthEffect[] {
    if (event.kind === 'answer') {
      if (this.#until === undefined || event.probe !== this.#probe) return [];
      this.#until = undefined;
      return this.#judge(event.alive);
    }
    if (this.#until !== undefined) {
      if (now < this.#until) return [];
      this.#until = undefined;
      return [{ kind: 'abandon', probe: this.#probe }, ...this.#judge(this.#settings.silence === 'alive')];
    }
    if (now < this.#next) return [];
    this.#probe++;
    this.#until = now + this.#settings.timeout;
    // Missed ones are not made up for.
    this.#next = Math.max(now, this.#next + this.#settings.interval);
    if (this.#next <= now) this.#next = now + this.#settings.interval;
    return [{ kind: 'probe', probe: this.#probe }];
  }

  #judge(answered: boolean): readonly HealthEffect[] {
    this.#failures = answered ? 0 : Math.min(this.#failures + 1, this.#settings.retries);
    const alive = answered || (this.#alive && this.#failures < this.#settings.retries);
    if (alive === this.#alive) return [];
    this.#alive = alive;
    return [{ kind: 'changed', alive }];
  }
}
