/** What a peer's machine is told and what it wants done. */
import type { Instant } from '../../../model/clock.ts';
import type { ControlPacket, PeerState, Trust } from '../codec/control.ts';
import { type KeyId, type ShortKeyId, sameKey, sameShort } from '../codec/identity.ts';
import type { PeerLife } from './association.ts';
import type { TableEvent } from './table.ts';

/** When data last went to the peer, and what was last read from it, by inner protocol. */
export interface Flow {
  readonly lastSent: Instant | undefined;
  readonly lastTcp: Instant | undefined;
  readonly lastOther: Instant | undefined;
}

export type PeerEvent =
  /** Our own keys, the newest first. */
  | { readonly type: 'keys'; readonly held: readonly KeyId[] }
  /** A packet was decrypted under this version of ours, in the present life of both. */
  | { readonly type: 'readable'; readonly key: KeyId }
  /** An encrypted packet for which there is no key. */
  | { readonly type: 'unreadable'; readonly key: ShortKeyId; readonly flow: Flow }
  /** An encrypted packet whose ICV is wrong. */
  | { readonly type: 'forged' }
  | { readonly type: 'plain'; readonly key: ShortKeyId; readonly off: boolean }
  | { readonly type: 'control'; readonly packet: ControlPacket; readonly trust: Trust }
  /** Data waits. */
  | { readonly type: 'held' }
  | { readonly type: 'tick'; readonly flow: Flow };

/** How data leaves. */
export type SendChoice =
  | { readonly mode: 'encrypt'; readonly key: KeyId; readonly life: PeerLife }
  | { readonly mode: 'plain'; readonly newest: KeyId | undefined; readonly off: boolean }
  | { readonly mode: 'hold' };

/** Versions that are accepted, in which life of the peer. */
export interface Reception {
  readonly keys: readonly KeyId[];
  readonly life: PeerLife | undefined;
}

/** Why a dedicated notification was sent: the three of R0.5; to have the difference confirmed; because we have no key. */
export type NotificationTrigger = 'one-way' | 'unreliable' | 'idle' | 'confirm' | 'no-key';

/** Control packets that were not believed. */
export type DiscardReason = 'forged' | 'replayed' | 'unproved' | 'rate-limited';

export type PeerEffect =
  | { readonly type: 'control'; readonly packet: ControlPacket }
  | { readonly type: 'send'; readonly choice: SendChoice }
  | { readonly type: 'receive'; readonly reception: Reception }
  /** Say when the next packet is read, under any of them. */
  | { readonly type: 'arm' }
  | { readonly type: 'accept-plain'; readonly accept: boolean }
  | {
      readonly type: 'state';
      readonly from: PeerState;
      readonly to: PeerState;
      readonly event: TableEvent;
      /** In plain words. */
      readonly reason: string;
      /** Nothing authenticates what this rests on. */
      readonly unauthenticated: boolean;
    }
  | { readonly type: 'notified'; readonly trigger: NotificationTrigger }
  | { readonly type: 'discard'; readonly reason: DiscardReason };

/** What the peer has last said of itself. */
export interface Said {
  readonly held: readonly KeyId[];
  /** Else it was at least the answer to our challenge. */
  readonly authenticated: boolean;
}

export function sameReception(a: Reception | undefined, b: Reception): boolean {
  if (!a || a.life !== b.life || a.keys.length !== b.keys.length) return false;
  return a.keys.every((id, index) => sameKey(id, b.keys[index]));
}

export function sameChoice(a: SendChoice | undefined, b: SendChoice): boolean {
  if (!a || a.mode !== b.mode) return false;
  if (a.mode === 'encrypt' && b.mode === 'encrypt') return sameKey(a.key, b.key) && a.life === b.life;
  if (a.mode === 'plain' && b.mode === 'plain') {
    return a.off === b.off && (sameKey(a.newest, b.newest) || (!a.newest && !b.newest));
  }
  return true;
}

/** Whether its newest is this version. */
export function saysShort(said: Said, key: ShortKeyId): boolean {
  const newest = said.held[0];
  return newest ? sameShort(newest, key) : key.version === 0;
}
