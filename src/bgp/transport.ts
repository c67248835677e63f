import type { Address, Prefix } from '../model/address.ts';

/**
 * What the speaker needs of TCP. `driver.ts` gives it on real sockets; tests give it in memory with a virtual clock.
 */
export interface Transport {
  /** Starts to connect; never throws: what goes wrong comes as `onClose`, in a later turn. */
  connect(target: ConnectTarget, handlers: ConnectionHandlers): Connection;
  /** Accepts connections; `accept` answers the handlers, or undefined to close the connection at once. */
  listen(target: ListenTarget, accept: Accept): Listener;
}

export interface SocketSecurity {
  readonly password?: Uint8Array | undefined;
  /** TTL of our packets; undefined: the system's. */
  readonly ttl?: number | undefined;
  /** Least TTL that is accepted (RFC 5082 §3); undefined: any. */
  readonly minTtl?: number | undefined;
}

export interface ConnectTarget extends SocketSecurity {
  readonly address: Address;
  readonly port: number;
  readonly localAddress?: Address | undefined;
}

export interface ListenTarget {
  readonly address: Address;
  readonly port: number;
  /** The neighbours that may come, with their security. */
  readonly peers: readonly ({ readonly address: Address } & SocketSecurity)[];
  /** Whoever else comes from inside this range may, too. */
  readonly range?: { readonly prefix: Prefix; readonly security: SocketSecurity } | undefined;
}

export type Accept = (connection: Connection) => ConnectionHandlers | undefined;

export interface ConnectionHandlers {
  onOpen(): void;
  onData(data: Uint8Array): void;
  /** All that was written has been taken by the kernel. */
  onDrain(): void;
  /** Exactly once, unless we closed the connection ourselves. */
  onClose(reason: string): void;
}

export interface Connection {
  readonly localAddress: Address | undefined;
  readonly remoteAddress: Address;
  /** Octets that the kernel has not taken yet; 0 means that the next write is a system call in this turn. */
  backlog(): number;
  write(data: Uint8Array): void;
  /** No more `onData` until `resume`; absent: it goes on. */
  pause?(): void;
  resume?(): void;
  /** Sends what is written, then closes; `done` when closed. No handler is called after this. */
  close(done?: () => void): void;
}

export interface Listener {
  close(): void;
}
