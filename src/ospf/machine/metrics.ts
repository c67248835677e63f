/**
 * How a host is announced against others who announce it: the stronger the claim, the better the metric; what is drained
 * gives way to all of these; a shadow gives way to everything.
 */
import { LSInfinity } from 'node-ospf-lsa';
import type { HostRoute } from '../../model/hosts.ts';
import type { OspfAnnounce } from '../face.ts';

/** RFC 6987 §2, and the most that a link of the router LSA can say. */
export const MaxLinkMetric = 0xffff;

/**
 * What is drained is better than a shadow by this much: where metrics are summed up with the way there (stub links, E1),
 * the shadow may be the nearer one by so many of them.
 */
const ShadowMargin = 0x1000;

export const shadowMetric = (as: OspfAnnounce['as']): number => (as === 'stub-link' ? MaxLinkMetric : LSInfinity - 1);

/** MaxLinkMetric on our links alone says nothing of how far it is from the gateway to us. */
export const drainMetric = ({ as, metric }: OspfAnnounce): number =>
  Math.min(shadowMetric(as) - ShadowMargin, metric + MaxLinkMetric);

/** Of level 0: as configured, as long as that leaves room for what is drained. */
export const baseMetric = (announce: OspfAnnounce): number => Math.min(announce.metric, drainMetric(announce) - 1);

/** 1 at the least: 0 would tie with nothing below it. */
export function hostMetric(announce: OspfAnnounce, { level, shadow }: HostRoute, draining: boolean): number {
  if (shadow) return shadowMetric(announce.as);
  return draining ? drainMetric(announce) : Math.max(1, baseMetric(announce) - level);
}

/** Somebody's host at this metric gives way to others: planned work there, by a base metric that is about ours. */
export const isLeaving = (announce: OspfAnnounce, metric: number): boolean =>
  metric >= Math.min(shadowMetric(announce.as) - ShadowMargin, announce.metric + (MaxLinkMetric >> 1));
