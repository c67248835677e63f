/**
 * All that an agent has put into the kernel, known by its protocol numbers and names alone: for the day after a crash that
 * no other life of it follows.
 */
import { AF, type Link, type Neighbour, type Route, RTN, type Rtnetlink, type Rule, requests } from 'rtnetlink-ts';
import { findFabricRules } from './fabric-rules.ts';
import { hostAddress, sendPaced } from './installing.ts';
import { findRepair, type RepairLeftovers, removeRepair } from './repair/leftovers.ts';
import { findShadows, removeShadows, type ShadowLeftovers } from './shadow-table.ts';
import { isShutBy } from './shutting.ts';
import { DOOR } from './waiting-room.ts';

export interface LeftoverOptions {
  /** Of the host routes; the next two are those of learned routes, then come that of shadows and that of the repair path. */
  readonly protocol: number;
  /** A table that we only read: what has our number there is another's word. */
  readonly readTable: number | undefined;
  /** Our bit of protodown. */
  readonly protodownReason: number;
}

export interface KernelLeftovers {
  /** In whatever table they are. */
  readonly hostRoutes: readonly Route[];
  readonly unreachable: readonly Route[];
  readonly learnedRoutes: readonly Route[];
  readonly fabricRules: readonly Rule[];
  readonly shadows: ShadowLeftovers;
  readonly repair: RepairLeftovers;
  readonly neighbours: readonly Neighbour[];
  readonly waitingRoom: boolean;
  /** Ports that are down by our bit. */
  readonly protodown: readonly string[];
  /** Ports whose admin state is down, whoever did it. */
  readonly down: readonly string[];
}

type Reading = Pick<Rtnetlink, 'dumpRoutes' | 'dumpRules' | 'dumpNextHops' | 'dumpNeighbours' | 'dumpLinks'>;

/** Rejects when the kernel can't be read. */
export async function findLeftovers(rtnetlink: Reading, options: LeftoverOptions): Promise<KernelLeftovers> {
  const { protocol, readTable, protodownReason } = options;
  const routes: Route[] = [];
  for (const number of [protocol, protocol + 1, protocol + 2]) {
    for (const family of [AF.INET, AF.INET6]) {
      const found = await rtnetlink.dumpRoutes({ family, protocol: number });
      routes.push(...found.filter(({ table }) => number !== protocol || table !== readTable));
    }
  }
  const ours = routes.filter((route) => route.protocol === protocol);
  const isUnreachable = ({ type }: Route): boolean => type === RTN.UNREACHABLE;
  const links: Link[] = await rtnetlink.dumpLinks();
  return {
    unreachable: ours.filter(isUnreachable),
    hostRoutes: ours.filter((route) => !isUnreachable(route) && hostAddress(route) !== undefined),
    learnedRoutes: routes.filter((route) => route.protocol !== protocol),
    fabricRules: await findFabricRules(rtnetlink, protocol),
    shadows: await findShadows(rtnetlink, protocol + 3),
    repair: await findRepair(rtnetlink, protocol + 4),
    neighbours: (await rtnetlink.dumpNeighbours()).filter((each) =>
      [protocol, protocol + 3].includes(each.protocol ?? 0),
    ),
    waitingRoom: links.some(({ name }) => name === DOOR),
    protodown: links.filter((link) => isShutBy(protodownReason, link)).map(({ name }) => name),
    down: links.filter(({ up }) => !up).map(({ name }) => name),
  };
}

/** But the ports. What the kernel refuses is still there for who looks again. */
export async function removeLeftovers(
  rtnetlink: Pick<Rtnetlink, 'sendNow' | 'deleteLink' | 'deleteRule'>,
  found: KernelLeftovers,
): Promise<void> {
  const refusals = {};
  await removeRepair(rtnetlink, found.repair, refusals);
  await removeShadows(rtnetlink, found.shadows, refusals);
  await removeShadows(rtnetlink, { rules: found.fabricRules, routes: [] }, refusals);
  // Unreachable ones last: until then a host whose route has gone is not looked for by the default route.
  const routes = [...found.hostRoutes, ...found.learnedRoutes, ...found.unreachable];
  await sendPaced(rtnetlink, routes, (route) => [requests.deleteRoute(route)], refusals);
  await sendPaced(
    rtnetlink,
    found.neighbours,
    ({ family, ifindex, destination }) => [requests.deleteNeighbour({ family, ifindex, destination })],
    refusals,
  );
  if (found.waitingRoom) await rtnetlink.deleteLink({ name: DOOR });
}
