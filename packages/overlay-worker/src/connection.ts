/** One connection to a worker: commands in order, answers by id, events as they come. */
import { connect, type Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { COMMAND, type CommandName, type Frame, FrameReader, frame, MESSAGE } from './protocol.ts';

/** The worker refused a command. */
export class WorkerError extends Error {
  override readonly name = 'WorkerError';
  readonly command: CommandName;
  /** 'ENOSPC' ... */
  readonly code: string;
  constructor(command: CommandName, errno: number) {
    const code = getSystemErrorName(errno);
    super(`the overlay worker refused ${command}: ${code}`);
    this.command = command;
    this.code = code;
  }
}

const FINISH_TIMEOUT = 5000;
const CLOSED = 'the connection to the overlay worker has closed';

interface Waiting {
  readonly command: CommandName;
  resolve(body: Buffer): void;
  reject(error: Error): void;
}

export interface ConnectionEvents {
  message(frame: Frame): void;
  /** Nobody waits for this command's answer. */
  refused(error: WorkerError): void;
  /** By the other end. */
  closed(): void;
}

export class Connection {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #reader = new FrameReader();
  readonly #events: ConnectionEvents;
  #lastId = 0;
  #closed = false;
  #finishing = false;
  readonly #whenEnded: Promise<void>;
  readonly #ended: () => void;

  private constructor(socket: Socket, events: ConnectionEvents) {
    this.#socket = socket;
    this.#events = events;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#whenEnded = promise;
    this.#ended = resolve;
    socket.on('data', (chunk) => this.#data(chunk));
    // 'close' follows and says what is to be said.
    socket.on('error', () => {});
    socket.on('close', () => {
      const expected = this.#closed || this.#finishing;
      this.#closed = true;
      this.#ended();
      const error = new Error(CLOSED);
      for (const waiting of this.#waiting.values()) waiting.reject(error);
      this.#waiting.clear();
      if (!expected) events.closed();
    });
  }

  /** @throws the system's error, e.g. ENOENT, ECONNREFUSED */
  static open(path: string, events: ConnectionEvents): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new Connection(socket, events));
      });
    });
  }

  /** The answer's text. @throws WorkerError */
  async ask(command: CommandName, ...parts: readonly Uint8Array[]): Promise<string> {
    if (this.#closed) throw new Error(CLOSED);
    const id = this.#write(command, parts);
    const body = await new Promise<Buffer>((resolve, reject) => {
      this.#waiting.set(id, { command, resolve, reject });
    });
    return body.toString('utf8');
  }

  /** Takes effect in order with all other commands; a refusal goes to `refused`. */
  tell(command: CommandName, ...parts: readonly Uint8Array[]): void {
    // Whoever opened the connection has been told that it closed.
    if (this.#closed) return;
    const id = this.#write(command, parts);
    this.#waiting.set(id, {
      command,
      resolve: () => {},
      reject: (error) => {
        if (error instanceof WorkerError) this.#events.refused(error);
      },
    });
  }

  /** Tells the worker to end, and waits until it has: it closes the connection last. */
  async finish(): Promise<void> {
    if (this.#closed) return;
    this.#finishing = true;
    this.tell('stop');
    const impatience = setTimeout(() => this.close(), FINISH_TIMEOUT);
    await this.#whenEnded;
    clearTimeout(impatience);
  }

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  #write(command: CommandName, parts: readonly Uint8Array[]): number {
    const id = ++this.#lastId >>> 0;
    const bytes = frame(COMMAND[command], id, parts);
    // What has a key in it leaves no copy behind.
    this.#socket.write(bytes, () => bytes.fill(0));
    return id;
  }

  #data(chunk: Buffer): void {
    const frames = this.#reader.push(chunk);
    if (!frames) {
      this.#socket.destroy();
      return;
    }
    for (const message of frames) {
      if (message.type !== MESSAGE.result) {
        this.#events.message(message);
        continue;
      }
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      const status = message.body.readInt32LE(0);
      if (status < 0) waiting?.reject(new WorkerError(waiting.command, status));
      else waiting?.resolve(message.body.subarray(4));
    }
  }
}
