/**
 * Routes from AS-external and NSSA LSAs, RFC 2328 §16.4, RFC 3101 §2.5: of all of them, and of single hosts when only
 * their LSAs changed (§16.6), which with ten thousand hosts is the difference between microseconds and tens of
 * milliseconds.
 */
import { LSInfinity, type Lsa, lsaAge, MaxAge, type U32 } from 'node-ospf-lsa';
import { type Hop, PathKind, Paths, type Route, routeKey } from './paths.ts';

const HOST_MASK = 0xffffffff;

export interface RouterPath {
  readonly distance: number;
  readonly hops: readonly Hop[];
  readonly flags: number;
  readonly kind: number;
}

/** What §16.1 and §16.2 have found. */
export interface Tree {
  readonly root: U32;
  readonly internal: Paths;
  readonly routers: ReadonlyMap<U32, RouterPath>;
  readonly backups: boolean;
}

export function addExternals(tree: Tree, externals: Iterable<Lsa>): Paths {
  const paths = new Paths(tree.backups, tree.internal);
  const towards = new Forwarding(tree.internal);
  for (const lsa of externals) {
    const route = externalRoute(tree, lsa, towards);
    if (route) paths.offer(route);
  }
  return paths;
}

/** The same for some hosts; `lsasOf` answers with the LSAs of a host. */
export function hostPaths(tree: Tree, hosts: Iterable<U32>, lsasOf: (host: U32) => Iterable<Lsa>): Paths {
  const paths = new Paths(tree.backups);
  const towards = new Forwarding(tree.internal);
  for (const host of hosts) {
    for (const route of tree.internal.of(routeKey(host, HOST_MASK))) paths.offer(route);
    for (const lsa of lsasOf(host)) {
      const route = externalRoute(tree, lsa, towards);
      if (route) paths.offer(route);
    }
  }
  return paths;
}

function externalRoute({ root, routers }: Tree, { header, body }: Lsa, towards: Forwarding): Route | undefined {
  if (body.kind !== 'external' || lsaAge(header) >= MaxAge || body.metric >= LSInfinity) return undefined;
  if (header.advertisingRouter === root) return undefined;
  const asbr = routers.get(header.advertisingRouter);
  const way = asbr && (body.forwardingAddress === 0 ? asbr : towards.way(body.forwardingAddress));
  if (!way || way.hops.length === 0) return undefined;
  const { distance, hops } = way;
  const { mask, metric } = body;
  const network = (header.linkStateId & mask) >>> 0;
  return body.metricType === 1
    ? { network, mask, kind: PathKind.external1, metric: distance + metric, inner: 0, hops }
    : { network, mask, kind: PathKind.external2, metric, inner: distance, hops };
}

/** §16.4 (3): the way to a forwarding address; thousands of LSAs name the same. */
class Forwarding {
  readonly #internal: ReadonlyMap<string, Route>;
  #masks: readonly U32[] | undefined;
  readonly #ways = new Map<U32, { distance: number; hops: readonly Hop[] } | undefined>();

  constructor({ best }: Paths) {
    this.#internal = best;
  }

  way(address: U32): { distance: number; hops: readonly Hop[] } | undefined {
    if (this.#ways.has(address)) return this.#ways.get(address);
    const found = this.#lookUp(address);
    const way = found && {
      distance: found.metric,
      hops: found.hops.map((hop) => (hop.via === 0 ? { ...hop, via: address } : hop)),
    };
    this.#ways.set(address, way);
    return way;
  }

  #lookUp(address: U32): Route | undefined {
    this.#masks ??= [...new Set(Array.from(this.#internal.values(), ({ mask }) => mask))].sort((a, b) => b - a);
    for (const mask of this.#masks) {
      const found = this.#internal.get(routeKey((address & mask) >>> 0, mask));
      if (found) return found;
    }
    return undefined;
  }
}
