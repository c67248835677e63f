import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { formatProblem, parseConfig, planEdit } from '../../src/config/index.ts';

const EXAMPLE = readFileSync(new URL('../../docs/peerless.example.yaml', import.meta.url), 'utf8');

function settings(): Record<string, unknown> {
  const result = parseConfig(EXAMPLE, 'F');
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result.settings as unknown as Record<string, unknown>;
}

/** Whatever stands in the file, the answer is a configuration or problems that each have a place and a remedy. */
function judged(text: string): boolean {
  const result = parseConfig(text, 'F');
  if (result.ok) return true;
  const lines = text.split('\n').length;
  return (
    result.problems.length > 0 &&
    result.problems.every(
      ({ line, column, message, remedy }) =>
        line >= 1 && line <= lines + 1 && column >= 1 && message.length > 0 && remedy.length > 0,
    )
  );
}

/** Every place in a tree. */
function placesOf(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (value === null || typeof value !== 'object') return [path];
  return [
    path,
    ...Object.keys(value).flatMap((key) =>
      placesOf((value as Record<string, unknown>)[key], [...path, Array.isArray(value) ? Number(key) : key]),
    ),
  ];
}

const PLACES = placesOf(settings()).filter((path) => path.length > 0);

const anything = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    0,
    -1,
    1e300,
    0.5,
    '',
    'x',
    '10.10.10.0/24',
    '::1',
    '5s',
    'swp[1-4096]',
    'a[1-9]b[1-9]c[1-9]d[1-9]',
    [],
    {},
    [[]],
    [null],
    { a: 1 },
    '\u0000',
    'all',
  ),
  fc.jsonValue({ maxDepth: 2 }),
);

test('any value at any place of the configuration is judged and never thrown at', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(...PLACES), anything), { minLength: 1, maxLength: 3 }), (changes) => {
      const tree = structuredClone(settings());
      for (const [path, value] of changes) {
        let parent: unknown = tree;
        for (const part of path.slice(0, -1)) parent = (parent as Record<string | number, unknown> | null)?.[part];
        if (parent !== null && typeof parent === 'object')
          (parent as Record<string | number, unknown>)[path.at(-1)!] = value;
      }
      return judged(stringify(tree));
    }),
    { numRuns: 1500 },
  );
  t.pass();
});

test('any text is judged and never thrown at', (t) => {
  fc.assert(fc.property(fc.string({ maxLength: 200, unit: 'binary' }), judged), { numRuns: 500 });
  const at = fc.nat(EXAMPLE.length);
  const piece = fc.oneof(
    fc.constantFrom(
      '\n',
      '  ',
      '\t',
      '- ',
      ': ',
      '{',
      '[',
      ']',
      '"',
      '&a ',
      '*a',
      '<<: *a',
      '? ',
      '!!binary ',
      '|',
      '---\n',
      '...\n',
      '#',
      '\u0000',
    ),
    fc.string({ maxLength: 3 }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(at, fc.nat(12), piece), { minLength: 1, maxLength: 4 }), (edits) => {
      let text = EXAMPLE;
      for (const [from, length, insert] of edits) text = text.slice(0, from) + insert + text.slice(from + length);
      return judged(text);
    }),
    { numRuns: 1500 },
  );
  t.pass();
});

test('any settings that a client sends are judged and never thrown at', (t) => {
  const loaded = parseConfig(EXAMPLE, 'F');
  if (!loaded.ok) return t.fail();
  const keys = [
    'description',
    'uplinks',
    'downlinks',
    'minUplinks',
    'upWhen',
    'shut',
    'priority',
    'recoveryDelay',
    'enabled',
    'name',
    '__proto__',
    'constructor',
    'zz',
  ];
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom(...keys), anything),
      fc.constantFrom('fabric', 'new', '', '__proto__', 'a b'),
      fc.constantFrom('add' as const, 'set' as const),
      (edit, name, type) => {
        const planned = planEdit(loaded, { type, name, settings: edit as object });
        return (
          planned.ok || (planned.problems.length > 0 && planned.problems.every((problem) => problem.remedy.length > 0))
        );
      },
    ),
    { numRuns: 1000 },
  );
  t.pass();
});
