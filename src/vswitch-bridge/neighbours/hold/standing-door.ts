/**
 * A door that is there as long as we are: when somebody removes it another takes its place. In between there is none, and
 * what would go through it goes on without being held.
 */
import type { Rtnetlink } from 'rtnetlink-ts';
import { Alarm, type Clock, type Instant } from '../../../model/clock.ts';
import { Door } from './door.ts';
import type { HeldFrame } from './layout.ts';

/** Between two doors, and two attempts to have another, ms: with one who removes it again and again we don't race. */
const AGAIN = 1_000;
const NONE = 0;

export interface StandingDoorOptions {
  readonly rtnetlink: Rtnetlink;
  readonly netns: string | undefined;
  readonly clock: Clock;
  onFrames(frames: readonly HeldFrame[]): void;
  /** It has another number now. */
  onChange(): void;
  onProblem(problem: string, fields: object): void;
}

export class StandingDoor {
  readonly #options: StandingDoorOptions;
  readonly #next: Alarm;
  #door: Door;
  /** The door has gone, and the next is not there yet. */
  #isGone = false;
  /** When the present one was made. */
  #since: Instant;
  #replacing: Promise<void> = Promise.resolve();
  #closed = false;

  /** @throws NetlinkError, SystemCallError */
  static async open(options: StandingDoorOptions): Promise<StandingDoor> {
    return new StandingDoor(options, await Door.open(options));
  }

  private constructor(options: StandingDoorOptions, door: Door) {
    this.#options = options;
    this.#door = door;
    this.#since = options.clock.now();
    this.#next = new Alarm(options.clock, () => {
      this.#replacing = this.#replace();
    });
  }

  /** 0: there is none. */
  get ifindex(): number {
    return this.#isGone ? NONE : this.#door.ifindex;
  }

  /** Back into the tunnel device, with or without a door. @returns whether the kernel took it */
  send(frame: HeldFrame): boolean {
    return this.#door.send(frame);
  }

  /** Any interface of the namespace. */
  linkGone(ifindex: number): void {
    if (this.#closed || this.#isGone || ifindex !== this.#door.ifindex) return;
    const { clock, onChange, onProblem } = this.#options;
    this.#isGone = true;
    onChange();
    onProblem('somebody has removed the interface by which packets are held: it is made again', {});
    this.#next.set(Math.max(clock.now(), this.#since + AGAIN));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#next.set(undefined);
    await this.#replacing;
    await this.#door.close();
  }

  async #replace(): Promise<void> {
    const { clock, onChange, onProblem, rtnetlink } = this.#options;
    try {
      const door = await Door.open(this.#options);
      if (this.#closed || !rtnetlink.getLinkNow({ ifindex: door.ifindex })) {
        await door.close();
        throw new Error('it has gone again');
      }
      const before = this.#door;
      this.#door = door;
      this.#isGone = false;
      this.#since = clock.now();
      onChange();
      await before.close();
    } catch (error) {
      if (this.#closed) return;
      onProblem('the interface by which packets are held can not be made', { error });
      if (this.#isGone) this.#next.set(clock.now() + AGAIN);
    }
  }
}
