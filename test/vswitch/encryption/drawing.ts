/** The machine as docs/encryption.md shows it, made from the table that runs. */
import { EVENTS, STATES, TABLE } from '../../../src/vswitch-bridge/encryption/machine/table.ts';

export function drawing(): string {
  const cells = EVENTS.map((event) => [
    `\`${event}\``,
    ...STATES.map((state) => {
      const { to, actions } = TABLE[state][event];
      return [to === state ? '·' : `**${to}**`, ...actions].join(', ');
    }),
  ]);
  const head = ['event', ...STATES.map((state) => `in \`${state}\``)];
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...cells.map(line)].join('\n');
}

/** Between which states, and by which events. */
export function diagram(): string {
  const lines = STATES.flatMap((from) =>
    STATES.filter((to) => to !== from).flatMap((to) => {
      const events = EVENTS.filter((event) => TABLE[from][event].to === to);
      return events.length === 0 ? [] : [`    ${name(from)} --> ${name(to)}: ${events.join(', ')}`];
    }),
  );
  return ['```mermaid', 'stateDiagram-v2', '    [*] --> valid', ...lines, '```'].join('\n');
}

const name = (state: string) => state.replace('-', '_');
