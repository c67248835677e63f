/**
 * The one queue that every virtual cable of the machine shares: a frame that leaves a veth waits in the processor's own
 * backlog, whatever namespace it goes to. A flood in one lab fills it, and another lab's servers lose packets that no real
 * rack would have lost.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const BACKLOG = '/proc/sys/net/core/netdev_max_backlog';
/** Frames; a processor here works through this many in some 50 ms. */
const DEEP_ENOUGH = 50_000;

/** Only ever deeper: another lab may stand, and the operator may want more. The machine's until it is started again. */
export function deepenBacklog(): void {
  if (Number(readFileSync(BACKLOG, 'utf8')) < DEEP_ENOUGH) writeFileSync(BACKLOG, String(DEEP_ENOUGH));
}
