/** What the kernel has of an installer's objects and routes. */
import { AF, type NextHop, type Route, RTN, type Rtnetlink } from 'rtnetlink-ts';
import { type Prefix, parsePrefix } from '../../model/address.ts';
import type { Place } from './entry.ts';

export interface Picture {
  readonly objects: readonly NextHop[];
  /** Of each prefix, the best first. */
  readonly routes: ReadonlyMap<Prefix, readonly Route[]>;
  /** By the id of a group, that of the group which its routes have as their backup. */
  readonly backupOf: ReadonlyMap<number, number>;
}

export async function readPicture(
  socket: Pick<Rtnetlink, 'dumpRoutes' | 'dumpNextHops'>,
  place: Place,
): Promise<Picture> {
  const objects = await socket.dumpNextHops();
  const routes = new Map<Prefix, Route[]>();
  for (const family of [AF.INET, AF.INET6]) {
    for (const route of await socket.dumpRoutes({ ...place, type: RTN.UNICAST, family })) {
      const prefix = parsePrefix(route.destination)!;
      const others = routes.get(prefix);
      if (others) others.push(route);
      else routes.set(prefix, [route]);
    }
  }
  const backupOf = new Map<number, number>();
  for (const each of routes.values()) {
    if (each.length < 2) continue;
    each.sort((one, other) => (one.metric ?? 0) - (other.metric ?? 0));
    const [first, second] = each as [Route, Route];
    if (first.nextHopId !== undefined && second.nextHopId !== undefined && !backupOf.has(first.nextHopId))
      backupOf.set(first.nextHopId, second.nextHopId);
  }
  return { objects, routes, backupOf };
}
