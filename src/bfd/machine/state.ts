import type { SessionState } from '../codec/packet.ts';

/** RFC 5880 §6.8.6: what the state in a received packet makes of ours. AdminDown of our own is left by us alone. */
const NEXT: Readonly<Record<SessionState, Readonly<Record<SessionState, SessionState>>>> = {
  //            received
  AdminDown: { AdminDown: 'AdminDown', Down: 'AdminDown', Init: 'AdminDown', Up: 'AdminDown' },
  Down: { AdminDown: 'Down', Down: 'Init', Init: 'Up', Up: 'Down' },
  Init: { AdminDown: 'Down', Down: 'Init', Init: 'Up', Up: 'Up' },
  Up: { AdminDown: 'Down', Down: 'Down', Init: 'Up', Up: 'Up' },
};

export const nextState = (ours: SessionState, received: SessionState): SessionState => NEXT[ours][received];
