/**
 * What tunnels have learned by themselves. When a host leaves a network, the kernel would go on sending it what it knows a place for
 * there, until it forgets that five minutes later.
 */
import { type Neighbour, NTF, NUD } from 'rtnetlink-ts';
import { type Address, parseAddress, parseMac } from '../../../model/address.ts';
import { type LayoutObject, leadsEverywhere, type TunnelEntryObject } from './objects.ts';

/** By tunnel: hosts that it leads to no longer. */
export function leftHosts(removed: readonly LayoutObject[]): ReadonlyMap<string, ReadonlySet<Address>> {
  const left = new Map<string, Set<Address>>();
  for (const object of removed) {
    if (object.kind !== 'tunnel-entry' || !leadsEverywhere(object)) continue;
    left.set(object.device, (left.get(object.device) ?? new Set()).add(object.to));
  }
  return left;
}

/** @param entries of the tunnel's forwarding database */
export function learnedOf(
  device: string,
  hosts: ReadonlySet<Address>,
  entries: readonly Neighbour[],
): TunnelEntryObject[] {
  return entries.flatMap(({ flags, state, destination = '', linkAddress = '' }) => {
    const mac = parseMac(linkAddress);
    const to = parseAddress(destination);
    const learned = mac && to && flags & NTF.SELF && !(state & NUD.PERMANENT) && hosts.has(to);
    return learned ? [{ kind: 'tunnel-entry', device, mac, to }] : [];
  });
}
