/** What a demonstration of the whole system prints: the losses of each step, and one timeline of all that was said. */
import { excesses } from './compare.ts';
import type { StepResult } from './story.ts';

export interface Told {
  /** ms of CLOCK_MONOTONIC */
  readonly at: number;
  readonly who: string;
  readonly what: string;
}

const columns = (rows: readonly (readonly string[])[]): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  '),
    )
    .join('\n');
};

const LEGEND = `Between each two of the hosts run two streams, one packet a millisecond each way: from host to host, and from the
container on one to the container on the other. NO MORE: in no direction did containers lose more than their hosts, but for
two packets a hole (its edges) and what fell due while the prober itself was not scheduled.`;

/** One line a step: all hosts beside all containers, and the pair whose containers lost most. */
export function renderSteps(steps: readonly StepResult[]): string {
  const rows = steps.map(({ step, pairs, noMore }) => {
    const worst = [...pairs].sort((a, b) => b.containers - a.containers || b.underlay - a.underlay)[0]!;
    const total = (pick: 'underlay' | 'containers') => pairs.reduce((sum, pair) => sum + pair[pick], 0);
    return [
      step,
      `${total('underlay')}`,
      `${total('containers')}`,
      worst.underlay + worst.containers === 0 ? '-' : `${worst.pair} ${worst.direction}`,
      `${worst.underlayOutage.toFixed(0)}`,
      `${worst.outage.toFixed(0)}`,
      noMore ? 'yes' : 'NO',
    ];
  });
  const head = ['STEP', 'LOST BY HOSTS', 'BY CONTAINERS', 'WORST PAIR', 'OUTAGE, HOSTS', 'CONTAINERS (ms)', 'NO MORE'];
  return [columns([head, ...rows]), '', LEGEND, ...steps.flatMap(complaints)].join('\n');
}

const complaints = ({ step, pairs }: StepResult): string[] =>
  excesses(pairs).map(
    ({ pair, direction, sent, underlay, containers, allowed }) =>
      `NO: ${step}: ${pair} ${direction}: of ${sent} packets hosts lost ${underlay}, containers ${containers}; up to ${allowed} would be no more.`,
  );

/** Milliseconds since the first step. */
export function renderTimeline(steps: readonly StepResult[], told: readonly Told[]): string {
  const first = steps[0]?.at ?? 0;
  const entries = [...steps.map(({ at, step }) => ({ at, who: '>>', what: step })), ...told]
    .filter(({ at }) => at >= first)
    .sort((a, b) => a.at - b.at);
  return entries
    .map(({ at, who, what }) => `${((at - first) / 1000).toFixed(3).padStart(9)} s  ${who.padEnd(8)} ${what}`)
    .join('\n');
}
