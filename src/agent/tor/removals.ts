import type { Address } from '../../model/address.ts';

interface Removal {
  addresses: readonly Address[];
  /** The fabric knows. */
  readonly turned: boolean;
  readonly done: () => void;
  next: number;
}

/** Addresses that go out of the kernel in one turn: a few milliseconds of the loop. */
const PORTION = 512;

/**
 * Host routes that have to leave the kernel, after everything that somebody waits for: the wire, and the shutting of ports.
 * A port that is shut takes its routes along by itself, and ten thousand of them one by one are a tenth of a second, so
 * they go in portions with turns of the loop between them.
 */
export class Removals {
  readonly #remove: (addresses: readonly Address[], turned: boolean) => void;
  readonly #queue: Removal[] = [];
  #continuation: NodeJS.Immediate | undefined;

  constructor(remove: (addresses: readonly Address[], turned: boolean) => void) {
    this.#remove = remove;
  }

  /** `done` runs when the last one was handed to the kernel. */
  add(addresses: readonly Address[], turned: boolean, done: () => void): void {
    this.#queue.push({ addresses, turned, done, next: 0 });
  }

  /** Those of them that wait go now, before they are announced again; all others keep their turn. */
  overtaken(addresses: readonly Address[]): void {
    if (this.#queue.length === 0) return;
    const newer = new Set(addresses);
    for (const removal of this.#queue) {
      const left = removal.addresses.slice(removal.next);
      const now = left.filter((address) => newer.has(address));
      if (now.length === 0) continue;
      removal.addresses = left.filter((address) => !newer.has(address));
      removal.next = 0;
      this.#remove(now, removal.turned);
    }
  }

  /** The first portion now, what is left turn by turn. */
  begin(): void {
    if (this.#continuation || this.#queue.length === 0) return;
    this.#portion();
    if (this.#queue.length > 0) this.#continue();
  }

  /** All of it now. */
  finish(): void {
    clearImmediate(this.#continuation);
    this.#continuation = undefined;
    while (this.#queue.length > 0) this.#portion();
  }

  #continue(): void {
    this.#continuation = setImmediate(() => {
      this.#continuation = undefined;
      this.begin();
    });
  }

  #portion(): void {
    for (let room = PORTION; room > 0; ) {
      const [first] = this.#queue;
      if (!first) return;
      const portion = first.addresses.slice(first.next, first.next + room);
      first.next += portion.length;
      room -= portion.length;
      const over = first.next >= first.addresses.length;
      if (over) this.#queue.shift();
      if (portion.length > 0) this.#remove(portion, first.turned);
      if (over) first.done();
    }
  }
}
