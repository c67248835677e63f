/*
 * One BFD session in asynchronous mode, RFC 5880 §6: events in, effects out.
 *
 * Two questions are kept apart. Whether the peer hears us and we hear it is the state. Whether a session that fell means
 * that the way to the peer is broken is `failure`: it was Up, and the peer did not fall silent on purpose (AdminDown, RFC
 * 5882 §3.2). A session that was never Up is no failure of anything: the peer may not speak BFD at all. And what a peer says
 * over a way that evidently leads here counts for what it says: that it did not hear us, yes; that it begins anew, no. FRR does
 * so whenever a routing session that asks for BFD comes or goes, and calls it Path Down or, though we said nothing, Neighbor
 * Signaled Session Down.
 *
 * Invariants
 * - Nothing is sent while the path is down, and what is sent unasked keeps the pace of §6.8.7; a Poll is answered at once.
 * - The detection time runs from each packet that was not discarded. `nextDeadline` names its end also while Down, since
 *   the peer's discriminator must be forgotten then (§6.8.1).
 */
import type { Instant } from '../../model/clock.ts';
import { type ControlPacket, DIAGNOSTIC, diagnosticText, type SessionState } from '../codec/packet.ts';
import { nextState } from './state.ts';
import { Timers } from './timers.ts';

/** Said with Down, these are words of a failure. */
const BROKEN: ReadonlySet<number> = new Set([
  DIAGNOSTIC.controlDetectionTimeExpired,
  DIAGNOSTIC.echoFunctionFailed,
  DIAGNOSTIC.forwardingPlaneReset,
  DIAGNOSTIC.concatenatedPathDown,
  DIAGNOSTIC.reverseConcatenatedPathDown,
]);

export interface SessionSettings {
  /** Between two packets, ours and the peer's, ms: at least 1. */
  readonly interval: number;
  /** bfd.DetectMult: packets missed until the session is Down, 1 to 255. */
  readonly multiplier: number;
}

/** What a later life needs to go on as if nothing had been. */
export interface Remembered {
  readonly localDiscriminator: number;
  readonly remoteDiscriminator: number;
  /** Of the peer: DetectMult, and ms. */
  readonly remoteMultiplier: number;
  readonly remoteMinTx: number;
  readonly remoteMinRx: number;
}

export type SessionEvent =
  | { readonly type: 'packet'; readonly packet: ControlPacket }
  | { readonly type: 'tick' }
  | { readonly type: 'configure'; readonly settings: SessionSettings }
  /** The interface came up or went down. */
  | { readonly type: 'path'; readonly up: boolean }
  | { readonly type: 'disable' }
  /** Until `detection` ms have passed without a word of ours, the peer shall miss nothing: we are away on purpose. */
  | { readonly type: 'stretch'; readonly detection: number };

export type DiscardReason = 'authentication-not-in-use' | 'admin-down';

export type SessionEffect =
  | { readonly type: 'send'; readonly packet: ControlPacket }
  | {
      readonly type: 'state';
      readonly from: SessionState;
      readonly to: SessionState;
      /** In plain words. */
      readonly reason: string;
      readonly failure: boolean;
    }
  | { readonly type: 'discard'; readonly reason: DiscardReason };

/** RFC 5880 §6.8.1. Durations in ms. */
interface Remote {
  readonly state: SessionState;
  readonly discriminator: number;
  readonly minRx: number;
  readonly minTx: number;
  readonly multiplier: number;
  readonly demand: boolean;
  readonly diagnostic: number;
  readonly independent: boolean;
}

const UNKNOWN: Remote = {
  state: 'Down',
  discriminator: 0,
  minRx: 0.001,
  minTx: 0,
  multiplier: 0,
  demand: false,
  diagnostic: DIAGNOSTIC.none,
  independent: false,
};

export interface SessionOptions extends SessionSettings {
  /** Not 0, and of no other session on this box. */
  readonly discriminator: number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  /** One hop away. */
  readonly direct: boolean;
  /** Up in an earlier life: it is Up here too, until the peer says otherwise or nothing. */
  readonly remembered?: Remembered | undefined;
}

export class BfdSession {
  readonly discriminator: number;
  readonly #random: () => number;
  readonly #direct: boolean;
  readonly #timers: Timers;
  #settings: SessionSettings;
  #state: SessionState = 'Down';
  #diagnostic: number = DIAGNOSTIC.none;
  #remote: Remote = UNKNOWN;
  /** The peer itself has said that the session is Up, to this life. */
  #confirmed = false;
  #path = false;
  #stretched: number | undefined;
  #heardAt: Instant | undefined;
  #sentAt: Instant | undefined;
  #jitter = 1;
  #lastSent: ControlPacket | undefined;

  constructor(options: SessionOptions) {
    const { interval, multiplier, discriminator, random, direct, remembered } = options;
    this.discriminator = remembered?.localDiscriminator ?? discriminator;
    this.#random = random;
    this.#direct = direct;
    this.#settings = { interval, multiplier };
    this.#timers = new Timers({ tx: interval, rx: interval });
    if (remembered) {
      this.#state = 'Up';
      this.#remote = {
        ...UNKNOWN,
        state: 'Up',
        discriminator: remembered.remoteDiscriminator,
        multiplier: remembered.remoteMultiplier,
        minTx: remembered.remoteMinTx,
        minRx: remembered.remoteMinRx,
      };
      this.#timers.askAgain();
    } else this.#want();
  }

  get state(): SessionState {
    return this.#state;
  }

  /** By the peer, on purpose. */
  get switchedOff(): boolean {
    return this.#switchedOff;
  }

  get diagnostic(): number {
    return this.#diagnostic;
  }

  get remote(): Readonly<Remote> {
    return this.#remote;
  }

  /** Up, and the peer has said so to this life. */
  get confirmed(): boolean {
    return this.#state === 'Up' && this.#confirmed;
  }

  /** The peer knows the intervals that we want. */
  get settled(): boolean {
    return this.#state !== 'Up' || this.#timers.settled;
  }

  /** Ours between two packets, before jitter (§6.8.2), and the peer's silence that ends the session (§6.8.4), ms. */
  get intervals(): { readonly transmit: number; readonly detection: number } {
    const { tx, rx } = this.#timers.used;
    return {
      transmit: Math.max(tx, this.#remote.minRx),
      detection: this.#remote.multiplier * Math.max(rx, this.#remote.minTx),
    };
  }

  get remembered(): Remembered | undefined {
    if (!this.confirmed) return undefined;
    const { discriminator, multiplier, minTx, minRx } = this.#remote;
    return {
      localDiscriminator: this.discriminator,
      remoteDiscriminator: discriminator,
      remoteMultiplier: multiplier,
      remoteMinTx: minTx,
      remoteMinRx: minRx,
    };
  }

  handle(event: SessionEvent, now: Instant): SessionEffect[] {
    const effects: SessionEffect[] = [];
    switch (event.type) {
      case 'packet':
        this.#received(event.packet, now, effects);
        break;
      case 'tick':
        this.#expire(now, effects);
        break;
      case 'configure':
        this.#settings = event.settings;
        this.#want();
        break;
      case 'path':
        this.#pathChanged(event.up, now, effects);
        break;
      case 'disable':
        this.#enter('AdminDown', DIAGNOSTIC.administrativelyDown, 'it is not wanted any more', false, effects);
        break;
      case 'stretch':
        this.#stretched = event.detection;
        this.#want();
        break;
    }
    this.#transmit(now, effects);
    return effects;
  }

  nextDeadline(): Instant | undefined {
    const due = [this.#sendAt(), this.#detectAt()].filter((at) => at !== undefined);
    return due.length > 0 ? Math.min(...due) : undefined;
  }

  get #switchedOff(): boolean {
    const { state, diagnostic } = this.#remote;
    return state === 'AdminDown' || (this.#direct && state === 'Down' && diagnostic === DIAGNOSTIC.pathDown);
  }

  #saysBroken({ state, diagnostic }: ControlPacket): boolean {
    if (state === 'AdminDown') return false;
    return BROKEN.has(diagnostic) || (!this.#direct && diagnostic === DIAGNOSTIC.pathDown);
  }

  #want(): void {
    const { interval, multiplier } = this.#settings;
    const tx = this.#stretched === undefined ? interval : Math.max(interval, this.#stretched / multiplier);
    this.#timers.want({ tx, rx: interval }, this.#state);
  }

  /** RFC 5880 §6.8.6, from the A bit on; the codec and the driver have done what comes before. */
  #received(packet: ControlPacket, now: Instant, effects: SessionEffect[]): void {
    if (packet.authentication) {
      effects.push({ type: 'discard', reason: 'authentication-not-in-use' });
      return;
    }
    this.#remote = {
      state: packet.state,
      discriminator: packet.myDiscriminator,
      minRx: packet.requiredMinRxInterval / 1000,
      minTx: packet.desiredMinTxInterval / 1000,
      multiplier: packet.detectMult,
      demand: packet.demand,
      diagnostic: packet.diagnostic,
      independent: packet.controlPlaneIndependent,
    };
    this.#timers.heard(packet.final);
    if (this.#state === 'AdminDown') {
      effects.push({ type: 'discard', reason: 'admin-down' });
      return;
    }
    const before = this.#state;
    const next = nextState(before, packet.state);
    if (next === 'Down' && before !== 'Down') {
      const broken = this.#saysBroken(packet);
      const anew = this.#switchedOff ? 'the peer has switched it off' : 'the peer has begun it anew';
      const reason = broken ? `the peer says: ${diagnosticText(packet.diagnostic)}` : anew;
      this.#enter(next, DIAGNOSTIC.neighborSignaledSessionDown, reason, broken, effects);
    } else {
      // A diagnostic stands until the session is well again.
      const diagnostic = next === 'Up' ? DIAGNOSTIC.none : this.#diagnostic;
      this.#enter(next, diagnostic, next === 'Up' ? 'both hear each other' : 'the peer is heard', false, effects);
      if (next === 'Up') this.#confirmed = true;
    }
    this.#heardAt = now;
    if (packet.poll && this.#path) this.#send(now, true, effects);
  }

  /** §6.8.4. */
  #expire(now: Instant, effects: SessionEffect[]): void {
    const at = this.#detectAt();
    if (at === undefined || at > now) return;
    const silence = Math.round(this.intervals.detection);
    this.#heardAt = undefined;
    const { state, diagnostic } = this.#remote;
    this.#remote = { ...UNKNOWN, state: state === 'AdminDown' ? state : 'Down', diagnostic };
    if (this.#state !== 'Init' && this.#state !== 'Up') return;
    const reason = `nothing was heard for ${silence} ms`;
    this.#enter('Down', DIAGNOSTIC.controlDetectionTimeExpired, reason, true, effects);
  }

  #pathChanged(up: boolean, now: Instant, effects: SessionEffect[]): void {
    if (this.#path === up) return;
    this.#path = up;
    this.#sentAt = undefined;
    if (up) {
      // What is remembered as Up is due to be heard from here on.
      this.#heardAt = this.#state === 'Up' ? now : undefined;
      return;
    }
    this.#heardAt = undefined;
    this.#remote = UNKNOWN;
    if (this.#state === 'Init' || this.#state === 'Up') {
      this.#enter('Down', DIAGNOSTIC.pathDown, 'the interface is down', false, effects);
    }
  }

  #enter(to: SessionState, diagnostic: number, reason: string, broken: boolean, effects: SessionEffect[]): void {
    const from = this.#state;
    const failure = broken && this.confirmed;
    this.#diagnostic = diagnostic;
    if (from === to) return;
    this.#state = to;
    if (to !== 'Up') this.#confirmed = false;
    this.#want();
    effects.push({ type: 'state', from, to, reason, failure });
  }

  #detectAt(): Instant | undefined {
    return this.#heardAt === undefined ? undefined : this.#heardAt + this.intervals.detection;
  }

  /** §6.8.7. */
  #sendAt(): Instant | undefined {
    if (!this.#path || this.#remote.minRx === 0) return undefined;
    const demanded = this.#remote.demand && this.#state === 'Up' && this.#remote.state === 'Up';
    if (demanded && !this.#timers.polling) return undefined;
    return this.#sentAt === undefined
      ? Number.NEGATIVE_INFINITY
      : this.#sentAt + this.intervals.transmit * this.#jitter;
  }

  #transmit(now: Instant, effects: SessionEffect[]): void {
    if (!this.#path) return;
    const at = this.#sendAt();
    const due = at !== undefined && at <= now;
    if (due || (this.#lastSent && this.#news(this.#lastSent))) this.#send(now, false, effects);
  }

  /** A change of state or of an interval does not wait for the next packet that is due. */
  #news(last: ControlPacket): boolean {
    const { state, diagnostic, desiredMinTxInterval, requiredMinRxInterval } = this.#packet(false);
    return (
      last.state !== state ||
      last.diagnostic !== diagnostic ||
      last.desiredMinTxInterval !== desiredMinTxInterval ||
      last.requiredMinRxInterval !== requiredMinRxInterval
    );
  }

  #send(now: Instant, final: boolean, effects: SessionEffect[]): void {
    const packet = this.#packet(final);
    effects.push({ type: 'send', packet });
    this.#lastSent = packet;
    this.#sentAt = now;
    // 75 to 100 per cent; with a DetectMult of 1 never so late that one packet's delay ends the session.
    this.#jitter = 0.75 + this.#random() * (this.#settings.multiplier === 1 ? 0.15 : 0.25);
  }

  #packet(final: boolean): ControlPacket {
    const { tx, rx } = this.#timers.told;
    return {
      diagnostic: this.#diagnostic,
      state: this.#state,
      // Both at once MUST NOT be set (§6.5).
      poll: !final && this.#timers.polling,
      final,
      // Who kills the agent kills BFD with it.
      controlPlaneIndependent: false,
      demand: false,
      detectMult: this.#settings.multiplier,
      myDiscriminator: this.discriminator,
      yourDiscriminator: this.#remote.discriminator,
      desiredMinTxInterval: Math.round(tx * 1000),
      requiredMinRxInterval: Math.round(rx * 1000),
      requiredMinEchoRxInterval: 0,
    };
  }
}
