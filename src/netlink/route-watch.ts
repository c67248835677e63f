/**
 * The kernel's routes as others write them: what FRR or BIRD learned, what an engine put into its table. A socket of its
 * own, opened only where somebody asks, since a box may hold many routes.
 *
 * The kernel removes the routes of a port that is set down without telling, so what is remembered of such a port is
 * worth nothing; who remembers reads again (`routes`) when a port comes up.
 */
import { type Route, RTN, Subscription } from 'rtnetlink-ts';
import type { Clock } from '../model/clock.ts';
import { type RouteSocket, readRoutes } from './installing.ts';
import { Listeners } from './listeners.ts';

export interface RouteEvent {
  readonly before: Route | undefined;
  readonly after: Route | undefined;
}

export interface RouteWatchOptions {
  readonly netns: string | undefined;
  readonly clock: Clock;
  readonly rtnetlink: RouteSocket;
  readonly receiveBuffer: number;
  readonly onError: (error: unknown) => void;
}

export class RouteWatch {
  readonly #subscription: Subscription;
  readonly #rtnetlink: RouteSocket;
  readonly #listeners = new Listeners<RouteEvent>();

  static async open({ clock, rtnetlink, ...options }: RouteWatchOptions): Promise<RouteWatch> {
    const subscription = await Subscription.open({ ...options, kinds: ['route'], now: () => clock.now() });
    return new RouteWatch(subscription, rtnetlink);
  }

  private constructor(subscription: Subscription, rtnetlink: RouteSocket) {
    this.#subscription = subscription;
    this.#rtnetlink = rtnetlink;
    subscription.onChange((change) => {
      if (change.kind === 'route') this.#listeners.tell({ before: change.before, after: change.after });
    });
  }

  /** In the turn in which the kernel's message was read; after an overrun also what was found by comparing. */
  onRoute(listener: (event: RouteEvent) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** What the kernel holds now, of one table or of all. */
  routes(table?: number): Promise<Route[]> {
    return readRoutes(this.#rtnetlink, { type: RTN.UNICAST, ...(table === undefined ? {} : { table }) });
  }

  counters(): Readonly<Record<string, number>> {
    const { malformed, ...plain } = this.#subscription.counters;
    const reasons = Object.entries(malformed).map(([reason, count]) => [`malformed.${reason}`, count]);
    return { ...plain, ...Object.fromEntries(reasons) };
  }

  close(): void {
    this.#subscription.close();
  }
}
