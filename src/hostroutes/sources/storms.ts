import type { Address } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import { STORM_SAMPLE } from '../../netlink/frames/index.ts';
import type { HostEvent } from '../machine/types.ts';
import type { PortEar } from '../options.ts';

const ROUND = 1_000;
/** What waited in the kernel's own queues when a storm was noticed has been worked off. */
const AFTERWARDS = 100;
/** Frames a second that a port may have at the least, and for each host that its limit allows (a contested one answers four times). */
const LEAST = 4_096;
const PER_HOST = 16;
/** Rounds of calm after which a storm is over. */
const CALM = 3;

interface Storm {
  readonly ear: PortEar;
  known: ReadonlySet<Address>;
  /** Frames of this round that came through by chance: each stands for `STORM_SAMPLE`. */
  sampled: number;
  /** Frames of this round that spoke for known hosts. */
  heard: number;
  /** The storm goes by the names of the known hosts: they are sampled like everybody. */
  deaf: boolean;
  calm: number;
  /** Not looked at so far, by estimate. */
  shed: number;
  timer: Timer;
  afterwards: Timer;
}

export interface StormOptions {
  readonly clock: Clock;
  /** Hosts that a port may have. */
  perPort(): number;
  knownOn(port: string): readonly Address[];
  /** Takes out of the kernel's neighbour table what a storm on that port has put there. */
  weed(port: string): void;
  onStorm(port: string, began: boolean, reason: string): void;
}

/**
 * A port on which more ARP and neighbour discovery is spoken than any honest server needs: its known hosts are heard on,
 * everybody else in samples, so that neither the loop nor the other ports pay for it. The kernel drops the rest before
 * anybody is woken.
 */
export class Storms {
  readonly count = { storms: 0, 'frames.storm': 0 };
  readonly #options: StormOptions;
  readonly #storms = new Map<string, Storm>();
  readonly #dropped = new WeakMap<PortEar, number>();
  readonly #rounds = new Map<string, { start: Instant; frames: number }>();

  constructor(options: StormOptions) {
    this.#options = options;
  }

  get ports(): string[] {
    return [...this.#storms.keys()];
  }

  /** In a storm the kernel answers nobody on its port, so who is known there is answered by us. */
  answers(port: string, address: Address): boolean {
    return this.#storms.get(port)?.known.has(address) === true;
  }

  has(port: string): boolean {
    return this.#storms.has(port);
  }

  /** So many frames were read, and that is what they said. */
  read(port: string, ear: PortEar, frames: number, events: readonly HostEvent[]): void {
    const storm = this.#storms.get(port);
    if (storm?.ear === ear) {
      let known = 0;
      for (const event of events) if ('address' in event && storm.known.has(event.address)) known++;
      storm.sampled += frames - known;
      storm.heard += known;
      if (storm.heard > this.#limit && !storm.deaf) {
        storm.deaf = true;
        this.#narrow(port, storm);
      }
      return;
    }
    const now = this.#options.clock.now();
    let round = this.#rounds.get(port);
    if (!round) {
      round = { start: now, frames: 0 };
      this.#rounds.set(port, round);
    } else if (now - round.start >= ROUND) {
      round.start = now;
      round.frames = 0;
    }
    round.frames += frames;
    if (round.frames > this.#limit) this.#begin(port, ear);
  }

  /** There was more to read than one turn may: what the kernel dropped meanwhile was spoken as well. */
  overrun(port: string, ear: PortEar): void {
    const before = this.#dropped.get(ear) ?? 0;
    const dropped = ear.dropped();
    this.#dropped.set(ear, dropped);
    if (dropped > before && !this.has(port)) this.read(port, ear, dropped - before, []);
  }

  forget(port: string): void {
    const storm = this.#storms.get(port);
    storm?.timer.cancel();
    storm?.afterwards.cancel();
    this.#storms.delete(port);
    this.#rounds.delete(port);
  }

  close(): void {
    for (const port of this.ports) this.forget(port);
  }

  get #limit(): number {
    return Math.max(LEAST, PER_HOST * this.#options.perPort());
  }

  #begin(port: string, ear: PortEar): void {
    if (!ear.narrow) return;
    this.forget(port);
    const { weed } = this.#options;
    const timer = this.#after(ROUND, () => this.#round(port));
    const afterwards = this.#after(AFTERWARDS, () => weed(port));
    const known = new Set<Address>();
    const storm = { ear, known, sampled: 0, heard: 0, deaf: false, calm: 0, shed: 0, timer, afterwards };
    this.#storms.set(port, storm);
    this.#narrow(port, storm);
    weed(port);
    this.count.storms++;
    const reason = `more than ${this.#limit} ARP and ND frames a second on ${port}: only its known hosts are listened to, and samples`;
    this.#options.onStorm(port, true, reason);
  }

  #after(ms: number, run: () => void): Timer {
    const { clock } = this.#options;
    return clock.schedule(clock.now() + ms, run);
  }

  #round(port: string): void {
    const storm = this.#storms.get(port);
    if (!storm) return;
    const frames = storm.sampled * STORM_SAMPLE;
    const shed = storm.sampled * (STORM_SAMPLE - 1);
    storm.shed += shed;
    this.count['frames.storm'] += shed;
    storm.sampled = 0;
    storm.heard = 0;
    storm.calm = frames < this.#limit / 4 ? storm.calm + 1 : 0;
    this.#options.weed(port);
    if (storm.calm >= CALM) {
      this.forget(port);
      storm.ear.narrow?.(undefined);
      this.#options.onStorm(port, false, `the storm on ${port} is over; about ${storm.shed} frames were not looked at`);
      return;
    }
    storm.timer = this.#after(ROUND, () => this.#round(port));
    this.#narrow(port, storm);
  }

  #narrow(port: string, storm: Storm): void {
    const known = storm.deaf ? [] : this.#options.knownOn(port);
    storm.known = new Set(known);
    storm.ear.narrow?.(known);
  }
}
