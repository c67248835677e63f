import type { Instant } from '../../model/clock.ts';
import type { Book } from './book.ts';
import type { Host } from './host.ts';

/** In a turn of the loop; ten thousand hosts that return at once take forty. */
const PORTION = 256;

/**
 * Where our own servers' packets go for a host that another switch claims above us.
 *
 * The fabric follows the stronger claim, and our own servers should too: the other switch has the host, or expects it and
 * keeps what comes for it meanwhile. Going by our own route until the host is found to have left here (a quarter of a
 * second, and three questions) would lose what they send. So the kernel's route of such a host is for what comes from the
 * fabric alone, as long as the gateway has not turned; everybody else takes the fabric's way. Nothing can go to and fro
 * between gateway and us: what comes back from there is delivered here.
 *
 * On the wire nothing changes, and whether the host is still here is found out as ever. One that answers here for long
 * after it was claimed (`claimedTwice`) did not move: then our servers have it back. So has one that nobody asks.
 */
export class Yielding {
  readonly #book: Book;
  readonly #pending = new Set<Host>();
  #dueAt: Instant = Number.POSITIVE_INFINITY;
  readonly count = { yielded: 0 };

  constructor(book: Book) {
    this.#book = book;
  }

  /** Another switch's claim of a host that we know has changed. */
  claimed(host: Host, now: Instant): void {
    const wanted = this.#wanted(host);
    if (host.yields !== wanted) this.#later(host, now);
    else this.#pending.delete(host);
  }

  /** What claims mean for it has changed without a new one: a host that was just heard here yields to none that was there. */
  weighed(host: Host, now: Instant): void {
    if (host.yields && !this.#wanted(host)) this.#later(host, now);
    else this.#pending.delete(host);
  }

  #later(host: Host, now: Instant): void {
    this.#pending.add(host);
    this.#dueAt = Math.min(this.#dueAt, now);
  }

  nextDeadline(): Instant {
    return this.#pending.size === 0 ? Number.POSITIVE_INFINITY : this.#dueAt;
  }

  tick(now: Instant): void {
    if (this.#pending.size === 0 || now < this.#dueAt) return;
    let left = PORTION;
    for (const host of this.#pending) {
      if (!this.#book.turn.allows('yielding') || left-- === 0) break;
      this.#pending.delete(host);
      const wanted = this.#wanted(host);
      if (host.yields === wanted) continue;
      host.yields = wanted;
      if (!host.route) continue;
      const { yields: _, ...route } = host.route;
      host.route = wanted ? { ...route, yields: true } : route;
      if (wanted) this.count.yielded++;
      const reason = wanted
        ? 'another switch claims it above us: our servers reach it through the fabric'
        : 'it is ours';
      this.#book.turn.note(host, 'yielding', host.port, reason);
    }
    this.#dueAt = this.#pending.size === 0 ? Number.POSITIVE_INFINITY : now + 1;
  }

  #wanted(host: Host): boolean {
    const { rules, claims } = this.#book;
    if (!rules.policy.yielding || !host.route || host.route.shadow || rules.activeActive(host)) return false;
    const rival = claims.best(host.address);
    if (rival === undefined || rival <= host.level) return false;
    return !host.live || (rules.probing && host.answersProbes && !host.claimedTwice);
  }
}
