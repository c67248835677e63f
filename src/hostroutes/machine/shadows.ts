import type { Address, Mac } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import { type ForeignClaim, type HostRoute, LEAST_GROUP } from '../../model/hosts.ts';
import type { Book } from './book.ts';
import { Host } from './host.ts';
import { Pace } from './pace.ts';
import type { CauseKind } from './types.ts';

/**
 * Hosts of the other switch that we stand by for.
 *
 * The fabric shows that the other announces a host which could live behind a port of ours: so we announce it too, worse
 * than anything real. When the other's announcement goes, the gateway has ours in its table already, and what it sends
 * waits here for the host to be heard. Then it is a host like any other; when nobody is heard for `hold`, it goes.
 *
 * A shadow follows a real claim alone, never a shadow (the speakers tell them apart), so two switches can't keep each
 * other's shadows alive. Nothing here is urgent: the backup has to be there before the failure, not within it. So a shadow
 * begins a while after the claim, when the gateway has computed with that and is ready to take a second LSA for the
 * prefix (RFC 2328 MinLSArrival), and shadows come and go in portions.
 */

/** From the claim to the shadow (ms). */
const STAND_BY_AFTER = 1_000;
/** 51,200 a second at most. */
const PACE = { perWindow: 256, window: 5 };
/** Of a port's or a group's changes, which come in bursts (ms). */
const RECHECK_AFTER = 20;
/** A host whose shadows end in vain again and again is stood by for ever later: twice the time at each end (ms). */
const LONGEST_PENALTY = 60_000;
const FORGIVEN_AFTER = 300_000;
/** Ended shadows of hosts that were never here, kept to answer why they are not announced. */
const FORMER = 256;

export const NO_MAC = '00:00:00:00:00:00' as Mac;

/** Hosts behind one port of the other switch. */
interface Group {
  size: number;
  /** When one of them was heard here, and let the others be expected. */
  ledAt: Instant;
}

interface Flaps {
  readonly ends: number;
  readonly at: Instant;
}

export class Shadows {
  readonly #book: Book;
  readonly #pace = new Pace(PACE.perWindow, PACE.window);
  readonly #shadows = new Map<Address, Host>();
  /** When they end; all are held equally long, so this is in the order of the deadlines. */
  readonly #ending = new Map<Address, Instant>();
  /** When they are considered; in the order of the deadlines. */
  readonly #candidates = new Map<Address, Instant>();
  readonly #flaps = new Map<Address, Flaps>();
  readonly #former = new Set<Host>();
  /** Our own hosts that left in the last turns. */
  #withdrawn: (readonly Address[])[] = [];
  #withdrawnAt: Instant = Number.POSITIVE_INFINITY;
  #recheckAt: Instant = Number.POSITIVE_INFINITY;
  /** A recheck that is under way, and since when. */
  #recheck: { readonly addresses: Iterator<Address>; readonly since: Instant } | undefined;
  readonly #groups = new Map<string, Group>();
  /** Something was refused for want of room. */
  #full = false;
  #paced = false;
  readonly count = { shadowsBegun: 0, shadowsServed: 0, shadowsEnded: 0, shadowsDisplaced: 0, shadowsRefused: 0 };

  constructor(book: Book) {
    this.#book = book;
  }

  get size(): number {
    return this.#shadows.size;
  }

  /** The claims on this address have changed. */
  claimed(address: Address, now: Instant): void {
    if (!this.#book.rules.policy.shadow) return;
    const claims = this.#claimsOn(address);
    if (claims.length === 0) {
      this.#candidates.delete(address);
      this.#letGo(address, now);
      return;
    }
    const shadow = this.#shadows.get(address);
    if (shadow) {
      if (this.#ending.delete(address)) shadow.reason = standingFor(claims[0]!);
      this.#regroup(shadow, claims);
    } else if (claims.some((claim) => !claim.leaving)) this.#consider(address, now);
  }

  /** Hosts of ours left: where another has taken them over, we stand by from now on. Nothing is looked up in this turn. */
  withdrew(addresses: readonly Address[], now: Instant): void {
    if (!this.#book.rules.policy.shadow || addresses.length === 0) return;
    this.#withdrawn.push(addresses);
    this.#withdrawnAt = Math.min(this.#withdrawnAt, now + RECHECK_AFTER);
  }

  /**
   * A shadow behind the same port as many others, of whom none was heard lately: where it is heard the packets of all can
   * go. True once: it is about to be heard.
   */
  leads(address: Address, now: Instant): boolean {
    const name = this.#shadows.get(address)?.route?.group;
    const group = name === undefined ? undefined : this.#groups.get(name);
    if (!group || group.size < LEAST_GROUP || now - group.ledAt < this.#book.rules.policy.shadow!.hold) return false;
    group.ledAt = now;
    return true;
  }

  /** It was heard at a port of ours, and is a host like any other. */
  heard(address: Address): void {
    if (!this.#drop(address)) return;
    this.#ending.delete(address);
    this.#flaps.delete(address);
    this.count.shadowsServed++;
  }

  /** It is announced ahead of its return: as a host of ours, though it is not here yet. */
  stepAside(host: Host): void {
    if (!this.#drop(host.address)) return;
    this.#ending.delete(host.address);
    host.state = 'gone';
  }

  /** A real host was learned: shadows give way to it. */
  makeRoom(now: Instant): void {
    if (this.#shadows.size === 0 || this.#book.live + this.#shadows.size <= this.#book.rules.policy.limits.total)
      return;
    const [oldest] = this.#shadows.values();
    this.count.shadowsDisplaced++;
    this.#full = true;
    this.#end(oldest!, 'gave way to a host of ours', now);
  }

  /** Ports went up, down, open or shut, or the policy is another: who could live here is judged anew. */
  placesChanged(now: Instant): void {
    if (this.#shadows.size === 0 && this.#book.claims.size === 0) return;
    this.#recheckAt = Math.min(this.#recheckAt, now + RECHECK_AFTER);
  }

  nextDeadline(): Instant {
    const due = Math.min(
      first(this.#ending),
      first(this.#candidates),
      this.#withdrawnAt,
      this.#recheck?.since ?? this.#recheckAt,
    );
    return this.#paced ? Math.max(due, this.#pace.readyAt()) : due;
  }

  tick(now: Instant): void {
    this.#paced = false;
    if (this.#withdrawnAt <= now) this.#takeWithdrawn(now);
    for (const [address, until] of this.#ending) {
      if (until > now) break;
      if (!this.#mayGoOn('shadowEnded', now)) return;
      this.#noteFlap(address, now);
      this.#end(this.#shadows.get(address)!, 'no other switch announces it any more, and it was not heard here', now);
    }
    if (!this.#recheckPlaces(now)) return;
    for (const [address, due] of this.#candidates) {
      if (due > now) break;
      if (!this.#mayGoOn('shadow', now)) return;
      this.#candidates.delete(address);
      if (this.#penaltyOf(address) > now) this.#consider(address, now);
      else this.#begin(address, now);
    }
  }

  #consider(address: Address, now: Instant): void {
    if (this.#candidates.has(address)) return;
    if (this.#candidates.size < this.#book.rules.policy.limits.total)
      this.#candidates.set(address, now + STAND_BY_AFTER);
    else this.#refuse();
  }

  #isOver(): boolean {
    return this.#book.live + this.#shadows.size > this.#book.rules.policy.limits.total;
  }

  #refuse(): void {
    this.count.shadowsRefused++;
    this.#full = true;
  }

  #letGo(address: Address, now: Instant): void {
    const host = this.#shadows.get(address);
    if (!host || this.#ending.has(address)) return;
    this.#ending.set(address, now + this.#book.rules.policy.shadow!.hold);
    host.reason = 'no other switch announces it any more: it is waited for here';
  }

  #begin(address: Address, now: Instant): void {
    const { rules, hosts, live } = this.#book;
    const claims = this.#claimsOn(address);
    const standsFor = claims.find((claim) => !claim.leaving);
    if (!standsFor || this.#shadows.has(address) || this.#obstacle(address) !== undefined) return;
    if (live + this.#shadows.size >= rules.policy.limits.total) {
      this.#refuse();
      return;
    }
    const { interface: name, ifindex, mac } = rules.policy.shadow!.door;
    let host = hosts.get(address);
    if (!host) {
      host = new Host(address, { mac: NO_MAC, port: '', interface: '', ifindex: 0 });
      hosts.set(address, host);
    }
    this.#book.keepFor(host);
    host.level = 0;
    host.since = now;
    host.route = { address, interface: name, ifindex, mac, level: 0, shadow: true, ...groupOf(standsFor) };
    this.#shadows.set(address, host);
    this.#join(host);
    this.count.shadowsBegun++;
    this.#book.changeState(host, 'shadow', standingFor(standsFor));
    this.#book.turn.note(host, 'shadow', undefined, 'another switch announces them, and we could serve them');
  }

  /** Behind another port there, or of another switch. */
  #regroup(host: Host, claims: readonly ForeignClaim[]): void {
    const standsFor = claims.find((claim) => !claim.leaving);
    if (!standsFor || !host.route) return;
    const { group, ...route } = host.route;
    const after = groupOf(standsFor);
    if (group === after.group) return;
    this.#part(host);
    host.route = { ...route, ...after };
    this.#join(host);
    this.#book.turn.note(host, 'shadow', undefined, 'behind another port of the other switch');
  }

  #drop(address: Address): boolean {
    const host = this.#shadows.get(address);
    if (!host) return false;
    this.#part(host);
    return this.#shadows.delete(address);
  }

  #join({ route }: Host): void {
    if (route?.group === undefined) return;
    const group = this.#groups.get(route.group);
    if (group) group.size++;
    else this.#groups.set(route.group, { size: 1, ledAt: Number.NEGATIVE_INFINITY });
  }

  #part({ route }: Host): void {
    const group = route?.group === undefined ? undefined : this.#groups.get(route.group);
    if (group && --group.size === 0) this.#groups.delete(route!.group!);
  }

  #end(host: Host, reason: string, now: Instant): void {
    this.#drop(host.address);
    this.#ending.delete(host.address);
    this.count.shadowsEnded++;
    host.route = undefined;
    host.since = now;
    this.#book.changeState(host, 'gone', reason);
    this.#book.turn.note(host, 'shadowEnded', undefined, reason);
    if (host.memory) return;
    host.memory = this.#former;
    this.#former.add(host);
    for (const oldest of this.#former) {
      if (this.#former.size <= FORMER || oldest.dirty || oldest.route) break;
      this.#book.forget(oldest);
    }
  }

  /** Why we can't stand by for this address, whoever claims it. */
  #obstacle(address: Address): string | undefined {
    const { rules, hosts } = this.#book;
    if (!rules.policy.shadow) return 'shadow routes are switched off';
    if (rules.refuseAddress(address) !== undefined) return 'it can be no host of ours';
    const host = hosts.get(address);
    // Ours, or announced ahead of its return, or on its way from here.
    if (host?.live || (host?.route && host.state !== 'shadow')) return 'it is a host of ours';
    return this.#hasPlace(address, host) ? undefined : 'no port of ours could serve it now';
  }

  /** Where it is bound to be, or was before, or else anywhere. */
  #hasPlace(address: Address, known: Host | undefined): boolean {
    const { rules, ports } = this.#book;
    const bound = rules.portsOf(address);
    if (bound) return bound.some((name) => ports.get(name)?.usable);
    const before = known && ports.get(known.port);
    if (before?.downlink) return before.usable;
    for (const port of ports.values()) if (port.usable) return true;
    return false;
  }

  #claimsOn(address: Address): readonly ForeignClaim[] {
    const twin = this.#book.rules.policy.shadow?.twin;
    const claims = this.#book.claims.on(address);
    if (twin === undefined || claims.length === 0) return claims;
    return claims.filter(({ routerId = twin }) => routerId === twin);
  }

  #takeWithdrawn(now: Instant): void {
    for (const addresses of this.#withdrawn) for (const address of addresses) this.claimed(address, now);
    this.#withdrawn = [];
    this.#withdrawnAt = Number.POSITIVE_INFINITY;
    if (this.#full) this.placesChanged(now);
  }

  /** false: there is more to do in another turn. */
  #recheckPlaces(now: Instant): boolean {
    if (!this.#recheck && this.#recheckAt <= now) {
      this.#recheckAt = Number.POSITIVE_INFINITY;
      this.#full = false;
      this.#recheck = { addresses: this.#everyAddress(), since: now };
    }
    while (this.#recheck) {
      if (!this.#mayGoOn('shadowEnded', now)) return false;
      const { value: address, done } = this.#recheck.addresses.next();
      if (done) this.#recheck = undefined;
      else this.#recheckOne(address, now);
    }
    return true;
  }

  #recheckOne(address: Address, now: Instant): void {
    const host = this.#shadows.get(address);
    if (!host) {
      this.claimed(address, now);
      return;
    }
    const obstacle = this.#obstacle(address) ?? (this.#isOver() ? 'over the new limits' : undefined);
    if (obstacle !== undefined) this.#end(host, obstacle, now);
    else if (this.#claimsOn(address).length === 0) this.#letGo(address, now);
  }

  *#everyAddress(): Generator<Address, void> {
    yield* this.#shadows.keys();
    yield* this.#book.claims.addresses();
  }

  #noteFlap(address: Address, now: Instant): void {
    const before = this.#flaps.get(address);
    const ends = before && now - before.at < FORGIVEN_AFTER ? before.ends + 1 : 1;
    this.#flaps.delete(address);
    this.#flaps.set(address, { ends, at: now });
    for (const [oldest, { at }] of this.#flaps) {
      if (this.#flaps.size <= this.#book.rules.policy.limits.total && now - at < FORGIVEN_AFTER) break;
      this.#flaps.delete(oldest);
    }
  }

  /** Until when. */
  #penaltyOf(address: Address): Instant {
    const flaps = this.#flaps.get(address);
    return flaps ? flaps.at + Math.min(LONGEST_PENALTY, STAND_BY_AFTER * 2 ** flaps.ends) : Number.NEGATIVE_INFINITY;
  }

  #mayGoOn(kind: CauseKind, now: Instant): boolean {
    if (!this.#book.turn.allows(kind)) return false;
    if (this.#pace.take(now)) return true;
    this.#paced = true;
    return false;
  }
}

const groupOf = ({ from, portIndex }: ForeignClaim): Pick<HostRoute, 'group'> =>
  portIndex === undefined ? {} : { group: `${from}/${portIndex}` };

const standingFor = ({ from }: ForeignClaim): string => `announced by ${from}`;

function first(deadlines: ReadonlyMap<Address, Instant>): Instant {
  for (const due of deadlines.values()) return due;
  return Number.POSITIVE_INFINITY;
}
