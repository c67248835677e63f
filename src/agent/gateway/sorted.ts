import { REST } from '../control/list-answer.ts';

/** Items that are looked at or moved in one turn. */
export const RUN = 1_024;

/** A stable merge sort that lets others have their turns. */
export function* sorted<T>(
  items: readonly T[],
  compare: (one: T, other: T) => number,
): Generator<typeof REST, readonly T[]> {
  let runs: (readonly T[])[] = [];
  for (let start = 0; start < items.length; start += RUN) {
    runs.push(items.slice(start, start + RUN).sort(compare));
    yield REST;
  }
  while (runs.length > 1) {
    const longer: (readonly T[])[] = [];
    for (let index = 0; index < runs.length; index += 2) {
      longer.push(yield* merged(runs[index]!, runs[index + 1] ?? [], compare));
    }
    runs = longer;
  }
  return runs[0] ?? [];
}

function* merged<T>(
  one: readonly T[],
  other: readonly T[],
  compare: (one: T, other: T) => number,
): Generator<typeof REST, readonly T[]> {
  if (other.length === 0) return one;
  const both: T[] = [];
  let [left, right] = [0, 0];
  while (left < one.length && right < other.length) {
    both.push(compare(one[left]!, other[right]!) <= 0 ? one[left++]! : other[right++]!);
    if (both.length % RUN === 0) yield REST;
  }
  return both.concat(one.slice(left), other.slice(right));
}
