/**
 * Dedicated packets to one peer: what is said goes out at once, and again with growing gaps until the peer has acknowledged
 * it; questions are answered at a bounded rate. Until both ends have adopted each other's salts there is always something to say.
 */
import type { Instant } from '../../../model/clock.ts';
import type { ControlKind, ControlPacket, PeerState } from '../codec/control.ts';
import { type KeyId, keyText } from '../codec/identity.ts';
import type { Association, Standing } from './association.ts';
import { Allowance, Retry } from './pacing.ts';
import type { MachineSettings } from './settings.ts';

/** While data is lost or waits, the peer is told at least so often, ms. */
export const URGENT_RETRY = 250;
/** Between two dedicated packets that say something new, and that say the same, ms. */
const APART = { fresh: 5, same: 100 };

/** What a dedicated packet says beside salts and counters. */
export interface Content {
  readonly state: PeerState;
  /** The newest first. */
  readonly held: readonly KeyId[];
}

export class Speech {
  readonly #association: Association;
  readonly #instance: Uint8Array;
  readonly #retry: Retry;
  /** Apart, so that whoever makes questions up can't use up the answers that the peer is owed. */
  readonly #answers: { readonly peer: Allowance; readonly stranger: Allowance };
  /** Counter of the first packet that said what is not acknowledged yet. */
  #open: bigint | undefined;
  /** Something is to be said that no packet has said yet. */
  #fresh = false;
  #lastSaid = '';

  constructor(association: Association, instance: Uint8Array, settings: MachineSettings) {
    this.#association = association;
    this.#instance = instance;
    this.#retry = new Retry(settings.retryFirst, settings.retryLast);
    const { answersPerSecond } = settings;
    this.#answers = { peer: new Allowance(answersPerSecond), stranger: new Allowance(answersPerSecond) };
  }

  /** It is being said, and not acknowledged yet. */
  saying(content: Content): boolean {
    return this.#fresh || (this.#open !== undefined && this.#lastSaid === textOf(content));
  }

  get deadline(): Instant | undefined {
    return this.#retry.at;
  }

  /** At once; what is being said already, within `URGENT_RETRY` again: there is a packet that shows that it is needed. */
  say(content: Content, now: Instant): void {
    const repeats = this.#lastSaid === textOf(content);
    // What waits to be repeated is not what waits now, if a key has come meanwhile.
    if (this.#fresh ? repeats : this.saying(content)) {
      this.#retry.hurry(now, URGENT_RETRY);
      return;
    }
    this.#fresh = true;
    this.#retry.begin(now, repeats ? APART.same : APART.fresh);
  }

  /** The next attempt within so many ms, if there is to be one. */
  hurry(now: Instant, within: number): void {
    this.#retry.hurry(now, within);
  }

  heard(packet: ControlPacket, standing: Standing): void {
    if (this.#open !== undefined && (standing === 'answered' || packet.heard >= this.#open)) this.#open = undefined;
    if (!this.#wanted) this.#retry.stop();
  }

  /**
   * Asks in its turn when the question proves nothing, or the salts are not agreed on; but never back for what was itself an
   * answer: two ends without a common key would go on for ever. undefined: too many answers this second.
   */
  answer(packet: ControlPacket, standing: Standing, content: Content, now: Instant): ControlPacket | undefined {
    const known = standing === 'current' || standing === 'adopted';
    if (!this.#answers[known ? 'peer' : 'stranger'].take(now)) return undefined;
    const ask = standing !== 'answered' && (standing === 'unproved' || !this.#association.ready);
    return this.#compose(content, ask, packet.challenge);
  }

  /** The dedicated packet that is due, if one is; the next at most `longest` ms after it. */
  due(content: Content, now: Instant, longest: number): ControlPacket | undefined {
    if (this.#retry.at === undefined && this.#wanted) this.#retry.begin(now, APART.fresh);
    if (!this.#retry.due(now)) return undefined;
    const packet = this.#compose(content, true, undefined);
    if (this.#fresh || this.#lastSaid !== textOf(content)) this.#open = packet.counter;
    else this.#open ??= packet.counter;
    this.#fresh = false;
    this.#lastSaid = textOf(content);
    this.#retry.sent(now, longest);
    return packet;
  }

  get #wanted(): boolean {
    return this.#open !== undefined || this.#fresh || !this.#association.ready;
  }

  #compose(content: Content, reply: boolean, response: Uint8Array | undefined): ControlPacket {
    const { life, salt, heard, ready } = this.#association;
    const off = content.state === 'invalid-notify';
    const kind: ControlKind = off ? 'notification' : ready ? 'version' : 'hello';
    return {
      kind,
      off,
      reply,
      state: content.state,
      counter: this.#association.nextCounter(),
      instance: this.#instance,
      salt,
      peerSalt: life?.salt,
      challenge: reply ? this.#association.challenge() : undefined,
      response,
      heard,
      held: content.held,
    };
  }
}

const textOf = ({ state, held }: Content): string => `${state} ${held.map(keyText).join(' ')}`;
