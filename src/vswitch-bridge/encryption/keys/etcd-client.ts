/** The little of etcd v3 that keys need, over its JSON gateway: every answer is judged before it is used. */
import type { IncomingMessage } from 'node:http';
import { type EtcdAccess, EtcdError, PATIENCE, passwordOf, post } from './etcd-access.ts';

export { type EtcdAccess, EtcdError } from './etcd-access.ts';

export interface EtcdEntry {
  readonly key: string;
  readonly value: Uint8Array;
}

export interface EtcdRange {
  readonly entries: readonly EtcdEntry[];
  /** Of the store when it answered. */
  readonly revision: bigint;
}

/** Most that is taken as one message of a watch, and as an answer. */
const MOST_OCTETS = 1024 * 1024;

export class EtcdClient {
  readonly #endpoint: string;
  readonly #access: EtcdAccess;
  #token: Promise<string> | undefined;

  /** @param endpoint http://host:port, or https:// */
  constructor(endpoint: string, access: EtcdAccess = {}) {
    this.#endpoint = endpoint.replace(/\/+$/, '');
    this.#access = access;
  }

  async range(prefix: string, signal?: AbortSignal): Promise<EtcdRange> {
    const answer = await this.#ask('kv/range', { key: base64(prefix), range_end: rangeEnd(prefix) }, signal);
    const entries = optionalList(answer.kvs).map((item) => {
      const { key, value } = record(item);
      return {
        key: Buffer.from(text(key), 'base64').toString('utf8'),
        value: Buffer.from(text(value ?? ''), 'base64'),
      };
    });
    return { entries, revision: revisionOf(answer) };
  }

  async put(key: string, value: Buffer): Promise<void> {
    await this.#ask('kv/put', { key: base64(key), value: value.toString('base64') });
  }

  /** False: there was none. */
  async remove(key: string): Promise<boolean> {
    const answer = await this.#ask('kv/deleterange', { key: base64(key) });
    return Number(answer.deleted ?? 0) > 0;
  }

  /**
   * Calls `changed` for each message with events after `revision`, and `opened` once the watch stands. Resolves when etcd ends it
   * (compaction, for one): the caller reads anew. Rejects when the connection fails or `signal` aborts.
   */
  async watch(
    prefix: string,
    revision: bigint,
    opened: () => void,
    changed: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    const request = { key: base64(prefix), range_end: rangeEnd(prefix), start_revision: String(revision + 1n) };
    const response = await this.#post('watch', { create_request: request }, signal);
    if (response.statusCode !== 200) {
      response.destroy();
      throw new EtcdError(`watch: HTTP ${response.statusCode}`, response.statusCode);
    }
    let rest = '';
    const decoder = new TextDecoder();
    for await (const chunk of response as AsyncIterable<Buffer>) {
      rest += decoder.decode(chunk, { stream: true });
      if (rest.length > MOST_OCTETS) throw new EtcdError('watch: a message without end');
      const lines = rest.split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        if (line.trim() === '') continue;
        const message = parse(line);
        if (message.error) throw new EtcdError(`watch: ${JSON.stringify(message.error)}`);
        const result = record(message.result);
        if (result.canceled === true) return;
        if (result.created === true) opened();
        if (optionalList(result.events).length > 0) changed();
      }
    }
  }

  async #ask(method: string, body: object, signal?: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
    const limit = AbortSignal.timeout(PATIENCE);
    const both = signal ? AbortSignal.any([signal, limit]) : limit;
    let response = await this.#post(method, body, both);
    let said = await readAll(response);
    if (this.#access.user && response.statusCode === UNAUTHORIZED) {
      // Tokens of etcd grow old, and a member that was restarted knows none of before.
      this.#token = undefined;
      response = await this.#post(method, body, both);
      said = await readAll(response);
    }
    if (response.statusCode !== 200) throw refusal(method, response.statusCode ?? 0, said);
    return parse(said);
  }

  async #post(method: string, body: object, signal: AbortSignal): Promise<IncomingMessage> {
    const { user, tls } = this.#access;
    this.#token ??= user && this.#authenticate(user, signal);
    let headers = {};
    try {
      if (this.#token) headers = { authorization: await this.#token };
    } catch (error) {
      this.#token = undefined;
      throw error;
    }
    return post(`${this.#endpoint}/v3/${method}`, JSON.stringify(body), headers, tls, signal);
  }

  async #authenticate(user: NonNullable<EtcdAccess['user']>, signal: AbortSignal): Promise<string> {
    const { tls } = this.#access;
    const body = JSON.stringify({ name: user.name, password: await passwordOf(user) });
    const response = await post(`${this.#endpoint}/v3/auth/authenticate`, body, {}, tls, signal);
    const said = await readAll(response);
    if (response.statusCode !== 200) throw refusal(`user ${user.name}`, response.statusCode ?? 0, said);
    return text(parse(said).token);
  }
}

const UNAUTHORIZED = 401;

function refusal(what: string, status: number, said: string): EtcdError {
  if (/HTTP request to an HTTPS server/.test(said)) return new EtcdError('it speaks TLS: write https://', status);
  const { error = '' } = parse(said);
  return new EtcdError(`${what}: HTTP ${status} ${String(error)}`.trim(), status);
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MOST_OCTETS) throw new EtcdError('an answer without end');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The first key behind all that begin with `prefix`. */
function rangeEnd(prefix: string): string {
  const bytes = Buffer.from(prefix, 'utf8');
  bytes[bytes.length - 1]! += 1;
  return bytes.toString('base64');
}

const base64 = (value: string): string => Buffer.from(value, 'utf8').toString('base64');

function parse(json: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw new EtcdError('the answer is no JSON: is this the client port of etcd 3.4 or later?');
  }
  return record(value);
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw new EtcdError('an answer of another shape');
  return value as Readonly<Record<string, unknown>>;
}

function optionalList(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new EtcdError('an answer of another shape');
  return value;
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new EtcdError('an answer of another shape');
  return value;
}

function revisionOf(answer: Readonly<Record<string, unknown>>): bigint {
  const { revision } = record(answer.header);
  if (typeof revision !== 'string' || !/^\d+$/.test(revision)) throw new EtcdError('an answer without a revision');
  return BigInt(revision);
}
