/** The maps by name, with what is common to all of their users: keys that are indices, arrays of numbers, generations. */
import type { BpfMap } from 'linux-sockets';

export const MAP_NAMES = [
  'config',
  'generations',
  'port_generation',
  'peer_generation',
  'instances',
  'flows',
  'recent_clock',
  'recent_flows',
  'recent_ports',
  'connections',
  'peers',
  'restored',
  'sent_keys',
  'rule_state',
  'rule_masks',
  'rules',
  'rates',
  'rate_clock',
  'rule_counts',
  'statistics',
] as const;
export type MapName = (typeof MAP_NAMES)[number];

export type Tables = Readonly<Record<MapName, BpfMap>>;

export function indexKey(index: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(index);
  return key;
}

/** An entry of an array map. @throws RangeError outside of it */
export function readIndex<T>(map: BpfMap, index: number, field: { read(bytes: Buffer, at: number): T }): T {
  const bytes = map.get(indexKey(index));
  if (!bytes) throw new RangeError(`${map.name} has no index ${index}`);
  return field.read(bytes, 0);
}

/** One write: what was learned under the old number is not used any more. */
export function raise(map: BpfMap, index: number): void {
  const key = indexKey(index);
  const value = map.get(key);
  if (!value) throw new RangeError(`${map.name} has no index ${index}`);
  value.writeUInt32LE((value.readUInt32LE(0) + 1) >>> 0, 0);
  map.set(key, value);
}

/** Sums of a per-CPU entry that is nothing but `__u64`. */
export function sumOverCpus(map: BpfMap, index: number): number[] {
  const bytes = map.get(indexKey(index));
  if (!bytes) throw new RangeError(`${map.name} has no index ${index}`);
  const each = (map.valueSize + 7) & ~7;
  const sums = new Array<number>(map.valueSize >> 3).fill(0);
  for (let at = 0; at < bytes.length; at += each) {
    for (let field = 0; field < sums.length; field += 1) {
      sums[field]! += Number(bytes.readBigUInt64LE(at + field * 8));
    }
  }
  return sums;
}
