/** What a run says yes or no to. Pure. */
import type { LabResult, Row } from './results.ts';
import { isOurs } from './state.ts';

export interface Verdict {
  readonly pass: boolean;
  readonly text: string;
}

/** One for each phase in which nobody may lose a packet, and for each that failed otherwise. */
export function verdicts(rows: readonly Row[]): Verdict[] {
  return rows.flatMap((row): Verdict[] => {
    const what = `${row.case} ${row.phase}${row.tor === 'peerless' ? '' : ` (${row.tor})`}`;
    const wrong = [
      ...(row.asExpected ? [] : ['routes did not come out as expected']),
      ...(row.lossyRuns > 0 ? [`packets lost in ${row.lossyRuns} of ${row.runs} runs`] : []),
      ...(row.lostElsewhere > 0 ? [`${row.lostElsewhere} packets lost by hosts that are not concerned`] : []),
      ...row.failures,
    ];
    if (wrong.length > 0) return [{ pass: false, text: `${what}: ${wrong.join('; ')}` }];
    return row.lossless ? [{ pass: true, text: `${what}: nobody lost a packet` }] : [];
  });
}

/** Today's practice may lose what it loses; ours must not fail. */
export const passed = (result: Pick<LabResult, 'rows'>): boolean =>
  verdicts(result.rows.filter(({ tor }) => isOurs(tor))).every(({ pass }) => pass);
