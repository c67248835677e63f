/** What of an earlier agent's SAs is gone on with, and what goes. Pure. */
import type { Instant } from '../../../model/clock.ts';
import type { ListedAssociation } from './codec/association.ts';
import type { Policy } from './codec/policy.ts';
import type { PeerEntry, RememberedPeer } from './entry.ts';
import type { XfrmRequest } from './kernel-face.ts';
import { type Ends, inboundPolicy, outboundPolicy, peerOfPolicy, project, REQID } from './projection.ts';

export interface Inheritance {
  /** Peers that go on as they are. */
  readonly kept: readonly RememberedPeer[];
  /** Puts the kernel in order: policies of who is kept, and nothing of anybody else. */
  readonly requests: readonly XfrmRequest[];
}

export function inherit(
  ends: Ends,
  remembered: readonly RememberedPeer[],
  associations: readonly ListedAssociation[],
  policies: readonly Policy[],
): Inheritance {
  const ours = associations.filter(({ reqid }) => reqid === REQID);
  const kept = remembered.filter((peer) => isWhole(peer, ours, ends));
  const known = new Set(kept.flatMap((peer) => [...namesOf(peer, ends)]));
  const addresses = new Set<string>(kept.map(({ address }) => address));
  const strange = policies.filter((policy) => {
    const peer = peerOfPolicy(ends, policy);
    return peer !== undefined && peer !== 'all' && !addresses.has(peer);
  });
  return {
    kept,
    requests: [
      ...kept.flatMap((peer): XfrmRequest[] => [
        { op: 'set-policy', policy: inboundPolicy(ends, peer) },
        { op: 'set-policy', policy: outboundPolicy(ends, peer, peer.current) },
      ]),
      ...strange.map((id): XfrmRequest => ({ op: 'delete-policy', id })),
      ...ours.filter((sa) => !known.has(nameOf(sa))).map((id): XfrmRequest => ({ op: 'delete-sa', id })),
    ],
  };
}

/** The entry as if it had set all this itself. */
export function adoptAssociations(
  entry: PeerEntry,
  peer: RememberedPeer,
  associations: readonly ListedAssociation[],
  ends: Ends,
  now: Instant,
): void {
  const names = namesOf(peer, ends);
  for (const sa of associations) {
    if (sa.reqid !== REQID || !names.has(nameOf(sa))) continue;
    if (sa.source === ends.local) entry.sendUnder(sa.spi, sa.key);
    else entry.readUnder(sa.spi, sa.key, now);
  }
  entry.current = peer.current;
  entry.settled(project(entry.wish));
  for (const identity of peer.spent) entry.spend(identity);
}

/** All that was remembered stands in the kernel: then it is the same life, and its numbers go on. */
function isWhole(peer: RememberedPeer, ours: readonly ListedAssociation[], ends: Ends): boolean {
  const there = new Set(ours.map(nameOf));
  return [...namesOf(peer, ends)].every((name) => there.has(name));
}

type Named = Pick<ListedAssociation, 'source' | 'destination' | 'spi' | 'mark'>;
const nameOf = ({ source, destination, spi, mark }: Named): string =>
  `${source} ${destination} ${spi} ${mark?.value ?? 0}`;

function namesOf({ address, mark, inbound, outbound }: RememberedPeer, { local }: Ends): ReadonlySet<string> {
  const own = { value: mark, mask: 0xffffffff };
  return new Set([
    ...inbound.map((spi) => nameOf({ source: address, destination: local, spi, mark: own })),
    ...outbound.map((spi) => nameOf({ source: local, destination: address, spi })),
  ]);
}
