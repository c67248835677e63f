import type { SessionView as BfdSession } from '../../bfd/index.ts';
import type { SessionView as BgpSession } from '../../bgp/index.ts';
import type { Instant } from '../../model/clock.ts';
import type { NeighborView } from '../../ospf/index.ts';
import type { IsoTime, SessionView } from '../api.ts';
import type { WallClock } from '../events.ts';

/** Sessions of whatever protocol, as every role shows them. */

/** An instant of our clock means nothing to a client: it becomes wall-clock time. */
export function datedView<View extends { readonly since: Instant }>(
  view: View,
  wall: WallClock,
): Omit<View, 'since'> & { since: IsoTime } {
  return { ...view, since: wall.iso(view.since) };
}

export function ospfSessionView(neighbor: NeighborView, wall: WallClock): SessionView {
  const adjacent = neighbor.state === 'Full';
  return {
    protocol: 'ospf',
    peer: neighbor.routerId,
    interface: neighbor.interface,
    state: neighbor.state,
    up: adjacent || neighbor.state === '2-Way',
    since: wall.iso(neighbor.since),
  };
}

export function bfdSessionView(session: BfdSession, wall: WallClock): SessionView {
  return {
    protocol: 'bfd',
    peer: session.peer,
    ...(session.interface === undefined ? {} : { interface: session.interface }),
    state: session.state,
    up: session.state === 'Up',
    since: wall.iso(session.since),
  };
}

export function bgpSessionView(session: BgpSession, wall: WallClock): SessionView {
  return {
    protocol: 'bgp',
    peer: session.neighbor,
    ...(session.interface === undefined ? {} : { interface: session.interface }),
    state: session.state,
    up: session.state === 'Established',
    since: wall.iso(session.since),
  };
}
