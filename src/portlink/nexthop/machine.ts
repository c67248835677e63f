/*
 * Is somebody there? Next hops of uplinks, asked in their own protocol: ARP (RFC 826) or neighbour solicitations (RFC 4861
 * §7.2), as a switch has no other question that every router answers.
 *
 * A hop that answers is asked every PROBE_INTERVAL, by unicast (RFC 1122 §2.3.2.1, RFC 4861 §7.3). One that does not
 * answer within ANSWER_WAIT is asked again at once, the last time by broadcast, since another box may have taken its
 * address over; after MISSES it is silent. So a death is known ANSWER_WAIT * MISSES to PROBE_INTERVAL + ANSWER_WAIT *
 * MISSES after it, which is below one second, and the first answer ends it.
 *
 * A question that finds no room in the uplink's queue says nothing of the hop, and is put again every RETRY. If there was
 * none for ANSWER_WAIT on end it counts as asked: a queue that is never emptied is an uplink that is dead.
 *
 * Invariants
 * - An uplink is judged dead for silence only when one of its hops was alive before, in this life or (`restore`) an
 *   earlier one: our not knowing whom to ask shuts no ports.
 * - What was alive is not forgotten because nobody names it any more: the neighbour that OSPF gave up, or the route that
 *   went with it, is the one whose silence matters. It is forgotten when another hop of the uplink answers, when the
 *   configuration says whom to ask, and when it was the configuration that named it and does no more.
 */
import type { Address, Mac } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';

/** Between two questions to a hop that answers, ms. */
export const PROBE_INTERVAL = 250;
/** How long a hop has for its answer, ms. */
export const ANSWER_WAIT = 200;
/** Until the next try of a question for which there was no room, ms. */
export const RETRY = 20;
/** So many unanswered questions in a row are silence. */
export const MISSES = 3;
/** More hops than these are not asked on one uplink. */
export const MOST_HOPS = 8;

/** A hop that was alive once, for the next life of the agent. */
export interface SeenHop {
  readonly port: string;
  readonly address: Address;
  readonly mac: Mac;
}

export type NextHopEvent =
  /** Whom to ask on an uplink. `configured`: by the operator, and nobody else. */
  | { readonly type: 'hops'; readonly port: string; readonly hops: readonly Address[]; readonly configured: boolean }
  /** The uplink is nobody's business any more. */
  | { readonly type: 'drop'; readonly port: string }
  | { readonly type: 'link'; readonly port: string; readonly up: boolean }
  /** An answer to a question of ours. */
  | { readonly type: 'answer'; readonly port: string; readonly address: Address; readonly mac: Mac }
  /** The last probe never left. `full`: for want of room on the uplink. */
  | { readonly type: 'unsent'; readonly port: string; readonly address: Address; readonly full: boolean }
  /** Before the first `hops`. */
  | { readonly type: 'restore'; readonly hops: readonly SeenHop[] }
  | { readonly type: 'tick' };

export type NextHopEffect =
  /** `mac` absent: ask all. */
  | { readonly type: 'probe'; readonly port: string; readonly address: Address; readonly mac: Mac | undefined }
  | { readonly type: 'verdict'; readonly port: string; readonly ok: boolean; readonly reason: string };

interface Hop {
  readonly address: Address;
  mac: Mac | undefined;
  named: boolean;
  seen: boolean;
  /** Was alive, and is not. */
  silent: boolean;
  /** Unanswered in a row, at most MISSES. */
  missed: number;
  askedAt: Instant | undefined;
  /** Since then there was no room for the question. */
  stuckSince: Instant | undefined;
  due: Instant;
}

interface Uplink {
  up: boolean;
  /** The operator said last whom to ask. */
  configured: boolean;
  readonly hops: Map<Address, Hop>;
  verdict: { readonly ok: boolean; readonly reason: string } | undefined;
}

export class NextHopProbes {
  readonly #uplinks = new Map<string, Uplink>();
  #restored: readonly SeenHop[] = [];
  #seenVersion = 0;

  handle(event: NextHopEvent, now: Instant): NextHopEffect[] {
    const effects: NextHopEffect[] = [];
    switch (event.type) {
      case 'restore':
        this.#restored = event.hops;
        break;
      case 'hops':
        this.#name(event.port, event.hops, event.configured, now);
        break;
      case 'drop':
        if (this.#uplinks.delete(event.port)) this.#seenVersion++;
        this.#restored = this.#restored.filter((hop) => hop.port !== event.port);
        break;
      case 'link':
        this.#link(this.#uplink(event.port, now), event.up, now);
        break;
      case 'answer':
        this.#answered(event.port, event.address, event.mac);
        break;
      case 'unsent': {
        const hop = this.#uplinks.get(event.port)?.hops.get(event.address);
        if (hop) unsent(hop, event.full, now);
        break;
      }
      case 'tick':
        break;
    }
    for (const [port, uplink] of this.#uplinks) {
      if (uplink.up) for (const hop of uplink.hops.values()) this.#ask(port, hop, now, effects);
      this.#judge(port, uplink, effects);
    }
    return effects;
  }

  nextDeadline(): Instant | undefined {
    let earliest: Instant | undefined;
    for (const { up, hops } of this.#uplinks.values()) {
      if (!up) continue;
      for (const { due } of hops.values()) if (earliest === undefined || due < earliest) earliest = due;
    }
    return earliest;
  }

  verdict(port: string): { readonly ok: boolean; readonly reason: string } | undefined {
    return this.#uplinks.get(port)?.verdict;
  }

  /** Those that were alive once and still matter. */
  seen(): SeenHop[] {
    const seen: SeenHop[] = [];
    for (const [port, { hops }] of this.#uplinks) {
      for (const { address, mac, seen: alive } of hops.values()) if (alive && mac) seen.push({ port, address, mac });
    }
    return seen;
  }

  /** Changes whenever `seen()` does. */
  get seenVersion(): number {
    return this.#seenVersion;
  }

  #uplink(port: string, now: Instant): Uplink {
    let uplink = this.#uplinks.get(port);
    if (!uplink) {
      uplink = { up: false, configured: false, hops: new Map(), verdict: undefined };
      this.#uplinks.set(port, uplink);
      for (const { address, mac } of this.#restored.filter((hop) => hop.port === port)) {
        uplink.hops.set(address, { ...fresh(address, now), mac, seen: true });
      }
    }
    return uplink;
  }

  #name(port: string, addresses: readonly Address[], configured: boolean, now: Instant): void {
    const uplink = this.#uplink(port, now);
    const named = new Set(addresses.slice(0, MOST_HOPS));
    for (const hop of uplink.hops.values()) hop.named = named.has(hop.address);
    for (const address of named) {
      if (!uplink.hops.has(address)) uplink.hops.set(address, { ...fresh(address, now), named: true });
    }
    // Whom only the operator named, and does not any more, is nobody's business.
    const replaced =
      configured || uplink.configured || [...uplink.hops.values()].some((hop) => hop.named && alive(hop));
    for (const hop of [...uplink.hops.values()]) {
      if (!hop.named && (replaced || !hop.seen)) this.#forget(uplink, hop);
    }
    uplink.configured = configured;
  }

  #forget(uplink: Uplink, hop: Hop): void {
    uplink.hops.delete(hop.address);
    if (hop.seen) this.#seenVersion++;
  }

  #link(uplink: Uplink, up: boolean, now: Instant): void {
    if (uplink.up === up) return;
    const first = uplink.verdict === undefined;
    uplink.up = up;
    for (const hop of uplink.hops.values()) {
      // The cable may lead elsewhere by now: what was alive must show it again.
      if (hop.seen && !first) hop.silent = true;
      hop.missed = 0;
      hop.askedAt = undefined;
      hop.stuckSince = undefined;
      hop.due = now;
    }
  }

  #answered(port: string, address: Address, mac: Mac): void {
    const uplink = this.#uplinks.get(port);
    const hop = uplink?.hops.get(address);
    if (!uplink || !hop || !uplink.up) return;
    if (!hop.seen || hop.mac !== mac) this.#seenVersion++;
    hop.seen = true;
    hop.mac = mac;
    hop.silent = false;
    hop.missed = 0;
    if (hop.askedAt !== undefined) hop.due = hop.askedAt + PROBE_INTERVAL;
    hop.askedAt = undefined;
    hop.stuckSince = undefined;
    if (!hop.named) return;
    for (const other of [...uplink.hops.values()]) if (!other.named) this.#forget(uplink, other);
  }

  #ask(port: string, hop: Hop, now: Instant, effects: NextHopEffect[]): void {
    if (hop.due > now) return;
    if (hop.askedAt !== undefined) {
      hop.stuckSince = undefined;
      hop.missed = Math.min(hop.missed + 1, MISSES);
      if (hop.missed === MISSES && hop.seen) hop.silent = true;
    }
    const hurry = hop.seen && !hop.silent;
    const unicast = hurry && hop.missed < MISSES - 1;
    hop.askedAt = now;
    hop.due = now + (hurry ? ANSWER_WAIT : PROBE_INTERVAL);
    effects.push({ type: 'probe', port, address: hop.address, mac: unicast ? hop.mac : undefined });
  }

  #judge(port: string, uplink: Uplink, effects: NextHopEffect[]): void {
    const verdict = judged(uplink);
    if (verdict.ok === uplink.verdict?.ok && verdict.reason === uplink.verdict.reason) return;
    uplink.verdict = verdict;
    effects.push({ type: 'verdict', port, ...verdict });
  }
}

const fresh = (address: Address, now: Instant): Hop => ({
  address,
  mac: undefined,
  named: false,
  seen: false,
  silent: false,
  missed: 0,
  askedAt: undefined,
  stuckSince: undefined,
  due: now,
});

function unsent(hop: Hop, full: boolean, now: Instant): void {
  hop.stuckSince = full ? (hop.stuckSince ?? now) : undefined;
  if (hop.stuckSince !== undefined && now - hop.stuckSince >= ANSWER_WAIT) return;
  hop.askedAt = undefined;
  hop.due = now + (full ? RETRY : PROBE_INTERVAL);
}

const alive = (hop: Hop): boolean => hop.seen && !hop.silent;

function judged({ up, hops }: Uplink): { ok: boolean; reason: string } {
  if (!up) return { ok: false, reason: 'the port is down' };
  const all = [...hops.values()];
  const living = all.find(alive);
  if (living) return { ok: true, reason: `${living.address} answers` };
  const silent = all.filter((hop) => hop.seen);
  if (silent.length > 0) return { ok: false, reason: silent.map(silence).join(', ') };
  if (all.length === 0) return { ok: true, reason: 'not judged: no next hop is known' };
  const names = all.map((hop) => hop.address).join(', ');
  return { ok: true, reason: `not judged: ${names} was never heard` };
}

function silence({ address, missed }: Hop): string {
  if (missed < MISSES) return `${address} has not answered since the link came up`;
  const questions = address.includes(':') ? 'neighbour solicitations' : 'ARP requests';
  return `${address} did not answer ${MISSES} ${questions} (${MISSES * ANSWER_WAIT} ms)`;
}
