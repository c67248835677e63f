/** Requests of one turn, and what is believed again when the kernel refuses one of them. */
import type { Request, Rtnetlink } from 'rtnetlink-ts';
import { type Counters, countRefusals } from '../installing.ts';

/**
 * Who gives an order writes down its outcome as if it had succeeded, for what comes after it in the same turn, and takes
 * that back in `refused`. The kernel has answered all when `send` returns.
 */
export class Orders {
  readonly #requests: Request[] = [];
  readonly #refused: ((code: string) => void)[] = [];

  get length(): number {
    return this.#requests.length;
  }

  push(request: Request, refused: (code: string) => void): void {
    this.#requests.push(request);
    this.#refused.push(refused);
  }

  /** @returns how many were refused */
  send(socket: Pick<Rtnetlink, 'sendAndSee'>, counters: Counters): number {
    if (this.#requests.length === 0) return 0;
    const outcome = socket.sendAndSee(this.#requests);
    countRefusals(counters, outcome);
    // The last first: an order that was built on another is taken back before it.
    for (const { index, refusal } of outcome.refused.toReversed()) this.#refused[index]!(refusal.code);
    return outcome.refused.length;
  }
}
