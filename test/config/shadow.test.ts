import test from 'ava';
import { formatProblem, parseConfig } from '../../src/config/index.ts';

const problems = (kernel: string, shadow: string): string[] => {
  const result = parseConfig(
    `role: tor
routerId: 10.255.0.1
hostRoutes: { prefixes: [10.10.10.0/24], ports: [A1] }
portLink: [{ name: fabric, uplinks: [A0], downlinks: [A1] }]
kernel: ${kernel}
shadow: ${shadow}
`,
    'F',
  );
  return result.ok ? [] : result.problems.map(formatProblem);
};

test('repair looks our own hosts up in the table after that of the shadows: both are to be free', (t) => {
  t.deepEqual(problems('{ table: 300 }', '{ enabled: true, table: 400 }'), []);
  t.regex(
    problems('{ table: 401 }', '{ enabled: true, table: 400 }').join(),
    /401, which repair uses, is kernel\.table/,
  );
  t.deepEqual(problems('{ table: 401 }', '{ enabled: true, table: 400, repair: false }'), []);
  t.regex(
    problems('{}', '{ enabled: true, table: 252 }').join(),
    /253, which repair uses, is the kernel's default table/,
  );
});

test('shadows and repair take protocol numbers of their own', (t) => {
  t.deepEqual(problems('{ protocol: 251 }', '{ enabled: true }'), []);
  t.regex(
    problems('{ protocol: 252 }', '{ enabled: true }').join(),
    /shadows and repair take the four numbers after it/,
  );
  t.deepEqual(problems('{ protocol: 252 }', '{ enabled: false }'), []);
});
