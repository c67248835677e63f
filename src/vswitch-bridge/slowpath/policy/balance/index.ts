/**
 * Who gets the next connections (`balance: least-loaded`). The kernel can only draw by weights, so the weights are such
 * that the draw fills up whoever has least: of the connections that are to be expected until the next count, each backend
 * gets what it lacks to a common level, as water finds it.
 */

/** Equal places in `loads`; larger is more. @param expected new connections until the next count, at least 1 */
export function fillingWeights(loads: readonly number[], expected: number): number[] {
  const amount = Math.max(1, expected, loads.length);
  const sorted = [...loads].sort((a, b) => a - b);
  let below = 0;
  let level = 0;
  for (let count = 1; count <= sorted.length; count++) {
    below += sorted[count - 1]!;
    level = (amount + below) / count;
    if (count === sorted.length || level <= sorted[count]!) break;
  }
  return loads.map((load) => Math.max(0, level - load));
}

/** Weights that differ by less than a hundredth of the whole are the same: a ruleset is not loaded for them. */
export function sameShares(one: readonly number[], other: readonly number[]): boolean {
  if (one.length !== other.length) return false;
  const sum = (weights: readonly number[]) => weights.reduce((total, weight) => total + weight, 0) || 1;
  const [first, second] = [sum(one), sum(other)];
  return one.every((weight, index) => {
    const mine = weight / first;
    const theirs = other[index]! / second;
    return (mine === 0) === (theirs === 0) && Math.abs(mine - theirs) < 0.01;
  });
}
