import type { Instant } from '../../model/clock.ts';
import type { Book } from './book.ts';
import type { Host } from './host.ts';
import { answers, incumbentOf, isAt, PROOF_MS, placeOf, SUSPICION_MS } from './incumbent.ts';
import type { PortState } from './port-state.ts';
import type { Heard } from './types.ts';
import type { Watch } from './watch.ts';

/**
 * Who says that he is a host, at another place or with another MAC, may be the host, which has moved, or somebody who
 * wants its traffic. He is believed at once, since for a host that has moved every millisecond counts, and the address
 * is asked at once at both places. An answer from the old one refutes him, whether he answers himself or not: the host
 * is back after one round trip, and for a minute whoever claims it waits until it is silent where it is.
 */
export class Takeovers {
  readonly #book: Book;
  readonly #watch: Watch;
  readonly count = { refuted: 0 };

  constructor(book: Book, watch: Watch) {
    this.#book = book;
    this.#watch = watch;
  }

  /** The host has just been taken to be elsewhere than at `before`. */
  begun(host: Host, before: Heard, now: Instant): void {
    host.elsewhere = before;
    host.elsewhereAt = now;
    this.#watch.doubt(host, 'verify', now);
    const incumbent = incumbentOf(host, now);
    host.proven = false;
    if (incumbent !== undefined && isAt(host, incumbent)) host.incumbent = undefined;
    else if (incumbent === undefined) {
      host.incumbent = before;
      host.incumbentUntil = now + PROOF_MS;
      this.#watch.askAt(before, now);
    }
  }

  /** true: the host has answered where it was before somebody claimed it, and is there again. */
  refuted(host: Host, heard: Heard, port: PortState, now: Instant): boolean {
    const incumbent = incumbentOf(host, now);
    if (incumbent === undefined || !answers(heard) || !isAt(heard, incumbent)) return false;
    if (port.name !== host.port && this.#book.full(port, true, now)) return false;
    const claimed = placeOf(host);
    host.incumbent = undefined;
    host.refutedUntil = now + SUSPICION_MS;
    this.count.refuted++;
    this.#book.relocate(host, heard, port, now, `answered on ${heard.port} although claimed on ${claimed.port}`);
    const { address, port: claimedOn, mac } = claimed;
    const home = { mac: heard.mac, port: heard.port };
    this.#book.turn.effects.push({ type: 'spoofed', address, port: claimedOn, mac, home });
    // An answer that was under way while the host moved proves nothing: asked once more, it would be silent.
    host.elsewhere = claimed;
    host.elsewhereAt = now;
    this.#watch.doubt(host, 'verify', now);
    return true;
  }

  /** The host is claimed, as it was lately by somebody who was not it; as long as that goes on, suspicion lasts. */
  suspects(host: Host, now: Instant): boolean {
    if (now >= host.refutedUntil || !host.answersProbes || !this.#book.rules.probing) return false;
    host.refutedUntil = now + SUSPICION_MS;
    return true;
  }
}
