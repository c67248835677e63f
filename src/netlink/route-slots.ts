/** Routes of one prefix stand beside each other at different metrics: what was asked for each, and what is left of it. */
import { AF, type Refusal, type Route, type RouteNextHop, RTNH_F } from 'rtnetlink-ts';
import { isLeftOver } from './installing.ts';

/** What Linux makes of IPv6 metric 0. */
const IPV6_DEFAULT_METRIC = 1024;

/** So are requests told whose answers overran the socket: the kernel may have done as it was asked. */
const ANSWER_LOST = 'ENOBUFS';

/** A request of ours: the route of a prefix at a metric. */
export interface Slot {
  /** In its batch. */
  readonly index: number;
  readonly metric: number;
  readonly isWrite: boolean;
  /** As far as known there is one, to be replaced or removed. */
  readonly isThere: boolean;
}

/** What was made of it is written down. @returns whether the kernel took a route that is wanted, or there was none */
export function settle({ metric, isWrite, isThere }: Slot, left: Set<number>, refusal: Refusal | undefined): boolean {
  // Refused where nothing was known to be: what is there is of an earlier order, whose answer has said so.
  if (refusal && (isWrite || isLeftOver(refusal))) {
    if (isThere || refusal.code === ANSWER_LOST) left.add(metric);
  } else left.delete(metric);
  return refusal === undefined || !isWrite;
}

export const metricOf = (route: Route): number => route.metric || (route.family === AF.INET6 ? IPV6_DEFAULT_METRIC : 0);

export function sameRoute(one: Route | undefined, other: Route): boolean {
  if (!one || metricOf(one) !== metricOf(other) || one.nextHops.length !== other.nextHops.length) return false;
  const hopName = (hop: RouteNextHop) => `${hop.gateway} ${hop.ifindex} ${(hop.flags ?? 0) & RTNH_F.ONLINK}`;
  const names = new Set(one.nextHops.map(hopName));
  return other.nextHops.every((hop) => names.has(hopName(hop)));
}
