import type { Address } from '../../model/address.ts';
import type { ClaimLevel, ForeignClaim } from '../../model/hosts.ts';

/** A host under a rival at least as strong as we are is asked this often. */
export const CONTESTED_MS = 250;
/**
 * How long no rival must be seen before a raised claim settles back to 0. A gateway stops showing us a rival's route when
 * it has chosen ours, not when the rival has given up: so this must be longer than the rival takes to notice that its
 * host has left (CONTESTED_MS and three probes). Not much longer: a host that moves again before its claim has settled
 * finds fewer levels left to climb.
 */
export const SETTLE_MS = 2_000;

/**
 * A host that answers here although a rival at least as strong has been there this long is nobody who moved: two machines
 * have one address. Much longer than a rival takes to notice that its host has left.
 */
export const DUPLICATE_MS = 2_000;

/** More claimants of one address than any sane fabric has. */
const CLAIMANTS = 8;

type Claim = ForeignClaim & { readonly level: ClaimLevel };
const NO_CLAIMS: readonly Claim[] = [];

/**
 * What the fabric says of others' claims. The two switches never talk to each other: each sees the other's host routes
 * come back through the fabric, and that is enough. A level is raised only when a host is newly learned here, never
 * because a rival's claim changed, so two switches can't drive each other up.
 */
export class ForeignClaims {
  readonly #byAddress = new Map<Address, Map<string, Claim>>();

  get size(): number {
    return this.#byAddress.size;
  }

  /** 'refused' when the table is full; 'told': what changed is not its level. */
  apply(claim: ForeignClaim, limit: number): 'changed' | 'told' | 'same' | 'refused' {
    const claimants = this.#byAddress.get(claim.address);
    if (claim.level === undefined) {
      if (!claimants?.delete(claim.from)) return 'same';
      if (claimants.size === 0) this.#byAddress.delete(claim.address);
      return 'changed';
    }
    const { level } = claim;
    const before = claimants?.get(claim.from);
    const same = before?.level === level && before.leaving === claim.leaving && before.routerId === claim.routerId;
    if (same && before.portIndex === claim.portIndex) return 'same';
    if (claimants) {
      if (!before && claimants.size >= CLAIMANTS) return 'refused';
      claimants.set(claim.from, { ...claim, level });
    } else {
      if (this.#byAddress.size >= limit) return 'refused';
      this.#byAddress.set(claim.address, new Map([[claim.from, { ...claim, level }]]));
    }
    return before?.level === level ? 'told' : 'changed';
  }

  /** Without order. */
  on(address: Address): readonly Claim[] {
    const claimants = this.#byAddress.get(address);
    return claimants ? [...claimants.values()] : NO_CLAIMS;
  }

  addresses(): Iterable<Address> {
    return this.#byAddress.keys();
  }

  /** The strongest rival; undefined when there is none. */
  best(address: Address): ClaimLevel | undefined {
    const claimants = this.#byAddress.get(address);
    if (!claimants) return undefined;
    let best: ClaimLevel = 0;
    for (const { level } of claimants.values()) if (level > best) best = level;
    return best;
  }

  rivals(address: Address): { from: string; level: ClaimLevel }[] {
    return Array.from(this.#byAddress.get(address) ?? [], ([from, { level }]) => ({ from, level }));
  }

  /** Drops what lies outside a new policy. */
  retain(keep: (address: Address) => boolean): void {
    for (const address of this.#byAddress.keys()) if (!keep(address)) this.#byAddress.delete(address);
  }
}

export const TOP_LEVEL: ClaimLevel = 2;

/**
 * The level at which a host that was just learned is announced: better than what it displaces. Nothing is better than the
 * top: against that, one below it. The older of two equal claims would win in any case, until it is withdrawn or settles,
 * and the top stays free for the next switch, to which the host may come before ours has settled.
 */
export function levelAgainst(rival: ClaimLevel | undefined): ClaimLevel {
  return rival === undefined ? 0 : rival === 1 ? TOP_LEVEL : 1;
}
