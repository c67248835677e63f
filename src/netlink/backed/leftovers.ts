import { AF, type NextHop, type Route, type Rtnetlink, requests } from 'rtnetlink-ts';
import { type Counters, countRefusals, sendPaced } from '../installing.ts';
import { nextHopsOf } from '../next-hop-reading.ts';
import { isIdOf } from './next-hop-objects.ts';

/** Learned routes with their backups, and the objects under them, of an agent that is not there any more. */
export interface BackedLeftovers {
  /** In whatever table they are. */
  readonly routes: readonly Route[];
  readonly objects: readonly NextHop[];
}

/** Of these kernel protocol numbers. Rejects when the kernel can't be read. */
export async function findBacked(
  rtnetlink: Pick<Rtnetlink, 'dumpRoutes' | 'dumpNextHops'>,
  protocols: readonly number[],
): Promise<BackedLeftovers> {
  const routes: Route[] = [];
  for (const protocol of protocols) {
    for (const family of [AF.INET, AF.INET6]) routes.push(...(await rtnetlink.dumpRoutes({ family, protocol })));
  }
  const objects = await nextHopsOf(rtnetlink);
  return {
    routes,
    objects: objects.filter(({ id, protocol }) => protocols.includes(protocol) && isIdOf(protocol, id)),
  };
}

/** What the kernel refuses is still there for who looks again. Groups go before what they consist of. */
export async function removeBacked(
  rtnetlink: Pick<Rtnetlink, 'sendNow'>,
  { routes, objects }: BackedLeftovers,
): Promise<void> {
  const refusals: Counters = {};
  // By prefix and metric alone, since the kernel may have dropped an object meanwhile.
  const bare = ({ nextHopId: _, ...route }: Route): Route => ({ ...route, nextHops: [] });
  await sendPaced(rtnetlink, routes, (route) => [requests.deleteRoute(bare(route))], refusals);
  const inOrder = [...objects.filter(({ group }) => group), ...objects.filter(({ group }) => !group)];
  countRefusals(refusals, await rtnetlink.sendNow(inOrder.map(({ id }) => requests.deleteNextHop(id))));
}
