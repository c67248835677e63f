import type { Address, Mac } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { Host } from './host.ts';
import type { Turn } from './turn.ts';
import type { RefusalReason } from './types.ts';

const REFUSAL_SPACING_MS = 1_000;

/** Somebody wants to be a host that he is not: his MAC is told. */
const CLAIMS: ReadonlySet<RefusalReason> = new Set(['binding', 'refuted']);

interface Refused {
  readonly address: Address;
  readonly port: string;
  readonly mac?: Mac;
}

/** One port: whether hosts may be learned there, who is there, and who was when it went down. */
export class PortState {
  readonly name: string;
  /** false: not in the policy; known only because a group blocks it. */
  downlink: boolean;
  down: string | undefined;
  blocked: string | undefined;
  /** When it came up last. */
  upAt: Instant = Number.NEGATIVE_INFINITY;
  hosts = new Set<Host>();
  /** Left because of the port, oldest first. */
  left = new Set<Host>();
  /** End of the present episode of its limit. */
  fullUntil: Instant = Number.NEGATIVE_INFINITY;

  /** Its rounds of routine questions, see liveness.ts. */
  readonly turn: number;

  constructor(name: string, downlink: boolean, turn: number) {
    this.name = name;
    this.downlink = downlink;
    this.turn = turn;
  }

  /**
   * All hosts leave; they are the last in `left` from now on. Mostly nobody else is there, and then this costs nothing
   * for each host, which is some of the time from a link's loss to the wire.
   */
  empty(): ReadonlySet<Host> {
    const { hosts, left } = this;
    if (left.size === 0) {
      this.hosts = left;
      this.left = hosts;
    } else {
      for (const host of hosts) left.add(host);
      this.hosts = new Set();
    }
    return hosts;
  }

  get usable(): boolean {
    return this.downlink && this.down === undefined && this.blocked === undefined;
  }

  refusal(): RefusalReason | undefined {
    if (!this.downlink) return 'not-a-downlink';
    if (this.down !== undefined) return 'port-down';
    return this.blocked === undefined ? undefined : 'port-blocked';
  }
}

/**
 * Counts every refusal and says few of them: a flood of forged addresses costs a counter, neither memory (addresses
 * that were refused are not stored) nor a storm of events.
 */
export class Refusals {
  readonly counts: Record<RefusalReason, number> = {
    'not-a-downlink': 0,
    'source-off': 0,
    'port-down': 0,
    'port-blocked': 0,
    'bad-address': 0,
    'link-local': 0,
    'bad-mac': 0,
    'outside-prefixes': 0,
    'network-address': 0,
    'broadcast-address': 0,
    'own-address': 0,
    binding: 0,
    'static-elsewhere': 0,
    outranked: 0,
    duplicate: 0,
    refuted: 0,
    'port-limit': 0,
    'total-limit': 0,
    'claim-limit': 0,
    'search-limit': 0,
  };
  /** By port, then reason; ports that are not downlinks share one entry. */
  readonly #said = new Map<string, Map<RefusalReason, { at: Instant; suppressed: number }>>();

  refuse(turn: Turn, { address, port, mac }: Refused, reason: RefusalReason, now: Instant): void {
    this.counts[reason]++;
    // Everybody with IPv6 has one, and says so: that is nobody's news.
    if (reason === 'link-local') return;
    const key = reason === 'not-a-downlink' ? '' : port;
    let reasons = this.#said.get(key);
    if (!reasons) {
      reasons = new Map();
      this.#said.set(key, reasons);
    }
    const last = reasons.get(reason);
    if (last && now - last.at < REFUSAL_SPACING_MS) {
      last.suppressed++;
      return;
    }
    const who = mac !== undefined && CLAIMS.has(reason) ? { mac } : {};
    turn.effects.push({ type: 'refused', address, port, ...who, reason, suppressed: last?.suppressed ?? 0 });
    if (last) {
      last.at = now;
      last.suppressed = 0;
    } else reasons.set(reason, { at: now, suppressed: 0 });
  }

  forget(port: string): void {
    this.#said.delete(port);
  }
}
