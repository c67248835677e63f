/** The little of etcd v3 that keys need, over its JSON gateway: every answer is judged before it is used. */

export interface EtcdEntry {
  readonly key: string;
  readonly value: Uint8Array;
}

export interface EtcdRange {
  readonly entries: readonly EtcdEntry[];
  /** Of the store when it answered. */
  readonly revision: bigint;
}

export class EtcdError extends Error {
  override name = 'EtcdError';
}

const TIMEOUT = 5000;
/** Most that is taken as one message of a watch. */
const MOST_OCTETS = 1024 * 1024;

export class EtcdClient {
  readonly #endpoint: string;

  /** @param endpoint http://host:port */
  constructor(endpoint: string) {
    this.#endpoint = endpoint.replace(/\/+$/, '');
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
    const response = await fetch(`${this.#endpoint}/v3/watch`, {
      method: 'POST',
      body: JSON.stringify({ create_request: request }),
      signal,
    });
    if (!response.ok || !response.body) throw new EtcdError(`watch: HTTP ${response.status}`);
    let rest = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body) {
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
    const limit = AbortSignal.timeout(TIMEOUT);
    const response = await fetch(`${this.#endpoint}/v3/${method}`, {
      method: 'POST',
      body: JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    const answer = parse(await response.text());
    if (!response.ok) throw new EtcdError(`${method}: HTTP ${response.status} ${String(answer.error ?? '')}`.trim());
    return answer;
  }
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
