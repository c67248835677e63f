/**
 * One NETLINK_ROUTE socket for requests.
 *
 * rtnetlink does a request's work inside the system call that sends it: when `send` returns, the route is in the table
 * and the answer is in our receive buffer. So "write now, in this turn" means "done now", a batch asks for one
 * acknowledgement at its end (messages are handled in order: what was not refused before it has succeeded), and the
 * answers are read right after each send, before they can fill the buffer.
 *
 * Dumps are the exception: the kernel goes on with them while we read, one at a time on a socket, so they queue here.
 * A dump that the kernel marks as interrupted (NLM_F_DUMP_INTR: the table changed under it) is repeated.
 */
import { type LinuxSocket, SystemCallError } from 'linux-sockets';
import { Batch, type BatchResult, type Request, refusal, refusalOf, type Waiting } from './batch.ts';
import { decodeDone, decodeError } from './codec/answer.ts';
import { NLM_F, NLMSG } from './codec/constants.ts';
import { Malformed, type Message, MessageWriter } from './codec/message.ts';
import { NetlinkError, type Refusal } from './error.ts';
import {
  countMalformed,
  newReceiveCounters,
  openRouteSocket,
  type ReceiveCounters,
  receive,
  type SocketOptions,
} from './receive.ts';

export type { BatchResult, Request } from './batch.ts';

export type Decoder<T> = (message: Message) => T | Malformed;

/** One send blocks the event loop until the kernel has worked it off: about 8 ms of routes. */
const MAXIMUM_SEND = 100_000;
/** A datagram of a dump has several hundred objects: a large dump lets other events come in between. */
const DATAGRAMS_PER_TURN = 4;
const MAXIMUM_DUMPS = 256;
const DUMP_ATTEMPTS = 10;
const MAXIMUM_SEQUENCE = 0xffffffff;

export class Connection {
  readonly counters: ReceiveCounters = newReceiveCounters();
  readonly #socket: LinuxSocket;
  readonly #secret: boolean;
  readonly #writer: MessageWriter;
  #sequence = 1;
  #waiting: Waiting[] = [];
  #dumps: Promise<unknown> = Promise.resolve();
  #dumpsQueued = 0;
  #closed = false;

  /** @throws SystemCallError */
  static open(options: SocketOptions = {}): Connection {
    return new Connection(openRouteSocket(options), options);
  }

  private constructor(socket: LinuxSocket, { protocol, secret = false }: SocketOptions) {
    this.#socket = socket;
    this.#secret = secret;
    // Notifications of XFRM carry what the request says of its sender, those of rtnetlink the sending socket's own.
    this.#writer = new MessageWriter(16_384, protocol === undefined ? 0 : this.port);
    socket.onReadable(() => this.#drain(1, DATAGRAMS_PER_TURN));
  }

  /** What the kernel calls us: notifications of what we did carry it. */
  get port(): number {
    const address = this.#socket.localAddress();
    return address.family === 'netlink' ? address.pid : 0;
  }

  /** Idle, the connection does not keep the process alive. */
  unref(): void {
    this.#socket.unref();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
    this.#failAll('ECANCELED');
  }

  /** Rejects with NetlinkError when the kernel refuses. */
  async request(request: Request): Promise<void> {
    const { refused } = await this.sendNow([request]);
    if (refused[0]) throw new NetlinkError(refused[0].refusal);
  }

  /**
   * Writes all messages before it returns; the kernel has then worked them off. The promise carries what it refused.
   * A message that can't be encoded (an address that is none) is refused with EINVAL like the kernel's own refusals.
   */
  sendNow(requests: readonly Request[]): Promise<BatchResult> {
    return this.#batch(requests).result;
  }

  /** As `sendNow`, for a caller who can't wait for a promise: what the kernel has refused, as far as it has answered. */
  sendAndSee(requests: readonly Request[]): BatchResult & { readonly result: Promise<BatchResult> } {
    const { refused, result } = this.#batch(requests);
    return { sent: requests.length, refused: [...refused], result };
  }

  #batch(requests: readonly Request[]): Batch {
    const batch = new Batch(requests, this.#take(requests.length));
    if (requests.length === 0) {
      batch.everythingSent();
      return batch;
    }
    this.#waiting.push(batch);
    const writer = this.#writer;
    writer.reset();
    let inWriter = 0;
    for (let index = 0; index < requests.length; index++) {
      const request = requests[index]!;
      try {
        writer.begin(request.type, NLM_F.REQUEST | request.flags, batch.first + index);
        request.write(writer);
        writer.end();
        inWriter++;
      } catch (error) {
        writer.abandon();
        batch.refuse(index, 'EINVAL', error instanceof Error ? error.message : String(error));
      }
      if (inWriter > 0 && writer.length >= MAXIMUM_SEND) {
        this.#sendBatch(batch);
        inWriter = 0;
      }
    }
    if (inWriter > 0) this.#sendBatch(batch);
    batch.everythingSent();
    this.#forgetFinished();
    return batch;
  }

  /** RTM_GET* for one object; undefined when the kernel answers without one. Rejects with NetlinkError. */
  get<T>(request: Request, decode: Decoder<T>): Promise<T | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<T | undefined>();
    this.#exchange(
      request,
      (message) => {
        const value = decode(message);
        if (value instanceof Malformed) {
          countMalformed(this.counters, value);
          resolve(undefined);
        } else resolve(value);
      },
      (refusal) => (refusal ? reject(new NetlinkError(refusal)) : resolve(undefined)),
    );
    return promise;
  }

  /**
   * As `get`, and the answer comes in this turn: the kernel has written it before the send returns.
   * @returns undefined when the kernel refused
   */
  getNow<T>(request: Request, decode: Decoder<T>): T | undefined {
    let found: T | undefined;
    this.#exchange(
      request,
      (message) => {
        const value = decode(message);
        if (value instanceof Malformed) countMalformed(this.counters, value);
        else found = value;
      },
      () => undefined,
    );
    return found;
  }

  /**
   * As `getNow`, with one send for all of them.
   * @returns by the place of their request; undefined where the kernel refused
   */
  getEachNow<T>(requests: readonly Request[], decode: Decoder<T>): (T | undefined)[] {
    const found = new Array<T | undefined>(requests.length).fill(undefined);
    if (requests.length === 0) return found;
    const first = this.#take(requests.length);
    let unanswered = requests.length;
    const waiting: Waiting = {
      first,
      last: first + requests.length - 1,
      finished: false,
      message: (received) => {
        const value = decode(received);
        if (value instanceof Malformed) countMalformed(this.counters, value);
        else found[received.sequence - first] = value;
        waiting.finished = --unanswered === 0;
      },
      answer() {
        waiting.finished = --unanswered === 0;
      },
      fail() {
        waiting.finished = true;
      },
    };
    this.#writer.reset();
    for (const [index, request] of requests.entries()) {
      this.#writer.begin(request.type, NLM_F.REQUEST | request.flags, first + index);
      request.write(this.#writer);
      this.#writer.end();
    }
    if (this.#sendFor(waiting)) this.#drain(Number.POSITIVE_INFINITY);
    return found;
  }

  /** All objects of one kind that pass the filter in `request`. Rejects with NetlinkError. */
  dump<T>(request: Request, decode: Decoder<T>): Promise<T[]> {
    if (this.#dumpsQueued >= MAXIMUM_DUMPS)
      return Promise.reject(refusalError('EBUSY', request, 'too many dumps wait'));
    this.#dumpsQueued++;
    const run = this.#dumps
      .then(() => this.#dumpRepeated(request, decode))
      .finally(() => {
        this.#dumpsQueued--;
      });
    // The next dump only waits for this one; its failure is the caller's.
    this.#dumps = run.catch(() => undefined);
    return run;
  }

  async #dumpRepeated<T>(request: Request, decode: Decoder<T>): Promise<T[]> {
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.#dumpOnce(request, decode);
      if (Array.isArray(outcome)) return outcome;
      const again = outcome === 'EINTR' || outcome === 'ENOBUFS' || outcome === 'EBUSY';
      if (!again || attempt >= DUMP_ATTEMPTS) throw refusalError(outcome, request, `dump, attempt ${attempt}`);
      this.counters.repeatedDumps++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #dumpOnce<T>(request: Request, decode: Decoder<T>): Promise<T[] | string> {
    const { promise, resolve, reject } = Promise.withResolvers<T[] | string>();
    const values: T[] = [];
    let interrupted = false;
    this.#exchange(
      { ...request, flags: request.flags | NLM_F.DUMP },
      (message) => {
        if (message.flags & NLM_F.DUMP_INTR) interrupted = true;
        const value = decode(message);
        if (value instanceof Malformed) countMalformed(this.counters, value);
        else values.push(value);
      },
      (refusal) => {
        if (!refusal) resolve(interrupted ? 'EINTR' : values);
        else if (refusal.extack === undefined && RETRIED.has(refusal.code)) resolve(refusal.code);
        else reject(new NetlinkError(refusal));
      },
    );
    return promise;
  }

  #exchange(request: Request, message: (message: Message) => void, end: (refusal: Refusal | undefined) => void): void {
    const sequence = this.#take(1);
    const multiple = (request.flags & NLM_F.DUMP) === NLM_F.DUMP;
    const waiting: Waiting = {
      first: sequence,
      last: sequence,
      finished: false,
      message(received) {
        message(received);
        if (!multiple && !(received.flags & NLM_F.MULTI)) {
          waiting.finished = true;
          end(undefined);
        }
      },
      answer(received, answer) {
        waiting.finished = true;
        if (answer.errno) end(refusalOf(answer, request));
        else if (received.flags & NLM_F.DUMP_INTR) end(refusal('EINTR', request, undefined));
        else end(undefined);
      },
      fail(code) {
        waiting.finished = true;
        end(refusal(code, request, undefined));
      },
    };
    this.#writer.reset();
    this.#writer.begin(request.type, NLM_F.REQUEST | request.flags, sequence);
    // Throws when the request can't be encoded: then nobody waits.
    request.write(this.#writer);
    this.#writer.end();
    if (this.#sendFor(waiting) && !multiple) this.#drain(4);
  }

  /** What is written, for somebody who waits for the answers. False: it was not sent, and he was told. */
  #sendFor(waiting: Waiting): boolean {
    this.#waiting.push(waiting);
    const failure = this.#send();
    if (failure === undefined) return true;
    waiting.fail(failure);
    this.#forgetFinished();
    return false;
  }

  #take(count: number): number {
    if (this.#sequence + count > MAXIMUM_SEQUENCE) this.#sequence = 1;
    const first = this.#sequence;
    this.#sequence += count;
    return first;
  }

  #sendBatch(batch: Batch): void {
    this.#writer.addFlags(NLM_F.ACK);
    const last = this.#writer.sequence;
    const failure = this.#send();
    batch.handedOver(last, failure);
    this.#writer.reset();
    this.#drain(Number.POSITIVE_INFINITY);
  }

  /** @returns the error's name when nothing was sent */
  #send(): string | undefined {
    try {
      this.#socket.send({ data: this.#writer.bytes() });
      return undefined;
    } catch (error) {
      if (error instanceof SystemCallError) return error.code;
      throw error;
    } finally {
      if (this.#secret) this.#writer.wipe();
    }
  }

  #drain(rounds: number, datagrams?: number): void {
    if (this.#closed) return;
    try {
      const outcome = receive(this.#socket, this.counters, rounds, (message) => this.#received(message), datagrams);
      // Answers are lost: nobody can say any more which requests went well.
      if (outcome === 'overrun') this.#failAll('ENOBUFS');
    } catch (error) {
      this.#failAll(error instanceof SystemCallError ? error.code : 'EIO');
    }
    this.#forgetFinished();
  }

  #received(message: Message): void {
    const { sequence } = message;
    const waiting = this.#waiting.find((each) => !each.finished && sequence >= each.first && sequence <= each.last);
    if (!waiting) {
      this.counters.stray++;
      return;
    }
    if (message.type === NLMSG.ERROR || message.type === NLMSG.DONE) {
      const answer = message.type === NLMSG.ERROR ? decodeError(message) : decodeDone(message);
      if (answer instanceof Malformed) {
        countMalformed(this.counters, answer);
        waiting.fail('EBADMSG');
      } else waiting.answer(message, answer);
    } else if (message.type !== NLMSG.NOOP) waiting.message(message);
  }

  #forgetFinished(): void {
    if (this.#waiting.some((each) => each.finished)) this.#waiting = this.#waiting.filter((each) => !each.finished);
  }

  #failAll(code: string): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) if (!each.finished) each.fail(code);
  }
}

const RETRIED = new Set(['EINTR', 'ENOBUFS', 'EBUSY']);

const refusalError = (code: string, request: Request, words: string): NetlinkError =>
  new NetlinkError(refusal(code, request, words));
