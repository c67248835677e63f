import type { Address, Mac } from '../../../model/address.ts';

/** The way to a tunnel's remote address: itself on the link, or the gateway towards it. */
export interface NextHop {
  readonly ifindex: number;
  readonly address: Address;
}

/**
 * - `idle`: nobody asks (mechanism 1 is off, and no packet has come)
 * - `resolving`: asked, no MAC yet
 * - `reachable`: confirmed by an answer
 * - `stale`: its MAC was heard, but not as an answer to us
 * - `probing`: a confirmed one is asked again
 * - `failed`: did not answer; asked again at each poll, or when a packet comes for it
 * - `down`: its link is
 */
export type NeighbourState = 'idle' | 'resolving' | 'reachable' | 'stale' | 'probing' | 'failed' | 'down';

/** What sinks are told of: who has which MAC, and for which remote addresses of tunnels. */
export interface Resolution {
  readonly address: Address;
  readonly ifindex: number;
  readonly mac: Mac;
  readonly remotes: readonly Address[];
}

/**
 * One difference of the transport table. `confirmed` changes nothing: sinks whose entries grow old write them anew.
 *
 * Why it was removed: `invalidated` (its link changed, the MAC may be another's now), `failed` (no answer), `unused`
 * (the last tunnel to it went, or the route leads elsewhere).
 */
export type NeighbourChange =
  | {
      readonly op: 'set';
      readonly why: 'added' | 'changed' | 'confirmed';
      /** An answer to us, so the kernel's NUD_REACHABLE; otherwise NUD_STALE. */
      readonly reachable: boolean;
      readonly to: Resolution;
    }
  | { readonly op: 'removed'; readonly why: 'invalidated' | 'failed' | 'unused'; readonly to: Resolution };

export type TransportEvent =
  | { readonly kind: 'tunnel-added'; readonly tunnel: string; readonly remote: Address }
  | { readonly kind: 'tunnel-removed'; readonly tunnel: string }
  /** The answer to the effect `route`, or a change that was seen; absent: there is no way. */
  | { readonly kind: 'route'; readonly remote: Address; readonly hop: NextHop | undefined }
  /** ARP or ND from `address`. `confirms`: an answer to our question (a reply; a solicited advertisement). */
  | {
      readonly kind: 'heard';
      readonly ifindex: number;
      readonly address: Address;
      readonly mac: Mac;
      readonly confirms: boolean;
      /** An advertisement without the override flag (RFC 4861 §7.2.5): another MAC is not taken over, but asked about. */
      readonly weak?: boolean;
    }
  /** The kernel's own entry; absent MAC: it has none that it would use. */
  | { readonly kind: 'kernel'; readonly ifindex: number; readonly address: Address; readonly mac: Mac | undefined }
  /** Carrier, MAC or team member of the underlay changed: what was known there is worth nothing. */
  | { readonly kind: 'link'; readonly ifindex: number; readonly up: boolean }
  /** A packet for `remote` waits. */
  | { readonly kind: 'demand'; readonly remote: Address }
  | { readonly kind: 'time' };

export type TransportEffect =
  | { readonly kind: 'route'; readonly remote: Address }
  /** Without `mac` by broadcast (ND: to the solicited-node group). */
  | { readonly kind: 'ask'; readonly ifindex: number; readonly address: Address; readonly mac: Mac | undefined }
  /** For the sinks, in order. */
  | { readonly kind: 'changed'; readonly change: NeighbourChange };

export interface TransportOptions {
  /** Mechanism 1. Off: a neighbour is asked only when a packet waits for it, and not kept fresh. */
  readonly proactive: boolean;
  /** ms between the looks at entries without a MAC, and the refreshes of the others. */
  readonly poll: number;
  /** ms until a question is repeated. */
  readonly retry?: number;
  /** Questions by broadcast without an answer after which a neighbour has failed. */
  readonly attempts?: number;
}

export interface NeighbourView {
  readonly address: Address;
  readonly ifindex: number;
  readonly mac: Mac | undefined;
  readonly state: NeighbourState;
  /** ms since its last answer. */
  readonly age: number | undefined;
  readonly remotes: readonly Address[];
  /** Names of the tunnels that need it. */
  readonly tunnels: readonly string[];
}
