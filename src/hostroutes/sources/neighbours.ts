import type { NeighbourEvent } from '../../netlink/index.ts';
import type { HostEvent } from '../machine/types.ts';
import type { Placement } from './placement.ts';

/** NUD_* of linux/neighbour.h that decide here. */
const REACHABLE = 0x02;
const FAILED = 0x20;

/**
 * What a change in the kernel's neighbour table says. The kernel confirmed REACHABLE itself; STALE, DELAY, PROBE and
 * PERMANENT are of unknown age, so the host is asked before it is believed. What we wrote ourselves (as REACHABLE) says
 * nothing, except when the kernel had to give it up.
 *
 * `portOf`: behind which downlink the table has the address now, if it routes it on that interface.
 */
export function neighbourEvidence(
  event: NeighbourEvent,
  placement: Placement,
  portOf: (event: NeighbourEvent) => string | undefined,
): HostEvent | undefined {
  if (event.own && (event.deleted || !(event.state & FAILED))) return undefined;
  if (event.deleted || event.state & FAILED) {
    const port = portOf(event);
    return port === undefined ? undefined : { type: 'lost', source: 'neighbour', address: event.address, port };
  }
  if (!event.usable || !event.mac) return undefined;
  const port = placement.downlinkOf(event.ifindex, event.mac);
  if (!port) return undefined;
  const routed = placement.routedOn(port, event.address);
  return {
    type: 'heard',
    source: 'neighbour',
    address: event.address,
    mac: event.mac,
    port: port.name,
    interface: routed.name,
    ifindex: routed.ifindex,
    stale: (event.state & REACHABLE) === 0,
    how: event.state & REACHABLE ? 'kernel-reachable' : 'kernel-stale',
  };
}

/** An entry that we wrote in an earlier run: nothing else may know of a host that says nothing by itself. */
export function recollection(event: NeighbourEvent, placement: Placement): HostEvent | undefined {
  const port = event.own && event.mac ? placement.downlinkOf(event.ifindex, event.mac) : undefined;
  return port && event.mac && { type: 'recall', address: event.address, mac: event.mac, port: port.name };
}

/** What an earlier run wrote, as evidence of unknown age. */
export function inherited(
  neighbours: Iterable<NeighbourEvent>,
  placement: Placement,
  source: 'neighbour' | 'arp',
): HostEvent[] {
  const events: HostEvent[] = [];
  for (const neighbour of neighbours) {
    if (!neighbour.own || neighbour.deleted) continue;
    const event = neighbourEvidence({ ...neighbour, own: false }, placement, () => undefined);
    if (event?.type === 'heard') events.push({ ...event, source, stale: true });
  }
  return events;
}
