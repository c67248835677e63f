import type { Clock, Instant, Timer } from '../../../model/clock.ts';
import type { Readiness } from './types.ts';

/** A default route that is being learned anew is missed no sooner than this (ms). */
export const RELEARN_WAIT = 10_000;
/** While one is, it is looked after this often (ms). */
const LOOK = 200;

/** `here`: learned through the port and in the kernel; `coming`: learned, on its way into the kernel. */
export type DefaultRouteState = 'here' | 'coming' | 'absent';

export interface DefaultRoutesOptions {
  readonly clock: Clock;
  state(port: string): DefaultRouteState;
  /**
   * Why what is learned over the sessions on a port may not be complete now, in words: they are made anew by a reload,
   * restart gracefully, or have not told all yet. undefined: what is absent there is absent.
   */
  learning(port: string): string | undefined;
  /** The verdict on some port may have changed with time. */
  onChange(): void;
}

/**
 * `upWhen: [default-route]`. A route that is merely learned anew, or rewritten, is not lost: one that was there is
 * taken for being there while there is a reason why it would be missing for a moment.
 */
export class DefaultRoutes {
  readonly #options: DefaultRoutesOptions;
  /** Ports whose route was there when last looked at, and since when it is excused for not being there. */
  readonly #had = new Map<string, { excusedSince: Instant | undefined }>();
  #timer: Timer | undefined;

  constructor(options: DefaultRoutesOptions) {
    this.#options = options;
  }

  readiness(port: string): Readiness {
    const state = this.#options.state(port);
    if (state === 'here') {
      this.#had.set(port, { excusedSince: undefined });
      return { ready: true, reason: 'a default route through it is installed' };
    }
    const had = this.#had.get(port);
    const excuse = state === 'coming' ? 'it is on its way into the kernel' : had && this.#options.learning(port);
    const now = this.#options.clock.now();
    if (had && excuse !== undefined && now - (had.excusedSince ?? now) < RELEARN_WAIT) {
      had.excusedSince ??= now;
      this.#lookAgain();
      return { ready: true, reason: `the default route through it is learned anew: ${excuse}` };
    }
    this.#had.delete(port);
    return { ready: false, reason: 'no default route through it is installed' };
  }

  /** The port lost its link: nothing excuses what hung on it. */
  linkLost(port: string): void {
    this.#had.delete(port);
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #lookAgain(): void {
    const { clock, onChange } = this.#options;
    this.#timer ??= clock.schedule(clock.now() + LOOK, () => {
      this.#timer = undefined;
      onChange();
    });
  }
}
