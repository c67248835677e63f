/** What a demonstration of the whole system prints: the losses of each step, and one timeline of all that was said. */
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

/** One line a step: the worst pair, hosts beside containers. */
export function renderSteps(steps: readonly StepResult[]): string {
  const rows = steps.map(({ step, pairs, equal }) => {
    const worst = [...pairs].sort((a, b) => b.containers - a.containers || b.underlay - a.underlay)[0]!;
    const total = (pick: 'underlay' | 'containers') => pairs.reduce((sum, pair) => sum + pair[pick], 0);
    return [
      step,
      `${total('underlay')}`,
      `${total('containers')}`,
      worst.underlay + worst.containers === 0 ? '-' : `${worst.pair} ${worst.direction}`,
      `${worst.underlayOutage.toFixed(0)}`,
      `${worst.outage.toFixed(0)}`,
      equal ? 'yes' : 'NO',
    ];
  });
  const head = ['STEP', 'LOST BY HOSTS', 'BY CONTAINERS', 'WORST PAIR', 'OUTAGE, HOSTS', 'CONTAINERS (ms)', 'EQUAL'];
  return columns([head, ...rows]);
}

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
