/** What the installers of host routes and of learned routes have in common: paced batches and counted refusals. */
import type { BatchResult, Request, Rtnetlink } from 'rtnetlink-ts';
import type { Links } from './links.ts';

/** What installers need of the connection for requests; simulations give their own. */
export type RouteSocket = Pick<Rtnetlink, 'sendNow' | 'setRoute' | 'dumpRoutes' | 'dumpNeighbours'>;
/** What installers need of the ports. */
export type PortTable = Pick<Links, 'port' | 'portByIndex' | 'portTowards' | 'afterChange'>;

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
): Promise<number> {
  let failed = 0;
  for (let start = 0; start < items.length; start += PORTION) {
    const batch = items.slice(start, start + PORTION).flatMap(requestsFor);
    const result = await rtnetlink.sendNow(batch);
    countRefusals(counters, result);
    failed += result.refused.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return failed;
}
