import type { Address } from '../../../model/address.ts';
import type { Clock, Instant, Timer } from '../../../model/clock.ts';
import { isUp, type LinkState, onLink } from '../../../model/ports.ts';
import type { LearnedTables } from './learned-tables.ts';
import { type Outside, type Protocol, type Readiness, type Speakers, waysOf } from './types.ts';

/**
 * A gateway that announces no route at all, or one that our kernel refuses, still counts as ready after this long (ms), or
 * nothing would ever reopen.
 */
const NO_ROUTES_WAIT = 10_000;
/**
 * What we announce before the gateway has found its way to us (its SPF throttle) waits there for its next calculation of
 * all external routes, a second later at FRR; what we announce after that is taken up at once. So an adjacency is of use
 * this long (ms) after it is Full.
 */
export const OSPF_SETTLE = 1_000;
/**
 * Once one session is of use, the others that should come up are waited for, this long (ms) after the first came up: a
 * gateway prefers what one protocol says to what another does, and IPv6 has a session of its own. One that never comes must
 * not keep the ports shut.
 */
const STRAGGLERS_WAIT = 5_000;
/** While sessions are up and their routes are waited for, readiness is judged this often (ms). */
const ASK_AGAIN = 50;

export interface UpstreamOptions {
  readonly clock: Clock;
  readonly links: LinkState;
  readonly speakers: Speakers;
  readonly tables: LearnedTables;
  readonly outside: Outside | undefined;
  /** Ask `readiness` again. */
  onChange(): void;
}

/** Make-before-break: would a server that comes back now find a working path? */
export class Upstream {
  readonly #options: UpstreamOptions;
  /** When the present adjacency of a protocol began, for NO_ROUTES_WAIT. */
  readonly #upSince = new Map<Protocol, Instant>();
  #timer: Timer | undefined;

  constructor(options: UpstreamOptions) {
    this.#options = options;
  }

  /** At least one protocol has a session, what it learned there is in the kernel, and the others have it too or have had their time. */
  readiness(): Readiness {
    const { outside } = this.#options;
    const facing = this.#facing();
    if (facing.length === 0 && !outside) {
      return { ready: true, reason: 'no routing protocol has a neighbour in the fabric' };
    }
    const reasons: string[] = [];
    for (const protocol of facing) {
      const verdict = this.of(protocol);
      if (verdict.ready) {
        const straggler = this.#straggler();
        return straggler === undefined ? verdict : { ready: false, reason: straggler };
      }
      reasons.push(verdict.reason);
    }
    const other = outside?.readiness();
    if (other?.ready) return other;
    return { ready: false, reason: [...reasons, ...(other ? [other.reason] : [])].join('; ') };
  }

  of(protocol: Protocol): Readiness {
    const name = protocol.toUpperCase();
    const since = this.#upSince.get(protocol);
    if (since === undefined) return { ready: false, reason: `${name}: no session` };
    const { complete, size } = this.#options.tables.of(protocol);
    const standing = this.#options.clock.now() - since;
    const waited = standing >= NO_ROUTES_WAIT;
    if (!complete && !waited) return { ready: false, reason: `${name}: routes are on their way into the kernel` };
    if (protocol === 'ospf' && standing < OSPF_SETTLE) {
      return { ready: false, reason: `${name}: the gateway may still be computing its way to us` };
    }
    const announced = protocol === 'bgp' ? this.#initialRoutesReceived() : size > 0;
    if (!announced && !waited) return { ready: false, reason: `${name}: waiting for the gateway's routes` };
    const routes = complete ? `${size} routes installed` : 'routes that are still not in the kernel are not waited for';
    return { ready: true, reason: `${name}: session up, ${routes}` };
  }

  sessionChanged(protocol: Protocol, up: boolean, at: Instant): void {
    if (up && !this.#upSince.has(protocol)) {
      this.#upSince.set(protocol, at);
      this.#askAgain();
    } else if (!up && !this.#anyUp(protocol)) this.#upSince.delete(protocol);
    this.#options.onChange();
  }

  close(): void {
    this.#timer?.cancel();
  }

  /**
   * Readiness also comes with an End-of-RIB, or with the passing of time, which nobody reports: while it is due and
   * missing, or may still be lost and come with time again, it is asked for.
   */
  #askAgain(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#timer = clock.schedule(clock.now() + ASK_AGAIN, () => {
      this.#options.onChange();
      const young = clock.now() - Math.max(...this.#upSince.values()) <= NO_ROUTES_WAIT;
      if (this.#upSince.size > 0 && (young || !this.readiness().ready)) this.#askAgain();
    });
  }

  #anyUp(protocol: Protocol): boolean {
    const { ospf, bgp } = this.#options.speakers;
    return protocol === 'ospf'
      ? (ospf?.neighbors().some((neighbor) => neighbor.state === 'Full') ?? false)
      : waysOf(bgp).some((session) => session.state === 'Established');
  }

  /** BGP may be spoken with servers alone (`hostRoutes.sources.bgp`), and then has no session to wait for. */
  #facing(): Protocol[] {
    const { speakers, tables } = this.#options;
    return [...tables.protocols()].filter((protocol) => protocol === 'ospf' || speakers.bgp?.sessions().length !== 0);
  }

  /** What is still to come beside a session that is of use. */
  #straggler(): string | undefined {
    const { clock, links, speakers } = this.#options;
    if (clock.now() - Math.min(...this.#upSince.values()) >= STRAGGLERS_WAIT) return undefined;
    for (const protocol of this.#facing()) {
      const verdict = this.of(protocol);
      if (!verdict.ready) return verdict.reason;
    }
    const up = [...links.ports()].filter(isUp);
    for (const { neighbor, interface: name, state, initialRoutesReceived } of waysOf(speakers.bgp)) {
      if (state === 'Established' && initialRoutesReceived) continue;
      const reachable = up.some((port) => port.name === name || onLink(port, neighbor));
      if (reachable) return `BGP: waiting for ${neighbor} too`;
    }
    return undefined;
  }

  #initialRoutesReceived(): boolean {
    const bgp = this.#options.speakers.bgp!;
    return waysOf(bgp).some(
      (session) => session.state === 'Established' && bgp.initialRoutesReceived(session.neighbor as Address),
    );
  }
}
