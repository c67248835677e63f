export { WorkerError } from './connection.ts';
export type {
  AdoptedPeer,
  Indication,
  PeerDescription,
  PeerTraffic,
  SendState,
  WorkerEvents,
} from './table.ts';
export { WorkerTable } from './table.ts';
export type { EncryptedNetwork, LearnedMac, WorkerOptions } from './worker.ts';
export { OverlayWorker, overlayMtu, SOURCE_PORTS } from './worker.ts';
