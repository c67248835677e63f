import type { z } from 'zod';
import { type Finding, formatPath, type Path } from './problem.ts';
import { MISSING, shown } from './scalars.ts';

/** Zod's issues in the words of the configuration: what is wrong with which value, and what to write instead. */
export function explain(
  issues: readonly z.core.$ZodIssue[],
  raw: unknown,
  knownKeys: (path: PropertyKey[]) => string[],
): Finding[] {
  const findings = issues.flatMap((issue) => explainOne(issue, raw, knownKeys));
  // A key that is missing because it is misspelt is one mistake.
  const meant = new Set(findings.flatMap((finding) => (finding.meant ? [formatPath(finding.meant)] : [])));
  return findings.filter((finding) => finding.message !== MISSING || !meant.has(formatPath(finding.path)));
}

type Explained = Finding & { readonly meant?: Path };

function explainOne(issue: z.core.$ZodIssue, raw: unknown, knownKeys: (path: PropertyKey[]) => string[]): Explained[] {
  const path = issue.path as (string | number)[];
  const value = valueAt(raw, path);
  switch (issue.code) {
    case 'custom':
      return [{ path, message: issue.message, remedy: String(issue.params?.remedy ?? 'Correct it.') }];
    case 'unrecognized_keys':
      return issue.keys.map((key) => {
        const known = knownKeys(issue.path);
        const near = nearest(key, known);
        const finding = { path: [...path, key], message: 'is not a known key', atKey: true };
        return near === undefined
          ? { ...finding, remedy: `Remove it, or use one of ${known.join(', ')}.` }
          : { ...finding, remedy: `Did you mean ${near}?`, meant: [...path, near] };
      });
    case 'invalid_type':
      if (value === undefined) return [{ path, message: MISSING, remedy: `Add it: ${article(issue.expected)}.` }];
      return [
        {
          path,
          message: `${value === null ? 'nothing' : shown(value)} is not ${article(issue.expected)}`,
          remedy: typeRemedy(issue.expected, value),
        },
      ];
    case 'invalid_value':
    case 'invalid_union': {
      const values = issue.code === 'invalid_value' ? issue.values.map(String) : unionValues(issue);
      return [
        value === undefined
          ? { path, message: MISSING, remedy: `Write one of ${values.join(', ')}.` }
          : {
              path,
              message: `${shown(value)} is not a possible value`,
              remedy: values.length === 1 ? `Write ${values[0]}.` : `Write one of ${values.join(', ')}.`,
            },
      ];
    }
    case 'too_small':
      return [{ path, message: 'is empty', remedy: 'List at least one.' }];
    default:
      return [{ path, message: `${shown(value)} is not possible here`, remedy: `${issue.message}.` }];
  }
}

function unionValues(issue: z.core.$ZodIssueInvalidUnion): string[] {
  return issue.errors.flat().flatMap((inner) => {
    if (inner.code === 'invalid_value') return inner.values.map(String);
    if (inner.code !== 'invalid_type') return [];
    return inner.expected === 'boolean' ? ['true', 'false'] : [article(inner.expected)];
  });
}

function article(type: string): string {
  if (type === 'object') return 'a group of keys';
  if (type === 'array') return 'a list';
  if (type === 'boolean') return 'true or false';
  if (type === 'string') return 'a text';
  return `a ${type}`;
}

function typeRemedy(type: string, value: unknown): string {
  if (value === null) return 'Write a value, or remove the key to have the default.';
  if (type === 'boolean') return 'Write true or false (yes, no, on and off are plain text in YAML 1.2).';
  if (type === 'array') return 'Write a list: [a, b], or one `- item` a line.';
  if (type === 'string') return 'Put it in quotes.';
  return 'Write `key: value` lines below it, or {key: value}.';
}

function nearest(key: string, known: readonly string[]): string | undefined {
  const best = known
    .map((candidate) => ({ candidate, distance: editDistance(key.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.max(2, key.length / 3) ? best.candidate : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw;
  for (const part of path) {
    if (value === null || typeof value !== 'object') return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}
