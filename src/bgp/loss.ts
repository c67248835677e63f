import type { Address } from '../model/address.ts';
import type { Rib } from './rib.ts';
import type { NeighborLoss } from './types.ts';

/** What goes with a session, as long as its routes are there. A next hop with a session of its own is judged by that. */
export function lossOf(
  { address: neighbor, interface: port }: { readonly address: Address; readonly interface: string | undefined },
  rib: Rib,
  peers: ReadonlyMap<Address, unknown>,
): NeighborLoss {
  const nextHops = [...rib.nextHopsOf(neighbor)].filter((via) => via === neighbor || !peers.has(via));
  return { neighbor, nextHops, interface: port };
}
