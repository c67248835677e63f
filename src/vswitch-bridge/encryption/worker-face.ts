/**
 * What the agent asks of a packet worker: the part of the package's own classes that it uses, so that another kind of worker, or
 * a test's, can stand in. docs/encryption.md has the semantics of each entry to the bit.
 *
 * The worker owns packets, sequence numbers and replay windows; the agent owns everything else. A table outlives the agent: a
 * restarted one opens it again and finds its peers in `adopted`.
 */
import type {
  AdoptedPeer as Adopted,
  WorkerEvents as Occurrences,
  OverlayWorker,
  WorkerOptions,
  WorkerTable,
} from 'overlay-worker';
import type { Address } from '../../model/address.ts';

export type { Indication, PeerTraffic, SendState } from 'overlay-worker';

/** Number of an entry. It is not used again in the life of a table. */
export type PeerIndex = number;

/** 32 octets of AES-256 key, then 4 of GCM salt (RFC 4106 §4). The worker copies it; the caller zeroes its own. */
export type TrafficKey = Uint8Array;

export type AdoptedPeer = Adopted<Address>;

/** All calls are synchronous and cheap; each takes effect between two packets. */
export type PeerTable = Pick<
  WorkerTable<Address>,
  | 'adopted'
  | 'add'
  | 'remove'
  | 'setSend'
  | 'addReceive'
  | 'removeReceive'
  | 'armReceive'
  | 'setAcceptPlain'
  | 'setMemo'
  | 'sendControl'
  | 'traffic'
  | 'refused'
>;

export type WorkerSettings = Pick<
  WorkerOptions<Address>,
  'local' | 'port' | 'plainForm' | 'plainAllowed' | 'hold' | 'sourcePorts'
>;

/** The TAPs that stand in the networks' bridges, and who is behind which peer. */
export type WorkerNetworks = Pick<
  OverlayWorker<Address>,
  'setNetwork' | 'removeNetwork' | 'addMember' | 'removeMember' | 'setMac' | 'removeMac'
>;

/** A packet worker that runs. */
export interface Worker extends WorkerNetworks, Pick<OverlayWorker<Address>, 'networks' | 'detach' | 'stop'> {
  readonly table: PeerTable;
}

export interface WorkerEvents extends Occurrences {
  /** The entry can't be carried out: another, with other salts, is to take its place. The packet worker never says so. */
  lost?(peer: PeerIndex): void;
}

/** Finds the worker that runs, or starts one. `closed`: it has ended by itself. Rejects when it can't be had. */
export type OpenWorker = (events: WorkerEvents, closed: () => void) => Promise<Worker>;
