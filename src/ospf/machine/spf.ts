/**
 * Routes from the link state database, RFC 2328 §16: shortest path tree per area (§16.1), inter-area routes from
 * summaries (§16.2), then externals (`externals.ts`). A pure function of its input; equal paths are all kept.
 *
 * Left out, because a leaf at the edge of the fabric has no use for it: virtual links, TOS, and being an area border
 * router ourselves.
 */
import {
  LSInfinity,
  type Lsa,
  LsaType,
  lsaAge,
  MaxAge,
  type RouterBody,
  RouterLinkType,
  type U32,
} from 'node-ospf-lsa';
import { addExternals, type RouterPath, type Tree } from './externals.ts';
import { type Hop, merge, PathKind, Paths, type Route } from './paths.ts';

export interface SpfInterface {
  readonly name: string;
  readonly address: U32;
  readonly ifindex: number;
  /** Full neighbours: router id to address. */
  readonly neighbors: ReadonlyMap<U32, U32>;
}

export interface SpfArea {
  readonly id: U32;
  readonly interfaces: readonly SpfInterface[];
  readonly lsas: Iterable<Lsa>;
}

export interface SpfInput {
  readonly routerId: U32;
  readonly areas: readonly SpfArea[];
  readonly externals: Iterable<Lsa>;
  /** Keep what would be used without the best path to a host; not when absent. */
  readonly backups?: boolean;
}

export interface SpfResult extends Tree {
  readonly routes: Paths;
  readonly reachable: ReadonlySet<U32>;
  /** Of each router its own addresses on links to other routers; those that the other end confirms, where there are any. */
  readonly addresses: ReadonlyMap<U32, readonly U32[]>;
}

interface Vertex {
  readonly id: string;
  readonly router: boolean;
  readonly lsa: Lsa;
  distance: number;
  hops: Hop[];
}

export function computeRoutes(input: SpfInput): SpfResult {
  const { routerId: root, backups = false } = input;
  const internal = new Paths(backups);
  const routers = new Map<U32, RouterPath>();
  const reachable = new Set<U32>([root]);
  const addresses = new Map<U32, U32[]>();
  const summaries: Lsa[] = [];
  const externals: Lsa[] = [];
  for (const area of input.areas) {
    const database = new Map<string, Lsa>();
    for (const lsa of area.lsas) {
      const { type, advertisingRouter } = lsa.header;
      if (lsaAge(lsa.header) >= MaxAge) continue;
      if (type === LsaType.Router) database.set(routerVertex(advertisingRouter), lsa);
      else if (type === LsaType.Network) database.set(networkVertex(lsa.header.linkStateId), lsa);
      else if (type === LsaType.SummaryNetwork || type === LsaType.SummaryAsbr) summaries.push(lsa);
      else if (type === LsaType.Nssa) externals.push(lsa);
    }
    intraArea(root, area, database, { internal, routers, reachable, addresses });
  }
  interArea(root, summaries, internal, routers, reachable);
  for (const lsa of input.externals) if (lsa.header.type === LsaType.AsExternal) externals.push(lsa);
  const tree = { root, internal, routers, backups };
  return { ...tree, routes: addExternals(tree, externals), reachable, addresses };
}

interface Found {
  readonly internal: Paths;
  readonly routers: Map<U32, RouterPath>;
  readonly reachable: Set<U32>;
  readonly addresses: Map<U32, U32[]>;
}

const routerVertex = (id: U32): string => `r${id}`;
const networkVertex = (id: U32): string => `n${id}`;

// ---- §16.1

function intraArea(
  root: U32,
  area: SpfArea,
  database: ReadonlyMap<string, Lsa>,
  { internal, routers, reachable, addresses }: Found,
): void {
  const own = database.get(routerVertex(root));
  if (!own) return;
  const done = new Map<string, Vertex>();
  const candidates = new Map<string, Vertex>();
  candidates.set(routerVertex(root), { id: routerVertex(root), router: true, lsa: own, distance: 0, hops: [] });
  for (;;) {
    const vertex = nearest(candidates);
    if (!vertex) break;
    candidates.delete(vertex.id);
    done.set(vertex.id, vertex);
    for (const edge of edges(vertex.lsa)) {
      const lsa = database.get(edge.to);
      if (!lsa || done.has(edge.to) || !linksBack(lsa, vertex)) continue;
      const distance = vertex.distance + edge.metric;
      const known = candidates.get(edge.to);
      if (known && known.distance < distance) continue;
      const hops = nextHops(root, area, vertex, edge, lsa);
      if (hops.length === 0) continue;
      if (known && known.distance === distance) known.hops = merge(known.hops, hops);
      else candidates.set(edge.to, { id: edge.to, router: edge.to[0] === 'r', lsa, distance, hops });
    }
  }
  for (const vertex of done.values()) {
    if (vertex.lsa.body.kind === 'network') {
      const { mask } = vertex.lsa.body;
      const network = (vertex.lsa.header.linkStateId & mask) >>> 0;
      internal.offer(route(network, mask, PathKind.intra, vertex.distance, 0, vertex.hops));
    } else if (vertex.lsa.body.kind === 'router') {
      const id = vertex.lsa.header.advertisingRouter;
      reachable.add(id);
      noteRouter(routers, id, { distance: vertex.distance, hops: vertex.hops, flags: vertex.lsa.body.flags, kind: 0 });
      if (id !== root) addresses.set(id, [...(addresses.get(id) ?? []), ...ownAddresses(vertex, done)]);
      for (const link of vertex.lsa.body.links) {
        if (link.type !== RouterLinkType.Stub) continue;
        const network = (link.linkId & link.linkData) >>> 0;
        const hops = id === root ? connected(area, network, link.linkData) : vertex.hops;
        internal.offer(route(network, link.linkData, PathKind.intra, vertex.distance + link.metric, 0, hops));
      }
    }
  }
}

function connected(area: SpfArea, network: U32, mask: U32): Hop[] {
  return area.interfaces
    .filter(({ address }) => (address & mask) >>> 0 === network)
    .map(({ name }) => ({ interface: name, via: 0 }));
}

function nearest(candidates: ReadonlyMap<string, Vertex>): Vertex | undefined {
  let best: Vertex | undefined;
  for (const vertex of candidates.values()) {
    if (
      !best ||
      vertex.distance < best.distance ||
      // §16.1 (3): networks before routers, so that all equal paths are found.
      (vertex.distance === best.distance && best.router && !vertex.router)
    ) {
      best = vertex;
    }
  }
  return best;
}

interface Edge {
  readonly to: string;
  readonly metric: number;
  readonly linkData: U32;
}

function edges(lsa: Lsa): Edge[] {
  if (lsa.body.kind === 'network') {
    return lsa.body.attachedRouters.map((id) => ({ to: routerVertex(id), metric: 0, linkData: 0 }));
  }
  if (lsa.body.kind !== 'router') return [];
  const found: Edge[] = [];
  for (const { type, linkId, linkData, metric } of lsa.body.links) {
    if (type === RouterLinkType.PointToPoint) found.push({ to: routerVertex(linkId), metric, linkData });
    else if (type === RouterLinkType.Transit) found.push({ to: networkVertex(linkId), metric, linkData });
  }
  return found;
}

function linksBack(lsa: Lsa, vertex: Vertex): boolean {
  return edges(lsa).some((edge) => edge.to === vertex.id);
}

/** §16.1.1. */
function nextHops(root: U32, area: SpfArea, parent: Vertex, edge: Edge, child: Lsa): Hop[] {
  if (parent.id === routerVertex(root)) {
    const iface = area.interfaces.find(
      ({ address, ifindex }) => edge.linkData === address || edge.linkData === ifindex,
    );
    if (!iface) return [];
    if (child.body.kind === 'network') return [{ interface: iface.name, via: 0 }];
    const via = iface.neighbors.get(child.header.advertisingRouter);
    return via === undefined ? [] : [{ interface: iface.name, via }];
  }
  const direct = parent.hops.filter(({ via }) => via === 0);
  if (direct.length === 0 || child.body.kind !== 'router') return parent.hops;
  // The parent is a network we are on: the next hop is the child's own address on it.
  const back = child.body.links.find((link) => linkTo(link, parent));
  if (!back) return [];
  return parent.hops.map((hop) => (hop.via === 0 ? { interface: hop.interface, via: back.linkData } : hop));
}

function linkTo(link: RouterBody['links'][number], parent: Vertex): boolean {
  return link.type === RouterLinkType.Transit && networkVertex(link.linkId) === parent.id;
}

/** An unnumbered link has an ifindex in its place (§12.4.1.1). */
function ownAddresses(vertex: Vertex, done: ReadonlyMap<string, Vertex>): U32[] {
  const numbered = edges(vertex.lsa).filter(({ linkData }) => linkData >>> 24 !== 0);
  const confirmed = numbered.filter(({ to }) => {
    const other = done.get(to);
    return other !== undefined && linksBack(other.lsa, vertex);
  });
  return (confirmed.length > 0 ? confirmed : numbered).map(({ linkData }) => linkData);
}

// ---- §16.2

function interArea(
  root: U32,
  summaries: readonly Lsa[],
  internal: Paths,
  routers: Map<U32, RouterPath>,
  reachable: Set<U32>,
): void {
  const borders = new Map(routers);
  for (const { header, body } of summaries) {
    if (body.kind !== 'summary' || body.metric >= LSInfinity || header.advertisingRouter === root) continue;
    const border = borders.get(header.advertisingRouter);
    if (!border || border.hops.length === 0) continue;
    const metric = border.distance + body.metric;
    if (header.type === LsaType.SummaryAsbr) {
      reachable.add(header.linkStateId);
      noteRouter(routers, header.linkStateId, { distance: metric, hops: border.hops, flags: 0x02, kind: 1 });
    } else {
      const network = (header.linkStateId & body.mask) >>> 0;
      internal.offer(route(network, body.mask, PathKind.inter, metric, 0, border.hops));
    }
  }
}

function route(network: U32, mask: U32, kind: number, metric: number, inner: number, hops: readonly Hop[]): Route {
  return { network, mask, kind, metric, inner, hops };
}

function noteRouter(routers: Map<U32, RouterPath>, id: U32, fresh: RouterPath): void {
  const known = routers.get(id);
  const order = known ? known.kind - fresh.kind || known.distance - fresh.distance : 1;
  if (order > 0) routers.set(id, fresh);
  else if (order === 0) routers.set(id, { ...fresh, hops: merge(known!.hops, fresh.hops) });
}
