import { ipv4FromNumber } from '../model/address.ts';
import type { Log } from '../model/log.ts';
import type { Counters } from './counters.ts';
import type { RibPeer } from './rib.ts';

interface Neighbor {
  readonly state: string;
  readonly ribPeer: RibPeer;
  readonly options: { readonly remoteAs: number };
}

/**
 * False: it goes by the BGP Identifier of a neighbour of another AS that is there already. RFC 6286 allows that, but our switches
 * are told apart by their identifiers: what it says of ports and hosts would be said in the other's name.
 */
export function speaksForItself(one: Neighbor, neighbors: Iterable<Neighbor>, log: Log, counters: Counters): boolean {
  const { remoteId, address: neighbor } = one.ribPeer;
  for (const other of neighbors) {
    if (other === one || other.state !== 'Established' || other.ribPeer.remoteId !== remoteId) continue;
    if (other.options.remoteAs === one.options.remoteAs) continue;
    counters.add('identifier_of_another');
    const fields = { neighbor, routerId: ipv4FromNumber(remoteId), other: other.ribPeer.address };
    log.warn(fields, 'two neighbours have one BGP Identifier: the map believes the first');
    return false;
  }
  return true;
}
