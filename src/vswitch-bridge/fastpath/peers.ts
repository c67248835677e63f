/** The remote hosts that the programs have met, as they stand in the map `peers`: which number has whom. */
import { type Address, familyOf, formatAddress, ipv4ToNumber } from '../../model/address.ts';
import type { OverlayRemote, OverlayState } from '../../model/overlay.ts';
import { PEER_LEFT, PEERS, type Peer, peer } from './maps/layout.ts';
import { raise, type Tables } from './maps/tables.ts';
import { overlaps } from './overlaps.ts';

/** One of the map, in bytes that are valid until the next is asked for. */
export interface PeerRecord {
  readonly index: number;
  readonly bytes: Buffer;
  readonly at: number;
}

export function* peerRecords(peers: Tables['peers']): Generator<PeerRecord> {
  for (const { count, keys, values } of peers.batches(PEERS)) {
    for (let at = 0; at < count; at += 1) {
      yield { index: keys.readUInt32LE(at * 4), bytes: values, at: at * peer.size };
    }
  }
}

/** What stands for the address, where nobody has the record: 0 or a mark. */
export const markOf = ({ bytes, at }: PeerRecord): number => bytes.readUInt32LE(at + peer.offsets.address);

/** Whose the record is; undefined: nobody's. */
export function hostOf(record: PeerRecord): Address | undefined {
  const mark = markOf(record);
  if (mark === 0 || mark >= PEER_LEFT) return undefined;
  const at = record.at + peer.offsets.address;
  return formatAddress(record.bytes.subarray(at, at + 4));
}

export function knownPeers(peers: Tables['peers']): { readonly index: number; readonly peer: Peer }[] {
  const found: { index: number; peer: Peer }[] = [];
  for (const record of peerRecords(peers)) {
    if (hostOf(record) === undefined) continue;
    found.push({ index: record.index, peer: peer.decode(record.bytes, record.at) });
  }
  return found;
}

/** Ways to these hosts, or to all, are not used any more: one write each. How many there were. */
export function forgetWays(tables: Pick<Tables, 'peers' | 'peer_generation'>, hosts?: readonly Address[]): number {
  const wanted = hosts && new Set(hosts);
  let count = 0;
  for (const { index, peer } of knownPeers(tables.peers)) {
    if (wanted && !wanted.has(peer.address)) continue;
    raise(tables.peer_generation, index);
    count += 1;
  }
  return count;
}

/**
 * Hosts whose connections a new or lost remote concerns: its own, and those that have held addresses of it till now or hold
 * them from now on. undefined: what it holds was nobody's, and may have gone anywhere.
 */
export function concernedHosts(state: OverlayState, changed: OverlayRemote, added: boolean): Address[] | undefined {
  const hosts = new Set<Address>([changed.host]);
  for (const remote of state.remotes.values()) {
    if (remote.network !== changed.network || remote.host === changed.host) continue;
    if (remote.addresses.some((own) => changed.addresses.some((other) => overlaps(own, other)))) hosts.add(remote.host);
  }
  return added && hosts.size === 1 ? undefined : [...hosts];
}

export interface RemoteHost {
  readonly address: Address;
  readonly number: number;
}

/** Once each. */
export const remoteHosts = (state: OverlayState): RemoteHost[] =>
  [...new Set([...state.remotes.values()].map(({ host }) => host))]
    .filter((address) => familyOf(address) === 4)
    .map((address) => ({ address, number: ipv4ToNumber(address) }));
