import type { HostRoutes } from '../../hostroutes/index.ts';
import type { Instant } from '../../model/clock.ts';
import type { PortGroups } from './port-groups.ts';

/** A port that has not come up this long (ms) after it was held back has lost its carrier meanwhile. */
const LONGEST = 60_000;
/** Up again so soon (ms) after its opening, and nobody was there meanwhile: no server comes back, the link is training. */
const TRAINING = 10_000;

interface Options {
  /** `hostRoutes.returning.bounceFrom`. */
  from(): number;
  readonly hosts: Pick<HostRoutes, 'expectable' | 'remembered'>;
  readonly groups: Pick<PortGroups, 'bounce'>;
}

/**
 * The way back of thousands over one link. A server uses its old link so and so long after it has carrier (its `updelay`),
 * whoever has been told by then; and to tell the fabric of thousands takes longer. So such a port is shut again at once,
 * the fabric told, and the port opened when it has turned: the server's wait begins when all is ready. Meanwhile it stays
 * where it is: only hosts that another switch announces count.
 */
export class Crowds {
  readonly #options: Options;
  /** Ports that were held back, and have not come up since. */
  readonly #held = new Map<string, Instant>();
  /** When they came up after that. */
  readonly #opened = new Map<string, Instant>();

  constructor(options: Options) {
    this.#options = options;
  }

  /** A port has come up. true: it is shut again, and its hosts are expected when it is opened. */
  holdBack(port: string, now: Instant): boolean {
    const { from, hosts, groups } = this.#options;
    const before = this.#held.get(port);
    this.#held.delete(port);
    if (before !== undefined && now - before < LONGEST) {
      // Its opening: who has not been announced by now is when he is heard, like any other.
      this.#opened.set(port, now);
      return false;
    }
    const opened = this.#opened.get(port);
    if (opened !== undefined && now - opened < TRAINING && !this.#cameSince(port, opened)) return false;
    const least = from();
    const count = least === Number.POSITIVE_INFINITY ? 0 : hosts.expectable(port);
    if (count < least || !groups.bounce(port, `${port} is back, and the fabric is told of its ${count} hosts first`))
      return false;
    this.#held.set(port, now);
    return true;
  }

  #cameSince(port: string, since: Instant): boolean {
    return this.#options.hosts.remembered(port).some(({ leftAt }) => leftAt >= since);
  }
}
