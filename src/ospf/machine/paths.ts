/** Paths to networks, and which of several is preferred (RFC 2328 §11, §16.4 (6)). */
import type { U32 } from 'node-ospf-lsa';

const HOST_MASK = 0xffffffff;

/** §11: the order of preference between kinds of path. */
export const PathKind = { intra: 0, inter: 1, external1: 2, external2: 3 } as const;

export interface Hop {
  readonly interface: string;
  /** 0: the destination is on the link itself. */
  readonly via: U32;
}

export interface Route {
  readonly network: U32;
  readonly mask: U32;
  readonly kind: number;
  readonly metric: number;
  /** E2: the cost of the way to the announcer, which breaks ties. */
  readonly inner: number;
  readonly hops: readonly Hop[];
}

export const routeKey = (network: U32, mask: U32): string => `${network}/${mask}`;

/** Below 0: `a` is preferred; 0: both are used. */
const order = (a: Route, b: Route): number => a.kind - b.kind || a.metric - b.metric || a.inner - b.inner;

/** The best path to each network; of hosts, when `keepOthers`, also what would be used without it. */
export class Paths {
  readonly best = new Map<string, Route>();
  readonly #others: Map<string, Route[]> | undefined;

  constructor(keepOthers: boolean, from?: Paths) {
    this.#others = keepOthers ? new Map() : undefined;
    if (!from) return;
    for (const [key, route] of from.best) this.best.set(key, route);
    for (const [key, routes] of from.#others ?? []) this.#others?.set(key, [...routes]);
  }

  offer(fresh: Route): void {
    const key = routeKey(fresh.network, fresh.mask);
    const known = this.best.get(key);
    if (!known) {
      this.best.set(key, fresh);
      return;
    }
    const preference = order(fresh, known);
    if (preference === 0) {
      this.best.set(key, { ...fresh, hops: merge(known.hops, fresh.hops) });
      return;
    }
    if (preference < 0) this.best.set(key, fresh);
    if (!this.#others || fresh.mask !== HOST_MASK) return;
    const loser = preference < 0 ? known : fresh;
    const others = this.#others.get(key);
    if (others) others.push(loser);
    else this.#others.set(key, [loser]);
  }

  /** All that was offered for one network. */
  *of(key: string): Iterable<Route> {
    const best = this.best.get(key);
    if (best) yield best;
    yield* this.#others?.get(key) ?? [];
  }

  /** Next hops, none of them among the best, of the path that would be preferred without those; none: []. */
  backup(key: string): readonly Hop[] {
    const others = this.#others?.get(key);
    const best = this.best.get(key);
    if (!others || !best) return [];
    let backup: Route | undefined;
    for (const other of others) {
      const hops = without(other.hops, best.hops);
      if (hops.length === 0) continue;
      const preference = backup ? order(other, backup) : -1;
      if (preference < 0) backup = { ...other, hops };
      else if (preference === 0) backup = { ...other, hops: merge(backup!.hops, hops) };
    }
    return backup?.hops ?? [];
  }
}

const sameHop = (a: Hop, b: Hop): boolean => a.interface === b.interface && a.via === b.via;

/** `hops` itself when nothing is in the way, so that texts made of it are found again. */
function without(hops: readonly Hop[], taken: readonly Hop[]): readonly Hop[] {
  const isTaken = (hop: Hop): boolean => taken.some((each) => sameHop(each, hop));
  return hops.some(isTaken) ? hops.filter((hop) => !isTaken(hop)) : hops;
}

export function merge(a: readonly Hop[], b: readonly Hop[]): Hop[] {
  const merged = [...a];
  for (const hop of b) if (!merged.some((known) => sameHop(known, hop))) merged.push(hop);
  return merged;
}
