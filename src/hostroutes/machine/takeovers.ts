import type { Instant } from '../../model/clock.ts';
import type { Book } from './book.ts';
import type { Host } from './host.ts';
import type { PortState } from './port-state.ts';
import type { Evidence, Heard } from './types.ts';
import type { Watch } from './watch.ts';

/** An answer from the old place counts this long: longer than the questions at the new one take (see liveness.ts). */
const PROOF_MS = 200;
/** How long a host whose claim was refuted is asked where it is before anybody else is believed. */
const SUSPICION_MS = 60_000;

const ANSWERS: ReadonlySet<Evidence | undefined> = new Set(['arp-reply', 'nd-advertisement', 'sweep']);

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
    if (host.incumbent !== undefined && isAt(host, host.incumbent)) host.incumbent = undefined;
    else if (host.incumbent === undefined || now > host.incumbentUntil) {
      host.incumbent = before;
      host.incumbentUntil = now + PROOF_MS;
      this.#watch.askAt(before, now);
    }
  }

  /** true: the host has answered where it was before somebody claimed it, and is there again. */
  refuted(host: Host, heard: Heard, port: PortState, now: Instant): boolean {
    const { incumbent } = host;
    if (incumbent === undefined || now > host.incumbentUntil || !ANSWERS.has(heard.how)) return false;
    if (!isAt(heard, incumbent)) return false;
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

const isAt = (one: Pick<Heard, 'port' | 'mac'>, other: Pick<Heard, 'port' | 'mac'>): boolean =>
  one.port === other.port && one.mac === other.mac;

/** Where it is taken to be now; nobody was heard there just now. */
export function placeOf(host: Host): Heard {
  const { address, mac, port, interface: name, ifindex, vlan } = host;
  const place = { address, mac, port, interface: name, ifindex, stale: true };
  return { type: 'heard', source: 'arp', ...place, ...(vlan ? { vlan } : {}) };
}
