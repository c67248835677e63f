/**
 * JSON-RPC 1.0 over a Unix socket, as Open vSwitch speaks it (RFC 7047 §4): objects follow each other without anything
 * between them, both sides may ask, and `echo` is answered.
 */
import { createConnection, type Socket } from 'node:net';

/** The other side said no. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
}

export interface RpcOptions {
  onNotification?(method: string, params: readonly unknown[]): void;
  /** Once, whoever closed it. */
  onClose?(error: Error | undefined): void;
  /** ms that an answer may take. */
  readonly timeout?: number;
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

const TIMEOUT = 5_000;
/** Of one message: a database of thousands of ports. */
const LONGEST = 64 << 20;
/** Requests without an answer. */
const MOST_WAITING = 4_096;

/** Cuts a stream of JSON objects into texts. */
export class JsonSplitter {
  #text = '';
  #scanned = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** @returns the objects that are complete; undefined: what came can't be JSON objects, or one is too long */
  push(chunk: string): readonly string[] | undefined {
    this.#text += chunk;
    const result: string[] = [];
    let start = 0;
    for (let at = this.#scanned; at < this.#text.length; at++) {
      const code = this.#text.charCodeAt(at);
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (code === 0x5c) this.#escaped = true;
        else if (code === 0x22) this.#inString = false;
      } else if (code === 0x22) {
        if (this.#depth === 0) return undefined;
        this.#inString = true;
      } else if (code === 0x7b) this.#depth++;
      else if (code === 0x7d) {
        if (this.#depth === 0) return undefined;
        this.#depth--;
        if (this.#depth === 0) {
          result.push(this.#text.slice(start, at + 1));
          start = at + 1;
        }
      }
    }
    this.#text = this.#text.slice(start);
    this.#scanned = this.#text.length;
    return this.#text.length > LONGEST ? undefined : result;
  }
}

export class JsonRpc {
  readonly #socket: Socket;
  readonly #options: RpcOptions;
  readonly #splitter = new JsonSplitter();
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;
  #closed = false;

  /** Rejects when nobody listens there. */
  static connect(path: string, options: RpcOptions = {}): Promise<JsonRpc> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new JsonRpc(socket, options));
      });
    });
  }

  private constructor(socket: Socket, options: RpcOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => this.#data(chunk));
    socket.on('error', (error) => this.#end(error));
    socket.on('close', () => this.#end(undefined));
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Written in this turn. Rejects with RpcError (refused), or Error (closed, no answer in time). */
  request(method: string, params: readonly unknown[]): Promise<unknown> {
    if (this.#closed) return Promise.reject(new Error(`${method}: the connection is closed`));
    if (this.#waiting.size >= MOST_WAITING) return Promise.reject(new Error(`${method}: too many requests wait`));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`${method}: no answer`));
      }, this.#options.timeout ?? TIMEOUT);
      timer.unref();
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.write(JSON.stringify({ method, params, id }));
    });
  }

  close(): void {
    this.#end(undefined);
  }

  #data(chunk: string): void {
    const texts = this.#splitter.push(chunk);
    if (!texts) {
      this.#end(new Error('what came is no JSON-RPC'));
      return;
    }
    for (const text of texts) {
      let message: unknown;
      try {
        message = JSON.parse(text);
      } catch (error) {
        this.#end(error as Error);
        return;
      }
      this.#message(message as Record<string, unknown>);
    }
  }

  #message({ id, method, params, result, error }: Record<string, unknown>): void {
    if (typeof method === 'string') {
      const list = Array.isArray(params) ? params : [];
      if (method === 'echo') this.#socket.write(JSON.stringify({ id, result: list, error: null }));
      else this.#options.onNotification?.(method, list);
      return;
    }
    const waiting = typeof id === 'number' ? this.#waiting.get(id) : undefined;
    if (!waiting) return;
    this.#waiting.delete(id as number);
    clearTimeout(waiting.timer);
    if (error === null || error === undefined) waiting.resolve(result);
    else waiting.reject(new RpcError(typeof error === 'string' ? error.trim() : JSON.stringify(error)));
  }

  #end(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error ?? new Error('the connection was closed'));
    }
    this.#waiting.clear();
    this.#options.onClose?.(error);
  }
}
