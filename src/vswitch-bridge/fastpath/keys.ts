/** The keys of rewrite mode, as they stand in the maps: those told to us (sending), and those that we have told. */
import type { Address } from '../../model/address.ts';
import { KEYS_A_PEER, restored, sentKey, sentPair } from './maps/layout.ts';
import { nanoseconds } from './maps/numbers.ts';
import { indexKey, type Tables } from './maps/tables.ts';
import { knownPeers } from './peers.ts';
import type { KeyView } from './types.ts';

export interface KeysReading {
  readonly tables: Tables;
  /** ns */
  readonly now: number;
  readonly lifetime: { readonly receive: number };
}

const pause = () => new Promise((resolve) => setImmediate(resolve));

export async function listSentKeys({ tables, now }: KeysReading): Promise<KeyView[]> {
  const addresses = new Map(knownPeers(tables.peers).map(({ index, peer }) => [index, peer.address]));
  const views: KeyView[] = [];
  for (const { count, keys, values } of tables.sent_keys.batches()) {
    for (let at = 0; at < count; at += 1) {
      const pair = sentPair.decode(keys, at * sentPair.size);
      const { key, heard, until } = sentKey.decode(values, at * sentKey.size);
      const peer = addresses.get(pair.peer);
      if (peer === undefined || Number(until) <= now) continue;
      const { vni, saddr, daddr, dscp, ttl } = pair;
      views.push({
        key,
        peer,
        ...pairView(vni, saddr, daddr, dscp, ttl),
        age: Math.max(0, (now - Number(heard)) / 1e6),
      });
    }
    await pause();
  }
  return views;
}

/** Of those told so long ago that nobody can use them any more, none. */
export async function listToldKeys({ tables, now, lifetime }: KeysReading): Promise<KeyView[]> {
  const views: KeyView[] = [];
  const bytes = Buffer.alloc(restored.size);
  for (const { index } of knownPeers(tables.peers)) {
    for (let key = 0; key < KEYS_A_PEER; key += 1) {
      if (!tables.restored.get(indexKey(index * KEYS_A_PEER + key), bytes)) continue;
      const told = nanoseconds(bytes, restored.offsets.told);
      if (told === 0 || now - told > lifetime.receive) continue;
      const { host, vni, saddr, daddr, dscp, ttl } = restored.decode(bytes);
      if (host === '0.0.0.0') continue;
      views.push({ key, peer: host, ...pairView(vni, saddr, daddr, dscp, ttl), age: (now - told) / 1e6 });
    }
    await pause();
  }
  return views;
}

/** The field holds DSCP in its upper six bits. */
const pairView = (vni: number, source: Address, destination: Address, dscp: number, ttl: number) => ({
  vni,
  source,
  destination,
  dscp: dscp >>> 2,
  ttl,
});
