export interface Column<Row> {
  readonly header: string;
  readonly value: (row: Row) => string | number | undefined;
  readonly align?: 'left' | 'right';
}

/** Text that a terminal must not take for commands: what a peer or a file gave us may hold anything. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;

const clean = (value: string | number | undefined): string =>
  value === undefined || value === '' ? '-' : String(value).replace(CONTROL, '?');

/**
 * Columns under each other, two spaces between, no trailing white space. On a terminal the last column is cut at the
 * edge; into a pipe (`width` undefined) nothing is cut.
 */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width?: number): string {
  const cells = rows.map((row) => columns.map((column) => clean(column.value(row))));
  const all = [columns.map((column) => column.header), ...cells];
  const widths = columns.map((_, index) => Math.max(...all.map((row) => row[index]!.length)));
  return all
    .map((row) => {
      const line = row
        .map((cell, index) =>
          columns[index]!.align === 'right' ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!),
        )
        .join('  ')
        .trimEnd();
      return cut(line, width);
    })
    .join('\n');
}

/** `Key  value` lines. */
export function pairs(entries: readonly (readonly [string, string | number | undefined])[], width?: number): string {
  const widest = Math.max(...entries.map(([key]) => key.length));
  return entries.map(([key, value]) => cut(`${key.padEnd(widest)}  ${clean(value)}`, width)).join('\n');
}

export const cut = (line: string, width: number | undefined): string =>
  width !== undefined && width > 1 && line.length > width ? `${line.slice(0, width - 1)}…` : line;

/** The terminal's width, undefined when the output goes into a pipe or a file. */
export function outputWidth(): number | undefined {
  return process.stdout.isTTY ? process.stdout.columns : undefined;
}
