/** One notification socket: in order but late, or overrun; then everything is read anew after what was on its way. */
import type { Box } from './box.ts';
import type { Call, Fate } from './calls.ts';
import type { LifeClock } from './clock.ts';
import type { Random } from './random.ts';

interface NoticesOptions {
  readonly box: Box;
  readonly clock: LifeClock;
  readonly random: Random;
  readonly fate: Fate;
  story(what: string): void;
}

export class Notices {
  readonly #options: NoticesOptions;
  readonly #name: string;
  readonly #resync: () => void;
  #arrival = 0;
  #lost = false;

  constructor(options: NoticesOptions, name: string, resync: () => void) {
    this.#options = options;
    this.#name = name;
    this.#resync = resync;
  }

  tell(call: Call, say: () => void): void {
    const { clock, random, fate, story, box } = this.#options;
    if (clock.dead) return;
    if (this.#lost) {
      fate.struck(call, 'lost');
      return;
    }
    if (fate.strikes(call, 'lost')) {
      this.#lost = true;
      story(`${box.name} loses ${this.#name} notifications`);
      clock.after(random.between(5, 300), () => this.#readAnew());
      return;
    }
    const late = fate.strikes(call, 'delay');
    const at = Math.max(this.#arrival, clock.now() + (late ? random.between(1, 40) : random.between(0.02, 0.3)));
    this.#arrival = at;
    clock.schedule(at, say);
  }

  #readAnew(): void {
    const { clock } = this.#options;
    if (this.#arrival > clock.now()) {
      clock.schedule(this.#arrival, () => this.#readAnew());
      return;
    }
    this.#lost = false;
    this.#resync();
  }
}
