import type { Address } from '../model/address.ts';
import { ipv4FromNumber, ipv4ToNumber } from '../model/address.ts';
import { GRACEFUL_SHUTDOWN } from './codec/communities.ts';
import type { AsSegment, LargeCommunity, PathAttributes } from './codec/messages.ts';

/**
 * What our switches say of their host routes beside BGP's own words, for each other and for the gateway's map: large
 * communities (RFC 8092) of the announcer's AS, which gateways pass on as they are. docs/wire.md has them all.
 */
const ROUTER = 20556;
const PORT = 20557;
const ENDPOINT = 20558;
const SHADOW = 20559;

export const routerMark = (asn: number, routerId: Address): LargeCommunity => [asn, ROUTER, ipv4ToNumber(routerId)];
export const portMark = (asn: number, ifindex: number): LargeCommunity => [asn, PORT, ifindex];
export const endpointMark = (asn: number, endpoint: Address): LargeCommunity => [asn, ENDPOINT, ipv4ToNumber(endpoint)];
export const shadowMark = (asn: number): LargeCommunity => [asn, SHADOW, 1];

export interface Marks {
  routerId?: Address;
  portIndex?: number;
  endpoint?: Address;
  shadow: boolean;
}

/** The marks of a switch with this AS. */
export function marksOf({ largeCommunities }: PathAttributes, asn: number | undefined): Marks {
  const marks: Marks = { shadow: false };
  for (const [global, kind, value] of largeCommunities ?? []) {
    if (global !== asn) continue;
    if (kind === ROUTER) marks.routerId ??= ipv4FromNumber(value);
    else if (kind === PORT) marks.portIndex ??= value;
    else if (kind === ENDPOINT) marks.endpoint ??= ipv4FromNumber(value);
    else if (kind === SHADOW) marks.shadow = true;
  }
  return marks;
}

/** Not every gateway heeds GRACEFUL_SHUTDOWN (RFC 8326 leaves it to its policy); a longer path every one does. */
const LEAVING_PATH = 3;
/** Longer than what leaves: nothing real, drained or not, may lose to a shadow or be used beside one. */
const SHADOW_PATH = 5;

/** How often our AS stands in the path of what we announce. */
export const pathTimes = (shadow: boolean, leaving: boolean): number =>
  shadow ? SHADOW_PATH : leaving ? LEAVING_PATH : 1;

/** It is announced as what gives way to others, as far as the gateway has left one of the two signs. */
export const isLeaving = ({ communities, asPath }: PathAttributes): boolean =>
  (communities?.includes(GRACEFUL_SHUTDOWN) ?? false) || timesAtOrigin(asPath) >= LEAVING_PATH;

/** How often the AS that the route comes from stands at the end of its path. */
function timesAtOrigin(path: readonly AsSegment[] | undefined): number {
  const last = path?.at(-1);
  if (last?.type !== 'AS_SEQUENCE') return 0;
  const origin = last.asns.at(-1);
  const other = last.asns.findLastIndex((asn) => asn !== origin);
  return last.asns.length - 1 - other;
}
