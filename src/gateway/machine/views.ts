import { type GatewayPort, gatewayPortView } from './gateway-ports.ts';
import type { Host, Legs, Place } from './places.ts';
import type { SwitchRecord } from './switches.ts';
import type { MapRow, PlaceState, PlaceView, PortView, SwitchView } from './types.ts';

const ORDER: readonly PlaceState[] = ['up', 'unheard', 'standby', 'shadow', 'down'];

/** Now first, then what was, the latest first. */
function byNearness(left: Place, right: Place): number {
  return ORDER.indexOf(left.state) - ORDER.indexOf(right.state) || right.since - left.since;
}

/** @param places at least one */
export const nearest = (places: readonly Place[]): Place =>
  places.reduce((best, place) => (byNearness(place, best) < 0 ? place : best));

export function rowOf(
  host: Host,
  legsOf: (place: Place) => Legs,
  here: (port: string) => GatewayPort | undefined,
): MapRow {
  const places = [...host.places].sort(byNearness);
  const { state, since, why } = places[0]!;
  return {
    address: host.address,
    state,
    since,
    why,
    nextHops: host.nextHops.filter(({ port }) => here(port)?.up !== false),
    places: places.map((place) => placeView(place, legsOf(place), here)),
  };
}

function placeView(place: Place, legs: Legs, here: (port: string) => GatewayPort | undefined): PlaceView {
  const { owner, downlink } = legs;
  const link = legs.links[0];
  const near = link?.here ?? (place.routed && here(place.routed.port));
  const { macs = [], lldp } = downlink?.fact ?? {};
  return {
    routerId: place.routerId,
    switchName: owner?.name ?? place.routerId,
    switchState: owner?.state ?? 'lost',
    state: place.state,
    since: place.since,
    why: place.why,
    old: place.old,
    ...(near ? { gatewayPort: gatewayPortView(near) } : {}),
    ...(link ? { uplink: farEnd(link.uplink.view(), near) } : {}),
    ...(downlink ? { downlink: downlink.view() } : {}),
    macs,
    ...(lldp ? { lldp } : {}),
  };
}

/** A link has two ends: of one whose near end is down the far end's last word is not true any more. */
function farEnd(uplink: PortView, near: GatewayPort | undefined): PortView {
  if (!near || near.up || uplink.state !== 'up') return uplink;
  return { port: uplink.port, state: 'down', since: near.since, why: `${near.why} here` };
}

export function switchView({ routerId, name, state, since, why, ports, addresses }: SwitchRecord): SwitchView {
  return { routerId, name, state, since, why, ports: ports.size, addresses };
}
