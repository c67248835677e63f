import { join } from 'node:path';
import type { GatewayConfig } from '../../config/index.ts';
import { Bfd, type BfdOptions } from '../bfd/index.ts';
import { type MemoryStore, memoryFile } from '../memory-store.ts';

type Watched = Omit<
  BfdOptions,
  'config' | 'store' | 'sockets' | 'random' | 'resetOn' | 'onVerdict' | 'onFailure' | 'onReturn'
> & {
  readonly config: () => GatewayConfig;
  /** Absent: in the state directory. */
  readonly store?: MemoryStore;
};

/** BFD beside a gateway's sessions, as beside a switch's, but that no port hangs on it: what falls is the routing session. */
export function watchBfd(options: Watched): Bfd {
  return new Bfd({
    ...options,
    store: options.store ?? memoryFile(join(options.config().stateDirectory, 'bfd.json')),
    resetOn: () => undefined,
    onVerdict: () => {},
    onFailure: (_cause, _port, _at, fall) => fall(),
    onReturn: () => {},
  });
}
