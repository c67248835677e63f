import type { Address } from '../../model/address.ts';
import { type Clock, soon, type Timer } from '../../model/clock.ts';
import type { HostRoute } from '../../model/hosts.ts';

/** Hosts that are announced in one turn: some ten milliseconds of the loop, half of what one UPDATE holds. */
export const PORTION = 400;

/** Hosts of one delta that are told in one turn; fewer than there were, as soon as something newer is said of one. */
export interface Portion {
  readonly announced: readonly HostRoute[];
}

/**
 * Hosts that are announced in later turns, because thousands came in one delta: what other hosts, links and neighbours
 * have to say is heard in between. The newest word on a host is the one that counts: as soon as there is one, what waits
 * here is not said any more.
 */
export class Announcing<Story> {
  readonly #clock: Clock;
  readonly #tell: (portion: Portion, story: Story) => void;
  readonly #waiting = new Map<Address, { readonly route: HostRoute; readonly story: Story }>();
  /** How many hosts of a delta wait, or are told just now. */
  readonly #stories = new Map<Story, { left: number; readonly over: () => void }>();
  /** The innermost last: a listener may bring about news while it is told some. */
  readonly #telling: { announced: readonly HostRoute[] }[] = [];
  #timer: Timer | undefined;

  constructor(clock: Clock, tell: (portion: Portion, story: Story) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** In later turns. `over`: all was told, or overtaken. */
  add(routes: readonly HostRoute[], story: Story, over: () => void): void {
    this.#stories.set(story, { left: routes.length, over });
    for (const route of routes) this.#waiting.set(route.address, { route, story });
    this.#later();
  }

  /** At once. */
  tell(announced: readonly HostRoute[], story: Story): void {
    const portion = { announced };
    this.#telling.push(portion);
    try {
      this.#tell(portion, story);
    } finally {
      this.#telling.pop();
    }
  }

  /** Something newer is said of these, now or by the next `add`. */
  overtaken(addresses: readonly Address[]): void {
    if (addresses.length === 0) return;
    if (this.#telling.length > 0) {
      const newer = new Set(addresses);
      for (const portion of this.#telling)
        portion.announced = portion.announced.filter(({ address }) => !newer.has(address));
    }
    if (this.#waiting.size === 0) return;
    for (const address of addresses) {
      const waiting = this.#waiting.get(address);
      if (!waiting) continue;
      this.#waiting.delete(address);
      this.#less(waiting.story, 1);
    }
  }

  /** All of it now. */
  finish(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    while (this.#waiting.size > 0) this.#portion();
  }

  /** What waits is never told. */
  clear(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#waiting.clear();
    this.#stories.clear();
  }

  #later(): void {
    this.#timer ??= soon(this.#clock, () => {
      this.#timer = undefined;
      this.#portion();
      if (this.#waiting.size > 0) this.#later();
    });
  }

  /** Hosts of different deltas are told apart. */
  #portion(): void {
    const announced: HostRoute[] = [];
    let story: Story | undefined;
    for (const [address, waiting] of this.#waiting) {
      story ??= waiting.story;
      if (announced.length >= PORTION || waiting.story !== story) break;
      announced.push(waiting.route);
      this.#waiting.delete(address);
    }
    if (story === undefined) return;
    this.tell(announced, story);
    this.#less(story, announced.length);
  }

  #less(story: Story, hosts: number): void {
    const kept = this.#stories.get(story);
    if (!kept) return;
    kept.left -= hosts;
    if (kept.left > 0) return;
    this.#stories.delete(story);
    kept.over();
  }
}
