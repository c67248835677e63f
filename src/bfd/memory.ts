import type { Log } from '../model/log.ts';
import type { Entry } from './entry.ts';
import type { BfdPeer, RememberedSession, SessionStore } from './face.ts';

/** Sessions that were Up outlive the process: whom to miss, and what to go on with where nobody was to notice. */
export class Memory {
  readonly #store: SessionStore | undefined;
  readonly #log: Log;
  /** Of an earlier run, and not taken up by a session of this one. */
  #remembered: readonly RememberedSession[] | undefined;

  constructor(store: SessionStore | undefined, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  recall(peer: BfdPeer): RememberedSession | undefined {
    if (this.#remembered === undefined) {
      this.#remembered = [];
      try {
        this.#remembered = this.#store?.load() ?? [];
      } catch (error) {
        this.#log.warn({ err: error }, 'BFD sessions of an earlier run can not be read; they begin anew');
      }
    }
    const found = this.#remembered.find((one) => one.peer === peer.address && one.interface === peer.interface);
    // Once: what happens to the session from here on is newer.
    this.#remembered = this.#remembered.filter((one) => one !== found);
    return found;
  }

  discriminators(): number[] {
    return (this.#remembered ?? []).flatMap(({ session }) => (session ? [session.localDiscriminator] : []));
  }

  /** All that is to be remembered now. */
  of(entries: Iterable<Entry>): RememberedSession[] {
    const seen = [...entries].filter((entry) => entry.seenUp);
    const now = seen.map(({ peer, sourcePort, session }) => ({
      peer: peer.address,
      interface: peer.interface,
      sourcePort,
      session: session.remembered,
    }));
    return [...now, ...(this.#remembered ?? [])];
  }

  save(sessions: readonly RememberedSession[]): void {
    try {
      this.#store?.save(sessions);
    } catch (error) {
      this.#log.error({ err: error }, 'BFD sessions are not saved');
    }
  }
}
