import {
  ADDRESS_ROOM,
  type ControlMessage,
  decodeAddress,
  decodeControl,
  encodeAddress,
  encodeControl,
  type SocketAddress,
} from './address.ts';
import { AF, SO, SOL } from './constants.ts';
import { checked, SystemCallError } from './errors.ts';
import { type Handle, MAX_BATCH, native, READABLE, WRITABLE } from './native.ts';
import { getSocketOption, setSocketOption, withNetns } from './system.ts';

export interface OutgoingMessage {
  data: Uint8Array | Uint8Array[];
  to?: SocketAddress;
  control?: ControlMessage[];
  flags?: number;
}

export interface IncomingMessage {
  data: Buffer;
  from?: SocketAddress;
  control: ControlMessage[];
  flags: number;
}

export interface OpenOptions {
  family: number;
  type: number;
  /** Host byte order, also for AF.PACKET (ETH_P.ARP): this package swaps. */
  protocol: number;
  /** A name in /run/netns or an absolute path; the socket is made in it, the process stays where it is. */
  netns?: string;
}

/** One instruction of classic BPF, struct sock_filter. */
export interface FilterInstruction {
  code: number;
  jt: number;
  jf: number;
  k: number;
}

// One pool for all sockets of the thread: receiveBatch is synchronous and copies out, so no two calls overlap. The
// kernel touches only the pages it writes to.
const PAYLOAD = 65536;
const CONTROL = 1024;
const SLOT = PAYLOAD + ADDRESS_ROOM + CONTROL;
const SLOTS = 64;
let pool: Buffer | undefined;
const lengths = new Int32Array(SLOTS * 4);

function takePool(): Buffer {
  pool ??= Buffer.allocUnsafeSlow(SLOT * SLOTS);
  return pool;
}

/** Neither addresses nor control data, for as many messages as a batch has. */
const NONE: readonly undefined[] = new Array<undefined>(MAX_BATCH).fill(undefined);

/** A copy of the message in that slot. */
function received(pool: Buffer, index: number): Buffer {
  return Buffer.from(pool.subarray(index * SLOT, index * SLOT + lengths[index * 4]!));
}

const FIONREAD = 0x541b;
const waiting = Buffer.alloc(4);

const EBADF = 9;
const EAGAIN = 11;
const EINPROGRESS = 115;

const joined = (data: Uint8Array | Uint8Array[]): Uint8Array => (Array.isArray(data) ? Buffer.concat(data) : data);

/**
 * A non-blocking, close-on-exec socket of any family. All calls are synchronous and throw SystemCallError with the
 * kernel's errno; after close() that is EBADF.
 */
export class LinuxSocket {
  readonly #handle: Handle;
  // Held here because the addon's reference is weak while nothing is listened for.
  readonly #callback: (events: number) => void;
  #fd: number;
  #readable: (() => void) | undefined;
  #writable: (() => void) | undefined;

  /** @throws SystemCallError */
  static open(options: OpenOptions): LinuxSocket {
    const { family, type, netns } = options;
    const protocol =
      family === AF.PACKET ? ((options.protocol & 255) << 8) | (options.protocol >> 8) : options.protocol;
    const open = () => checked(native.socket(family, type, protocol), 'socket');
    return new LinuxSocket(netns === undefined ? open() : withNetns(netns, open));
  }

  private constructor(fd: number) {
    this.#callback = (events) => this.#ready(events);
    this.#handle = native.adopt(fd, this.#callback);
    this.#fd = fd;
  }

  /** -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  bind(address: SocketAddress): void {
    checked(native.bind(this.#fd, encodeAddress(address)), 'bind');
  }

  /** A connection that takes time (TCP) is no error: wait for onWritable, then read SO_ERROR. */
  connect(address: SocketAddress): void {
    const result = native.connect(this.#fd, encodeAddress(address));
    if (result !== -EINPROGRESS) checked(result, 'connect');
  }

  listen(backlog = 128): void {
    checked(native.listen(this.#fd, backlog), 'listen');
  }

  localAddress(): SocketAddress {
    const out = Buffer.alloc(ADDRESS_ROOM);
    const length = checked(native.localAddress(this.#fd, out), 'getsockname');
    const address = decodeAddress(out.subarray(0, length));
    if (!address) throw new TypeError(`getsockname: unknown address family ${out.readUInt16LE(0)}`);
    return address;
  }

  setOption(level: number, name: number, value: number | Uint8Array): void {
    setSocketOption(this.#fd, level, name, value);
  }

  /**
   * Octets that the kernel keeps of what is on its way, beyond what the system allows everybody (net.core.rmem_max,
   * wmem_max) where the process has CAP_NET_ADMIN; else as much as that. The kernel counts its own overhead in it.
   */
  setBuffer(which: 'receive' | 'send', octets: number): void {
    const [forced, plain] = which === 'receive' ? [SO.RCVBUFFORCE, SO.RCVBUF] : [SO.SNDBUFFORCE, SO.SNDBUF];
    try {
      this.setOption(SOL.SOCKET, forced, octets);
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code !== 'EPERM') throw error;
      this.setOption(SOL.SOCKET, plain, octets);
    }
  }

  getOption(level: number, name: number, length = 4): Buffer {
    return getSocketOption(this.#fd, level, name, length);
  }

  /** SO_ATTACH_FILTER: classic BPF. What was queued before it came is not filtered. */
  attachFilter(program: readonly FilterInstruction[]): void {
    const bytes = Buffer.alloc(program.length * 8);
    for (const [index, { code, jt, jf, k }] of program.entries()) {
      bytes.writeUInt16LE(code, index * 8);
      bytes[index * 8 + 2] = jt;
      bytes[index * 8 + 3] = jf;
      bytes.writeUInt32LE(k >>> 0, index * 8 + 4);
    }
    checked(native.attachFilter(this.#fd, bytes), 'setsockopt', 'SO_ATTACH_FILTER');
  }

  /** sendmsg(2). Returns the bytes taken; a full buffer is EAGAIN. */
  send(message: OutgoingMessage): number {
    const { data, to, control, flags } = message;
    return checked(
      native.send(
        this.#fd,
        joined(data),
        to && encodeAddress(to),
        control?.length ? encodeControl(control) : undefined,
        flags ?? 0,
      ),
      'sendmsg',
    );
  }

  /** sendmmsg(2). Returns how many messages went out, in order; throws only when the first of them did not. */
  sendBatch(messages: readonly OutgoingMessage[]): number {
    let sent = 0;
    while (sent < messages.length) {
      const flags = messages[sent]!.flags ?? 0;
      const data: Uint8Array[] = [];
      const to: (Uint8Array | undefined)[] = [];
      const control: (Uint8Array | undefined)[] = [];
      // One call carries one set of flags.
      for (let index = sent; index < messages.length && data.length < MAX_BATCH; index++) {
        const message = messages[index]!;
        if ((message.flags ?? 0) !== flags) break;
        data.push(joined(message.data));
        to.push(message.to && encodeAddress(message.to));
        control.push(message.control?.length ? encodeControl(message.control) : undefined);
      }
      const result = native.sendBatch(this.#fd, data, to, control, flags);
      if (result < 0) {
        if (sent > 0) return sent;
        checked(result, 'sendmmsg');
      }
      sent += result;
      if (result < data.length) return sent;
    }
    return sent;
  }

  /** As `sendBatch`, of each message its octets alone, those `from` an index on: on a socket that is bound or connected. */
  sendData(data: readonly Uint8Array[], from = 0): number {
    let next = from;
    while (next < data.length) {
      const batch = data.slice(next, next + MAX_BATCH);
      const result = native.sendBatch(this.#fd, batch, NONE, NONE, 0);
      if (result < 0) {
        if (next > from) break;
        checked(result, 'sendmmsg');
      }
      next += result;
      if (result < batch.length) break;
    }
    return next - from;
  }

  /**
   * recvmmsg(2), at most 64 messages of at most 64 KiB (longer ones are cut and carry MSG_TRUNC); [] when nothing is
   * there. An error that the kernel left on the socket (ENOBUFS, ENETDOWN) is thrown once; the socket lives on.
   */
  receiveBatch(max = SLOTS): IncomingMessage[] {
    const pool = takePool();
    const count = this.#receive(pool, max);
    const messages: IncomingMessage[] = [];
    for (let index = 0; index < count; index++) {
      const name = index * SLOT + PAYLOAD;
      const control = name + ADDRESS_ROOM;
      const message: IncomingMessage = {
        data: received(pool, index),
        control: lengths[index * 4 + 2] ? decodeControl(pool.subarray(control, control + lengths[index * 4 + 2]!)) : [],
        flags: lengths[index * 4 + 3]!,
      };
      const from = lengths[index * 4 + 1]
        ? decodeAddress(pool.subarray(name, name + lengths[index * 4 + 1]!))
        : undefined;
      if (from) message.from = from;
      messages.push(message);
    }
    return messages;
  }

  /** As `receiveBatch`, of each message its octets alone: who sent it, and what came with it, is not looked at. */
  receiveData(max = SLOTS): Buffer[] {
    const pool = takePool();
    const count = this.#receive(pool, max);
    const messages: Buffer[] = [];
    for (let index = 0; index < count; index++) messages.push(received(pool, index));
    return messages;
  }

  #receive(pool: Buffer, max: number): number {
    const want = Math.max(1, Math.min(Math.trunc(max) || 1, SLOTS));
    return checked(native.receiveBatch(this.#fd, pool, SLOT, PAYLOAD, ADDRESS_ROOM, want, lengths), 'recvmmsg');
  }

  /** Octets of the message that `receiveBatch` would give first, or of all in a stream; 0: none. An error that waits is none. */
  waiting(): number {
    checked(native.ioctl(this.#fd, FIONREAD, waiting), 'ioctl', 'FIONREAD');
    return waiting.readInt32LE(0);
  }

  /**
   * uv_poll: `listener` runs while the descriptor is readable, and when an error waits on it (receiveBatch then throws
   * it). Level-triggered: what it leaves unread makes it run again. It may close the socket. What it throws is an
   * uncaughtException, as from any callback of Node's.
   */
  onReadable(listener: (() => void) | undefined): void {
    this.#watch(listener, this.#writable);
  }

  /** Runs while the descriptor takes more, on every turn, until set to undefined. */
  onWritable(listener: (() => void) | undefined): void {
    this.#watch(this.#readable, listener);
  }

  /** Like a timer's: whether listening keeps the process alive. */
  ref(): void {
    native.setReferenced(this.#handle, true);
  }

  unref(): void {
    native.setReferenced(this.#handle, false);
  }

  close(): void {
    this.#end(false);
  }

  /** Gives the descriptor away, e.g. to `new net.Socket({ fd })`, and counts as closed. @throws SystemCallError (EBADF) */
  detach(): number {
    const fd = this.#fd;
    if (fd < 0) throw new SystemCallError('detach', EBADF);
    this.#end(true);
    return fd;
  }

  #end(keep: boolean): void {
    if (this.#fd < 0) return;
    this.#fd = -1;
    this.#readable = undefined;
    this.#writable = undefined;
    native.close(this.#handle, keep);
  }

  #watch(readable: (() => void) | undefined, writable: (() => void) | undefined): void {
    for (const listener of [readable, writable]) {
      if (listener !== undefined && typeof listener !== 'function') throw new TypeError('a listener is a function');
    }
    if (this.#fd < 0 && !readable && !writable) return;
    const events = (readable ? READABLE : 0) | (writable ? WRITABLE : 0);
    checked(native.poll(this.#handle, events), 'poll');
    this.#readable = readable;
    this.#writable = writable;
  }

  #ready(events: number): void {
    if (events & WRITABLE) this.#writable?.();
    if (events & READABLE) this.#readable?.();
  }
}

export const isWouldBlock = (error: unknown): boolean => error instanceof SystemCallError && error.errno === EAGAIN;
