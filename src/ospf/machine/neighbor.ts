/**
 * The neighbour state machine of RFC 2328 §10.3, as a table: one row per (state, event). What a row does to the
 * neighbour itself is its action, carried out in `conversation.ts`; what follows for the rest of the router (router LSA,
 * DR election) is decided apart, in `machine.ts`, from the change of state alone.
 */
import type { NeighborState } from '../face.ts';
import type { NeighborEvent } from './core.ts';

export type NeighborAction =
  | 'none'
  | 'restart inactivity timer'
  /** Forget the exchange; start anew as a presumed master with a fresh DD sequence number. */
  | 'begin negotiation'
  | 'restart negotiation'
  /** Fill the database summary list. */
  | 'begin exchange'
  /** Ask for what is missing; nothing missing raises LoadingDone. */
  | 'begin loading'
  | 'clear lists'
  | 'clear all';

export interface Row {
  readonly action: NeighborAction;
  readonly state: NeighborState;
}

/** A row that depends on whether an adjacency should be formed (§10.4). */
interface Decision {
  readonly adjacent: Row;
  readonly otherwise: Row;
}

const to = (state: NeighborState, action: NeighborAction): Row => ({ action, state });

const gone: Partial<Record<NeighborEvent, Row>> = {
  KillNbr: to('Down', 'clear all'),
  InactivityTimer: to('Down', 'clear all'),
  LLDown: to('Down', 'clear all'),
};

/** Rows shared by every state of the exchange and above, for one of those states. */
const adjacency = (state: NeighborState): Partial<Record<NeighborEvent, Row | Decision>> => ({
  ...gone,
  HelloReceived: to(state, 'restart inactivity timer'),
  '2-WayReceived': to(state, 'none'),
  '1-WayReceived': to('Init', 'clear lists'),
  'AdjOK?': { adjacent: to(state, 'none'), otherwise: to('2-Way', 'clear lists') },
});

const broken: Partial<Record<NeighborEvent, Row>> = {
  SeqNumberMismatch: to('ExStart', 'restart negotiation'),
  BadLSReq: to('ExStart', 'restart negotiation'),
};

export const NEIGHBOR_TABLE: Readonly<Record<NeighborState, Readonly<Partial<Record<NeighborEvent, Row | Decision>>>>> =
  {
    Down: {
      ...gone,
      HelloReceived: to('Init', 'restart inactivity timer'),
    },
    Init: {
      ...gone,
      HelloReceived: to('Init', 'restart inactivity timer'),
      '2-WayReceived': { adjacent: to('ExStart', 'begin negotiation'), otherwise: to('2-Way', 'none') },
      '1-WayReceived': to('Init', 'none'),
    },
    '2-Way': {
      ...gone,
      HelloReceived: to('2-Way', 'restart inactivity timer'),
      '2-WayReceived': to('2-Way', 'none'),
      '1-WayReceived': to('Init', 'clear lists'),
      'AdjOK?': { adjacent: to('ExStart', 'begin negotiation'), otherwise: to('2-Way', 'none') },
    },
    ExStart: {
      ...adjacency('ExStart'),
      NegotiationDone: to('Exchange', 'begin exchange'),
    },
    Exchange: {
      ...adjacency('Exchange'),
      ...broken,
      ExchangeDone: to('Loading', 'begin loading'),
    },
    Loading: {
      ...adjacency('Loading'),
      ...broken,
      LoadingDone: to('Full', 'none'),
    },
    Full: {
      ...adjacency('Full'),
      ...broken,
    },
  };

/** undefined: the event means nothing in this state, and nothing happens. */
export function neighborTransition(state: NeighborState, event: NeighborEvent, adjacent: boolean): Row | undefined {
  const row = NEIGHBOR_TABLE[state][event];
  if (!row) return undefined;
  return 'adjacent' in row ? (adjacent ? row.adjacent : row.otherwise) : row;
}
