/**
 * Room for a crowd in the kernel's neighbour table. Its limits stand in the first network namespace and count for all others
 * together (1,024 entries by default); an operator of that many hosts raises them, as the agent tells him to.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** So many find room in any table. */
const FEW = 256;

const fileOf = (family: 4 | 6, name: string): string => `/proc/sys/net/ipv${family}/neigh/default/${name}`;

/**
 * Raises what is lower than it has to be. In a container that has a network namespace of its own the limits can't be seen:
 * then they stay as they are.
 *
 * @param hosts that speak to the switches
 * @returns puts back what was there before
 */
export function makeNeighbourRoom(hosts: number): () => void {
  const before: [file: string, value: string][] = [];
  if (hosts > FEW) {
    // Each is known to two switches; and the one that lets entries go is not to run while packets are counted.
    const wanted = { gc_thresh1: 4 * hosts, gc_thresh2: 6 * hosts, gc_thresh3: 8 * hosts };
    for (const family of [4, 6] as const) {
      for (const [name, value] of Object.entries(wanted)) {
        const file = fileOf(family, name);
        if (!existsSync(file)) continue;
        const found = readFileSync(file, 'latin1').trim();
        if (Number(found) >= value) continue;
        writeFileSync(file, String(value));
        before.push([file, found]);
      }
    }
  }
  return () => {
    for (const [file, value] of before) writeFileSync(file, value);
  };
}
