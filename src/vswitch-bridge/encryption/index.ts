export type { EncryptionEvent, PeerView } from './driver/view.ts';
export { type KeyPlace, keySource } from './keys/index.ts';
export { DEFAULT_SETTINGS, type MachineSettings, type Policy } from './machine/settings.ts';
export { Encryption, type EncryptionOptions } from './projection.ts';
export type { OpenWorker, Worker, WorkerEvents } from './worker-face.ts';
