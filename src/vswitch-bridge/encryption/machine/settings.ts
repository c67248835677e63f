import type { Random } from './association.ts';

export type Policy = 'available' | 'overlap' | 'strict';

/** Durations in ms. */
export interface MachineSettings {
  readonly policy: Policy;
  /** R0.5, third trigger: nothing sent back for so long. */
  readonly notifyIdle: number;
  /** R0.5, first trigger: data that goes back within this time carries the indication; otherwise the flow is one-way. */
  readonly carryWithin: number;
  /** A flow with no word of ours for so long before the mismatch is one-way without waiting. */
  readonly oneWayAfter: number;
  /** R0.5, second trigger: anything but TCP was read from the peer within this time. */
  readonly flowMemory: number;
  /** `available`: data waits so long for an answer to a hello, then goes in plain text. */
  readonly unansweredAfter: number;
  /** Between two dedicated packets that nothing answers: the first, doubling up to the last. */
  readonly retryFirst: number;
  readonly retryLast: number;
  /** After the way back to `valid`, plain packets that are still under way are delivered. */
  readonly plainGrace: number;
  /** Between two changes of state on the word of packets that nothing authenticates. */
  readonly unauthenticatedInterval: number;
  /** Answers to a peer, a second. */
  readonly answersPerSecond: number;
}

export const DEFAULT_SETTINGS: MachineSettings = {
  policy: 'overlap',
  notifyIdle: 25 * 60_000,
  carryWithin: 20,
  oneWayAfter: 1000,
  flowMemory: 60_000,
  unansweredAfter: 1000,
  retryFirst: 20,
  retryLast: 10_000,
  plainGrace: 2000,
  unauthenticatedInterval: 1000,
  answersPerSecond: 20,
};

export interface PeerOptions {
  readonly settings: MachineSettings;
  /** 8 octets: who we are. */
  readonly instance: Uint8Array;
  readonly random: Random;
  /** Of an earlier agent, beside the same worker. */
  readonly memo?: Uint8Array | undefined;
}
