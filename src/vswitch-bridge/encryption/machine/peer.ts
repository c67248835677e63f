/*
 * The machine of one peer (document 000): events in, effects out. `table.ts` is the agreement itself; here events are told
 * from what came, and what follows from a state is projected: how data leaves, under which keys it is accepted.
 *
 * Invariants
 * - Data leaves in plain text only by policy `available`, out of `valid`, and once the difference is *confirmed*: by the peer's
 *   own word (authenticated, or at least an answer to our challenge), because we have no key, or since nobody answers.
 * - What nobody authenticates never takes a peer out of `valid` by itself: it makes us ask. The one exception is an encrypted
 *   packet that we can't read, as the document has it: from there on data is held until the difference is confirmed.
 * - A key is used for sending only when the peer has adopted our salt.
 */
import type { Instant } from '../../../model/clock.ts';
import type { ControlPacket, PeerState, Trust } from '../codec/control.ts';
import { SALT_LENGTH } from '../codec/derivation.ts';
import {
  type KeyId,
  keyText,
  MOST_VERSIONS,
  type ShortKeyId,
  sameKey,
  sameShort,
  shortText,
} from '../codec/identity.ts';
import { Association, type PeerLife } from './association.ts';
import {
  type Flow,
  type NotificationTrigger,
  type PeerEffect,
  type PeerEvent,
  type Reception,
  type Said,
  type SendChoice,
  sameChoice,
  sameReception,
  saysShort,
} from './events.ts';
import { readMemo, writeMemo } from './memo.ts';
import type { MachineSettings, PeerOptions } from './settings.ts';
import { type Content, Speech, URGENT_RETRY } from './speech.ts';
import { TABLE, type TableEvent } from './table.ts';

/** Data was sent within so many ms: there is a flow. */
const BUSY = 1000;

export class PeerMachine {
  readonly #settings: MachineSettings;
  readonly #association: Association;
  readonly #speech: Speech;
  #state: PeerState = 'valid';
  #held: readonly KeyId[] = [];
  #said: Said | undefined;
  /** Plain text is allowed; sticks until the way back to `valid`. */
  #confirmed = false;
  #unanswered = false;
  /** Data is held since. */
  #waitingSince: Instant | undefined;
  #plainUntil: Instant | undefined;
  /** A mismatch whose notification waits for data that carries it (R0.5). */
  #carry: { readonly since: Instant; readonly until: Instant } | undefined;
  #idleFrom: Instant | undefined;
  #unauthenticatedAt: Instant | undefined;
  /** The peer's own word has last refuted a packet of another version. */
  #refutedAt: Instant | undefined;
  #choice: SendChoice | undefined;
  #reception: Reception | undefined;
  #acceptPlain: boolean | undefined;
  #effects: PeerEffect[] = [];

  constructor({ settings, instance, random, memo }: PeerOptions) {
    this.#settings = settings;
    const past = memo && readMemo(memo, random);
    this.#association = past?.association ?? new Association(random(SALT_LENGTH), random);
    this.#speech = new Speech(this.#association, instance, settings);
    if (past) {
      this.#state = past.state;
      this.#said = past.said;
    }
  }

  get state(): PeerState {
    return this.#state;
  }

  /** 16 octets: ours towards this peer. */
  get salt(): Uint8Array {
    return this.#association.salt;
  }

  get life(): PeerLife | undefined {
    return this.#association.life;
  }

  get said(): Said | undefined {
    return this.#said;
  }

  get choice(): SendChoice {
    return this.#choice ?? { mode: 'hold' };
  }

  /** For the entry in the worker's table: 128 octets. */
  memo(): Uint8Array {
    return writeMemo({ association: this.#association, state: this.#state, said: this.#said });
  }

  handle(event: PeerEvent, now: Instant): PeerEffect[] {
    this.#effects = [];
    this.#judge(event, now);
    this.#expire(event, now);
    const packet = this.#speech.due(this.#content, now, this.#patience(event, now));
    if (packet) this.#effects.push({ type: 'control', packet });
    this.#project();
    return this.#effects;
  }

  nextDeadline(): Instant | undefined {
    const due = [this.#speech.deadline, this.#plainUntil, this.#carry?.until, this.#idleAt, this.#unansweredAt].filter(
      (at) => at !== undefined,
    );
    return due.length > 0 ? Math.min(...due) : undefined;
  }

  get #newest(): KeyId | undefined {
    return this.#held[0];
  }

  /** Versions that may come in. */
  get #accepted(): readonly KeyId[] {
    return this.#settings.policy === 'overlap' ? this.#held : this.#held.slice(0, 1);
  }

  /** The version that data to the peer is encrypted with. */
  get #common(): KeyId | undefined {
    if (this.#settings.policy !== 'overlap') return this.#newest;
    const said = this.#said;
    return this.#held.find((own) => said?.held.some((other) => sameKey(own, other)));
  }

  get #agreed(): boolean {
    if (this.#settings.policy === 'overlap') return this.#common !== undefined;
    return sameKey(this.#newest, this.#said?.held[0]);
  }

  get #content(): Content {
    return { state: this.#state, held: this.#held };
  }

  get #idleAt(): Instant | undefined {
    return this.#idleFrom === undefined ? undefined : this.#idleFrom + this.#settings.notifyIdle;
  }

  get #unansweredAt(): Instant | undefined {
    if (this.#settings.policy !== 'available' || this.#waitingSince === undefined) return undefined;
    // What answers without a common key will never agree on salts.
    const hopeless = this.#said !== undefined && !this.#said.authenticated;
    return this.#waitingSince + (hopeless ? 0 : this.#settings.unansweredAfter);
  }

  #judge(event: PeerEvent, now: Instant): void {
    switch (event.type) {
      case 'keys':
        this.#keys(event.held, now);
        break;
      case 'readable':
        this.#readable(event.key, now);
        break;
      case 'unreadable':
        this.#unreadable(event.key, event.flow, now);
        break;
      case 'forged':
        this.#step('doubt', 'an encrypted packet did not fit its key', now);
        break;
      case 'plain':
        this.#plain(event.key, event.off, now);
        break;
      case 'control':
        this.#control(event.packet, event.trust, now);
        break;
      case 'held':
        this.#waitingSince ??= now;
        this.#speech.hurry(now, this.#settings.retryFirst);
        break;
    }
  }

  #keys(held: readonly KeyId[], now: Instant): void {
    const had = this.#newest;
    this.#held = held.slice(0, MOST_VERSIONS);
    const newest = this.#newest;
    if (!newest) this.#step('keys-gone', 'we hold no key', now);
    else if (!sameKey(had, newest)) this.#step('own-key', `our newest is ${keyText(newest)}`, now);
    else this.#speech.say(this.#content, now);
    if (newest && this.#settings.policy === 'overlap') this.#compareLists(now);
  }

  /** `overlap` knows by the lists alone whether the ends agree. */
  #compareLists(now: Instant): void {
    if (!this.#said) return;
    if (this.#agreed) {
      if (this.#state !== 'valid') this.#step('said-equal', `both hold ${keyText(this.#common)}`, now);
    } else this.#step('common-lost', 'no version is held by both', now, !this.#said.authenticated);
  }

  #readable(key: KeyId, now: Instant): void {
    if (!this.#accepted.some((id) => sameKey(id, key))) return;
    // What is sent is the newest, so it is as good as the peer's word.
    if (this.#settings.policy !== 'overlap' && !this.#agreed) this.#said = { held: [key], authenticated: true };
    this.#step('encrypted-equal', `it encrypts with our ${keyText(key)}`, now);
  }

  #unreadable(key: ShortKeyId, flow: Flow, now: Instant): void {
    const what = `it encrypts with ${shortText(key)}, we have ${keyText(this.#newest)}`;
    if (this.#accepted.some((id) => sameShort(id, key))) {
      this.#step('doubt', `it encrypts with ${shortText(key)} in another life of itself or of ours`, now);
    } else if (this.#settings.policy === 'overlap' && this.#common) this.#step('encrypted-lagging', what, now);
    // Whoever makes such packets up shall not have data held again and again.
    else if (this.#state === 'valid' && this.#agreed && this.#within(this.#refutedAt, now))
      this.#step('doubt', what, now);
    else {
      this.#step('encrypted-differs', what, now);
      this.#trigger(flow, now);
    }
  }

  /** R0.5: whether the notification waits for data that carries it. */
  #trigger(flow: Flow, now: Instant): void {
    if (this.#carry) return;
    if (this.#speech.saying(this.#content)) {
      this.#speech.say(this.#content, now);
      return;
    }
    const { oneWayAfter, flowMemory, carryWithin, policy } = this.#settings;
    const since = (at: Instant | undefined) => (at === undefined ? Number.POSITIVE_INFINITY : now - at);
    if (since(flow.lastOther) < flowMemory || since(flow.lastTcp) >= flowMemory) this.#notify('unreliable', now);
    else if (since(flow.lastSent) >= oneWayAfter) this.#notify('one-way', now);
    // Data can't carry anything before it may leave in plain text.
    else if (policy !== 'available' || !this.#confirmed) this.#notify('confirm', now);
    else this.#carry = { since: now, until: now + carryWithin };
  }

  #notify(trigger: NotificationTrigger, now: Instant): void {
    this.#effects.push({ type: 'notified', trigger });
    this.#carry = undefined;
    this.#speech.say(this.#content, now);
  }

  /** A packet in plain text: nothing authenticates it, so it is a hint. */
  #plain(key: ShortKeyId, off: boolean, now: Instant): void {
    if (this.#settings.policy !== 'available') return;
    const equal = sameShort(this.#newest, key);
    const said = this.#said;
    const believed = said !== undefined && !this.#agreed && saysShort(said, key);
    const what = `a plain packet tells ${shortText(key)}${off ? ', encryption off' : ''}`;
    if (equal) this.#step(off ? 'off-equal' : 'plain-equal', what, now);
    else if (this.#state === 'valid' && !(believed && (said.authenticated || this.#allow(now))))
      this.#step('doubt', what, now);
    else this.#step(off ? 'off-differs' : 'plain-differs', what, now, !said?.authenticated);
  }

  #control(packet: ControlPacket, trust: Trust, now: Instant): void {
    const standing = trust === 'forged' ? 'forged' : this.#association.receive(packet, trust);
    if (standing === 'forged' || standing === 'replayed') {
      this.#effects.push({ type: 'discard', reason: standing });
      return;
    }
    if (standing === 'unproved') {
      this.#effects.push({ type: 'discard', reason: standing });
      // An answer asks as well.
      if (!packet.reply) this.#speech.say(this.#content, now);
    } else if (standing === 'answered' && this.#said?.authenticated && !this.#allow(now)) {
      this.#effects.push({ type: 'discard', reason: 'rate-limited' });
    } else {
      this.#speech.heard(packet, standing);
      this.#said = { held: packet.held, authenticated: standing !== 'answered' };
      this.#understand(packet, now);
    }
    if (!packet.reply) return;
    const answer = this.#speech.answer(packet, standing, this.#content, now);
    this.#effects.push(answer ? { type: 'control', packet: answer } : { type: 'discard', reason: 'rate-limited' });
  }

  /** Whether what nobody authenticates may contradict what was authenticated. */
  #allow(now: Instant): boolean {
    if (this.#within(this.#unauthenticatedAt, now)) return false;
    this.#unauthenticatedAt = now;
    return true;
  }

  #within(at: Instant | undefined, now: Instant): boolean {
    return at !== undefined && now - at < this.#settings.unauthenticatedInterval;
  }

  #understand(packet: ControlPacket, now: Instant): void {
    const unauthenticated = !this.#said?.authenticated;
    const what = `it says ${keyText(packet.held[0])}${packet.off ? ', encryption off' : ''}`;
    if (this.#agreed) this.#step(packet.off ? 'off-equal' : 'said-equal', what, now);
    else if (this.#settings.policy === 'overlap') this.#compareLists(now);
    else if (packet.off) this.#step('off-differs', what, now, unauthenticated);
    else if (packet.state === 'invalid') this.#step('plain-differs', what, now, unauthenticated);
    else this.#step('said-differs', what, now, unauthenticated);
  }

  #step(event: TableEvent, reason: string, now: Instant, unauthenticated = false): void {
    const from = this.#state;
    const { actions, to } = TABLE[from][event];
    this.#state = to;
    if (to !== from) {
      this.#effects.push({ type: 'state', from, to, event, reason, unauthenticated });
      if (from === 'invalid-notify' && (event === 'said-equal' || event === 'off-equal')) this.#refutedAt = now;
      this.#entered(now);
    }
    this.#confirm();
    for (const action of actions) {
      if (action !== 'tell') this.#speech.say(this.#content, now);
      // The one whose notification may wait for data: the triggers decide.
      else if (event !== 'encrypted-differs') this.#notify(event === 'keys-gone' ? 'no-key' : 'confirm', now);
    }
  }

  #entered(now: Instant): void {
    this.#carry = undefined;
    this.#idleFrom = this.#state === 'invalid-notify' ? now : undefined;
    if (this.#state === 'valid') {
      if (this.#acceptPlain) this.#plainUntil = now + this.#settings.plainGrace;
      this.#confirmed = false;
      this.#unanswered = false;
    } else {
      this.#plainUntil = undefined;
      this.#effects.push({ type: 'arm' });
    }
  }

  #confirm(): void {
    if (this.#state === 'valid') return;
    if (!this.#newest || this.#unanswered || (this.#said && !this.#agreed)) this.#confirmed = true;
  }

  /** The longest gap between two dedicated packets. */
  #patience(event: PeerEvent, now: Instant): number {
    const lastSent = event.type === 'tick' ? event.flow.lastSent : undefined;
    const waits = this.choice.mode === 'hold' && lastSent !== undefined && now - lastSent < BUSY;
    return waits ? URGENT_RETRY : this.#settings.retryLast;
  }

  #expire(event: PeerEvent, now: Instant): void {
    if (this.#plainUntil !== undefined && this.#plainUntil <= now) this.#plainUntil = undefined;
    const unansweredAt = this.#unansweredAt;
    if (unansweredAt !== undefined && unansweredAt <= now) {
      this.#waitingSince = undefined;
      this.#unanswered = true;
      this.#step('unanswered', 'data waits and no hello is answered that a common key authenticates', now);
    }
    if (event.type === 'tick') this.#expireNotification(event.flow.lastSent, now);
  }

  #expireNotification(lastSent: Instant | undefined, now: Instant): void {
    const carry = this.#carry;
    if (carry && carry.until <= now) {
      this.#carry = undefined;
      if (lastSent === undefined || lastSent <= carry.since) this.#notify('one-way', now);
    }
    if (this.#idleFrom === undefined) return;
    if (lastSent !== undefined && lastSent > this.#idleFrom) this.#idleFrom = lastSent;
    if (now - this.#idleFrom < this.#settings.notifyIdle) return;
    this.#idleFrom = now;
    this.#notify('idle', now);
  }

  #project(): void {
    const life = this.#association.life;
    const reception = { keys: life ? this.#accepted : [], life };
    if (!sameReception(this.#reception, reception)) {
      this.#reception = reception;
      // Before control packets: whoever hears that we hold a version may use it at once.
      this.#effects.unshift({ type: 'receive', reception });
    }
    const plain = this.#settings.policy === 'available' && this.#state !== 'valid' && this.#confirmed;
    const accept = plain || this.#plainUntil !== undefined;
    if (accept !== this.#acceptPlain) {
      this.#acceptPlain = accept;
      this.#effects.unshift({ type: 'accept-plain', accept });
    }
    const choice = this.#desired(plain);
    if (choice.mode !== 'hold') this.#waitingSince = undefined;
    if (sameChoice(this.#choice, choice)) return;
    this.#choice = choice;
    // After control packets: they are to arrive before the data that they explain.
    this.#effects.push({ type: 'send', choice });
  }

  #desired(plain: boolean): SendChoice {
    if (plain) return { mode: 'plain', newest: this.#newest, off: this.#state === 'invalid-notify' };
    const key = this.#common;
    const { life, ready } = this.#association;
    if (this.#state !== 'valid' || !key || !life || !ready) return { mode: 'hold' };
    return { mode: 'encrypt', key, life };
  }
}
