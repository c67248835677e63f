import type { Address } from '../../../model/address.ts';
import type { PeerState } from '../codec/control.ts';
import type { SendChoice } from '../machine/events.ts';

/** For `peerless host peers`. */
export interface PeerView {
  readonly address: Address;
  /** 16 hexadecimal digits; absent: it has not been heard yet. */
  readonly instance?: string;
  readonly state: PeerState;
  /** Of the last change. */
  readonly reason: string;
  /** ms since the last change */
  readonly age: number;
  readonly changes: number;
  readonly sending: SendChoice['mode'];
  /** What data is encrypted with: `V3/1f2e3d4c`. */
  readonly version?: string;
  /** Versions held, the newest first; theirs as they have last said. */
  readonly ours: readonly string[];
  readonly theirs: readonly string[];
  /** A common key vouches for what they have said. */
  readonly authenticated: boolean;
  readonly sent: Packets;
  readonly received: Packets;
  /** Packets that wait now, and that have waited too long or in vain. */
  readonly held: number;
  readonly holdDropped: number;
  /** Packets refused, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  readonly controls: {
    readonly sent: number;
    readonly received: number;
    /** Dedicated notifications by trigger. */
    readonly notified: Readonly<Record<string, number>>;
    readonly discarded: Readonly<Record<string, number>>;
  };
  /** ms since something was seen to travel in plain text; absent: never */
  readonly plainAge?: number;
}

interface Packets {
  readonly encrypted: number;
  readonly plain: number;
  /** Of inner frames. */
  readonly bytes: number;
}

/** For the log of events and for alarms. */
export interface EncryptionEvent {
  readonly type: string;
  readonly severity: 'info' | 'warning' | 'error';
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}
