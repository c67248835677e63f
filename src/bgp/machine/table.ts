import type { State } from './state.ts';

/**
 * The session FSM of RFC 4271 §8.2.2 as one table, for one TCP connection. Not in it: DelayOpen and the optional
 * events that nobody configures. Beyond it: `InterfaceDown` (the link to the neighbour lost carrier; the last word gets
 * through only when the link is back before TCP gives up), `SendHoldTimer_Expires` (RFC 9687) and the route refresh (RFC 2918).
 *
 * An event without a row in the present state is a finite state machine error (§6.6, RFC 6608), except those in
 * `IGNORED`.
 */
export type FsmEvent =
  | 'ManualStart'
  | 'ManualStop'
  | 'AutomaticStart'
  | 'AutomaticStop'
  | 'ManualStart_with_PassiveTcpEstablishment'
  | 'AutomaticStart_with_PassiveTcpEstablishment'
  | 'ConnectRetryTimer_Expires'
  | 'HoldTimer_Expires'
  | 'KeepaliveTimer_Expires'
  | 'IdleHoldTimer_Expires'
  | 'SendHoldTimer_Expires'
  | 'Tcp_CR_Acked'
  | 'TcpConnectionConfirmed'
  | 'TcpConnectionFails'
  | 'BGPOpen'
  | 'BGPHeaderErr'
  | 'BGPOpenMsgErr'
  | 'OpenCollisionDump'
  | 'NotifMsg'
  | 'KeepAliveMsg'
  | 'UpdateMsg'
  | 'UpdateMsgErr'
  | 'RouteRefreshMsg'
  | 'InterfaceDown';

export type Action =
  | 'connect'
  | 'dropConnection'
  | 'sendOpen'
  | 'sendKeepalive'
  | 'sendNotification'
  | 'startConnectRetryTimer'
  | 'stopConnectRetryTimer'
  | 'startOpenHoldTimer'
  | 'startSessionTimers'
  | 'restartHoldTimer'
  | 'restartKeepaliveTimer'
  | 'startIdleHoldTimer'
  | 'zeroConnectRetryCounter'
  | 'deliver';

export interface Row {
  readonly actions: readonly Action[];
  readonly next: State;
}

const row = (next: State, ...actions: Action[]): Row => ({ next, actions });

const CONNECTING = row('Connect', 'zeroConnectRetryCounter', 'startConnectRetryTimer', 'connect');
const RECONNECTING = row('Connect', 'startConnectRetryTimer', 'connect');
const LISTENING = row('Active', 'zeroConnectRetryCounter');
const OPENING = row('OpenSent', 'stopConnectRetryTimer', 'sendOpen', 'startOpenHoldTimer');

/** How a connection ends: with a last word or without; to start again by itself or not. */
const STOPPED = row('Idle', 'sendNotification', 'dropConnection', 'stopConnectRetryTimer', 'zeroConnectRetryCounter');
const STOPPED_SILENTLY = row('Idle', 'dropConnection', 'stopConnectRetryTimer', 'zeroConnectRetryCounter');
const FAILED = row('Idle', 'sendNotification', 'dropConnection', 'stopConnectRetryTimer', 'startIdleHoldTimer');
const FAILED_SILENTLY = row('Idle', 'dropConnection', 'stopConnectRetryTimer', 'startIdleHoldTimer');
/**
 * The last word keeps the neighbour from taking the end for a graceful restart (RFC 4724): a gateway that slept through
 * the flap would go on with routes that its kernel may have dropped with the link.
 */
const CUT_OFF = row(
  'Idle',
  'sendNotification',
  'dropConnection',
  'stopConnectRetryTimer',
  'zeroConnectRetryCounter',
  'startIdleHoldTimer',
);
const CUT_OFF_SILENTLY = row(
  'Idle',
  'dropConnection',
  'stopConnectRetryTimer',
  'zeroConnectRetryCounter',
  'startIdleHoldTimer',
);

const OPENED: Partial<Record<FsmEvent, Row>> = {
  ManualStop: STOPPED,
  AutomaticStop: FAILED,
  InterfaceDown: CUT_OFF,
  HoldTimer_Expires: FAILED,
  SendHoldTimer_Expires: FAILED,
  TcpConnectionFails: FAILED_SILENTLY,
  BGPHeaderErr: FAILED,
  BGPOpenMsgErr: FAILED,
  OpenCollisionDump: FAILED,
  NotifMsg: FAILED_SILENTLY,
};

export const TABLE: Readonly<Record<State, Partial<Record<FsmEvent, Row>>>> = {
  Idle: {
    ManualStart: CONNECTING,
    AutomaticStart: CONNECTING,
    ManualStart_with_PassiveTcpEstablishment: LISTENING,
    AutomaticStart_with_PassiveTcpEstablishment: LISTENING,
    IdleHoldTimer_Expires: RECONNECTING,
  },
  Connect: {
    ManualStop: STOPPED_SILENTLY,
    AutomaticStop: FAILED_SILENTLY,
    InterfaceDown: CUT_OFF_SILENTLY,
    ConnectRetryTimer_Expires: row('Connect', 'dropConnection', 'startConnectRetryTimer', 'connect'),
    Tcp_CR_Acked: OPENING,
    TcpConnectionConfirmed: OPENING,
    TcpConnectionFails: FAILED_SILENTLY,
    OpenCollisionDump: FAILED_SILENTLY,
  },
  Active: {
    ManualStop: STOPPED_SILENTLY,
    AutomaticStop: STOPPED_SILENTLY,
    InterfaceDown: CUT_OFF_SILENTLY,
    Tcp_CR_Acked: OPENING,
    TcpConnectionConfirmed: OPENING,
    TcpConnectionFails: FAILED_SILENTLY,
  },
  OpenSent: {
    ...OPENED,
    BGPOpen: row('OpenConfirm', 'sendKeepalive', 'startSessionTimers'),
  },
  OpenConfirm: {
    ...OPENED,
    KeepaliveTimer_Expires: row('OpenConfirm', 'sendKeepalive', 'restartKeepaliveTimer'),
    KeepAliveMsg: row('Established', 'restartHoldTimer'),
  },
  Established: {
    ...OPENED,
    KeepaliveTimer_Expires: row('Established', 'sendKeepalive', 'restartKeepaliveTimer'),
    KeepAliveMsg: row('Established', 'restartHoldTimer'),
    UpdateMsg: row('Established', 'restartHoldTimer', 'deliver'),
    RouteRefreshMsg: row('Established', 'restartHoldTimer', 'deliver'),
    UpdateMsgErr: FAILED,
  },
};

/** §8.2.2 ignores these where the table has no row; a stop or a loss twice is no error. */
export const IGNORED: ReadonlySet<FsmEvent> = new Set<FsmEvent>([
  'ManualStart',
  'AutomaticStart',
  'ManualStart_with_PassiveTcpEstablishment',
  'AutomaticStart_with_PassiveTcpEstablishment',
  'ManualStop',
  'AutomaticStop',
  'OpenCollisionDump',
  'InterfaceDown',
  'TcpConnectionFails',
  'IdleHoldTimer_Expires',
  'ConnectRetryTimer_Expires',
  'KeepaliveTimer_Expires',
  'SendHoldTimer_Expires',
]);
