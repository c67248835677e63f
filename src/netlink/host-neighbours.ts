/** The neighbour entries of hosts, as the kernel names them. */
import { AF, type Neighbour, type NeighbourEntry, requests } from 'rtnetlink-ts';
import { familyOf } from '../model/address.ts';
import type { HostRoute } from '../model/hosts.ts';
import { type Counters, type RouteSocket, sendPaced } from './installing.ts';

/** Those that we made, by `neighbourId`. */
export async function neighboursOf(rtnetlink: RouteSocket, protocol: number): Promise<Map<string, Neighbour>> {
  const ours = (await rtnetlink.dumpNeighbours()).filter((each) => each.protocol === protocol);
  return new Map(ours.map((each) => [`${each.ifindex} ${each.destination} ${each.linkAddress}`, each]));
}

/** @returns how many the kernel refused to remove */
export function removeNeighbours(
  rtnetlink: RouteSocket,
  neighbours: readonly Neighbour[],
  counters: Counters,
): Promise<number> {
  const removal = ({ family, ifindex, destination }: Neighbour) => [
    requests.deleteNeighbour({ family, ifindex, destination }),
  ];
  return sendPaced(rtnetlink, neighbours, removal, counters);
}

/** The entry that a host should have: another MAC is another entry. */
export const neighbourId = (host: HostRoute): string => `${host.ifindex} ${host.address} ${host.mac}`;

export const neighbourOf = (host: HostRoute): NeighbourEntry => ({
  family: familyOf(host.address) === 4 ? AF.INET : AF.INET6,
  ifindex: host.ifindex,
  destination: host.address,
});
