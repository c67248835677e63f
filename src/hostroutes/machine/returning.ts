import type { Address } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { ClaimLevel, HostRoute } from '../../model/hosts.ts';
import type { Book } from './book.ts';
import { levelAgainst } from './claims.ts';
import type { Host } from './host.ts';
import type { PortState } from './port-state.ts';
import type { CauseKind } from './types.ts';

/**
 * Ten thousand hosts of one port take longer to be heard than one. As long as no gap between two of them is longer than
 * this (ms) the others are still on their way.
 */
const GAP_MS = 200;
/** So often they are waited for once more. */
const MOST_WAITS = 4;

interface Expected {
  readonly host: Host;
  readonly until: Instant;
  /** How often they have been waited for. */
  readonly waits: number;
}

/**
 * Hosts that are about to come back: make before break.
 *
 * A server that returns to its old port leaves its stand-by link at once, but the fabric needs tens of milliseconds to
 * follow, and all that it sends meanwhile goes to a link that the server no longer listens to. So while the port is about
 * to open (or the server's own link has just come up) the fabric is told first: a host that was there before, and that
 * another switch claims now, is announced above that claim, and its kernel route leads to a place where packets wait.
 * When it is heard, it is a host like any other and what waited is delivered. When it is not, the announcement goes.
 *
 * A server that stays where it is makes its packets wait in vain for `wait`. So by default only hosts that have come
 * back by themselves before are expected to do so again.
 */
export class Returning {
  readonly #book: Book;
  readonly #onExpected: (host: Host) => void;
  readonly #expected = new Map<Address, Expected>();
  /** When the last host came back to a port, by the port's name. */
  readonly #arrivals = new Map<string, Instant>();
  /** No host is due before. Deadlines only ever move away. */
  #dueAt: Instant = Number.POSITIVE_INFINITY;
  readonly count = { expected: 0, returned: 0, stayedAway: 0 };

  /** `onExpected`: what else the host was until now, it is no more. */
  constructor(book: Book, onExpected: (host: Host) => void) {
    this.#book = book;
    this.#onExpected = onExpected;
  }

  get size(): number {
    return this.#expected.size;
  }

  has(address: Address): boolean {
    return this.#expected.has(address);
  }

  expected(ports: readonly string[]): Address[] {
    return [...this.#expected.values()].filter(({ host }) => ports.includes(host.port)).map(({ host }) => host.address);
  }

  /** How many more would be expected behind this port. */
  expectable(name: string): number {
    let count = 0;
    for (const _ of this.#candidates(name)) count++;
    return count;
  }

  *#candidates(name: string): Iterable<{ readonly host: Host; readonly rival: ClaimLevel }> {
    const { rules } = this.#book;
    const { returning } = rules.policy;
    if (!returning || returning.mode === 'never') return;
    for (const host of this.#book.ports.get(name)?.left ?? []) {
      const rival = this.#book.claims.best(host.address);
      if (rival === undefined || this.#expected.has(host.address) || host.live || rules.activeActive(host)) continue;
      if (returning.mode === 'always' || host.returns) yield { host, rival };
    }
  }

  /** Hosts remembered behind these ports are announced ahead of their return; those of a port that just opened, too. */
  expect(names: readonly string[], now: Instant): void {
    const { returning } = this.#book.rules.policy;
    if (!returning) return;
    for (const name of names) {
      for (const { host, rival } of this.#candidates(name)) {
        this.#onExpected(host);
        host.level = levelAgainst(rival);
        host.yields = false;
        host.route = { ...waitingRoute(host, returning.door), ...this.#book.portIndexOf(host) };
        this.#book.turn.note(host, 'returning', name, `${name} is about to carry its hosts again`);
        const until = now + returning.wait;
        if (this.#expected.size === 0) this.#dueAt = until;
        this.#dueAt = Math.min(this.#dueAt, until);
        this.#expected.set(host.address, { host, until, waits: 1 });
        this.count.expected++;
      }
    }
  }

  /**
   * A host that was gone was heard on `port`: the level at which it was expected, or 0. That it came right after the port
   * did is what we learn of it.
   */
  heard(known: Host | undefined, port: PortState, now: Instant): ClaimLevel {
    if (!known) return 0;
    const { returning } = this.#book.rules.policy;
    const expected = this.#expected.get(known.address);
    // To tell the fabric of thousands takes a while, and what they said meanwhile is heard after it.
    const waitedFor = expected !== undefined && expected.host.port === port.name;
    if (returning && port.left.has(known) && (waitedFor || this.#inTime(port, returning.wait, now))) {
      known.returns = true;
      this.#arrivals.set(port.name, now);
    }
    if (!expected) return 0;
    this.#expected.delete(known.address);
    this.count.returned++;
    return known.level;
  }

  /** The ports are opened, or have come up: from now on their hosts have `wait` to be heard. */
  opened(names: readonly string[], now: Instant): void {
    const { returning } = this.#book.rules.policy;
    if (!returning || this.#expected.size === 0) return;
    const ports = new Set(names);
    for (const [address, { host }] of [...this.#expected]) {
      if (!ports.has(host.port)) continue;
      // Taken out and put back: the map stays in the order of the deadlines.
      this.#expected.delete(address);
      this.#expected.set(address, { host, until: now + returning.wait, waits: 1 });
    }
  }

  #inTime({ name, upAt }: PortState, wait: number, now: Instant): boolean {
    return now - upAt <= wait || (now - upAt <= MOST_WAITS * wait && this.#othersCome(name, now));
  }

  /** Nobody can have come: the fabric is still being told, or the kernel still at work on the ports. */
  #isShut(port: string): boolean {
    return this.#book.ports.get(port)?.usable !== true;
  }

  #othersCome(port: string, now: Instant): boolean {
    return now - (this.#arrivals.get(port) ?? Number.NEGATIVE_INFINITY) <= GAP_MS;
  }

  /** The ports will not open after all. */
  cancel(names: readonly string[], reason: string): void {
    for (const [address, { host }] of this.#expected)
      if (names.includes(host.port)) this.#giveUp(address, host, reason);
  }

  /** The policy is a new one: it holds for them too. */
  reconsider(): void {
    for (const [address, { host }] of this.#expected) {
      const refusal = this.#book.rules.refusal(host);
      if (refusal) this.#giveUp(address, host, refusal, 'policy');
    }
  }

  /** Or a little earlier: it is asked for with each event, and a map that thousands have left is slow to say its first. */
  nextDeadline(): Instant {
    return this.#expected.size === 0 ? Number.POSITIVE_INFINITY : this.#dueAt;
  }

  isDue(now: Instant): boolean {
    for (const { until } of this.#expected.values()) return until <= now;
    return false;
  }

  tick(now: Instant): void {
    this.#attend(now);
    for (const { until } of this.#expected.values()) {
      this.#dueAt = until;
      break;
    }
  }

  #attend(now: Instant): void {
    const { returning } = this.#book.rules.policy;
    for (const [address, { host, until, waits }] of this.#expected) {
      // All wait equally long, so the map is in the order of the deadlines.
      if (until > now || !this.#book.turn.allows('stayedAway')) return;
      const late = this.#othersCome(host.port, now) || this.#isShut(host.port);
      if (returning && waits < MOST_WAITS && late) {
        this.#expected.delete(address);
        this.#expected.set(address, { host, until: now + returning.wait, waits: waits + 1 });
        continue;
      }
      // Behind a port that has not come up yet (a transceiver may train for seconds) he could not show himself.
      if (!this.#isShut(host.port)) host.returns = false;
      this.count.stayedAway++;
      this.#giveUp(address, host, 'it did not come back');
    }
  }

  #giveUp(address: Address, host: Host, reason: string, kind: CauseKind = 'stayedAway'): void {
    this.#expected.delete(address);
    host.route = undefined;
    this.#book.turn.note(host, kind, host.port, reason);
  }
}

export function waitingRoute(host: Host, door: Pick<HostRoute, 'interface' | 'ifindex' | 'mac'>): HostRoute {
  return { address: host.address, level: host.level, ...door };
}
