import type { NeighbourChange } from '../machine/types.ts';

/**
 * Whoever keeps outer headers or MACs of tunnels: the data path's table. Told of each difference of the transport table,
 * and nothing else, before the kernel's neighbour table is.
 */
export interface NeighbourSink {
  readonly name: string;
  /**
   * In the turn in which it was seen. What was `removed` must not be used any more when this returns. A promise: the
   * kernel's table waits for it (its rejection is counted, and the kernel's table is written all the same).
   */
  apply(change: NeighbourChange): void | Promise<void>;
}
