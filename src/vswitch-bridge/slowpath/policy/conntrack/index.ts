/** The kernel's connection table through one netlink socket: read one by one, never held as a whole. */
import { AF, isWouldBlock, LinuxSocket, NETLINK, SOCK, SystemCallError } from 'linux-sockets';
import {
  CT,
  type DumpFilter,
  decodeConnection,
  encodeDeletion,
  encodeDump,
  Malformed,
  NLM_F_DUMP_INTR,
  NLMSG,
  type TrackedConnection,
} from './codec/index.ts';

export { type DumpFilter, STATUS, TCP, type TrackedConnection, type Tuple } from './codec/index.ts';

const RECEIVE_BUFFER = 4 << 20;
/** Messages of one turn of the event loop: 64 datagrams of about 8 KB each. */
const DATAGRAMS_PER_TURN = 8;
/** More are deleted in the next round. */
const DELETED_AT_ONCE = 16_384;
const ROUNDS = 8;
const PATIENCE = 30_000;
const ENOENT = 2;

export interface ConntrackCounters {
  dumps: number;
  /** The table changed under the dump: it may have missed some. */
  interrupted: number;
  connections: number;
  deleted: number;
  refused: number;
  malformed: Record<string, number>;
}

interface Exchange {
  readonly sequence: number;
  readonly connection: (connection: TrackedConnection) => void;
  readonly end: (errno: number) => void;
}

/** One exchange at a time; others wait for it. */
export class Conntrack {
  readonly counters: ConntrackCounters = {
    dumps: 0,
    interrupted: 0,
    connections: 0,
    deleted: 0,
    refused: 0,
    malformed: {},
  };
  readonly #socket: LinuxSocket;
  #queue: Promise<unknown> = Promise.resolve();
  #current: Exchange | undefined;
  #sequence = 0;

  /** @throws SystemCallError */
  static open(options: { readonly netns?: string | undefined } = {}): Conntrack {
    const { netns } = options;
    const socket = LinuxSocket.open({
      family: AF.NETLINK,
      type: SOCK.RAW,
      protocol: NETLINK.NETFILTER,
      ...(netns === undefined ? {} : { netns }),
    });
    socket.setBuffer('receive', RECEIVE_BUFFER);
    socket.bind({ family: 'netlink', pid: 0, groups: 0 });
    return new Conntrack(socket);
  }

  private constructor(socket: LinuxSocket) {
    this.#socket = socket;
    socket.onReadable(() => this.#readable());
    socket.unref();
  }

  /** Shows each connection that passes the filter. Rejects with SystemCallError. */
  dump(filter: DumpFilter, visit: (connection: TrackedConnection) => void): Promise<void> {
    return this.#alone(() => {
      this.counters.dumps++;
      return this.#exchange((sequence) => encodeDump(sequence, filter), visit).then((errno) => {
        if (errno !== 0) throw new SystemCallError('conntrack dump', errno);
      });
    });
  }

  /** Deletes what `doomed` says yes to. @returns how many there were. Rejects with SystemCallError. */
  async deleteWhere(filter: DumpFilter, doomed: (connection: TrackedConnection) => boolean): Promise<number> {
    let total = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const found: TrackedConnection[] = [];
      await this.dump(filter, (connection) => {
        if (found.length < DELETED_AT_ONCE && doomed(connection)) found.push(connection);
      });
      for (const connection of found) {
        const errno = await this.#alone(() =>
          this.#exchange(
            (sequence) => encodeDeletion(sequence, connection),
            () => undefined,
          ),
        );
        if (errno === 0) this.counters.deleted++;
        // Gone by itself in between.
        else if (errno !== ENOENT) this.counters.refused++;
      }
      total += found.length;
      if (found.length < DELETED_AT_ONCE) break;
    }
    return total;
  }

  close(): void {
    this.#socket.close();
    this.#current?.end(0);
  }

  #alone<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(run);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  #exchange(encode: (sequence: number) => Buffer, visit: (connection: TrackedConnection) => void): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#sequence = (this.#sequence + 1) >>> 0;
    const sequence = this.#sequence;
    const timer = setTimeout(() => this.#current?.end(110), PATIENCE);
    timer.unref();
    this.#current = {
      sequence,
      connection: visit,
      end: (errno) => {
        clearTimeout(timer);
        this.#current = undefined;
        this.#socket.unref();
        resolve(errno);
      },
    };
    try {
      this.#socket.ref();
      this.#socket.send({ data: encode(sequence) });
    } catch (error) {
      clearTimeout(timer);
      this.#current = undefined;
      reject(error);
    }
    return promise;
  }

  #readable(): void {
    try {
      const datagrams = this.#socket.receiveBatch(DATAGRAMS_PER_TURN);
      for (const { data } of datagrams) this.#datagram(data);
    } catch (error) {
      if (isWouldBlock(error)) return;
      // ENOBUFS: an answer is lost; whoever waits for it must not wait for ever.
      this.#current?.end(error instanceof SystemCallError ? error.errno : 5);
    }
  }

  #datagram(bytes: Buffer): void {
    for (let at = 0; at + 16 <= bytes.length; ) {
      const length = bytes.readUInt32LE(at);
      if (length < 16 || length > bytes.length - at) {
        this.#malformed('bad message length');
        return;
      }
      this.#message(bytes, at, at + length);
      at += (length + 3) & ~3;
    }
  }

  #message(bytes: Buffer, start: number, end: number): void {
    const current = this.#current;
    if (!current || bytes.readUInt32LE(start + 8) !== current.sequence) return;
    const type = bytes.readUInt16LE(start + 4);
    const interrupted = (bytes.readUInt16LE(start + 6) & NLM_F_DUMP_INTR) !== 0;
    if (type === CT.NEW) {
      const connection = decodeConnection(bytes, start, end);
      if (connection instanceof Malformed) this.#malformed(connection.reason);
      else {
        this.counters.connections++;
        current.connection(connection);
      }
    } else if (type === NLMSG.ERROR || type === NLMSG.DONE) {
      if (interrupted) this.counters.interrupted++;
      current.end(end - start >= 20 ? Math.abs(bytes.readInt32LE(start + 16)) : 0);
    }
  }

  #malformed(reason: string): void {
    this.counters.malformed[reason] = (this.counters.malformed[reason] ?? 0) + 1;
  }
}
