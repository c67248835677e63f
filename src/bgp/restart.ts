import type { Family } from '../model/address.ts';
import type { Clock, Timer } from '../model/clock.ts';
import type { Negotiated, NeighborRestart, RestartWords } from './machine/open.ts';
import type { FsmEvent } from './machine/table.ts';

/**
 * Graceful restart (RFC 4724): what is announced and what is learned outlives a session whose TCP connection broke
 * without a word, for as long as the one that restarts said it would need.
 *
 * As the one that restarts: the agent's kernel routes stay when it is killed. The next life says so in its OPEN (R and F
 * bits), announces hosts as it hears of them, and ends its table with End-of-RIB only when the host table is settled:
 * hosts that the neighbour still has, and that did not answer by then, go at that moment.
 *
 * As the one that helps (`StaleRoutes`): the neighbour's routes stay in use until it has said them again.
 */
export interface RestartOptions {
  /** Milliseconds, whole seconds from 1,000 to 4,095,000: how long a neighbour keeps our routes while we are away. */
  readonly restartTime: number;
}

/** Where the speaker's own restart stands. */
export class OwnRestart {
  /** Forwarding state of an earlier life was found. */
  #adopted = false;
  #settled = true;

  begin(adopted: boolean): void {
    this.#adopted = adopted;
    this.#settled = !adopted;
  }

  settle(): void {
    this.#settled = true;
  }

  /** The table is whole: End-of-RIB may follow it. */
  get settled(): boolean {
    return this.#settled;
  }

  /**
   * The R bit is for sessions lost by the restart, so not for a neighbour that has had one since. The F bit says that
   * forwarding state survived whatever came before the session: not a loss of power, nor one of the link.
   */
  words({ restartTime }: RestartOptions, firstSession: boolean, linkLost: boolean): RestartWords {
    return {
      restartTime,
      restarting: firstSession && !this.#settled,
      forwarding: firstSession ? this.#adopted : !linkLost,
    };
  }
}

/** RFC 4724 §4.2 leaves an upper bound to us, for a neighbour that came back and never ends its table (ms). */
const LONGEST_TABLE = 60_000;

/** The routes of one neighbour that its lost session has left behind. */
export class StaleRoutes {
  readonly #clock: Clock;
  readonly #flush: (family: Family | undefined) => void;
  readonly #families = new Set<Family>();
  #timer: Timer | undefined;

  /** `flush`: what is still stale goes, of this family or of all. */
  constructor(clock: Clock, flush: (family: Family | undefined) => void) {
    this.#clock = clock;
    this.#flush = flush;
  }

  get kept(): boolean {
    return this.#families.size > 0;
  }

  /** Families that a session which ended by `cause` leaves to wait for the neighbour; none unless it broke in silence. */
  lost(negotiated: Negotiated | undefined, cause: FsmEvent): ReadonlySet<Family> {
    this.#families.clear();
    this.#timer?.cancel();
    const restart = negotiated?.restart;
    if (cause !== 'TcpConnectionFails' || !restart || restart.restartTime === 0) return this.#families;
    for (const family of restart.families.keys()) if (negotiated.families.has(family)) this.#families.add(family);
    this.#wait(restart.restartTime);
    return this.#families;
  }

  /** The neighbour is back: what it could not preserve goes now, the rest with its End-of-RIB. */
  established(restart: NeighborRestart | undefined): void {
    if (!this.kept) return;
    for (const family of [...this.#families]) if (!restart?.families.get(family)) this.endOfRib(family);
    if (this.kept) this.#wait(LONGEST_TABLE);
  }

  endOfRib(family: Family): void {
    if (!this.#families.delete(family)) return;
    if (!this.kept) this.#timer?.cancel();
    this.#flush(family);
  }

  /** There is no more hope: the link is down, or somebody knows that the neighbour is. */
  abandon(): void {
    if (!this.kept) return;
    this.#families.clear();
    this.#timer?.cancel();
    this.#flush(undefined);
  }

  #wait(time: number): void {
    this.#timer?.cancel();
    this.#timer =
      this.#families.size === 0 ? undefined : this.#clock.schedule(this.#clock.now() + time, () => this.abandon());
  }
}
