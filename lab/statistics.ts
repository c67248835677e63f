export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** undefined for no values: a median of nothing is not zero. */
export function spread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

export const medianOf = (values: readonly number[]): number | undefined => spread(values)?.median;
