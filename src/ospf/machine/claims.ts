/**
 * Host routes of others inside our prefixes: the twin's, seen through the fabric. A claim is reported when its LSA is
 * installed, before any route is computed, and withdrawn when the LSA goes or its router can no longer be reached (the
 * LSAs of a dead switch stay in the database for up to an hour).
 */
import { LSInfinity, type Lsa, LsaType, lsaAge, MaxAge, RouterLinkType, type U32 } from 'node-ospf-lsa';
import {
  type Address,
  familyOf,
  ipv4FromNumber,
  ipv4ToNumber,
  type Prefix,
  prefixAddress,
  prefixLength,
} from '../../model/address.ts';
import type { ClaimLevel, ForeignClaim } from '../../model/hosts.ts';
import type { OspfAnnounce } from '../face.ts';

const HOST_MASK = 0xffffffff;

interface Claim {
  readonly router: U32;
  readonly address: Address;
  /** By the LSA that says so. */
  readonly levels: Map<string, ClaimLevel>;
  /** What was reported last. */
  reported: ClaimLevel | undefined;
}

export class Claims {
  #announce: OspfAnnounce;
  #prefixes: readonly { readonly network: number; readonly mask: number }[];
  #claims = new Map<U32, Map<U32, Claim>>();
  readonly #unreachable = new Set<U32>();

  constructor(announce: OspfAnnounce, prefixes: readonly Prefix[]) {
    this.#announce = announce;
    this.#prefixes = networksOf(prefixes);
  }

  /** Other prefixes, or other metrics of ours to compare with: all claims are read anew, and what differs is reported. */
  configure(
    announce: OspfAnnounce,
    prefixes: readonly Prefix[],
    others: Iterable<{ readonly key: string; readonly lsa: Lsa }>,
    report: (claim: ForeignClaim) => void,
  ): void {
    const before = this.#claims;
    const unreachable = [...this.#unreachable];
    this.#announce = announce;
    this.#prefixes = networksOf(prefixes);
    this.#claims = new Map();
    const unheard = () => {};
    for (const { key, lsa } of others) this.lsaChanged(key, undefined, lsa, unheard);
    for (const router of unreachable) this.#unreachable.add(router);
    for (const [router, claims] of before) {
      for (const [id, { address, reported }] of claims) {
        const claim = this.#claims.get(router)?.get(id);
        if (claim) claim.reported = reported;
        else if (reported !== undefined) report({ address, level: undefined, from: ipv4FromNumber(router) });
      }
    }
    for (const [router, claims] of this.#claims) {
      for (const [id, claim] of claims) {
        if (!before.get(router)?.has(id)) claim.reported = undefined;
        this.#report(claim, report);
      }
    }
  }

  /** An instance replaces another in the database; either may be missing. `key` names the LSA. */
  lsaChanged(
    key: string,
    before: Lsa | undefined,
    after: Lsa | undefined,
    report: (claim: ForeignClaim) => void,
  ): void {
    const old = before ? this.#hosts(before) : undefined;
    const fresh = after ? this.#hosts(after) : undefined;
    const router = (after ?? before)!.header.advertisingRouter;
    if (old) {
      for (const id of old.keys()) if (!fresh?.has(id)) this.#set(router, id, key, undefined, report);
    }
    if (fresh) for (const [id, level] of fresh) this.#set(router, id, key, level, report);
    // Whoever claims something new is there, whatever the last computation said; its other claims then stand as well.
    if (fresh && fresh.size > 0 && this.#unreachable.delete(router)) {
      for (const claim of this.#claims.get(router)!.values()) this.#report(claim, report);
    }
  }

  /** Somebody else has this address in the database. */
  has(id: U32): boolean {
    for (const claims of this.#claims.values()) if (claims.has(id)) return true;
    return false;
  }

  /** After SPF: who can be reached. */
  reachability(reachable: (router: U32) => boolean, report: (claim: ForeignClaim) => void): void {
    for (const [router, claims] of this.#claims) {
      const lost = !reachable(router);
      if (lost === this.#unreachable.has(router)) continue;
      if (lost) this.#unreachable.add(router);
      else this.#unreachable.delete(router);
      for (const claim of claims.values()) this.#report(claim, report);
    }
  }

  #set(router: U32, id: U32, key: string, level: ClaimLevel | undefined, report: (claim: ForeignClaim) => void): void {
    let claims = this.#claims.get(router);
    let claim = claims?.get(id);
    if (level === undefined) {
      if (!claims || !claim) return;
      claim.levels.delete(key);
      this.#report(claim, report);
      if (claim.levels.size > 0) return;
      claims.delete(id);
      if (claims.size === 0) this.#claims.delete(router);
      return;
    }
    if (!claims) {
      claims = new Map();
      this.#claims.set(router, claims);
    }
    if (!claim) {
      claim = { router, address: ipv4FromNumber(id), levels: new Map(), reported: undefined };
      claims.set(id, claim);
    }
    claim.levels.set(key, level);
    this.#report(claim, report);
  }

  #report(claim: Claim, report: (claim: ForeignClaim) => void): void {
    let level: ClaimLevel | undefined;
    if (!this.#unreachable.has(claim.router)) {
      for (const each of claim.levels.values()) if (level === undefined || each > level) level = each;
    }
    if (level === claim.reported) return;
    claim.reported = level;
    report({ address: claim.address, level, from: ipv4FromNumber(claim.router) });
  }

  /** The hosts inside the prefixes that this instance announces. */
  #hosts(lsa: Lsa): Map<U32, ClaimLevel> | undefined {
    const { header, body } = lsa;
    if (lsaAge(header) >= MaxAge) return undefined;
    if (body.kind === 'external' && (header.type === LsaType.AsExternal || header.type === LsaType.Nssa)) {
      if (body.mask !== HOST_MASK || body.metric >= LSInfinity || !this.#inside(header.linkStateId)) return undefined;
      return new Map([[header.linkStateId, this.#level(body.metric, body.metricType)]]);
    }
    if (body.kind !== 'router') return undefined;
    const hosts = new Map<U32, ClaimLevel>();
    for (const link of body.links) {
      if (link.type !== RouterLinkType.Stub || link.linkData !== HOST_MASK || !this.#inside(link.linkId)) continue;
      hosts.set(link.linkId, this.#level(link.metric, undefined));
    }
    return hosts;
  }

  /** Other kinds of metric do not compare with ours: level 0. */
  #level(metric: number, metricType: 1 | 2 | undefined): ClaimLevel {
    const { as, metricType: ours, metric: base } = this.#announce;
    if (metricType !== (as === 'stub-link' ? undefined : ours)) return 0;
    return Math.min(2, Math.max(0, base - metric)) as ClaimLevel;
  }

  #inside(id: U32): boolean {
    return this.#prefixes.some(({ network, mask }) => (id & mask) >>> 0 === network);
  }
}

function networksOf(prefixes: readonly Prefix[]): { network: number; mask: number }[] {
  return prefixes
    .filter((prefix) => familyOf(prefix) === 4)
    .map((prefix) => {
      const length = prefixLength(prefix);
      const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
      return { network: ipv4ToNumber(prefixAddress(prefix)), mask };
    });
}
