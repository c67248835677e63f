/** Follows what `kernelOverlay` reads: told when it has become another. */
import { Subscription } from 'rtnetlink-ts';
import { Alarm, type Clock } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import { type KernelOverlay, kernelOverlay } from './kernel-overlay.ts';

export interface KernelOverlayOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly netns?: string;
  readonly onChange: (overlay: KernelOverlay) => void;
}

/** Milliseconds in which many notifications are one change. */
const GATHER = 200;

export class KernelOverlayWatch {
  readonly #subscription: Subscription;
  readonly #onChange: (overlay: KernelOverlay) => void;
  readonly #alarm: Alarm;
  readonly #clock: Clock;
  #overlay: KernelOverlay;
  #text: string;
  #waiting = false;

  /** Resolves with the first picture read. */
  static async open(options: KernelOverlayOptions): Promise<KernelOverlayWatch> {
    const { clock, log, netns } = options;
    const subscription = await Subscription.open({
      kinds: ['link', 'address', 'neighbour', 'fdb', 'route'],
      netns,
      now: () => clock.now(),
      onError: (error) => log.warn({ err: error }, 'the networks of others could not be read, it is tried again'),
    });
    return new KernelOverlayWatch(subscription, options);
  }

  private constructor(subscription: Subscription, { clock, onChange }: KernelOverlayOptions) {
    this.#subscription = subscription;
    this.#onChange = onChange;
    this.#clock = clock;
    this.#alarm = new Alarm(clock, () => this.#look());
    this.#overlay = this.#read();
    this.#text = JSON.stringify(this.#overlay);
    subscription.onChange(() => {
      if (this.#waiting) return;
      this.#waiting = true;
      this.#alarm.set(this.#clock.now() + GATHER);
    });
  }

  get overlay(): KernelOverlay {
    return this.#overlay;
  }

  close(): void {
    this.#alarm.set(undefined);
    this.#subscription.close();
  }

  #look(): void {
    this.#waiting = false;
    const overlay = this.#read();
    const text = JSON.stringify(overlay);
    if (text === this.#text) return;
    this.#overlay = overlay;
    this.#text = text;
    this.#onChange(overlay);
  }

  #read(): KernelOverlay {
    const all = <T>(table: ReadonlyMap<string, T>): T[] => [...table.values()];
    return kernelOverlay({
      links: all(this.#subscription.table('link')),
      addresses: all(this.#subscription.table('address')),
      neighbours: all(this.#subscription.table('neighbour')),
      fdb: all(this.#subscription.table('fdb')),
      routes: all(this.#subscription.table('route')),
    });
  }
}
