import { readSync } from 'node:fs';
import type { Server } from 'node:net';
import { createServer, Socket } from 'node:net';
import { IP, IPPROTO, IPV6, setSocketOption, TCP, tcpMd5Key } from 'linux-sockets';
import type { Address } from '../model/address.ts';
import { parseAddress, prefixContains } from '../model/address.ts';
import type { Clock } from '../model/clock.ts';
import type { Log } from '../model/log.ts';
import type {
  Accept,
  Connection,
  ConnectionHandlers,
  ConnectTarget,
  Listener,
  ListenTarget,
  SocketSecurity,
  Transport,
} from './transport.ts';

/**
 * TCP for the speaker, on Node's own sockets: their stream write tries the system call at once when nothing is queued,
 * which is all the hot path needs. What Node has no word for (RFC 2385 keys, TTLs) is set on the descriptor.
 *
 * A key has to be on the socket before the SYN. Node makes the descriptor of a client socket only when it binds or
 * connects, and connects a turn later; so the handle is bound here, in the turn before, which makes the descriptor.
 */
export interface TcpOptions {
  readonly clock: Clock;
  readonly log: Log;
}

/** An address that isn't there yet (an interface still to come) is tried again. */
const LISTEN_RETRY = 1_000;
/** How long a closing connection may take to send its last words. */
const LINGER = 2_000;
/** Octets that are read at once from a connection that has failed, and in all: more than a receive buffer holds. */
const LAST_READ = 64 * 1024;
const LAST_WORDS = 8 << 20;

export function tcpTransport(options: TcpOptions): Transport {
  return {
    connect: (target, handlers) => connect(target, handlers, options),
    listen: (target, accept) => new TcpListener(target, accept, options),
  };
}

interface Handle {
  readonly fd: number;
  bind(address: string, port: number): number;
  bind6(address: string, port: number, flags: number): number;
}

const handleOf = (socket: Socket | Server): Handle => {
  const handle = (socket as unknown as { _handle: Handle | null })._handle;
  if (!handle) throw new Error('the socket has no handle');
  return handle;
};

function secure(fd: number, address: Address, security: SocketSecurity, listening: boolean): void {
  const v6 = address.includes(':');
  if (security.password) {
    setSocketOption(fd, IPPROTO.TCP, TCP.MD5SIG, tcpMd5Key(address, security.password));
  }
  const { ttl, minTtl } = security;
  // A listening socket serves many neighbours; theirs is set on the accepted one. But its SYN-ACK already has to pass
  // a neighbour that checks the TTL.
  if (listening && ttl !== 255) return;
  if (ttl !== undefined) {
    if (v6) setSocketOption(fd, IPPROTO.IPV6, IPV6.UNICAST_HOPS, ttl);
    else setSocketOption(fd, IPPROTO.IP, IP.TTL, ttl);
  }
  if (minTtl !== undefined && !listening) {
    if (v6) setSocketOption(fd, IPPROTO.IPV6, IPV6.MINHOPCOUNT, minTtl);
    else setSocketOption(fd, IPPROTO.IP, IP.MINTTL, minTtl);
  }
}

function connect(target: ConnectTarget, handlers: ConnectionHandlers, options: TcpOptions): Connection {
  const { address, port, localAddress } = target;
  const v6 = address.includes(':');
  const socket = new Socket();
  const connection = new TcpConnection(socket, address, handlers, options);
  socket.connect({ host: address, port, autoSelectFamily: false });
  try {
    const handle = handleOf(socket);
    const error = v6 ? handle.bind6(localAddress ?? '::', 0, 0) : handle.bind(localAddress ?? '0.0.0.0', 0);
    if (error !== 0) throw new Error(`bind to ${localAddress}: error ${error}`);
    secure(handle.fd, address, target, false);
  } catch (error) {
    // `destroy` reports it as the connection's end, a turn later as `connect` promises.
    socket.destroy(error as Error);
  }
  socket.once('connect', () => {
    connection.localAddress = plainAddress(socket.localAddress);
    handlers.onOpen();
  });
  return connection;
}

class TcpConnection implements Connection {
  localAddress: Address | undefined;
  readonly remoteAddress: Address;
  readonly #socket: Socket;
  readonly #options: TcpOptions;
  #handlers: ConnectionHandlers | undefined;
  #reason = 'closed by the neighbour';
  #closed = false;
  #whenClosed: (() => void)[] = [];
  /** Came before the connection failed, and nobody had taken it yet. */
  #last: Uint8Array[] = [];

  constructor(socket: Socket, remote: Address, handlers: ConnectionHandlers | undefined, options: TcpOptions) {
    this.#socket = socket;
    this.remoteAddress = remote;
    this.#handlers = handlers;
    this.#options = options;
    this.localAddress = plainAddress(socket.localAddress);
    socket.setNoDelay(true);
    socket.on('error', (error) => {
      this.#reason = error.message;
    });
    socket.on('data', (data) => {
      // What is read then is kept for the end, and told here as well.
      if (!socket.destroyed) this.#handlers?.onData(data);
    });
    socket.on('close', () => this.#onClose());
    this.#readBeforeDestroy(socket);
  }

  /**
   * A neighbour that says why it ends the session and then resets the connection (there was something of ours that it had
   * not read) is to be heard to the end (RFC 4271 §6). Node forgets what it has read as soon as it hears of the reset, be it
   * by a read or by a write of ours, and closes the descriptor before anybody is told; the kernel keeps what had come.
   */
  #readBeforeDestroy(socket: Socket): void {
    const { _destroy } = socket;
    socket._destroy = (error, done) => {
      if (error && this.#handlers) this.#last = [...buffered(socket), ...received(socket)];
      _destroy.call(socket, error, done);
    };
  }

  /** The handlers of an accepted connection are known only after it has been shown to the speaker. */
  attach(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
  }

  backlog(): number {
    return this.#socket.writableLength;
  }

  write(data: Uint8Array): void {
    if (this.#closed || !this.#socket.writable) return;
    this.#socket.write(data);
    // Not the stream's 'drain', which is silent below the high-water mark.
    if (this.#socket.writableLength > 0) this.#awaitDrain();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(done?: () => void): void {
    this.#handlers = undefined;
    if (this.#closed) {
      done?.();
      return;
    }
    if (done) this.#whenClosed.push(done);
    if (this.#socket.connecting) {
      this.#socket.destroy();
      return;
    }
    this.#socket.end();
    const { clock } = this.#options;
    const timer = clock.schedule(clock.now() + LINGER, () => this.#socket.destroy());
    this.#whenClosed.push(() => timer.cancel());
    // We read no more, but what is unread would turn the FIN into a reset and could take the last word with it.
    this.#socket.resume();
  }

  #drainAwaited = false;

  #awaitDrain(): void {
    if (this.#drainAwaited) return;
    this.#drainAwaited = true;
    this.#socket.write(NOTHING, () => {
      this.#drainAwaited = false;
      if (this.#closed) return;
      if (this.#socket.writableLength > 0) this.#awaitDrain();
      else this.#handlers?.onDrain();
    });
  }

  #onClose(): void {
    this.#closed = true;
    // Whoever has heard enough by that closes the connection.
    for (const data of this.#last) this.#handlers?.onData(data);
    this.#last = [];
    const handlers = this.#handlers;
    this.#handlers = undefined;
    for (const done of this.#whenClosed) done();
    this.#whenClosed = [];
    handlers?.onClose(this.#reason);
  }
}

const NOTHING = Buffer.alloc(0);

/** What Node has read and not passed on while the connection was paused. */
function* buffered(socket: Socket): Generator<Uint8Array> {
  for (let data = socket.read(); data !== null; data = socket.read()) yield data as Uint8Array;
}

/** What is still in the kernel; nothing more comes after that. */
function* received(socket: Socket): Generator<Uint8Array> {
  const { _handle: handle } = socket as unknown as { readonly _handle: Handle | null };
  if (!handle || handle.fd < 0) return;
  for (let left = LAST_WORDS; left > 0; left -= LAST_READ) {
    const room = Buffer.allocUnsafe(LAST_READ);
    let length = 0;
    try {
      length = readSync(handle.fd, room);
    } catch {
      // The error of the connection itself, or EAGAIN: it is at its end.
    }
    if (length === 0) return;
    yield room.subarray(0, length);
  }
}

/** Without the IPv4-mapped form of sockets that listen for both families. */
function plainAddress(text: string | undefined): Address | undefined {
  if (!text) return undefined;
  return parseAddress(text.startsWith('::ffff:') && text.includes('.') ? text.slice(7) : text);
}

class TcpListener implements Listener {
  readonly #target: ListenTarget;
  readonly #accept: Accept;
  readonly #options: TcpOptions;
  #server: Server | undefined;
  #closed = false;
  #ready = false;

  constructor(target: ListenTarget, accept: Accept, options: TcpOptions) {
    this.#target = target;
    this.#accept = accept;
    this.#options = options;
    this.#open();
  }

  close(): void {
    this.#closed = true;
    this.#server?.close();
  }

  #open(): void {
    const { address, port, peers } = this.#target;
    const { clock, log } = this.#options;
    const server = createServer({ noDelay: true }, (socket) => this.#connection(socket));
    this.#server = server;
    this.#ready = false;
    server.on('error', (error) => {
      log.warn({ address, port, error: error.message }, 'cannot listen for BGP yet');
      if (server.listening) server.close();
      if (this.#closed) return;
      clock.schedule(clock.now() + LISTEN_RETRY, () => {
        if (!this.#closed) this.#open();
      });
    });
    server.on('listening', () => {
      try {
        const { fd } = handleOf(server);
        for (const peer of peers) secure(fd, peer.address, peer, true);
        this.#ready = true;
      } catch (error) {
        server.emit('error', error as Error);
      }
    });
    server.listen({ host: address, port, ipv6Only: true });
  }

  #connection(socket: Socket): void {
    const remote = plainAddress(socket.remoteAddress);
    const { peers, range } = this.#target;
    const inRange = range !== undefined && remote !== undefined && prefixContains(range.prefix, remote);
    const peer = peers.find((one) => one.address === remote) ?? (inRange ? range.security : undefined);
    // A connection from before the keys were set was not checked by the kernel.
    if (!remote || !peer || !this.#ready) {
      if (remote && !peer) this.#refuse(socket, remote);
      else socket.destroy();
      return;
    }
    try {
      secure(handleOf(socket).fd, remote, { ...peer, password: undefined }, false);
    } catch (error) {
      this.#options.log.warn({ address: remote, error: (error as Error).message }, 'cannot secure a BGP connection');
      socket.destroy();
      return;
    }
    this.#offer(socket, remote);
  }

  /** The speaker counts strangers. */
  #refuse(socket: Socket, remote: Address): void {
    const connection = new TcpConnection(socket, remote, undefined, this.#options);
    this.#accept(connection);
    socket.destroy();
  }

  #offer(socket: Socket, remote: Address): void {
    const connection = new TcpConnection(socket, remote, undefined, this.#options);
    const handlers = this.#accept(connection);
    if (handlers) connection.attach(handlers);
    else socket.destroy();
  }
}
