/** Requests in portions that leave other events their turn: the kernel works for milliseconds on each device that goes. */
import { type BatchResult, type Request, RTM, type Rtnetlink } from 'rtnetlink-ts';

const PORTION = 500;

export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** In order; a device's removal is a portion of its own. */
export async function sendPaced(
  rtnetlink: Pick<Rtnetlink, 'sendNow'>,
  batch: readonly Request[],
): Promise<{ readonly refused: BatchResult['refused'] }> {
  const refused: BatchResult['refused'][number][] = [];
  let start = 0;
  while (start < batch.length) {
    let end = start + 1;
    if (batch[start]!.type !== RTM.DELLINK) {
      while (end < batch.length && end - start < PORTION && batch[end]!.type !== RTM.DELLINK) end++;
    }
    const result = await rtnetlink.sendNow(batch.slice(start, end));
    for (const { index, refusal } of result.refused) refused.push({ index: start + index, refusal });
    start = end;
    if (start < batch.length) await nextTurn();
  }
  return { refused };
}
