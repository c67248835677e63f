/** Who waits until a route is in the kernel. */
import type { Prefix } from '../model/address.ts';

/** For one prefix; the eldest gives way. */
const MAXIMUM_WAITERS = 16;

const CLOSED = (): Error => new Error('the installer was closed');

const NOBODY: readonly Waiter[] = [];

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
}

export class Arrivals {
  readonly #waiters = new Map<Prefix, Waiter[]>();
  #closed = false;

  /** Resolves with `arrived`, rejects with `gone`. */
  wait(prefix: Prefix): Promise<void> {
    if (this.#closed) return Promise.reject(CLOSED());
    return new Promise((resolve, reject) => {
      const waiters = this.#waiters.get(prefix) ?? [];
      this.#waiters.set(prefix, waiters);
      waiters.push({ resolve, reject });
      if (waiters.length > MAXIMUM_WAITERS) waiters.shift()!.reject(new Error(`too many wait for ${prefix}`));
    });
  }

  arrived(prefix: Prefix): void {
    for (const { resolve } of this.#take(prefix)) resolve();
  }

  gone(prefix: Prefix): void {
    // An error costs its stack, and ten thousand routes go in a turn for which nobody waits.
    for (const { reject } of this.#take(prefix)) reject(new Error(`${prefix} was removed`));
  }

  close(): void {
    this.#closed = true;
    for (const prefix of [...this.#waiters.keys()]) for (const { reject } of this.#take(prefix)) reject(CLOSED());
  }

  #take(prefix: Prefix): readonly Waiter[] {
    const waiters = this.#waiters.get(prefix);
    if (!waiters) return NOBODY;
    this.#waiters.delete(prefix);
    return waiters;
  }
}
