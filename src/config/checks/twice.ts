import type { Finding, Path } from '../problem.ts';

/** `seen` is to be the same for all items of a list. */
export function twice<K>(seen: Set<K>, key: K, path: Path): Finding[] {
  if (!seen.has(key)) {
    seen.add(key);
    return [];
  }
  return [{ path, message: `${String(key)} is here twice`, remedy: 'Remove one of the two.' }];
}
