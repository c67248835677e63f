/**
 * What a server may lose when its port is shut on purpose: what it sends into the port from the moment the switch asks
 * the kernel to shut it until its own team has moved to the other link. No more is the server's, no less is the switch's. Pure.
 */
import type { ServerLoss } from './results.ts';

/**
 * @param shutAt by server: when its port was asked to shut, ms of CLOCK_MONOTONIC
 * @param switchedAt by server: when its team sent by the other link
 * @returns one line for each hole that was not the server's own
 */
export function notTheServers(
  losses: readonly ServerLoss[],
  shutAt: Readonly<Record<string, number>>,
  switchedAt: Readonly<Record<string, number>>,
): string[] {
  return losses.flatMap(({ server, count, firstBy, last }) => {
    const [shut, switched] = [shutAt[server], switchedAt[server]];
    const what = `${server} lost ${count} packets on the way from it`;
    if (shut === undefined || switched === undefined) return [`${what}, and did not change its link`];
    if (firstBy < shut) return [`${what}, ${(shut - firstBy).toFixed(2)} ms before its port was shut`];
    if (last > switched) return [`${what}, ${(last - switched).toFixed(2)} ms after it had changed its link`];
    return [];
  });
}
