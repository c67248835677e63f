import type { Address, Prefix } from '../model/address.ts';
import { prefixAddress } from '../model/address.ts';
import type { ClaimLevel, ForeignClaim, ForeignShadow } from '../model/hosts.ts';
import type { PathAttributes, UpdateMessage } from './codec/messages.ts';
import { pathLength } from './codec/validate.ts';
import type { Marks } from './marks.ts';
import { isLeaving, marksOf } from './marks.ts';
import type { InRoute } from './rib.ts';
import { originAs } from './rib.ts';
import { Said } from './said.ts';

/**
 * Host routes inside our prefixes that somebody else announces (the twin, seen through the gateway). They are claims,
 * whatever becomes of them as routes: a path with our AS in it is no route for us, but it is a claim if it is the
 * twin's. What is marked as a shadow is no claim: somebody else stands by for the host, and that is said apart.
 *
 * Whose it is, is told like this. The last AS of the path is the announcer's, and when it isn't ours the claim is
 * somebody else's: the usual fabric, where each switch has an AS of its own. When it is ours, the route may be our own,
 * as gateways do send routes back to the switch they have them from (FRR does so as soon as two switches share an update
 * group), or the twin's, if that has our AS number:
 * - the next hop is ours, or `sharedAs` is false: ours;
 * - it is marked with a router id (`marks.ts`): ours when that is;
 * - it is not, as a gateway took the mark off: ours when we announce the address in the very way that it shows. So then
 *   a twin that claims what we claim at the same level is not heard.
 */
export interface ClaimPolicy {
  localAs(): number;
  readonly routerId: Address;
  sharedAs(): boolean;
  /** Inside the configured prefixes. */
  covers(address: Address): boolean;
  /** How we announce this address now. */
  announced(address: Address): ClaimLevel | 'shadow' | undefined;
  /** The address is one of this box. */
  isOurs(address: Address): boolean;
}

interface Announced {
  readonly from: string;
  /** Where the mark names it. */
  readonly routerId: Address | undefined;
  readonly endpoint: Address | undefined;
}

interface Claim extends Announced {
  readonly level: ClaimLevel;
  readonly leaving: boolean;
  readonly portIndex: number | undefined;
}

/** What one announcement says of each of its addresses. */
interface Words {
  readonly claim: Claim;
  readonly shadow: boolean;
  /** `unsaid`: it is ours where we announce the address in the very way that it shows. */
  readonly whose: 'ours' | 'theirs' | 'unsaid';
}

export interface ClaimEvents {
  claim(claim: ForeignClaim): void;
  shadow(shadow: ForeignShadow): void;
}

export class ForeignClaims {
  readonly #policy: ClaimPolicy;
  readonly #claims: Said<Claim>;
  readonly #shadows: Said<Announced>;

  constructor(policy: ClaimPolicy, events: ClaimEvents) {
    this.#policy = policy;
    this.#claims = new Said<Claim>(strongest, (address, after, before) => {
      if (sameClaim(after, before)) return;
      // Who hears of it keeps a claim for each that makes one.
      if (before && before.from !== after?.from) events.claim({ address, level: undefined, from: before.from });
      if (!after) return;
      const { level, leaving, from, endpoint, routerId, portIndex } = after;
      const named = {
        ...(endpoint ? { endpoint } : {}),
        ...(routerId ? { routerId } : {}),
        ...(portIndex === undefined ? {} : { portIndex }),
      };
      events.claim({ address, level, from, ...(leaving ? { leaving } : {}), ...named });
    });
    this.#shadows = new Said<Announced>(first, (address, after, before) => {
      if (sameAnnounced(after, before)) return;
      if (before && before.from !== after?.from) events.shadow({ address, up: false, from: before.from });
      if (!after) return;
      const { from, endpoint } = after;
      events.shadow({ address, up: true, from, ...(endpoint ? { endpoint } : {}) });
    });
  }

  update(peer: Address, message: UpdateMessage): void {
    this.withdraw(peer, message.withdrawn);
    for (const { prefixes, nextHop } of message.reach) {
      const words = this.#wordsOf(nextHop, message.attributes);
      for (const prefix of prefixes) this.#hear(peer, prefix, words);
    }
  }

  withdraw(peer: Address, prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      const address = hostOf(prefix);
      if (address) this.#forget(peer, address);
    }
  }

  /** Prefixes or AS numbers are others than when these routes came. */
  reconsider(routes: Iterable<InRoute>): void {
    for (const said of [this.#claims, this.#shadows]) {
      for (const address of [...said.addresses()]) {
        if (this.#policy.covers(address)) continue;
        for (const peer of said.neighbors(address)) this.#forget(peer, address);
      }
    }
    for (const { prefix, peer, nextHop, attributes } of routes) {
      this.#hear(peer.address, prefix, this.#wordsOf(nextHop, attributes));
    }
  }

  get size(): number {
    return this.#claims.size;
  }

  #hear(peer: Address, prefix: Prefix, words: Words): void {
    const address = hostOf(prefix);
    if (!address || !this.#policy.covers(address)) return;
    const { claim, shadow } = words;
    // The better word first: what becomes of a claim is known when the claim goes.
    if (!this.#isForeign(address, words)) this.#forget(peer, address);
    else if (shadow) {
      this.#shadows.set(peer, address, claim);
      this.#claims.set(peer, address, undefined);
    } else {
      this.#claims.set(peer, address, claim);
      this.#shadows.set(peer, address, undefined);
    }
  }

  /** Hundreds of addresses share them in one message. */
  #wordsOf(nextHop: Address, attributes: PathAttributes): Words {
    // An internal neighbour's route of our own AS has an empty path.
    const asn = attributes.asPath?.length === 0 ? this.#policy.localAs() : originAs(attributes.asPath);
    const marks = marksOf(attributes, asn);
    const { routerId, endpoint, portIndex, shadow } = marks;
    const from = announcer(nextHop, attributes, marks);
    const claim = { from, routerId, endpoint, portIndex, level: levelOf(attributes), leaving: isLeaving(attributes) };
    return { claim, shadow, whose: this.#whose(nextHop, attributes, marks, asn) };
  }

  #isForeign(address: Address, { whose, claim, shadow }: Words): boolean {
    if (whose !== 'unsaid') return whose === 'theirs';
    return this.#policy.announced(address) !== (shadow ? 'shadow' : claim.level);
  }

  #whose(nextHop: Address, attributes: PathAttributes, { routerId }: Marks, asn: number | undefined): Words['whose'] {
    if (asn !== this.#policy.localAs()) return 'theirs';
    if (attributes.originatorId === this.#policy.routerId) return 'ours';
    if (!this.#policy.sharedAs() || this.#policy.isOurs(nextHop)) return 'ours';
    if (routerId) return routerId === this.#policy.routerId ? 'ours' : 'theirs';
    return 'unsaid';
  }

  #forget(peer: Address, address: Address): void {
    this.#claims.set(peer, address, undefined);
    this.#shadows.set(peer, address, undefined);
  }
}

/** The address of a /32 or /128. */
export function hostOf(prefix: Prefix): Address | undefined {
  return prefix.endsWith(prefix.includes(':') ? '/128' : '/32') ? prefixAddress(prefix) : undefined;
}

const levelOf = (attributes: PathAttributes): ClaimLevel => (2 - (attributes.origin ?? 2)) as ClaimLevel;

/** The router id when the route is marked, `AS65002` when its path names somebody behind the neighbour, else the next hop. */
function announcer(nextHop: Address, attributes: PathAttributes, marks: Marks): string {
  if (marks.routerId) return marks.routerId;
  const asn = originAs(attributes.asPath);
  return asn !== undefined && pathLength(attributes.asPath ?? []) > 1 ? `AS${asn}` : nextHop;
}

/** Of claims at one level, one that stays. */
function strongest(claims: Iterable<Claim>): Claim | undefined {
  let best: Claim | undefined;
  for (const claim of claims) {
    if (!best || claim.level > best.level || (claim.level === best.level && best.leaving && !claim.leaving)) {
      best = claim;
    }
  }
  return best;
}

const first = <T>(said: Iterable<T>): T | undefined => {
  for (const one of said) return one;
  return undefined;
};

const sameAnnounced = (one: Announced | undefined, other: Announced | undefined): boolean =>
  one?.from === other?.from && one?.endpoint === other?.endpoint;

const sameClaim = (one: Claim | undefined, other: Claim | undefined): boolean =>
  one?.level === other?.level &&
  one?.leaving === other?.leaving &&
  one?.portIndex === other?.portIndex &&
  sameAnnounced(one, other);
