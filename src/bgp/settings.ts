import type { Address } from '../model/address.ts';
import type { CommunitySet } from './codec/communities.ts';
import { GRACEFUL_SHUTDOWN, parseCommunities } from './codec/communities.ts';
import { endpointMark, routerMark } from './marks.ts';
import type { BgpOptions, BgpSettings } from './types.ts';

/** What can be set while the speaker runs; an absent key is its default, so what was set before is left out. */
export function withSettings(options: BgpOptions, settings: BgpSettings): BgpOptions {
  const { sharedAs: _s, gracefulRestart: _g, servers: _v, ...others } = options;
  const { observer: _o, propagate: _p, defaultOriginate: _d, ...rest } = others;
  return { ...rest, ...settings };
}

/** A speaker in another role needs other sessions. */
export const sameRole = (one: BgpOptions, other: BgpOptions): boolean =>
  (one.observer ?? false) === (other.observer ?? false) && (one.propagate ?? false) === (other.propagate ?? false);

/**
 * With which communities everything is announced.
 *
 * @throws RangeError for a configured one that is none
 */
export function communitiesOf(options: BgpOptions, leaving: boolean, endpoint: Address | undefined): CommunitySet {
  const { announce, sharedAs, asn, routerId } = options;
  const configured = parseCommunities(announce.communities);
  const standard = leaving ? [...configured.standard, GRACEFUL_SHUTDOWN] : configured.standard;
  const large = [...configured.large];
  if (sharedAs !== false) large.push(routerMark(asn, routerId));
  if (endpoint !== undefined) large.push(endpointMark(asn, endpoint));
  return { standard: [...new Set(standard)], large };
}
