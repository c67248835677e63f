import type { Address } from '../../model/address.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import type { NextHopObjects } from './next-hop-objects.ts';

/** By then (ms) the speaker has drawn its conclusions from what made us switch over, and its word counts alone again. */
const CONCLUDED = 3000;

interface Failure {
  readonly via: Address;
  readonly keys: readonly string[];
  readonly timer: Timer;
}

/** Next hops that are not to be used whatever the speaker says, for a while. */
export class Failures {
  readonly #objects: NextHopObjects;
  readonly #clock: Clock;
  readonly #over: () => void;
  readonly #failures = new Set<Failure>();

  /** `over`: some can be used again. */
  constructor(objects: NextHopObjects, clock: Clock, over: () => void) {
    this.#objects = objects;
    this.#clock = clock;
    this.#over = over;
  }

  /** @returns whether anything is other than before */
  add(via: Address, port: string | undefined): boolean {
    const keys = this.#objects.fail(via, port);
    if (keys.length === 0) return false;
    const timer = this.#clock.schedule(this.#clock.now() + CONCLUDED, () => this.#forgive(failure));
    const failure = { via, keys, timer };
    this.#failures.add(failure);
    return true;
  }

  forgive(via: Address): void {
    for (const failure of [...this.#failures]) if (failure.via === via) this.#forgive(failure);
  }

  close(): void {
    for (const { timer } of this.#failures) timer.cancel();
  }

  #forgive(failure: Failure): void {
    failure.timer.cancel();
    this.#failures.delete(failure);
    this.#objects.forgive(failure.keys);
    this.#over();
  }
}
