/**
 * Who is at the other end of each port, as LLDP says: shown to people beside the port, and nothing is decided by it.
 * lldpd speaks the protocol (on SONiC its own container does, and tells the database); we only read. Where there is none,
 * nothing is shown and nothing is said.
 */
import type { Clock, Timer } from '../../model/clock.ts';
import { isUp, type PortChange, type PortNeighbour } from '../../model/ports.ts';
import type { NeighbourTable } from './parse.ts';

export { Lldpcli } from './lldpcli.ts';
export type { NeighbourTable } from './parse.ts';

/** LLDP's own interval (IEEE 802.1AB msgTxInterval). */
const INTERVAL = 30_000;
/** A neighbour says who he is within a second of a link's coming up (IEEE 802.1AB fast start). */
const SOON = 3_000;
const LONGEST_BACKOFF = 10 * 60_000;

export interface LldpSource {
  /** Undefined: there is nobody to ask. */
  look(): Promise<NeighbourTable | undefined>;
  close(): void;
}

/** For who doesn't want to know. */
export const NO_LLDP: LldpSource = { look: () => Promise.resolve(undefined), close: () => undefined };

const NOBODY: readonly PortNeighbour[] = [];

export class Lldp {
  readonly #source: LldpSource;
  readonly #clock: Clock;
  #table: NeighbourTable = new Map();
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #looking = false;
  #backoff = INTERVAL;
  #running = false;

  constructor(source: LldpSource, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  start(): void {
    this.#running = true;
    this.#lookIn(SOON);
  }

  /** At a port that came up there may be somebody new. */
  portChanged({ before, after }: Pick<PortChange, 'before' | 'after'>): void {
    if (!isUp(after) || isUp(before)) return;
    // Without an lldpd that is no reason to look more often.
    if (this.#running && this.#backoff === INTERVAL) this.#lookIn(SOON);
  }

  of(port: string): readonly PortNeighbour[] {
    return this.#table.get(port) ?? NOBODY;
  }

  stop(): void {
    this.#running = false;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#source.close();
  }

  #lookIn(ms: number): void {
    const at = this.#clock.now() + ms;
    if (this.#looking || at >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#clock.schedule(at, () => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.#looking = true;
      this.#source.look().then(
        (table) => this.#looked(table),
        () => this.#looked(undefined),
      );
    });
  }

  #looked(table: NeighbourTable | undefined): void {
    this.#looking = false;
    this.#table = table ?? new Map();
    this.#backoff = table ? INTERVAL : Math.min(this.#backoff * 2, LONGEST_BACKOFF);
    if (this.#running) this.#lookIn(this.#backoff);
  }
}
