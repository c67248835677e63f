/** Where keys are kept: the embedded controller writes there, agents read and follow. */
import type { IssuedKey } from './ring.ts';

/** One entry that could not be used. */
export interface KeyProblem {
  /** The file, or the key of etcd. */
  readonly where: string;
  readonly message: string;
  readonly remedy?: string;
}

export interface KeyListing {
  /** In no order. Who asked zeroes the octets. */
  readonly keys: readonly IssuedKey[];
  readonly problems: readonly KeyProblem[];
}

export interface KeyStore {
  /** Rejects when nothing can be read at all. */
  read(): Promise<KeyListing>;
  write(key: IssuedKey): Promise<void>;
  /** False: there was none. */
  remove(version: number): Promise<boolean>;
}

/** What a follower says. A listing is whole: what is not in it has gone. */
export interface KeyFollower {
  listing(listing: KeyListing): void;
  /** The source can't be reached now, and why; undefined: it can be again. Keys stay. */
  trouble(reason: string | undefined): void;
}

export interface KeySource {
  /** The first listing, or trouble, comes by itself. */
  start(follower: KeyFollower): void;
  stop(): void;
}

export const forgetListing = ({ keys }: KeyListing): void => {
  for (const { key } of keys) key.fill(0);
};
