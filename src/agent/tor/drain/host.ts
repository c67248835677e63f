import type { Address } from '../../../model/address.ts';
import type { Instant } from '../../../model/clock.ts';
import type { HostThere, Sighting } from './types.ts';

/** A gateway that has chosen another route still has to put it into its forwarding table (ms). */
const TABLE_WRITE = 30;
/** This many packets make a flow, whose falling silent means something. */
const FLOW = 3;
/** Silence of a flow: three times its longest gap so far, within these (ms). */
const SHORTEST = 80;
const LONGEST = 1_000;
/** Packets that never stop coming are no sign that the gateway has not turned for longer than this (ms). */
const CEILING = 2_000;

/**
 * One host on its way to another switch, and whether the gateway uses that way already.
 *
 * That the fabric shows the other's claim is not yet it: a gateway tells of an LSA before it has computed with it (BIRD:
 * up to a second), and of its choice of a path before that is in its forwarding table. What it still sends here waits
 * here; so when a flow that came here falls silent, the gateway has turned. Without a flow there is nothing to lose by
 * waiting `lag`.
 */
export class MovingHost {
  readonly address: Address;
  /** It is not waited for: somebody else announced it before it was moved, or nobody is told of it here. */
  readonly unawaited: boolean;
  claimedAt: Instant | undefined;
  /** It was said to be elsewhere: nothing of ours waits for it any more. */
  gone = false;
  /** On which port of ours it was heard again. */
  here: string | undefined;
  #packets = 0;
  #lastAt: Instant;
  #longestGap = 0;

  constructor({ address, claimed, told }: HostThere, now: Instant) {
    this.address = address;
    this.unawaited = claimed || !told;
    this.#lastAt = now;
    if (claimed) this.claimedAt = now;
  }

  get settled(): boolean {
    return this.gone || this.here !== undefined;
  }

  see({ waiting, port }: Sighting, now: Instant): void {
    if (port !== undefined) this.here = port;
    if (waiting <= this.#packets) return;
    this.#longestGap = Math.max(this.#longestGap, now - this.#lastAt);
    this.#packets = waiting;
    this.#lastAt = now;
  }

  /** `lag`: how long after the claim a gateway of this fabric uses it at the latest (ms). */
  hasTurned(lag: number, now: Instant): boolean {
    if (this.claimedAt === undefined) return false;
    if (this.#packets < FLOW) return now >= this.claimedAt + lag;
    const quiet = Math.min(LONGEST, Math.max(SHORTEST, 3 * this.#longestGap));
    return (now >= this.claimedAt + TABLE_WRITE && now >= this.#lastAt + quiet) || now >= this.claimedAt + CEILING;
  }
}
