import { endOfFacts, packFacts, packFactWithdrawals } from '../codec/facts.ts';
import type { Connection } from '../transport.ts';
import type { FactBatch } from './own.ts';
import { textOf } from './own.ts';

/**
 * Facts on their way to one neighbour. They never stand in the way of routes: while the connection takes nothing, the
 * newest word on each key waits here, and what waits is written when the routes that waited have gone.
 */
export interface FactOutboxOptions {
  /** Encoded, what all UPDATEs with facts have in common. */
  readonly attributes: Uint8Array;
  /** 4 or 16 octets. */
  readonly nextHop: Uint8Array;
}

/** Twice what can be published: all taken back, and as many others said. */
const LIMIT = 8_192;

export class FactOutbox {
  readonly #connection: Connection;
  readonly #options: FactOutboxOptions;
  readonly #waiting = new Map<string, { readonly key: Uint8Array; readonly value: Uint8Array | undefined }>();
  #ended = false;
  #endWaits = false;

  constructor(connection: Connection, options: FactOutboxOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** How many UPDATEs went out; 0 when they wait; undefined when too much waits. */
  send({ said, withdrawn }: FactBatch): number | undefined {
    if (this.#connection.backlog() === 0 && this.#waiting.size === 0) return this.#write(said, withdrawn);
    for (const key of withdrawn) this.#wait(key, undefined);
    for (const { key, value } of said) this.#wait(key, value);
    return this.#waiting.size > LIMIT ? undefined : this.drained();
  }

  /** What comes before was all there is (RFC 4724 §2); once a session. */
  endOfRib(): number {
    if (this.#ended) return 0;
    this.#ended = true;
    this.#endWaits = true;
    return this.drained();
  }

  /** The connection takes data again. */
  drained(): number {
    if (this.#connection.backlog() > 0) return 0;
    let updates = 0;
    if (this.#waiting.size > 0) {
      const waiting = [...this.#waiting.values()];
      this.#waiting.clear();
      const said = waiting.flatMap(({ key, value }) => (value ? [{ key, value }] : []));
      const withdrawn = waiting.filter(({ value }) => !value).map(({ key }) => key);
      updates += this.#write(said, withdrawn);
    }
    if (this.#endWaits) {
      this.#endWaits = false;
      this.#connection.write(endOfFacts());
    }
    return updates;
  }

  #wait(key: Uint8Array, value: Uint8Array | undefined): void {
    this.#waiting.set(textOf(key), { key, value });
  }

  #write(said: FactBatch['said'], withdrawn: FactBatch['withdrawn']): number {
    const gone = packFactWithdrawals(withdrawn);
    const come = packFacts(said, this.#options.attributes, this.#options.nextHop);
    const updates = gone.updates + come.updates;
    if (updates > 0) this.#connection.write(Buffer.concat([gone.bytes, come.bytes]));
    return updates;
  }
}
