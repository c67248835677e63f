/**
 * The machine of one peer as a table: R0.3 to R0.8 of document 000. (state, event) → (actions, next state), nothing hidden.
 *
 * "Equal" and "differs" compare the two ends' newest versions; in `overlap` "equal" means that both hold a common one. The
 * rows beyond the document, and why they are needed:
 * - `say` after most ways back to `valid`: in a flow that goes one way only, the peer would never see a version of ours.
 * - `plain-differs` while `valid`: the peer does not encrypt and our versions differ, so it would not be able to read us; had we
 *   waited for its indication, we would go on losing packets.
 * - `doubt`: something that nobody has authenticated. It changes nothing; the peer is asked.
 */
import type { PeerState } from '../codec/control.ts';

export const STATES = ['valid', 'invalid-notify', 'invalid'] as const satisfies readonly PeerState[];

export const EVENTS = [
  /** An encrypted packet was read. */
  'encrypted-equal',
  /** An encrypted packet of a version that is not ours. */
  'encrypted-differs',
  /** The same in `overlap`, while another version is known to be common. */
  'encrypted-lagging',
  /** A packet in plain text, or word that the peer does not encrypt. */
  'plain-equal',
  'plain-differs',
  /** The same with the indication "encryption off", in data or in a notification. */
  'off-equal',
  'off-differs',
  /** The peer's dedicated packet says its version. */
  'said-equal',
  'said-differs',
  /** Nobody vouches for what was seen. */
  'doubt',
  /** A new version of our own. */
  'own-key',
  'keys-gone',
  /** `overlap`: the last version that both held has gone. */
  'common-lost',
  /** `available`: data waits, and no hello is answered that a common key authenticates. */
  'unanswered',
] as const;

export type TableEvent = (typeof EVENTS)[number];

/**
 * `tell`: the indication on every packet, and a dedicated notification when a trigger of R0.5 says so. `say`: a dedicated
 * packet with our version, until it is acknowledged. `ask`: the same, for the sake of its answer.
 */
export type TableAction = 'tell' | 'say' | 'ask';

export interface Row {
  readonly actions: readonly TableAction[];
  readonly to: PeerState;
}

const row = (to: PeerState, ...actions: TableAction[]): Row => ({ actions, to });

export const TABLE: Readonly<Record<PeerState, Readonly<Record<TableEvent, Row>>>> = {
  valid: {
    'encrypted-equal': row('valid'),
    'encrypted-differs': row('invalid-notify', 'tell'),
    'encrypted-lagging': row('valid', 'say'),
    'plain-equal': row('valid', 'say'),
    'plain-differs': row('invalid'),
    'off-equal': row('valid', 'say'),
    'off-differs': row('invalid'),
    'said-equal': row('valid'),
    'said-differs': row('valid'),
    doubt: row('valid', 'ask'),
    'own-key': row('valid', 'say'),
    'keys-gone': row('invalid-notify', 'tell'),
    'common-lost': row('invalid-notify', 'tell'),
    unanswered: row('invalid-notify', 'tell'),
  },
  'invalid-notify': {
    'encrypted-equal': row('valid', 'say'),
    'encrypted-differs': row('invalid-notify', 'tell'),
    'encrypted-lagging': row('invalid-notify', 'say'),
    'plain-equal': row('valid', 'say'),
    'plain-differs': row('invalid'),
    'off-equal': row('valid', 'say'),
    'off-differs': row('invalid'),
    'said-equal': row('valid', 'say'),
    'said-differs': row('invalid-notify'),
    doubt: row('invalid-notify', 'ask'),
    'own-key': row('invalid-notify', 'say'),
    'keys-gone': row('invalid-notify', 'tell'),
    'common-lost': row('invalid-notify'),
    unanswered: row('invalid-notify'),
  },
  invalid: {
    'encrypted-equal': row('valid', 'say'),
    'encrypted-differs': row('invalid-notify', 'tell'),
    'encrypted-lagging': row('invalid', 'say'),
    'plain-equal': row('valid', 'say'),
    'plain-differs': row('invalid'),
    'off-equal': row('valid', 'say'),
    'off-differs': row('invalid'),
    'said-equal': row('valid', 'say'),
    'said-differs': row('invalid'),
    doubt: row('invalid', 'ask'),
    'own-key': row('invalid', 'say'),
    'keys-gone': row('invalid-notify', 'tell'),
    'common-lost': row('invalid'),
    unanswered: row('invalid'),
  },
};
