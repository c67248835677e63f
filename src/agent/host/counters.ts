import type { CounterTree } from './part.ts';

/** `{a: {b: 1}}` as `{'a.b': 1}`. */
export function flat(tree: CounterTree, prefix = ''): Record<string, number> {
  const counters: Record<string, number> = {};
  for (const [name, value] of Object.entries(tree)) {
    if (typeof value === 'number') counters[prefix + name] = value;
    else Object.assign(counters, flat(value, `${prefix}${name}.`));
  }
  return counters;
}
