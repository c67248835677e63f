/** Tells when another program has taken a table of nftables away: "nft flush ruleset", a firewall that is started anew. */
import type { Clock, Timer } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import { isOurRun, list } from './nft.ts';
import { TableWatch } from './table-watch.ts';

/** Another's reload is more than one transaction, ms. */
const CALM = 300;

export interface RemovedTableOptions {
  readonly table: { readonly family: string; readonly name: string };
  readonly clock: Clock;
  readonly log: Log;
  /** A name in /run/netns or a path; absent: where the process is. */
  readonly netns?: string | undefined;
  readonly removed: () => void;
}

/** Answers with what ends it. @throws SystemCallError */
export function watchForRemoval({ table, clock, log, netns, removed }: RemovedTableOptions): () => void {
  let looking: Timer | undefined;
  let ended = false;
  const look = async (): Promise<void> => {
    const listing = await list(['list', 'table', table.family, table.name], { netns });
    if (listing === undefined && !ended) removed();
  };
  const watch = new TableWatch({
    netns,
    isOurs: isOurRun,
    changed: () => {
      looking ??= clock.schedule(clock.now() + CALM, () => {
        looking = undefined;
        look().catch((error: unknown) => {
          log.error({ err: error }, `whether the table ${table.name} stands can not be said`);
        });
      });
    },
  });
  return () => {
    ended = true;
    looking?.cancel();
    watch.close();
  };
}
