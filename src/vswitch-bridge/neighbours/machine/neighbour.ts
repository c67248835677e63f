import type { Address, Mac } from '../../../model/address.ts';
import type { Instant } from '../../../model/clock.ts';
import type { NeighbourState, Resolution } from './types.ts';

/** RFC 4861 §7.2.2 waits a second, three times; first packets wait for this answer, so we ask oftener. */
export const RETRY = 300;
export const ATTEMPTS = 3;
/**
 * After a change of the link, doubled each time: a server that has lost a link may still be on its way to the other one,
 * and what it asks meanwhile leaves by neither. The kernel keeps some hundred packets for each neighbour so long.
 */
const SOON = 10;
/** A confirmed one is asked alone this often before all are asked. */
const UNICASTS = 2;
/** Linux calls an entry stale after 15 to 45 s (half to one and a half of base_reachable_time). */
const BEFORE_STALE = 10_000;

export interface Timing {
  readonly proactive: boolean;
  readonly poll: number;
  readonly retry: number;
  readonly attempts: number;
}

export type Asking = { readonly mac: Mac | undefined } | undefined;

/** One next hop of the underlay, shared by all tunnels whose packets go to it. */
export class Neighbour {
  readonly address: Address;
  readonly ifindex: number;
  readonly remotes = new Set<Address>();
  state: NeighbourState = 'idle';
  mac: Mac | undefined;
  confirmedAt: Instant | undefined;
  /** Taken away when the link changed; the kernel may still tell of it. */
  distrusted: Mac | undefined;
  /** When the next question, or the end of waiting for an answer, is due. */
  due: Instant | undefined;
  readonly #timing: Timing;
  #asked = 0;
  #askedAt: Instant | undefined;
  /** Until the next question while the link may still be changing, milliseconds. */
  #soon: number | undefined;

  constructor(address: Address, ifindex: number, timing: Timing) {
    this.address = address;
    this.ifindex = ifindex;
    this.#timing = timing;
  }

  get known(): boolean {
    return this.mac !== undefined;
  }

  resolution(remotes: readonly Address[] = [...this.remotes]): Resolution | undefined {
    const { address, ifindex, mac } = this;
    return mac === undefined ? undefined : { address, ifindex, mac, remotes };
  }

  /** The question of a new round; undefined: one that was just sent is still to be answered. */
  begin(now: Instant): Asking {
    if (this.state === 'down') return undefined;
    if (this.#askedAt !== undefined && now - this.#askedAt < this.#timing.retry && !this.known) return undefined;
    this.#asked = 0;
    return this.#ask(now);
  }

  /** Its link has changed. @returns the MAC that must not be used any more */
  invalidate(up: boolean): Resolution | undefined {
    const was = this.resolution();
    this.distrusted = was?.mac;
    this.mac = undefined;
    this.confirmedAt = undefined;
    this.due = undefined;
    this.#asked = 0;
    this.#askedAt = undefined;
    this.#soon = up ? SOON : undefined;
    this.state = up ? 'idle' : 'down';
    return was;
  }

  confirm(now: Instant): void {
    this.state = 'reachable';
    this.distrusted = undefined;
    this.confirmedAt = now;
    this.#rest(now);
  }

  /** Something is known of it that no answer has confirmed. */
  doubt(now: Instant): void {
    this.state = 'stale';
    this.due = this.#timing.proactive ? now : undefined;
    this.#asked = 0;
    this.#soon = undefined;
  }

  /** `due` has come. `failed`: this was the last question of the round. */
  elapsed(now: Instant): { readonly asking: Asking; readonly failed: boolean } {
    const { attempts, poll, proactive } = this.#timing;
    const silent = this.state === 'resolving' || this.state === 'probing';
    const most = attempts + (this.state === 'probing' ? UNICASTS : 0);
    if (silent && this.#asked >= most) {
      this.state = 'failed';
      this.#asked = 0;
      this.due = proactive ? now + poll : undefined;
      return { asking: undefined, failed: true };
    }
    return { asking: this.#ask(now), failed: false };
  }

  #ask(now: Instant): Asking {
    const alone = this.mac !== undefined && this.#asked < UNICASTS;
    this.state = this.mac === undefined ? 'resolving' : 'probing';
    const { retry } = this.#timing;
    const soon = this.#soon;
    // An early question says nothing about who does not answer it.
    if (soon === undefined) this.#asked++;
    this.#soon = soon !== undefined && 2 * soon < retry ? 2 * soon : undefined;
    this.#askedAt = now;
    this.due = now + (soon ?? retry);
    return { mac: alone ? this.mac : undefined };
  }

  #rest(now: Instant): void {
    this.#asked = 0;
    this.#soon = undefined;
    this.#askedAt = undefined;
    this.due = this.#timing.proactive ? now + Math.min(this.#timing.poll, BEFORE_STALE) : undefined;
  }
}
