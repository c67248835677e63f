/** What the installers of host routes and of learned routes have in common: paced batches and counted refusals. */
import { AF, type BatchResult, type Refusal, type Request, type Route, RTN, type Rtnetlink } from 'rtnetlink-ts';
import { type Address, type Prefix, parseAddress, prefixLength } from '../model/address.ts';
import type { Clock, Timer } from '../model/clock.ts';
import type { Links } from './links.ts';

/** What installers need of the connection for requests; simulations give their own. */
export type RouteSocket = Pick<Rtnetlink, 'sendNow' | 'setRoute' | 'dumpRoutes' | 'dumpNeighbours'>;
/** What installers need of the ports. */
export type PortTable = Pick<Links, 'port' | 'portByIndex' | 'portTowards' | 'afterChange' | 'afterResync'>;

/**
 * The table in which a route onto this interface is looked up: its VRF's, when it is in one (what comes in by a member of
 * a VRF is looked up there and nowhere else), or `table`.
 */
export function tableOf(links: Pick<PortTable, 'portByIndex'>, ifindex: number, table: number): number {
  const master = links.portByIndex(ifindex)?.master ?? 0;
  const vrf = master === 0 ? undefined : links.portByIndex(master);
  return vrf?.vrfTable ?? table;
}

export interface ReconcileReport {
  readonly kept: number;
  readonly added: number;
  readonly removed: number;
  /** Requests that the kernel refused. */
  readonly failed: number;
}

export type Counters = Record<string, number>;

export function countRefusals(counters: Counters, { refused }: BatchResult): void {
  for (const { refusal } of refused) {
    const name = `${refusal.request} ${refusal.code}`;
    counters[name] = (counters[name] ?? 0) + 1;
  }
}

/** What a deletion is answered with when there is nothing left to delete. */
const NOTHING_THERE = new Set(['ESRCH', 'ENOENT', 'ENODEV', 'ENXIO']);

/** There was something to delete, and it is still there. */
export const isLeftOver = ({ request, code }: Refusal): boolean =>
  request.startsWith('RTM_DEL') && !NOTHING_THERE.has(code);

const FIRST_RETRY = 1_000;
/** Each time costs one request for each route that was refused; but an old way may lead packets astray for as long. */
const LONGEST_RETRY = 2_000;
/** A hundred thousand are asked for only every half minute. */
const RETRY_OF_EACH = 0.3;

/** How long (ms) to wait before what the kernel refused is asked for again. */
export class RetryPause {
  #pause = FIRST_RETRY;

  /** `count`: routes that would be asked for. */
  next(count: number): number {
    const pause = Math.max(this.#pause, count * RETRY_OF_EACH);
    this.#pause = Math.min(2 * this.#pause, LONGEST_RETRY);
    return pause;
  }

  /** Something was taken. */
  reset(): void {
    this.#pause = FIRST_RETRY;
  }
}

const RESTORE_RETRY = 1000;

/**
 * After link notifications were lost: a port may have been set down and up again, which takes its routes without a word
 * and shows no difference afterwards. So the kernel's tables are read and what is missing is written; tables that can
 * not be read now are read a second later.
 */
export class Restoring {
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #restore: () => Promise<void>;
  readonly #unsubscribe: () => void;
  #timer: Timer | undefined;
  #running = false;
  #again = false;
  #closed = false;

  constructor(links: PortTable, clock: Clock, counters: Counters, restore: () => Promise<void>) {
    this.#clock = clock;
    this.#counters = counters;
    this.#restore = restore;
    this.#unsubscribe = links.afterResync(() => this.start());
  }

  /** Now, or again after the reading that is under way. */
  start(): void {
    this.#again = this.#running;
    if (this.#running || this.#closed) return;
    this.#running = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    const over = (): void => {
      this.#running = false;
      if (this.#again) this.start();
    };
    this.#restore().then(over, () => {
      this.#counters.unread = (this.#counters.unread ?? 0) + 1;
      this.startLater();
      over();
    });
  }

  startLater(): void {
    if (!this.#closed) this.#timer ??= this.#clock.schedule(this.#clock.now() + RESTORE_RETRY, () => this.start());
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#timer?.cancel();
  }
}

const PORTION = 500;

/**
 * Sends what is not urgent in portions and gives way to events between them. `requestsFor` is asked just before its
 * portion goes out, so that it can leave out what has been overtaken.
 *
 * @returns how many requests were refused
 */
export async function sendPaced<T>(
  rtnetlink: Pick<Rtnetlink, 'sendNow'>,
  items: readonly T[],
  requestsFor: (item: T) => readonly Request[],
  counters: Counters,
  portion = PORTION,
): Promise<number> {
  let failed = 0;
  for (let start = 0; start < items.length; start += portion) {
    const batch = items.slice(start, start + portion).flatMap(requestsFor);
    const result = await rtnetlink.sendNow(batch);
    countRefusals(counters, result);
    failed += result.refused.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return failed;
}

/** Of both families. */
export async function readRoutes(
  rtnetlink: Pick<RouteSocket, 'dumpRoutes'>,
  filter: Omit<Parameters<RouteSocket['dumpRoutes']>[0], 'family'>,
): Promise<Route[]> {
  const ipv4 = await rtnetlink.dumpRoutes({ ...filter, family: AF.INET });
  return ipv4.concat(await rtnetlink.dumpRoutes({ ...filter, family: AF.INET6 }));
}

/** The address of a route that has the form of ours. */
export function hostAddress(route: Route): Address | undefined {
  const bits = route.family === AF.INET ? 32 : 128;
  const prefix = route.destination as Prefix;
  const direct = route.type === RTN.UNICAST && route.nextHops.length === 1 && route.nextHops[0]!.ifindex !== undefined;
  return direct && prefixLength(prefix) === bits ? parseAddress(prefix.slice(0, prefix.indexOf('/'))) : undefined;
}
