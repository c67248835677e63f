import type { Address } from '../model/address.ts';
import type { Clock, Timer } from '../model/clock.ts';
import type { Log } from '../model/log.ts';
import { type MapNews, type MapOptions, PortMap } from './machine/map.ts';
import { recall, remembered } from './machine/memory.ts';
import type { HistoryEntry, MapEvent, MapRow, Moment, PlaceState, SwitchView } from './machine/types.ts';
import type { MapStore } from './store.ts';

/**
 * Written this long (ms) after a change; a large map so much later that putting it together takes no more than a twentieth
 * of the time, and a slow disk has as long to rest as it took. What is lost with the power is history; the map itself is
 * heard again.
 */
const SPACING = 1_000;
const LONGEST_SPACING = 60_000;
const SHARE = 20;

/** Addresses; a gateway that routes has more urgent things to do than to judge them all at once. */
const IN_ONE_TURN = 256;
/** Their states are only counted. */
const COUNTED_PER_TURN = 1_024;

export interface PortMapOptions extends MapOptions {
  readonly clock: Clock;
  /** ms since 1970. */
  readonly wallClock: () => number;
  readonly log: Log;
  readonly store: MapStore;
  onNews(news: MapNews): void;
}

/** The map on the clock and the disk: events of one turn are judged together in the next. */
export class GatewayMap {
  readonly #options: PortMapOptions;
  readonly #map: PortMap;
  #flushTimer: Timer | undefined;
  #dueTimer: Timer | undefined;
  #saveTimer: Timer | undefined;
  #saving: Promise<void> | undefined;
  #spacing = SPACING;
  #changed = false;
  #closed = false;
  #unsaved: string | undefined;
  /** Who asked for a judgement, and how many flushes it takes at most, whatever is heard meanwhile. */
  #waiters: { flushes: number; readonly resolve: () => void }[] = [];

  constructor(options: PortMapOptions) {
    this.#options = options;
    this.#map = new PortMap(options);
  }

  /** Takes up what an earlier life wrote; without a file, or with one that can't be used (the log says why), nothing. */
  load(): void {
    const { store, log } = this.#options;
    try {
      const values = store.read();
      const unusable = values === undefined ? 0 : recall(this.#map, values, this.#moment());
      if (unusable > 0) log.warn({ unusable }, 'part of the map of before can not be used');
    } catch (error) {
      log.warn({ err: error }, 'the map of before can not be used; starting without');
    }
    this.#schedule();
  }

  handle(event: MapEvent): void {
    this.#map.handle(event, this.#moment());
    if (this.#closed) return;
    const { clock } = this.#options;
    this.#flushTimer ??= clock.schedule(clock.now(), () => this.#flush(IN_ONE_TURN));
  }

  configure(history: number): void {
    this.#map.configure(history);
    this.#flush();
  }

  /**
   * Resolves when what was heard so far is judged. What is asked below is answered as it was judged last: to judge ten
   * thousand addresses because somebody asks would keep the gateway from its work.
   */
  judged(): Promise<void> {
    if (!this.#flushTimer) return Promise.resolve();
    const flushes = 1 + Math.ceil(this.#map.waiting / IN_ONE_TURN);
    return new Promise((resolve) => this.#waiters.push({ flushes, resolve }));
  }

  /** That something is known of; `row` says what, if they are hosts. */
  addresses(): Address[] {
    return this.#map.addresses();
  }

  row(address: Address): MapRow | undefined {
    return this.#map.row(address);
  }

  /** How many addresses are in which state. */
  async states(): Promise<ReadonlyMap<PlaceState, number>> {
    const counts = new Map<PlaceState, number>();
    for (const [index, address] of this.addresses().entries()) {
      const state = this.#map.stateOf(address);
      if (state) counts.set(state, (counts.get(state) ?? 0) + 1);
      if (index % COUNTED_PER_TURN === COUNTED_PER_TURN - 1) await new Promise((resolve) => setImmediate(resolve));
    }
    return counts;
  }

  switches(): SwitchView[] {
    return this.#map.switchViews();
  }

  /** In no order over several switches. */
  history(): HistoryEntry[] {
    return this.#map.history.snapshot();
  }

  /** Ports of the gateway that are known, of before too. */
  gatewayPorts(): string[] {
    return [...this.#map.ports.all()].map(({ port }) => port);
  }

  /** Why the last attempt to write the map failed. */
  get unsaved(): string | undefined {
    return this.#unsaved;
  }

  counters(): Record<string, number> {
    return this.#map.counters();
  }

  /** Writes what is known now. */
  async close(): Promise<void> {
    this.#flush();
    this.#closed = true;
    this.#flushTimer?.cancel();
    this.#dueTimer?.cancel();
    this.#saveTimer?.cancel();
    await this.#saving;
    if (this.#changed) await this.#save();
  }

  #moment(): Moment {
    const { clock, wallClock } = this.#options;
    return { now: clock.now(), wall: wallClock() };
  }

  #flush(most?: number): void {
    const { clock, onNews } = this.#options;
    this.#flushTimer?.cancel();
    this.#flushTimer = undefined;
    const news = this.#map.flush(this.#moment(), most);
    if (news.entries.length > 0 || news.explained) this.#keep();
    if (news.entries.length + news.refusals.length > 0) onNews(news);
    if (news.more && !this.#closed) this.#flushTimer = clock.schedule(clock.now(), () => this.#flush(IN_ONE_TURN));
    this.#schedule();
    this.#answerWaiters(news.more);
  }

  #answerWaiters(more: boolean): void {
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((waiter) => more && --waiter.flushes > 0);
    for (const { resolve } of waiters.filter((waiter) => !this.#waiters.includes(waiter))) resolve();
  }

  #schedule(): void {
    this.#dueTimer?.cancel();
    this.#dueTimer = undefined;
    const due = this.#map.nextDeadline();
    if (due === undefined || this.#closed) return;
    this.#dueTimer = this.#options.clock.schedule(due, () => this.#flush());
  }

  #keep(): void {
    this.#changed = true;
    if (this.#saveTimer || this.#closed) return;
    const { clock } = this.#options;
    this.#saveTimer = clock.schedule(clock.now() + this.#spacing, () => {
      this.#saveTimer = undefined;
      this.#saving = this.#save();
    });
  }

  async #save(): Promise<void> {
    await this.#saving;
    const { store, log, clock } = this.#options;
    this.#changed = false;
    const began = clock.now();
    let drawn = began;
    // The disk takes its time after the last of them, and costs the gateway nothing.
    function* values(map: PortMap) {
      yield* remembered(map);
      drawn = clock.now();
    }
    try {
      await store.write(values(this.#map));
      const spacing = Math.max(SPACING, SHARE * (drawn - began), clock.now() - began);
      this.#spacing = Math.min(spacing, LONGEST_SPACING);
      this.#unsaved = undefined;
    } catch (error) {
      this.#keep();
      if (this.#unsaved === undefined) log.error({ err: error }, 'the map was not saved');
      this.#unsaved = (error as Error).message;
    }
  }
}
