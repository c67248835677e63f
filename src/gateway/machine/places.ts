import type { Address } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { GatewayPort } from './gateway-ports.ts';
import type { PortRecord, SwitchRecord } from './switches.ts';
import type { HistoryEntry, PlaceState, RouteHop, Source } from './types.ts';

export interface Announcement {
  readonly portIndex: number | undefined;
  readonly shadow: boolean;
}

/** An address behind one port of one switch, now or once. */
export interface Place {
  readonly routerId: Address;
  /** undefined: the switch does not say. */
  readonly ifindex: number | undefined;
  announced: 'no' | 'real' | 'shadow';
  /** The gateway's route leads there, by this port of its own and this uplink. */
  routed: { readonly port: string; readonly uplink: PortRecord | undefined } | undefined;
  state: PlaceState;
  since: number;
  why: string;
  /** How good `why` is, of what is down. */
  rank: number;
  /** Monotonic: how fresh the present state is, and the last word on `why`. */
  changedAt: Instant;
  entry: (HistoryEntry & { kind: 'host' }) | undefined;
  /** See PlaceView. */
  old: boolean;
}

/** One address: who announces it, how the gateway goes there, where it is and was. */
export interface Host {
  readonly address: Address;
  readonly announcements: Map<Address, Map<Source, Announcement>>;
  readonly places: Place[];
  nextHops: readonly RouteHop[];
}

export const newHost = (address: Address): Host => ({ address, announcements: new Map(), places: [], nextHops: [] });

export const newPlace = (routerId: Address, ifindex: number | undefined, wall: number, now: Instant): Place => ({
  routerId,
  ifindex,
  announced: 'no',
  routed: undefined,
  state: 'down',
  since: wall,
  why: '',
  rank: 0,
  changedAt: now,
  entry: undefined,
  old: false,
});

/** The switch's word of now: of several protocols the one that names a port, and the real one before the shadow. */
export function wordOf(said: ReadonlyMap<Source, Announcement>): Announcement | undefined {
  let best: Announcement | undefined;
  for (const word of said.values()) {
    const better =
      !best || (best.shadow && !word.shadow) || (best.portIndex === undefined && best.shadow === word.shadow);
    if (better) best = word;
  }
  return best;
}

/** What a place hangs on: the switch, its downlink, its uplinks and the near ends of those. */
export interface Legs {
  readonly owner: SwitchRecord | undefined;
  readonly downlink: PortRecord | undefined;
  /** The one that the route takes, or all there are. */
  readonly links: readonly Link[];
}

export interface Link {
  readonly uplink: PortRecord;
  readonly here: GatewayPort | undefined;
}

export interface Verdict {
  readonly state: PlaceState;
  readonly why: string;
  readonly rank: number;
}

/** What names a port that failed beats what names a switch, and that beats what names nothing. */
const RANK = { withdrawn: 0, moved: 1, lost: 2, gatewayPort: 3, uplink: 4, downlink: 5 } as const;

/** What is not heard any more is not known to be broken. */
const broken = (port: PortRecord | undefined): boolean => port !== undefined && !port.gone && port.fact.state !== 'up';
const linkBroken = ({ uplink, here }: Link): boolean => broken(uplink) || here?.up === false;

/**
 * The state that a place has by what is known now, with the best reason there is. While a switch announces a host, what
 * it said of its ports is the older word: withdrawals come before facts, and OSPF holds a fact back for a second.
 */
export function judge(place: Place, legs: Legs, movedTo: string | undefined): Verdict {
  const { announced, routed } = place;
  const { owner, links } = legs;
  const name = owner?.name ?? place.routerId;
  const cutOff = links.length > 0 && links.every(({ here }) => here?.up === false);
  if (routed && owner?.state !== 'heard' && !cutOff) {
    return { state: 'unheard', why: owner?.silence(owner.why) ?? `${name} is not heard`, rank: 0 };
  }
  if (announced === 'shadow') return { state: 'shadow', why: `${name} stands by for it`, rank: 0 };
  if (announced === 'real' && !cutOff) {
    if (routed) return { state: 'up', why: `announced by ${name}`, rank: 0 };
    const otherwise = links.length > 0 ? 'the gateway goes another way' : 'whose uplinks are not known';
    return { state: 'standby', why: `announced by ${name}, ${otherwise}`, rank: 0 };
  }
  return { state: 'down', ...cause(place, legs, name, movedTo) };
}

/** What came apart (R4.9). */
function cause(place: Place, { owner, downlink, links }: Legs, name: string, movedTo: string | undefined) {
  if (downlink && broken(downlink)) {
    return {
      rank: RANK.downlink,
      why: downlink.fact.reason || `${name} ${downlink.fact.port} is ${downlink.fact.state}`,
    };
  }
  const uplinks = links.filter(({ uplink }) => broken(uplink));
  if (uplinks.length > 0 && links.every(linkBroken)) {
    const { fact } = uplinks[0]!.uplink;
    return { rank: RANK.uplink, why: fact.reason || `${name} ${fact.port} is ${fact.state}` };
  }
  const near = links.find(({ here }) => here?.up === false);
  if (near?.here && links.every(linkBroken)) {
    return { rank: RANK.gatewayPort, why: `${near.here.why} here, the way to ${name} ${near.uplink.fact.port}` };
  }
  if (owner?.state !== 'heard') {
    return { rank: RANK.lost, why: owner?.silence(owner.why) ?? `${name} is not heard` };
  }
  if (downlink?.gone) return { rank: RANK.lost, why: downlink.view().why };
  if (movedTo !== undefined) return { rank: RANK.moved, why: `moved to ${movedTo}` };
  const why = place.ifindex === undefined ? '' : ` behind ${downlink?.fact.port ?? `port ${place.ifindex}`}`;
  return { rank: RANK.withdrawn, why: `${name} announces it no more${why}` };
}
