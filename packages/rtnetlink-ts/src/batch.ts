/** Who waits for which answers: single requests and the messages of one `sendNow`. */
import type { Answer } from './codec/answer.ts';
import { messageName } from './codec/constants.ts';
import type { Message, MessageWriter } from './codec/message.ts';
import { errorName, type Refusal } from './error.ts';

export interface Request {
  /** RTM_*. */
  readonly type: number;
  /** What a refusal calls it; for protocols beside rtnetlink, whose numbers mean something else. */
  readonly name?: string;
  /** NLM_F_* beside REQUEST and ACK. */
  readonly flags: number;
  readonly write: (writer: MessageWriter) => void;
}

export interface BatchResult {
  readonly sent: number;
  /** In order of the requests; empty when all went well. */
  readonly refused: readonly { readonly index: number; readonly refusal: Refusal }[];
}

/** Answers carry the sequence number of their request. */
export interface Waiting {
  readonly first: number;
  readonly last: number;
  message(message: Message): void;
  answer(message: Message, answer: Answer): void;
  fail(code: string): void;
  finished: boolean;
}

/** The messages of one `sendNow`: refused ones by index; the acknowledgement of the last one ends it. */
export class Batch implements Waiting {
  readonly first: number;
  readonly last: number;
  readonly result: Promise<BatchResult>;
  finished = false;
  readonly #requests: readonly Request[];
  readonly #resolve: (result: BatchResult) => void;
  readonly #refused: { index: number; refusal: Refusal }[] = [];
  /** Sequence numbers whose answers end a send, not yet answered. */
  readonly #open = new Set<number>();
  /** First message of the send that is being put together. */
  #sendStart: number;
  /** Up to here the kernel's answers are complete. */
  #answeredTo: number;
  #sent = false;

  constructor(requests: readonly Request[], first: number) {
    this.first = first;
    this.last = first + requests.length - 1;
    this.#requests = requests;
    this.#sendStart = first;
    this.#answeredTo = first - 1;
    const { promise, resolve } = Promise.withResolvers<BatchResult>();
    this.result = promise;
    this.#resolve = resolve;
  }

  /** What was refused up to now: complete for all that was answered. */
  get refused(): BatchResult['refused'] {
    return this.#refused;
  }

  refuse(index: number, code: string, words: string | undefined): void {
    this.#refused.push({ index, refusal: refusal(code, this.#requests[index]!, words) });
  }

  handedOver(last: number, failure: string | undefined): void {
    if (failure) this.#refuseFrom(this.#sendStart, last, failure);
    else this.#open.add(last);
    this.#sendStart = last + 1;
  }

  everythingSent(): void {
    this.#sent = true;
    this.#finishIfDone();
  }

  message(): void {}

  answer({ sequence }: Message, answer: Answer): void {
    if (answer.errno) {
      const index = sequence - this.first;
      this.#refused.push({ index, refusal: refusalOf(answer, this.#requests[index]!) });
    }
    if (this.#open.delete(sequence)) this.#answeredTo = sequence;
    this.#finishIfDone();
  }

  fail(code: string): void {
    this.#refuseFrom(this.#answeredTo + 1, this.last, code);
    this.#open.clear();
    this.#sent = true;
    this.#finishIfDone();
  }

  #refuseFrom(from: number, to: number, code: string): void {
    const known = new Set(this.#refused.map(({ index }) => index));
    for (let index = from - this.first; index <= to - this.first; index++) {
      if (!known.has(index)) this.#refused.push({ index, refusal: refusal(code, this.#requests[index]!, undefined) });
    }
  }

  #finishIfDone(): void {
    if (!this.#sent || this.#open.size > 0 || this.finished) return;
    this.finished = true;
    this.#refused.sort((one, other) => one.index - other.index);
    this.#resolve({ sent: this.#requests.length, refused: this.#refused });
  }
}

export const refusal = (code: string, request: Request, extack: string | undefined, errno = 0): Refusal => ({
  code,
  errno,
  extack,
  request: request.name ?? messageName(request.type),
});

export const refusalOf = (answer: Answer, request: Request): Refusal =>
  refusal(errorName(answer.errno), request, answer.extack, answer.errno);
