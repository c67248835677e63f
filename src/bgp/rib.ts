import type { Address, Family, Prefix } from '../model/address.ts';
import { familyOf } from '../model/address.ts';
import type { LearnedRoute, NextHop } from '../model/hosts.ts';
import type { AsSegment, PathAttributes, UpdateMessage } from './codec/messages.ts';
import { pathLength } from './codec/validate.ts';

/**
 * Adj-RIBs-In and the Loc-RIB (RFC 4271 §3.2, §9.1). An Adj-RIB-In holds all that its neighbour said, also what can't be
 * used, so that the reason can be shown and a link's return needs no route refresh. The decision runs over the prefixes
 * that changed, once per batch of input, and what differs from before is the answer of `decide`.
 *
 * Routes that are equal down to the interior cost (§9.1.2.2 a to e) are used side by side, whatever the ASes they come
 * from: a switch's uplinks usually lead to spines of different ASes.
 */
export interface RibPeer {
  readonly address: Address;
  /** BGP Identifier as a number. */
  readonly remoteId: number;
  readonly external: boolean;
}

export interface InRoute {
  readonly prefix: Prefix;
  readonly peer: RibPeer;
  readonly attributes: PathAttributes;
  readonly nextHop: Address;
  readonly linkLocal: Address | undefined;
}

export interface Selected {
  /** Best first. */
  readonly paths: readonly InRoute[];
  readonly nextHops: readonly NextHop[];
  /** Next hops of what would be selected without those of `nextHops`; a gateway's only. */
  readonly backup: readonly NextHop[];
  /** The best of what other routers than that of `paths[0]` say; a gateway's only. */
  readonly runnerUp: InRoute | undefined;
}

export interface RibPolicy {
  localAs(): number;
  /** What comes second is of interest, too. */
  alternatives?(): boolean;
  readonly maximumPaths: number;
  /** Why a route may not be used, or how to reach its next hop. */
  resolve(route: InRoute): NextHop | { readonly rejected: string };
}

/** RFC 4271 §9.1.1 leaves the default to us; 100 is everybody's. */
const DEFAULT_LOCAL_PREFERENCE = 100;
const NO_FAMILIES: ReadonlySet<Family> = new Set();

export class Rib {
  readonly #policy: RibPolicy;
  readonly #in = new Map<Address, Map<Prefix, InRoute>>();
  readonly #loc = new Map<Prefix, Selected>();
  readonly #dirty = new Set<Prefix>();
  /** Where a route that is passed on is another than before; kept only with alternatives. */
  #reselected: Prefix[] = [];
  /** Routes of neighbours that are restarting, used as all others until refreshed or flushed (RFC 4724 §4.2). */
  readonly #stale = new Map<Address, Set<Prefix>>();

  constructor(policy: RibPolicy) {
    this.#policy = policy;
  }

  /** §9.1.1: a route replaces its neighbour's earlier one for the prefix. */
  update(peer: RibPeer, message: UpdateMessage): void {
    const table = this.#in.get(peer.address) ?? new Map<Prefix, InRoute>();
    this.#in.set(peer.address, table);
    const stale = this.#stale.get(peer.address);
    for (const prefix of message.withdrawn) {
      stale?.delete(prefix);
      if (table.delete(prefix)) this.#dirty.add(prefix);
    }
    for (const { nextHop, linkLocal, prefixes } of message.reach) {
      for (const prefix of prefixes) {
        stale?.delete(prefix);
        table.set(prefix, { prefix, peer, attributes: message.attributes, nextHop, linkLocal });
        this.#dirty.add(prefix);
      }
    }
  }

  /**
   * The session is lost, and with it all it said (RFC 4271 §8.2.2), but for the families in `kept`, which become stale.
   * What was stale already goes (RFC 4724 §4.2). Answers what went.
   */
  lost(peer: Address, kept: ReadonlySet<Family>): Prefix[] {
    const table = this.#in.get(peer);
    if (!table) return [];
    const before = this.#stale.get(peer);
    const stale = new Set<Prefix>();
    const gone: Prefix[] = [];
    for (const prefix of table.keys()) {
      if (kept.has(familyOf(prefix)) && !before?.has(prefix)) stale.add(prefix);
      else gone.push(prefix);
    }
    if (stale.size > 0) this.#stale.set(peer, stale);
    else this.#stale.delete(peer);
    this.#remove(peer, table, gone);
    return gone;
  }

  /** What is still stale goes, of one family or all. Answers what went. */
  flush(peer: Address, family?: Family): Prefix[] {
    const table = this.#in.get(peer);
    const stale = this.#stale.get(peer);
    if (!table || !stale) return [];
    const gone = [...stale].filter((prefix) => !family || familyOf(prefix) === family);
    for (const prefix of gone) stale.delete(prefix);
    if (stale.size === 0) this.#stale.delete(peer);
    this.#remove(peer, table, gone);
    return gone;
  }

  drop(peer: Address): void {
    this.lost(peer, NO_FAMILIES);
  }

  stale(peer: Address): number {
    return this.#stale.get(peer)?.size ?? 0;
  }

  #remove(peer: Address, table: Map<Prefix, InRoute>, gone: readonly Prefix[]): void {
    for (const prefix of gone) {
      table.delete(prefix);
      this.#dirty.add(prefix);
    }
    if (table.size === 0) this.#in.delete(peer);
  }

  /** Prefixes that wait for `decide`. */
  get undecided(): number {
    return this.#dirty.size;
  }

  /** Something outside the routes changed for this prefix; no cost when nobody sent it. */
  touch(prefix: Prefix): void {
    for (const table of this.#in.values()) if (table.has(prefix)) this.#dirty.add(prefix);
  }

  /** These next hops are reached in another way than before, or not any more, or now. */
  touchNextHops(changed: (nextHop: Address) => boolean): void {
    for (const table of this.#in.values()) {
      for (const route of table.values()) if (changed(route.nextHop)) this.#dirty.add(route.prefix);
    }
  }

  /** Runs the decision process over what changed; answers the differences. */
  decide(): LearnedRoute[] {
    const changes: LearnedRoute[] = [];
    const alternatives = this.#policy.alternatives?.() ?? false;
    for (const prefix of this.#dirty) {
      const before = this.#loc.get(prefix);
      const after = this.#select(prefix, alternatives);
      if (after) this.#loc.set(prefix, after);
      else this.#loc.delete(prefix);
      const passedOn = before?.paths[0] !== after?.paths[0] || before?.runnerUp !== after?.runnerUp;
      if (alternatives && passedOn) this.#reselected.push(prefix);
      if (sameHops(before?.nextHops, after?.nextHops) && sameHops(before?.backup, after?.backup)) continue;
      const { paths, nextHops = [], backup = [] } = after ?? {};
      const metric = paths?.[0]?.attributes.med ?? 0;
      changes.push({ prefix, nextHops, metric, ...(backup.length > 0 ? { backup } : {}) });
    }
    this.#dirty.clear();
    return changes;
  }

  /** What has to be passed on anew since this was last asked. */
  reselected(): Prefix[] {
    const prefixes = this.#reselected;
    this.#reselected = [];
    return prefixes;
  }

  /** Neighbours with routes. */
  get size(): number {
    return this.#in.size;
  }

  /** Where a neighbour's routes lead. */
  nextHopsOf(peer: Address): ReadonlySet<Address> {
    const nextHops = new Set<Address>();
    let before: Address | undefined;
    for (const { nextHop, linkLocal } of this.#in.get(peer)?.values() ?? []) {
      if (nextHop === before) continue;
      before = nextHop;
      nextHops.add(nextHop);
      if (linkLocal) nextHops.add(linkLocal);
    }
    return nextHops;
  }

  received(peer: Address): number {
    return this.#in.get(peer)?.size ?? 0;
  }

  /** Routes of one neighbour, or all. */
  *adjIn(peer?: Address): Generator<InRoute> {
    for (const [address, table] of this.#in) if (!peer || peer === address) yield* table.values();
  }

  locRib(): ReadonlyMap<Prefix, Selected> {
    return this.#loc;
  }

  rejection(route: InRoute): string | undefined {
    const usable = this.#usable(route);
    return 'rejected' in usable ? usable.rejected : undefined;
  }

  #usable(route: InRoute): NextHop | { readonly rejected: string } {
    // §9.1.2: our own AS in the path is a loop.
    if (containsAs(route.attributes.asPath, this.#policy.localAs())) return { rejected: 'as-loop' };
    return this.#policy.resolve(route);
  }

  #select(prefix: Prefix, alternatives: boolean): Selected | undefined {
    const candidates: InRoute[] = [];
    const hops: NextHop[] = [];
    for (const table of this.#in.values()) {
      const route = table.get(prefix);
      if (!route) continue;
      const usable = this.#usable(route);
      if ('rejected' in usable) continue;
      candidates.push(route);
      hops.push(usable);
    }
    const paths = bestPaths(candidates, this.#policy.maximumPaths);
    if (paths.length === 0) return undefined;
    const nextHops = hopsOf(paths, candidates, hops);
    if (!alternatives || candidates.length === 1) return { paths, nextHops, backup: [], runnerUp: undefined };
    const elsewhere = candidates.filter((_, index) => !nextHops.some(({ via }) => via === hops[index]!.via));
    const second = bestPaths(elsewhere, this.#policy.maximumPaths);
    const others = candidates.filter((route) => !isFrom(paths[0]!, route.peer.remoteId, neighborAs(route)));
    const same = others.length === elsewhere.length && others.every((route, index) => route === elsewhere[index]);
    const runnerUp = same ? second[0] : bestPaths(others, 1)[0];
    return { paths, nextHops, backup: hopsOf(second, candidates, hops), runnerUp };
  }
}

/** `hops` are those of `candidates`, of which `paths` are some. */
function hopsOf(paths: readonly InRoute[], candidates: readonly InRoute[], hops: readonly NextHop[]): NextHop[] {
  if (paths.length === 1) return [hops[candidates.indexOf(paths[0]!)]!];
  const nextHops = new Map<Address, NextHop>();
  for (const path of paths) {
    const hop = hops[candidates.indexOf(path)]!;
    nextHops.set(hop.via, hop);
  }
  return [...nextHops.values()].sort((a, b) => (a.via < b.via ? -1 : 1));
}

/** RFC 4271 §9.1.1, §9.1.2.2. The best first, then those as good as it but for the tie-break. */
export function bestPaths(routes: readonly InRoute[], maximumPaths: number): InRoute[] {
  if (routes.length <= 1) return [...routes];
  let left = keepLeast(routes, (route) => -(route.attributes.localPreference ?? DEFAULT_LOCAL_PREFERENCE));
  left = keepLeast(left, (route) => pathLength(route.attributes.asPath ?? []));
  left = keepLeast(left, (route) => route.attributes.origin ?? 2);
  // (c): MED says something only among routes from one neighbouring AS; a missing one is the lowest.
  left = left.filter((route) => {
    const from = neighborAs(route);
    const med = route.attributes.med ?? 0;
    return !left.some((other) => neighborAs(other) === from && (other.attributes.med ?? 0) < med);
  });
  left = keepLeast(left, (route) => (route.peer.external ? 0 : 1));
  left.sort((a, b) => a.peer.remoteId - b.peer.remoteId || (a.peer.address < b.peer.address ? -1 : 1));
  return left.slice(0, maximumPaths);
}

function keepLeast(routes: readonly InRoute[], rank: (route: InRoute) => number): InRoute[] {
  let least = Number.POSITIVE_INFINITY;
  for (const route of routes) least = Math.min(least, rank(route));
  return routes.filter((route) => rank(route) === least);
}

const neighborAs = (route: InRoute): number | undefined => {
  const first = route.attributes.asPath?.[0];
  return first?.type === 'AS_SEQUENCE' ? first.asns[0] : undefined;
};

/** Whether this router says so, by whichever of its sessions; an identifier is one of its AS (RFC 6286 §2.1). */
export const isFrom = (route: InRoute, remoteId: number, remoteAs: number | undefined): boolean =>
  route.peer.remoteId === remoteId && neighborAs(route) === remoteAs;

export const containsAs = (path: readonly AsSegment[] | undefined, asn: number): boolean =>
  path?.some((segment) => segment.asns.includes(asn)) ?? false;

/** The AS that the route comes from; undefined for one of the neighbour's own AS, or an aggregate of several. */
export function originAs(path: readonly AsSegment[] | undefined): number | undefined {
  const last = path?.at(-1);
  return last?.type === 'AS_SEQUENCE' ? last.asns.at(-1) : undefined;
}

function sameHops(a: readonly NextHop[] | undefined, b: readonly NextHop[] | undefined): boolean {
  if ((a?.length ?? 0) !== (b?.length ?? 0)) return false;
  return !a || a.every((hop, index) => hop.via === b![index]!.via && hop.interface === b![index]!.interface);
}
