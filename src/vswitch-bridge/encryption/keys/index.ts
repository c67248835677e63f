/** Where a host's version keys come from and how they are held. */
import type { Clock } from '../../../model/clock.ts';
import { DirectorySource, KeyDirectory } from './directory.ts';
import { EtcdKeys, EtcdSource } from './etcd.ts';
import type { EtcdTls, EtcdUser } from './etcd-access.ts';
import type { KeySource, KeyStore } from './store.ts';

export { KeyController, type KeysView, type KeyView } from './controller.ts';
export { KeyDirectory } from './directory.ts';
export { ETCD_PREFIX } from './etcd.ts';
export { type HeldKey, type IssuedKey, KeyRing } from './ring.ts';
export type { KeyFollower, KeyListing, KeyProblem, KeySource, KeyStore } from './store.ts';

export interface EtcdPlace {
  readonly etcd: readonly string[];
  readonly prefix?: string;
  readonly tls?: EtcdTls;
  readonly user?: EtcdUser;
}

export type KeyPlace = { readonly directory: string } | EtcdPlace;

export const keySource = (place: KeyPlace, clock: Clock): KeySource =>
  'directory' in place
    ? new DirectorySource(place.directory, clock)
    : new EtcdSource(place.etcd, clock, place.prefix, place);

export const keyStore = (place: KeyPlace): KeyStore =>
  'directory' in place ? new KeyDirectory(place.directory) : new EtcdKeys(place.etcd, place.prefix, place);
