/**
 * Room for a crowd in the kernel's neighbour table. Its limits stand in the first network namespace and count for all others
 * together (1,024 entries by default); an operator of that many hosts raises them, as the agent tells him to.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const fileOf = (family: 4 | 6, name: string): string => `/proc/sys/net/ipv${family}/neigh/default/${name}`;

/**
 * Raises what is lower than it has to be.
 *
 * @param hosts that speak to the switches
 * @returns puts back what was there before
 */
export function makeNeighbourRoom(hosts: number): () => void {
  // Each is known to two switches; and the one that lets entries go is not to run while packets are counted.
  const wanted = { gc_thresh1: 4 * hosts, gc_thresh2: 6 * hosts, gc_thresh3: 8 * hosts };
  const before: [file: string, value: string][] = [];
  for (const family of [4, 6] as const) {
    for (const [name, value] of Object.entries(wanted)) {
      const file = fileOf(family, name);
      const found = readFileSync(file, 'latin1').trim();
      if (Number(found) >= value) continue;
      before.push([file, found]);
      writeFileSync(file, String(value));
    }
  }
  return () => {
    for (const [file, value] of before) writeFileSync(file, value);
  };
}
