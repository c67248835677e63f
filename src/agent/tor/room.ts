import type { WaitingRoom } from '../../netlink/index.ts';

/** A place where packets wait for a host. */
export type Room = Pick<WaitingRoom, 'door' | 'deliver' | 'forward' | 'counters' | 'close'> &
  Partial<Pick<WaitingRoom, 'waitingFor' | 'limit' | 'expire' | 'redirect'>>;
