import type { Address, Prefix } from '../model/address.ts';
import { prefixAddress } from '../model/address.ts';
import type { ClaimLevel, ForeignClaim } from '../model/hosts.ts';
import type { PathAttributes, UpdateMessage } from './codec/messages.ts';
import { pathLength } from './codec/validate.ts';
import { originAs } from './rib.ts';

/**
 * Host routes inside our prefixes that somebody else announces (the twin, seen through the gateway). They are claims,
 * whatever becomes of them as routes: a path with our AS in it is no route for us, but it is a claim if it is the
 * twin's.
 *
 * Whose it is, is told like this. The last AS of the path is the announcer's.
 * - It isn't ours: somebody else's claim. The switches of the usual fabric have an AS each.
 * - It is ours and the next hop is ours: our own route came back.
 * - It is ours and `sharedAs` is false: our own route came back.
 * - It is ours, and the path is just `neighbour ours`: the neighbour has it from the announcer itself. Routers don't
 *   send a route to the one they have it from (FRR, BIRD, GoBGP, Junos; Cisco IOS may: set `sharedAs: false`), so it is
 *   the twin's, which has our AS number.
 * - It is ours and came a longer way: ours if we announce the address now, else the twin's.
 */
export interface ClaimPolicy {
  readonly localAs: number;
  readonly sharedAs: boolean;
  /** Inside the configured prefixes. */
  covers(address: Address): boolean;
  /** We announce this address now. */
  announced(address: Address): boolean;
  /** The address is one of this box. */
  isOurs(address: Address): boolean;
}

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
    for (const prefix of message.withdrawn) {
      const address = hostOf(prefix);
      if (address) this.#set(peer, address, undefined);
    }
    for (const { prefixes, nextHop } of message.reach) {
      for (const prefix of prefixes) {
        const address = hostOf(prefix);
        if (!address || !this.#policy.covers(address)) continue;
        const foreign = this.#isForeign(address, nextHop, message.attributes);
        this.#set(peer, address, foreign ? claimOf(nextHop, message.attributes) : undefined);
      }
    }
  }

  drop(peer: Address): void {
    for (const [address, claims] of this.#claims) if (claims.has(peer)) this.#set(peer, address, undefined);
  }

  get size(): number {
    return this.#claims.size;
  }

  #isForeign(address: Address, nextHop: Address, attributes: PathAttributes): boolean {
    if (originAs(attributes.asPath) !== this.#policy.localAs) return true;
    if (this.#policy.isOurs(nextHop) || !this.#policy.sharedAs) return false;
    return pathLength(attributes.asPath ?? []) === 2 || !this.#policy.announced(address);
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

/** `AS65002` when the path names somebody behind the neighbour, else the next hop. */
function claimOf(nextHop: Address, attributes: PathAttributes): Claim {
  const from = originAs(attributes.asPath);
  const behind = pathLength(attributes.asPath ?? []) > 1 && from !== undefined;
  return { level: (2 - (attributes.origin ?? 2)) as ClaimLevel, from: behind ? `AS${from}` : nextHop };
}

function strongest(claims: ReadonlyMap<Address, Claim> | undefined): Claim | undefined {
  let best: Claim | undefined;
  for (const claim of claims?.values() ?? []) if (!best || claim.level > best.level) best = claim;
  return best;
}
