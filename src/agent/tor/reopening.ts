import type { Address } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';

/**
 * The longest (ms) that ports wait for the first sign that the fabric has turned: longer than the slowest gateway we know
 * takes (BIRD computes its OSPF routes once a second), shorter than `returning.wait`. A fabric without traffic gives none.
 */
const LONGEST = 900;
/**
 * After a sign, the others have this long (ms): by now packets wait. A gateway needs a while for ten thousand hosts, and as
 * long as signs come it is still turning; but not longer than `LONGEST` in all, and what the number of hosts adds.
 */
const AFTER_SIGN = 300;
/** Where hosts wait to be announced, as long as that takes, but no longer than this (ms). */
const LONGEST_ANNOUNCING = 4_000;
const LOOK_AGAIN = 50;
/** So often (ms) they are waited for anew meanwhile, since nobody can come before the port is open: sooner than `returning.wait`. */
const WAIT_AGAIN = 500;
/** A gateway that has chosen our route still has to put it into its forwarding table (ms). */
const TABLE_WRITE = 30;
/** Beyond so many hosts a gateway takes longer for each more: to choose all of them (ms), and to write the last (ms). */
const MANY = 500;
const LONGER_PER_HOST = { turning: 0.2, writing: 0.05 } as const;

interface Batch {
  readonly ports: Set<string>;
  readonly waiting: Set<Address>;
  /** How many were expected at first, beyond what takes no longer than one. */
  readonly many: number;
  timer: Timer;
  /** May be earlier than `end`, never later. */
  timerAt: Instant;
  /** When the ports open, as it looks now, and at the latest. */
  end: Instant;
  latest: Instant;
  readonly since: Instant;
  /** The wait for the hosts began. */
  waitingSince: Instant;
  readonly finish: () => void;
}

/**
 * Opens ports after the fabric has turned to us, not before: the hosts that are expected behind them are announced
 * first, and when their traffic arrives (or nobody else is seen to claim them any more) the ports are opened.
 */
export class Reopening {
  readonly #clock: Clock;
  readonly #expect: (ports: readonly string[]) => Address[];
  readonly #open: (ports: readonly string[]) => Promise<void>;
  readonly #announcing: () => boolean;
  readonly #waitAgain: (ports: readonly string[]) => void;
  readonly #batches = new Set<Batch>();

  constructor(options: {
    clock: Clock;
    expect(ports: readonly string[]): Address[];
    open(ports: readonly string[]): Promise<void>;
    /** There are hosts that are expected, and wait to be announced. */
    announcing?(): boolean;
    /** Whoever is expected behind these ports is waited for from now on, and not from before. */
    waitAgain?(ports: readonly string[]): void;
  }) {
    this.#clock = options.clock;
    this.#expect = options.expect;
    this.#open = options.open;
    this.#announcing = () => options.announcing?.() ?? false;
    this.#waitAgain = (ports) => options.waitAgain?.(ports);
  }

  /** Resolves when the kernel has opened the ports, or when they were shut again meanwhile. */
  open(ports: readonly string[]): Promise<void> {
    // To announce thousands takes a while, and they are waited for from before it.
    const since = this.#clock.now();
    const waiting = new Set(this.#expect(ports));
    if (waiting.size === 0) return this.#open(ports);
    const many = Math.max(0, waiting.size - MANY);
    const end = since + LONGEST;
    return new Promise((resolve, reject) => {
      const batch: Batch = {
        ports: new Set(ports),
        waiting,
        many,
        since,
        waitingSince: since,
        end,
        latest: end + many * LONGER_PER_HOST.turning,
        timerAt: end,
        timer: this.#clock.schedule(end, () => this.#due(batch)),
        finish: () => {
          this.#batches.delete(batch);
          batch.timer.cancel();
          if (batch.ports.size === 0) resolve();
          else this.#open([...batch.ports]).then(resolve, reject);
        },
      };
      this.#batches.add(batch);
    });
  }

  /** Ports are shut again: they must not be opened by a wait that began before. */
  shut(ports: readonly string[]): void {
    for (const batch of [...this.#batches]) {
      for (const port of ports) batch.ports.delete(port);
      if (batch.ports.size === 0) batch.finish();
    }
  }

  /** A packet for an expected host has come: the fabric has turned. */
  arrived(address: Address): void {
    this.#turned(address, () => 0);
  }

  /** The fabric shows no rival claim any more, so the gateway has chosen ours. */
  unrivalled(address: Address): void {
    this.#turned(address, (many) => TABLE_WRITE + many * LONGER_PER_HOST.writing);
  }

  #turned(address: Address, margin: (many: number) => number): void {
    for (const batch of this.#batches) {
      if (!batch.waiting.delete(address)) continue;
      const now = this.#clock.now();
      batch.end = batch.waiting.size === 0 ? now + margin(batch.many) : Math.min(batch.latest, now + AFTER_SIGN);
      if (batch.end < batch.timerAt) this.#arm(batch);
    }
  }

  #due(batch: Batch): void {
    const now = this.#clock.now();
    if (now >= batch.end && batch.waiting.size > 0 && this.#announcing() && now < batch.since + LONGEST_ANNOUNCING) {
      batch.end = now + LOOK_AGAIN;
      batch.latest = Math.max(batch.latest, batch.end);
      if (now - batch.waitingSince >= WAIT_AGAIN) {
        batch.waitingSince = now;
        this.#waitAgain([...batch.ports]);
      }
    }
    if (now < batch.end) this.#arm(batch);
    else batch.finish();
  }

  #arm(batch: Batch): void {
    batch.timer.cancel();
    batch.timerAt = batch.end;
    batch.timer = this.#clock.schedule(batch.end, () => this.#due(batch));
  }
}
