import type { Address, Prefix } from '../model/address.ts';
import { ipv4FromNumber, ipv4ToNumber, prefixAddress } from '../model/address.ts';
import type { ClaimLevel, ForeignClaim } from '../model/hosts.ts';
import type { LargeCommunity, PathAttributes, UpdateMessage } from './codec/messages.ts';
import { pathLength } from './codec/validate.ts';
import type { InRoute } from './rib.ts';
import { originAs } from './rib.ts';

/**
 * Host routes inside our prefixes that somebody else announces (the twin, seen through the gateway). They are claims,
 * whatever becomes of them as routes: a path with our AS in it is no route for us, but it is a claim if it is the
 * twin's.
 *
 * Whose it is, is told like this. The last AS of the path is the announcer's, and when it isn't ours the claim is
 * somebody else's: the usual fabric, where each switch has an AS of its own. When it is ours, the route may be our own,
 * as gateways do send routes back to the switch they have them from (FRR does so as soon as two switches share an update
 * group), or the twin's, if that has our AS number:
 * - the next hop is ours, or `sharedAs` is false: ours;
 * - it is marked (below): ours when the mark is;
 * - it is not, as a gateway took the mark off: ours when we announce the address at the very level that it shows. So
 *   then a twin that claims what we claim at the same level is not heard.
 *
 * The mark is the large community `asn:20556:router id`, on everything we announce unless `sharedAs` is false.
 */
export interface ClaimPolicy {
  localAs(): number;
  readonly routerId: Address;
  sharedAs(): boolean;
  /** Inside the configured prefixes. */
  covers(address: Address): boolean;
  /** The level at which we announce this address now. */
  announced(address: Address): ClaimLevel | undefined;
  /** The address is one of this box. */
  isOurs(address: Address): boolean;
}

const MARK = 20556;

export const markOf = (asn: number, routerId: Address): LargeCommunity => [asn, MARK, ipv4ToNumber(routerId)];

interface Claim {
  readonly level: ClaimLevel;
  readonly from: string;
}

export class ForeignClaims {
  readonly #policy: ClaimPolicy;
  /** Address, then neighbour that told us. */
  readonly #claims = new Map<Address, Map<Address, Claim>>();
  readonly #emit: (claim: ForeignClaim) => void;

  constructor(policy: ClaimPolicy, emit: (claim: ForeignClaim) => void) {
    this.#policy = policy;
    this.#emit = emit;
  }

  update(peer: Address, message: UpdateMessage): void {
    this.withdraw(peer, message.withdrawn);
    for (const { prefixes, nextHop } of message.reach) {
      for (const prefix of prefixes) this.#hear(peer, prefix, nextHop, message.attributes);
    }
  }

  withdraw(peer: Address, prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      const address = hostOf(prefix);
      if (address) this.#set(peer, address, undefined);
    }
  }

  drop(peer: Address): void {
    for (const [address, claims] of this.#claims) if (claims.has(peer)) this.#set(peer, address, undefined);
  }

  /** Prefixes or AS numbers are others than when these routes came. */
  reconsider(routes: Iterable<InRoute>): void {
    for (const [address, claims] of this.#claims) {
      if (this.#policy.covers(address)) continue;
      for (const peer of [...claims.keys()]) this.#set(peer, address, undefined);
    }
    for (const { prefix, peer, nextHop, attributes } of routes) this.#hear(peer.address, prefix, nextHop, attributes);
  }

  get size(): number {
    return this.#claims.size;
  }

  #hear(peer: Address, prefix: Prefix, nextHop: Address, attributes: PathAttributes): void {
    const address = hostOf(prefix);
    if (!address || !this.#policy.covers(address)) return;
    const foreign = this.#isForeign(address, nextHop, attributes);
    this.#set(peer, address, foreign ? claimOf(nextHop, attributes) : undefined);
  }

  #isForeign(address: Address, nextHop: Address, attributes: PathAttributes): boolean {
    const { routerId } = this.#policy;
    const localAs = this.#policy.localAs();
    // An internal neighbour's route of our own AS has an empty path.
    const inside = attributes.asPath?.length === 0;
    if (!inside && originAs(attributes.asPath) !== localAs) return true;
    if (attributes.originatorId === routerId) return false;
    if (!this.#policy.sharedAs() || this.#policy.isOurs(nextHop)) return false;
    const marked = markedBy(attributes, localAs);
    if (marked) return marked !== routerId;
    return this.#policy.announced(address) !== levelOf(attributes);
  }

  #set(peer: Address, address: Address, claim: Claim | undefined): void {
    const claims = this.#claims.get(address) ?? new Map<Address, Claim>();
    if (claims.size === 0 && !claim) return;
    const before = strongest(claims);
    this.#claims.set(address, claims);
    if (claim) claims.set(peer, claim);
    else claims.delete(peer);
    if (claims.size === 0) this.#claims.delete(address);
    const after = strongest(claims);
    if (before?.level === after?.level && before?.from === after?.from) return;
    this.#emit({ address, level: after?.level, from: after?.from ?? before?.from ?? peer });
  }
}

/** The address of a /32 or /128. */
function hostOf(prefix: Prefix): Address | undefined {
  return prefix.endsWith(prefix.includes(':') ? '/128' : '/32') ? prefixAddress(prefix) : undefined;
}

const levelOf = (attributes: PathAttributes): ClaimLevel => (2 - (attributes.origin ?? 2)) as ClaimLevel;

/** The router id in the mark of a switch with this AS. */
function markedBy(attributes: PathAttributes, asn: number): Address | undefined {
  const mark = attributes.largeCommunities?.find(([global, local]) => global === asn && local === MARK);
  return mark && ipv4FromNumber(mark[2]);
}

/** The router id when the route is marked, `AS65002` when its path names somebody behind the neighbour, else the next hop. */
function claimOf(nextHop: Address, attributes: PathAttributes): Claim {
  const level = levelOf(attributes);
  const asn = originAs(attributes.asPath);
  if (asn === undefined) return { level, from: nextHop };
  const behind = pathLength(attributes.asPath ?? []) > 1;
  return { level, from: markedBy(attributes, asn) ?? (behind ? `AS${asn}` : nextHop) };
}

function strongest(claims: ReadonlyMap<Address, Claim> | undefined): Claim | undefined {
  let best: Claim | undefined;
  for (const claim of claims?.values() ?? []) if (!best || claim.level > best.level) best = claim;
  return best;
}
