/** What a benchmark found out: a distribution of ours beside the peer's of the same run, and how to see it again. */
export interface Distribution {
  readonly count: number;
  readonly median: number;
  readonly p99: number;
  readonly min: number;
  readonly max: number;
}

export interface Row {
  readonly what: string;
  readonly unit: string;
  readonly ours: Distribution;
  /** The same measure of `peerName` in the same run; absent where nobody else does the job. */
  readonly peer?: Distribution;
  readonly peerName?: string;
}

export interface Report {
  readonly name: string;
  /** One sentence: from where to where, on what. */
  readonly measures: string;
  readonly command: string;
  readonly rows: readonly Row[];
  readonly notes: readonly string[];
}

/** undefined for no values: a median of nothing is not zero. p99 is the value of the nearest rank above. */
function distribution(values: readonly number[]): Distribution | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  return {
    count: sorted.length,
    median: sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2,
    p99: sorted[Math.ceil(sorted.length * 0.99) - 1]!,
    min: sorted[0]!,
    max: sorted.at(-1)!,
  };
}

/** A row, or none where ours has no values (a note should say so). */
export function row(
  what: string,
  unit: string,
  ours: readonly number[],
  peer: readonly number[] = [],
  peerName?: string,
): Row[] {
  const own = distribution(ours);
  const other = distribution(peer);
  if (!own) return [];
  return [{ what, unit, ours: own, ...(other && peerName !== undefined ? { peer: other, peerName } : {}) }];
}

/** Median of ours to the peer's: below 1 where less is better and we are ahead. */
export const ratioOf = ({ ours, peer }: Row): number | undefined => peer && ours.median / peer.median;

export function renderReport(report: Report): string {
  const lines = [`${report.name}: ${report.measures}`, `  ${report.command}`, ''];
  const header = ['measure', 'unit', 'who', 'n', 'median', 'p99', 'min', 'max', 'ours/peer'];
  const rows = report.rows.flatMap((each) => {
    const ratio = ratioOf(each);
    return [
      [each.what, each.unit, 'peerless', ...cells(each.ours), ratio === undefined ? '-' : significant(ratio)],
      ...(each.peer ? [['', '', each.peerName!, ...cells(each.peer), '']] : []),
    ];
  });
  lines.push(...columns([header, ...rows]).map((line) => `  ${line}`));
  lines.push(...report.notes.map((note) => `  note: ${note}`), '');
  return lines.join('\n');
}

const cells = ({ count, median, p99, min, max }: Distribution): string[] => [
  String(count),
  ...[median, p99, min, max].map(significant),
];

const significant = (value: number): string =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : Number(value.toPrecision(3)).toString();

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cellsOf) => cellsOf[column]!.length)));
  return rows.map((cellsOf) =>
    cellsOf
      .map((cell, column) => (column < 3 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}
