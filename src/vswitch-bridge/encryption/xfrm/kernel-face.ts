/** What the table needs of the kernel and of the disk; driver.ts has the real ones. */
import type { Address } from '../../../model/address.ts';
import type { Association, ListedAssociation } from './codec/association.ts';
import type { Policy, PolicyId } from './codec/policy.ts';
import type { SaId } from './codec/structures.ts';
import type { RememberedPeer } from './entry.ts';

export type XfrmRequest =
  | { readonly op: 'add-sa'; readonly sa: Association }
  | { readonly op: 'delete-sa'; readonly id: SaId }
  /** Made, or changed. */
  | { readonly op: 'set-policy'; readonly policy: Policy }
  | { readonly op: 'delete-policy'; readonly id: PolicyId };

export interface XfrmRefusal {
  readonly request: XfrmRequest;
  /** In words. */
  readonly reason: string;
}

export interface XfrmKernel {
  /** All of them, in order, in this turn of the event loop. */
  apply(requests: readonly XfrmRequest[]): readonly XfrmRefusal[];
  /** With their keys: who asks zeroes them. Rejects with NetlinkError. */
  associations(): Promise<ListedAssociation[]>;
  policies(): Promise<Policy[]>;
  /** What comes in from an address has this mark before it meets its SA. */
  marks(marks: ReadonlyMap<Address, number>): void;
  /** Version and short fingerprint of what can be read: other packets are told of. */
  watch(keys: ReadonlySet<number>): void;
  sendControl(to: Address, datagram: Uint8Array): void;
  /** Packets that the kernel refused, by reason. */
  statistics(): Readonly<Record<string, bigint>>;
}

export interface XfrmMemory {
  load(): RememberedPeer[];
  /** Written when it returns. */
  save(peer: RememberedPeer): void;
  remove(address: Address): void;
  keepOnly(addresses: readonly Address[]): void;
}
