import type { Address } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { ClaimLevel } from '../../model/hosts.ts';
import type { Book } from './book.ts';
import { levelAgainst } from './claims.ts';
import { countMove, isHeld } from './damping.ts';
import { type Host, RANK } from './host.ts';
import { answers, placeOf } from './incumbent.ts';
import type { Leaving } from './leaving.ts';
import type { Returning } from './returning.ts';
import type { Shadows } from './shadows.ts';
import { Takeovers } from './takeovers.ts';
import type { Heard, Source } from './types.ts';
import type { Watch } from './watch.ts';

/** A host that somebody may only pretend to be is asked this often at most. */
const SUSPECT_MS = 250;

/**
 * What the sources say of hosts, weighed: a host is learned, heard on at its place, heard at another one, or a source does
 * not vouch for it any more. Whom nobody vouches for goes; whoever can be asked is asked first.
 */
export class Evidence {
  readonly #book: Book;
  readonly #watch: Watch;
  readonly #returning: Returning;
  readonly #leaving: Leaving;
  readonly #shadows: Shadows;
  readonly takeovers: Takeovers;
  #count = 0;

  constructor(book: Book, watch: Watch, returning: Returning, leaving: Leaving, shadows: Shadows) {
    this.#book = book;
    this.#watch = watch;
    this.#returning = returning;
    this.#leaving = leaving;
    this.#shadows = shadows;
    this.takeovers = new Takeovers(book, watch);
  }

  /** How often anything was heard. */
  get count(): number {
    return this.#count;
  }

  heard(heard: Heard, now: Instant): void {
    this.#count++;
    const host = this.#book.hosts.get(heard.address);
    if (!host?.live) this.#learn(host, heard, now);
    else if (host.port !== heard.port || host.mac !== heard.mac || host.ifindex !== heard.ifindex) {
      this.elsewhere(host, heard, now);
    } else if (!heard.stale) {
      if (heard.vlan !== undefined) host.vlan = heard.vlan;
      this.#refresh(host, heard, now);
    }
  }

  /** The hot one: a known host at its place. No deadline is moved and nothing allocated. */
  #refresh(host: Host, heard: Heard, now: Instant): void {
    const rank = RANK[heard.source];
    host.heardBy[rank] = now;
    host.evidence[rank] = heard.how;
    host.heardAt = now;
    if (host.incumbent !== undefined && answers(heard)) host.proven = true;
    if (rank < RANK.arp || host.asking === 'no') return;
    host.asking = 'no';
    host.attempts = 0;
    if (host.contested) this.#book.answeredRival(host, now);
    if (host.state === 'probing') this.#book.changeState(host, 'reachable', 'answered');
  }

  #learn(known: Host | undefined, heard: Heard, now: Instant): void {
    const book = this.#book;
    const port = book.admit(heard, now);
    if (!port) return;
    const refusal = book.rules.refuseAddress(heard.address) ?? book.full(port, false, now);
    if (refusal) {
      book.refuse(heard, refusal, now);
      return;
    }
    if (heard.stale && book.rules.probing) {
      this.#watch.searchFor(heard, now);
      return;
    }
    const expected = this.#returning.heard(known, port, now);
    this.#leaving.back(heard.address);
    this.#shadows.heard(heard.address);
    const host = book.enter(known, heard, port, now);
    // An expected host's rival may be out of sight already: the gateway stops showing what it no longer uses.
    host.level = Math.max(levelAgainst(book.claims.best(host.address)), expected) as ClaimLevel;
    book.weighRivals(host, now);
    book.announce(host, 'heard', host.reason);
    this.#shadows.makeRoom(now);
    this.#watch.searches.found(host.address);
    this.#watch.wake(host, now);
  }

  elsewhere(host: Host, heard: Heard, now: Instant): void {
    const book = this.#book;
    const port = book.admit(heard, now);
    if (!port || heard.stale) return;
    const rank = RANK[heard.source];
    if (!host.answersProbes && rank > RANK.kernel) {
      book.refuse(heard, 'outranked', now);
      return;
    }
    // The kernel may still confirm an old place by itself; ARP that was heard outweighs it until the host is asked.
    if (rank === RANK.neighbour && host.heardBy[RANK.arp]! >= 0) {
      this.#noteElsewhere(host, heard, now);
      book.refuse(heard, 'outranked', now);
      return;
    }
    if (this.takeovers.refuted(host, heard, port, now)) {
      this.#watch.wake(host, now);
      return;
    }
    if (isHeld(host)) {
      this.#noteElsewhere(host, heard, now);
      book.refuse(heard, this.takeovers.suspects(host, now) ? 'refuted' : 'duplicate', now);
      return;
    }
    const moves = port.name !== host.port;
    const refusal = moves ? book.full(port, true, now) : undefined;
    if (refusal) {
      book.refuse(heard, refusal, now);
      return;
    }
    const claimed = moves || host.mac !== heard.mac;
    const suspect = claimed && this.takeovers.suspects(host, now);
    if (countMove(host, book.rules.damping, now)) {
      if (suspect) {
        this.#noteElsewhere(host, heard, now, SUSPECT_MS);
        book.refuse(heard, 'refuted', now);
        return;
      }
      const before = { ...placeOf(host), source: heard.source };
      book.relocate(host, heard, port, now);
      // Whoever says so may lie: a host that does not answer at its new place is looked for where it was.
      if (claimed && host.answersProbes) this.takeovers.begun(host, before, now);
    } else {
      this.#noteElsewhere(host, heard, now);
      const places = moves ? `on ${host.port} and ${heard.port}` : `with ${host.mac} and ${heard.mac}`;
      book.changeState(host, 'duplicate', `alive ${places}`);
    }
    this.#watch.wake(host, now);
  }

  /** Remembers the other place and asks at the present one whether the host is still there. */
  #noteElsewhere(host: Host, heard: Heard, now: Instant, spacing = this.#book.rules.damping.floor): void {
    host.elsewhere = heard;
    host.elsewhereAt = now;
    this.#watch.doubtInTime(host, spacing, now);
  }

  /** Of somebody whom we believe less than the host: it is asked, and goes there when it does not answer. */
  claimed(heard: Heard, now: Instant): void {
    const host = this.#book.hosts.get(heard.address);
    if (!host?.live || (host.port === heard.port && host.mac === heard.mac) || !this.#book.admit(heard, now)) return;
    // Nobody has heard him here: where the host is silent, he is asked.
    this.#noteElsewhere(host, { ...heard, stale: true }, now, SUSPECT_MS);
  }

  lost(source: Source, address: Address, portName: string, now: Instant): void {
    const host = this.#book.hosts.get(address);
    if (!host?.live || host.port !== portName) return;
    const rank = RANK[source];
    // That the kernel had no answer is worth a question even if it was not the kernel that we believed.
    if (host.heardBy[rank]! < 0 && source !== 'neighbour') return;
    const others = host.heardBy.some(
      (at, other) => at >= 0 && other !== rank && other !== RANK.static && this.#vouches(other),
    );
    // The kernel's table is hearsay (entries go by garbage collection too): the host itself has the last word.
    const asks = rank >= RANK.arp && this.#book.rules.probing;
    if (!others && !asks) {
      this.#book.withdraw(host, 'lost', `${source} does not vouch any more`, now);
      return;
    }
    if (others) host.heardBy[rank] = -1;
    if (asks) this.#watch.doubt(host, 'verify', now);
    else this.#watch.wake(host, now);
  }

  /** With ARP snooping off, answers to our questions are noted as ARP, and say no more than that the host is alive. */
  #vouches(rank: number): boolean {
    return rank !== RANK.arp || this.#book.rules.enabled('arp');
  }
}
