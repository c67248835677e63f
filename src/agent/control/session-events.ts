import type { SessionChange } from '../../bgp/index.ts';
import type { NeighborChange } from '../../ospf/index.ts';
import type { NewEvent } from '../events.ts';

/** What an operator is told of a session that came or went; undefined: it did neither. */
export function neighborEvent(change: NeighborChange): NewEvent | undefined {
  const { interface: name, routerId, from, to, reason, at } = change;
  if (to !== 'Full' && from !== 'Full') return undefined;
  return {
    type: to === 'Full' ? 'ospf.full' : 'ospf.down',
    severity: to === 'Full' ? 'info' : 'warning',
    message: `OSPF neighbour ${routerId} on ${name}: ${from} -> ${to} (${reason})`,
    at,
    fields: { interface: name, neighbor: routerId, from, to },
  };
}

export function sessionEvent({ neighbor, from, to, reason, at }: SessionChange): NewEvent | undefined {
  if (to !== 'Established' && from !== 'Established') return undefined;
  return {
    type: to === 'Established' ? 'bgp.established' : 'bgp.down',
    severity: to === 'Established' ? 'info' : 'warning',
    message: `BGP neighbour ${neighbor}: ${from} -> ${to} (${reason})`,
    at,
    fields: { neighbor, from, to, reason },
  };
}

/** Of a server that announces itself. */
export function serverSessionEvent({ neighbor, from, to, reason, at }: SessionChange): NewEvent | undefined {
  if (to !== 'Established' && from !== 'Established') return undefined;
  return {
    type: to === 'Established' ? 'bgp.server.established' : 'bgp.server.down',
    message: `server ${neighbor}: ${from} -> ${to} (${reason})`,
    at,
    fields: { server: neighbor, from, to, reason },
  };
}
