import type { Address } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { Book } from './book.ts';
import { endHold, extendHold, forgetMoves, isHeld, stillDuplicate } from './damping.ts';
import { Deadlines } from './deadlines.ts';
import type { Asking, Host } from './host.ts';
import { incumbentOf, SUSPICION_MS } from './incumbent.ts';
import { answerTimeout, nextStep, nextWake } from './liveness.ts';
import { Pace } from './pace.ts';
import type { PortState } from './port-state.ts';
import { type Search, Searches } from './search.ts';
import type { Heard } from './types.ts';

/** Probes (and settling claims) leave in portions of 64 each 5 ms: 12,800 a second at most. */
const PACE = { perWindow: 64, window: 5 };
/** When a held or doubted host is silent, another place counts if it was heard there this lately. */
const ELSEWHERE_MS = 2_000;
/** How often static hosts are looked for when probing is off. */
const STATIC_SEARCH_MS = 5_000;

/** Everything that happens because time passes: silent hosts are asked and given up, holds and raised claims end. */
export class Watch {
  readonly searches = new Searches();
  readonly count = { settled: 0, probes: 0, probesUnsent: 0, verifications: 0 };
  readonly #book: Book;
  readonly #deadlines = new Deadlines<Host>();
  readonly #pace = new Pace(PACE.perWindow, PACE.window);
  /** The last tick left something for the next portion. */
  #paced = false;

  constructor(book: Book) {
    this.#book = book;
  }

  nextDeadline(): Instant | undefined {
    const due = Math.min(
      this.#deadlines.first()?.wakeAt ?? Number.POSITIVE_INFINITY,
      this.searches.nextDeadline(),
      this.#book.sweepAt,
    );
    if (due === Number.POSITIVE_INFINITY) return undefined;
    return this.#paced ? Math.max(due, this.#pace.readyAt()) : due;
  }

  /** To be called when anything changed that a deadline hangs on, except that a host was heard. */
  wake(host: Host, now: Instant): void {
    // Never due again in the same turn, so that a tick ends.
    this.#deadlines.set(host, Math.max(nextWake(host, this.#book.rules), now + 0.001));
  }

  /** Asks a host at once whether it is where we think. */
  doubt(host: Host, asking: Asking, now: Instant): void {
    if (!this.#book.rules.probing || !host.answersProbes) return;
    const underWay = host.asking === 'verify' || host.asking === 'rival';
    if (!underWay || asking === 'rival') host.asking = asking;
    // Doubts that come in quick succession must not put off the verdict.
    if (underWay) return;
    this.count.verifications++;
    host.verifiedAt = now;
    host.attempts = 0;
    host.askAt = now;
    if (this.#pace.take(now)) this.#ask(host, now);
    this.wake(host, now);
  }

  /** Once, at another place than where the host is taken to be. */
  askAt(place: Heard, now: Instant): void {
    if (!this.#book.rules.probing || !this.#book.ports.get(place.port)?.usable) return;
    if (this.#pace.take(now)) this.#probe(place);
  }

  /** As `doubt`, but not more often than a host may be doubted: then a little later. */
  doubtInTime(host: Host, spacing: number, now: Instant): void {
    const due = host.verifiedAt + spacing;
    if (now >= due) this.doubt(host, 'verify', now);
    else if (host.doubtAt > due) {
      host.doubtAt = due;
      this.wake(host, now);
    }
  }

  /** An operator says that it is over: what was heard elsewhere is not, so that a silent one goes there at once. */
  forgive(host: Host, now: Instant): void {
    const held = isHeld(host);
    const suspected = host.live && now < host.refutedUntil;
    forgetMoves(host);
    host.refutedUntil = Number.NEGATIVE_INFINITY;
    if (held) this.#book.changeState(host, 'reachable', 'cleared by hand');
    if (!held && !suspected) return;
    this.doubt(host, 'verify', now);
    this.wake(host, now);
  }

  probeUnsent(address: Address): void {
    this.count.probesUnsent++;
    const host = this.#book.hosts.get(address);
    if (host?.live && host.attempts > 0) host.attempts--;
  }

  /** The next tick may find a host silent. */
  verdictDue(now: Instant): boolean {
    return this.#deadlines.mayBeDue(
      now,
      (host) => host.live && host.asking !== 'no' && nextStep(host, this.#book.rules, now) === 'silent',
    );
  }

  tick(now: Instant): void {
    this.#paced = false;
    for (let host = this.#deadlines.first(); host && host.wakeAt <= now; host = this.#deadlines.first()) {
      if (!this.#attend(host, now)) break;
    }
    for (let search = this.searches.due(now); search; search = this.searches.due(now)) {
      if (!this.#pursue(search, now)) break;
    }
    if (this.#book.sweepAt <= now) this.#book.sweep(now);
  }

  /** A port is usable again: its static hosts and those that were there are asked, for a silent one says nothing. */
  searchPort(port: PortState, now: Instant): void {
    if (!port.usable) return;
    const { rules } = this.#book;
    if (rules.probing) {
      const limit = rules.policy.limits.total;
      for (const { address, mac, vlan } of port.left) {
        this.searches.start(address, mac, port.name, now, { limit, vlan });
      }
    }
    for (const entry of rules.statics.values()) if (entry.port === port.name) this.searchStatic(entry.address, now);
  }

  searchStatic(address: Address, now: Instant): void {
    const entry = this.#book.rules.statics.get(address);
    if (!entry) return;
    this.searches.start(address, entry.mac, entry.port, now, { endless: true, limit: Number.POSITIVE_INFINITY });
  }

  /** Evidence of unknown age: ask before believing. `here`: rather than wherever else it is searched for. */
  searchFor(heard: Pick<Heard, 'address' | 'mac' | 'port' | 'vlan'>, now: Instant, here = false): void {
    if (!here && this.searches.has(heard.address)) return;
    const limit = this.#book.rules.policy.limits.total;
    if (!this.searches.start(heard.address, heard.mac, heard.port, now, { limit, vlan: heard.vlan })) {
      this.#book.refuse(heard, 'search-limit', now);
    }
  }

  /** Without an end, as for a static host. false: there are too many searches. */
  seek(address: Address, port: string, now: Instant): boolean {
    if (this.searches.has(address)) return true;
    const limit = this.#book.rules.policy.limits.total;
    return this.searches.start(address, undefined, port, now, { endless: true, limit });
  }

  /** false: it must wait for the next turn, and stays first in line. */
  #attend(host: Host, now: Instant): boolean {
    if (!host.live) {
      this.#deadlines.delete(host);
      return true;
    }
    if (isHeld(host) && host.heldUntil <= now) this.#holdEnds(host, now);
    if (host.settleAt <= now) {
      if (!this.#book.turn.allows('settled') || !this.#takePace(now)) return false;
      host.settleAt = Number.POSITIVE_INFINITY;
      host.level = 0;
      host.contested = false;
      this.count.settled++;
      this.#book.announce(host, 'settled', 'no rival claim left');
    }
    if (host.doubtAt <= now) {
      host.doubtAt = Number.POSITIVE_INFINITY;
      this.doubt(host, 'verify', now);
    }
    const step = nextStep(host, this.#book.rules, now);
    if (step === 'ask') {
      if (!this.#takePace(now)) return false;
      if (host.asking === 'no') host.asking = host.contested ? 'rival' : 'routine';
      this.#ask(host, now);
    } else if (step === 'silent' && !this.#silent(host, now)) return false;
    if (host.live) this.wake(host, now);
    return true;
  }

  /** It answered no probe. false: not in this turn, whose delta has another cause. */
  #silent(host: Host, now: Instant): boolean {
    const back = incumbentOf(host, now);
    const place = [back, this.#heardElsewhere(host, now)].find((each) => each && this.#couldBeAt(each, host));
    const kind = place ? 'moved' : host.asking === 'rival' ? 'rival' : 'silent';
    if (!this.#book.turn.allows(kind)) return false;
    host.incumbent = undefined;
    if (place) {
      const noted = this.#heardElsewhere(host, now);
      this.#book.relocate(host, place, this.#book.ports.get(place.port)!, now);
      if (place === back) {
        host.refutedUntil = now + SUSPICION_MS;
        if (!noted?.stale) host.elsewhere = noted;
      }
      // Nobody was heard there lately: it was there before. Or whoever was heard need not be the host.
      if (place.stale || now < host.refutedUntil) this.doubt(host, 'verify', now);
      return true;
    }
    const claimed = kind === 'rival' ? ', and another switch claims it' : '';
    this.#book.withdraw(host, kind, `no answer to ${host.attempts} probes${claimed}`, now);
    return true;
  }

  #heardElsewhere(host: Host, now: Instant): Heard | undefined {
    return now - host.elsewhereAt > ELSEWHERE_MS ? undefined : host.elsewhere;
  }

  #couldBeAt(place: Heard, host: Host): boolean {
    const port = this.#book.ports.get(place.port);
    if (!port?.usable || this.#book.rules.refusePlace(place)) return false;
    return port.name === host.port || port.hosts.size < this.#book.rules.policy.limits.perPort;
  }

  #holdEnds(host: Host, now: Instant): void {
    if (stillDuplicate(host, now)) {
      extendHold(host, this.#book.rules.damping, now);
      return;
    }
    endHold(host, now);
    this.#book.changeState(host, 'reachable', 'heard at one place only');
  }

  #ask(host: Host, now: Instant): void {
    if (host.asking === 'routine' && host.attempts === 0) this.#book.spread(host);
    host.attempts++;
    host.askAt = now + answerTimeout(host, this.#book.rules);
    this.#probe(host);
    if (host.attempts === 2 && host.state === 'reachable') this.#book.changeState(host, 'probing', 'no answer yet');
  }

  #pursue(search: Search, now: Instant): boolean {
    const { interval, timeout } = this.#book.rules.policy.probe;
    const ceiling = interval || STATIC_SEARCH_MS;
    if (this.#book.hosts.get(search.address)?.live || !this.#book.ports.get(search.port)?.usable) {
      this.searches.rest(search, now, ceiling);
      return true;
    }
    if (!this.#takePace(now)) return false;
    this.#probe(search);
    this.searches.advance(search, now, timeout, ceiling);
    return true;
  }

  #probe(target: Host | Search | Heard): void {
    this.count.probes++;
    const { address, mac, port, vlan } = target;
    this.#book.turn.effects.push({ type: 'probe', address, mac, port, ...(vlan ? { vlan } : {}) });
  }

  #takePace(now: Instant): boolean {
    if (this.#pace.take(now)) return true;
    this.#paced = true;
    return false;
  }
}
