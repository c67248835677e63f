import type { Instant } from '../../model/clock.ts';
import type { BgpError } from '../codec/errors.ts';
import { bgpError, CEASE, CODE, FSM } from '../codec/errors.ts';
import type { Message, NotificationMessage, RouteRefreshMessage, UpdateMessage } from '../codec/messages.ts';
import type { Negotiated, OpenConfig } from './open.ts';
import { negotiate, ourOpen } from './open.ts';
import type { State } from './state.ts';
import type { Action, FsmEvent } from './table.ts';
import { IGNORED, TABLE } from './table.ts';

/**
 * The FSM of one connection (RFC 4271 §8.2.1: a connection is an FSM). It knows neither sockets nor timers: events and
 * the time go in, effects come out, and `nextDeadline` says when `expire` has to be called.
 *
 * A neighbour has one that connects, which lives for ever and starts itself again after the IdleHoldTimer, and one for
 * each connection that came in (`incoming`), which begins in Active and is thrown away when it gets back to Idle.
 * Invariant: outside Established no UPDATE is delivered and none is sent.
 */
export interface SessionConfig extends OpenConfig {
  /** Ceiling of the pauses, milliseconds. */
  readonly connectRetry: number;
  readonly passive: boolean;
  readonly incoming: boolean;
  readonly random: () => number;
}

export type SessionEvent =
  | { readonly type: 'Start' }
  /** Of the operator: no automatic start after it. `notification` is the last word, if any can be said. */
  | { readonly type: 'ManualStop'; readonly notification: NotificationMessage }
  /** Of ourselves (maximum prefixes, out of resources...): tried again after `pause` ms. */
  | {
      readonly type: 'AutomaticStop';
      readonly notification: NotificationMessage;
      readonly reason: string;
      readonly pause?: number;
    }
  | { readonly type: 'Tcp_CR_Acked' }
  | { readonly type: 'TcpConnectionConfirmed' }
  | { readonly type: 'TcpConnectionFails'; readonly reason: string }
  | { readonly type: 'OpenCollisionDump' }
  | { readonly type: 'SendHoldTimer_Expires' }
  | { readonly type: 'InterfaceDown'; readonly interface: string }
  /** The link to the neighbour has just come up: try at once, and often for a while. */
  | { readonly type: 'InterfaceUp' }
  | { readonly type: 'Received'; readonly message: Message | BgpError };

export type Effect =
  | { readonly type: 'connect' }
  | { readonly type: 'close' }
  | { readonly type: 'send'; readonly message: Exclude<Message, UpdateMessage> }
  | { readonly type: 'deliver'; readonly message: UpdateMessage | RouteRefreshMessage }
  | {
      readonly type: 'transition';
      readonly from: State;
      readonly to: State;
      readonly reason: string;
      readonly cause: FsmEvent;
    };

/** RFC 4271 §8.2.2 suggests 4 minutes in OpenSent; a neighbour we talk to in seconds gets this. */
const OPEN_HOLD = 10_000;
const OPEN_HOLD_WITHOUT_HOLD = 240_000;
const FIRST_PAUSE = 100;
/**
 * After the link came up: for this long no attempt to connect lasts longer than FAST_RETRY (a SYN may be lost to a link
 * that is not quite there, and the kernel repeats it only after a second), and no pause longer than FAST_PAUSE (FRR
 * answers 5/0 while it still clears the former session).
 */
const FAST_PERIOD = 10_000;
const FAST_RETRY = 500;
const FAST_PAUSE = 200;
/** A session that lasted this long was no flap (DampPeerOscillations). */
const STABLE = 10_000;

export class Session {
  readonly config: SessionConfig;
  state: State;
  since: Instant;
  reason = '';
  negotiated: Negotiated | undefined;
  /** Attempts since the last stable session (ConnectRetryCounter). */
  attempts = 0;
  #connectRetryTimer: Instant | undefined;
  #holdTimer: Instant | undefined;
  #keepaliveTimer: Instant | undefined;
  #idleHoldTimer: Instant | undefined;
  #fastUntil: Instant = Number.NEGATIVE_INFINITY;
  #pause: number | undefined;

  constructor(config: SessionConfig, now: Instant) {
    this.config = config;
    this.state = config.incoming ? 'Active' : 'Idle';
    this.since = now;
  }

  handle(event: SessionEvent, now: Instant): Effect[] {
    const effects: Effect[] = [];
    this.#dispatch(event, now, effects);
    // A pause is for the Idle that this event led to, not for a later one.
    this.#pause = undefined;
    return effects;
  }

  /** The earliest running timer. */
  nextDeadline(): Instant | undefined {
    let earliest: Instant | undefined;
    for (const timer of [this.#connectRetryTimer, this.#holdTimer, this.#keepaliveTimer, this.#idleHoldTimer]) {
      if (timer !== undefined && (earliest === undefined || timer < earliest)) earliest = timer;
    }
    return earliest;
  }

  /** Fires what is due; the hold timer first, as a keepalive to a dead neighbour is of no use. */
  expire(now: Instant): Effect[] {
    const effects: Effect[] = [];
    if (due(this.#holdTimer, now)) {
      this.#holdTimer = undefined;
      this.#step('HoldTimer_Expires', 'hold timer expired', HOLD_EXPIRED, now, effects);
    }
    if (due(this.#keepaliveTimer, now)) {
      this.#keepaliveTimer = undefined;
      this.#step('KeepaliveTimer_Expires', '', undefined, now, effects);
    }
    if (due(this.#connectRetryTimer, now)) {
      this.#connectRetryTimer = undefined;
      this.#step('ConnectRetryTimer_Expires', 'connect retry timer expired', undefined, now, effects);
    }
    if (due(this.#idleHoldTimer, now)) {
      this.#idleHoldTimer = undefined;
      const event = this.config.passive ? 'AutomaticStart_with_PassiveTcpEstablishment' : 'IdleHoldTimer_Expires';
      this.#step(event, 'idle hold timer expired', undefined, now, effects);
    }
    return effects;
  }

  #dispatch(event: SessionEvent, now: Instant, effects: Effect[]): void {
    const passive = this.config.passive;
    switch (event.type) {
      case 'Start':
        this.#idleHoldTimer = undefined;
        this.#step(
          passive ? 'ManualStart_with_PassiveTcpEstablishment' : 'ManualStart',
          'started',
          undefined,
          now,
          effects,
        );
        break;
      case 'ManualStop':
        this.#idleHoldTimer = undefined;
        this.#step('ManualStop', 'stopped', event.notification, now, effects);
        break;
      case 'AutomaticStop':
        this.#pause = event.pause;
        this.#step('AutomaticStop', event.reason, event.notification, now, effects);
        break;
      case 'InterfaceDown':
        // The carrier's return starts it; the timer is for a return that nobody tells us of.
        this.#pause = this.config.connectRetry;
        this.#step('InterfaceDown', `interface ${event.interface} down`, LINK_LOST, now, effects);
        break;
      case 'InterfaceUp':
        this.#interfaceUp(now, effects);
        break;
      case 'TcpConnectionFails':
        this.#step('TcpConnectionFails', event.reason, undefined, now, effects);
        break;
      case 'OpenCollisionDump':
        this.#step('OpenCollisionDump', 'connection collision', COLLISION, now, effects);
        break;
      case 'SendHoldTimer_Expires':
        this.#step('SendHoldTimer_Expires', 'send hold timer expired', SEND_HOLD_EXPIRED, now, effects);
        break;
      case 'Received':
        this.#received(event.message, now, effects);
        break;
      default:
        this.#step(event.type, 'connected', undefined, now, effects);
    }
  }

  /** A SYN sent into the dead link is not waited for; a connection that got on is left alone. */
  #interfaceUp(now: Instant, effects: Effect[]): void {
    this.#fastUntil = now + FAST_PERIOD;
    this.attempts = 0;
    if (this.state === 'Idle') {
      this.#idleHoldTimer = undefined;
      const event = this.config.passive ? 'AutomaticStart_with_PassiveTcpEstablishment' : 'AutomaticStart';
      this.#step(event, 'interface up', undefined, now, effects);
    } else if (this.state === 'Connect') {
      this.#step('ConnectRetryTimer_Expires', 'interface up', undefined, now, effects);
    }
  }

  #received(message: Message | BgpError, now: Instant, effects: Effect[]): void {
    switch (message.type) {
      case 'OPEN': {
        const negotiated = negotiate(message, this.config);
        if ('type' in negotiated) {
          this.#step('BGPOpenMsgErr', negotiated.reason, notification(negotiated), now, effects);
        } else {
          if (this.state === 'OpenSent') this.negotiated = negotiated;
          this.#step('BGPOpen', 'open received', undefined, now, effects);
        }
        break;
      }
      case 'KEEPALIVE':
        this.#step('KeepAliveMsg', 'keepalive received', undefined, now, effects);
        break;
      case 'UPDATE':
        this.#step('UpdateMsg', '', undefined, now, effects, message);
        break;
      case 'ROUTE-REFRESH':
        this.#step('RouteRefreshMsg', '', undefined, now, effects, message);
        break;
      case 'NOTIFICATION':
        this.#step('NotifMsg', `notification ${message.code}/${message.subcode} received`, undefined, now, effects);
        break;
      case 'ERROR': {
        const event =
          message.code === CODE.open ? 'BGPOpenMsgErr' : message.code === CODE.update ? 'UpdateMsgErr' : 'BGPHeaderErr';
        this.#step(event, message.reason, notification(message), now, effects);
        break;
      }
    }
  }

  #step(
    event: FsmEvent,
    reason: string,
    last: NotificationMessage | undefined,
    now: Instant,
    effects: Effect[],
    payload?: UpdateMessage | RouteRefreshMessage,
  ): void {
    const row = TABLE[this.state][event];
    if (!row) {
      if (!IGNORED.has(event)) this.#finiteStateMachineError(event, now, effects);
      return;
    }
    if (this.state === 'Established' && now - this.since >= STABLE) this.attempts = 0;
    for (const action of row.actions) this.#perform(action, last, payload, now, effects);
    if (row.next !== this.state) this.#enter(row.next, event, reason, now, effects);
  }

  /** RFC 4271 §6.6, with RFC 6608's subcodes. In a state without a connection there is no one to tell. */
  #finiteStateMachineError(event: FsmEvent, now: Instant, effects: Effect[]): void {
    const subcodes: Partial<Record<State, number>> = {
      OpenSent: FSM.openSent,
      OpenConfirm: FSM.openConfirm,
      Established: FSM.established,
    };
    const subcode = subcodes[this.state];
    if (subcode === undefined) return;
    const error = bgpError(CODE.fsm, subcode, `unexpected ${event} in ${this.state}`);
    this.#step('BGPHeaderErr', error.reason, notification(error), now, effects);
  }

  #enter(next: State, cause: FsmEvent, reason: string, now: Instant, effects: Effect[]): void {
    const from = this.state;
    this.state = next;
    this.since = now;
    this.reason = reason;
    if (next === 'Idle') {
      this.#holdTimer = undefined;
      this.#keepaliveTimer = undefined;
      this.negotiated = undefined;
    }
    effects.push({ type: 'transition', from, to: next, reason, cause });
  }

  #perform(
    action: Action,
    last: NotificationMessage | undefined,
    payload: UpdateMessage | RouteRefreshMessage | undefined,
    now: Instant,
    effects: Effect[],
  ): void {
    switch (action) {
      case 'connect':
        this.attempts++;
        effects.push({ type: 'connect' });
        break;
      case 'dropConnection':
        effects.push({ type: 'close' });
        break;
      case 'sendOpen':
        effects.push({ type: 'send', message: ourOpen(this.config) });
        break;
      case 'sendKeepalive':
        effects.push({ type: 'send', message: { type: 'KEEPALIVE' } });
        break;
      case 'sendNotification':
        if (last) effects.push({ type: 'send', message: last });
        break;
      case 'startConnectRetryTimer':
        this.#connectRetryTimer = now + this.#jitter(this.#ceiling(now, FAST_RETRY));
        break;
      case 'stopConnectRetryTimer':
        this.#connectRetryTimer = undefined;
        break;
      case 'startOpenHoldTimer':
        this.#holdTimer =
          now + (this.config.hold === 0 ? OPEN_HOLD_WITHOUT_HOLD : Math.max(this.config.hold, OPEN_HOLD));
        break;
      case 'startSessionTimers':
      case 'restartHoldTimer':
        this.#holdTimer = this.negotiated?.hold ? now + this.negotiated.hold : undefined;
        if (action === 'startSessionTimers') this.#startKeepalive(now);
        break;
      case 'restartKeepaliveTimer':
        this.#startKeepalive(now);
        break;
      case 'startIdleHoldTimer':
        if (!this.config.incoming) this.#idleHoldTimer = now + this.#idleHold(now);
        break;
      case 'zeroConnectRetryCounter':
        this.attempts = 0;
        break;
      case 'deliver':
        if (payload) effects.push({ type: 'deliver', message: payload });
        break;
    }
  }

  #startKeepalive(now: Instant): void {
    this.#keepaliveTimer = this.negotiated?.keepalive ? now + this.#jitter(this.negotiated.keepalive) : undefined;
  }

  #ceiling(now: Instant, fast: number): number {
    return now < this.#fastUntil ? Math.min(fast, this.config.connectRetry) : this.config.connectRetry;
  }

  #idleHold(now: Instant): number {
    if (this.#pause !== undefined) return this.#pause;
    // A cap on the exponent: 2 ** attempts must not become Infinity in a year of failures.
    const growing = FIRST_PAUSE * 2 ** Math.min(Math.max(this.attempts - 1, 0), 20);
    return this.#jitter(Math.min(growing, this.#ceiling(now, FAST_PAUSE)));
  }

  /** RFC 4271 §10: 0.75 to 1 of the time. */
  #jitter(time: number): number {
    return time * (0.75 + 0.25 * this.config.random());
  }
}

const due = (timer: Instant | undefined, now: Instant): boolean => timer !== undefined && timer <= now;

const notification = (error: Pick<BgpError, 'code' | 'subcode' | 'data'>): NotificationMessage => ({
  type: 'NOTIFICATION',
  code: error.code,
  subcode: error.subcode,
  data: error.data,
});

const HOLD_EXPIRED = notification({ code: CODE.holdTimer, subcode: 0, data: new Uint8Array(0) });
const SEND_HOLD_EXPIRED = notification({ code: CODE.sendHold, subcode: 0, data: new Uint8Array(0) });
const LINK_LOST = notification({ code: CODE.cease, subcode: 0, data: new Uint8Array(0) });
const COLLISION = notification({ code: CODE.cease, subcode: CEASE.collision, data: new Uint8Array(0) });

/** RFC 8203 §2 (RFC 9003's 255 octets): the operator's words, cut at a character boundary. */
export function ceaseNotification(subcode: number, communication = ''): NotificationMessage {
  let text = Buffer.from(communication, 'utf8');
  if (text.length > 255) {
    let end = 255;
    while (end > 0 && (text[end]! & 0xc0) === 0x80) end--;
    text = text.subarray(0, end);
  }
  const shutdown = subcode === CEASE.administrativeShutdown || subcode === CEASE.administrativeReset;
  const data = shutdown && text.length > 0 ? Buffer.concat([Uint8Array.of(text.length), text]) : new Uint8Array(0);
  return notification({ code: CODE.cease, subcode, data });
}

/** The text of a received Cease, if it has one and it is well formed. */
export function shutdownCommunication(message: NotificationMessage): string | undefined {
  const length = message.data[0];
  const shutdown = message.subcode === CEASE.administrativeShutdown || message.subcode === CEASE.administrativeReset;
  if (message.code !== CODE.cease || !shutdown || !length || message.data.length !== length + 1) return undefined;
  return Buffer.from(message.data.subarray(1)).toString('utf8');
}
