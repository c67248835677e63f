import { spawnSync } from 'node:child_process';
import test from 'ava';

const demo = (...flags: string[]) =>
  spawnSync(
    process.execPath,
    ['--conditions=source', new URL('../../lab/demo.ts', import.meta.url).pathname, ...flags],
    {
      encoding: 'utf8',
    },
  );

test('the demo says how it is used, and refuses what it does not know', (t) => {
  const help = demo('--help');
  t.is(help.status, 0, help.stderr);
  t.regex(help.stdout, /usage: \.\/run demo/);
  for (const flags of [['--runs', '0'], ['--gateway', 'none'], ['--protocol', 'rip'], ['--nonsense']]) {
    const refused = demo(...flags);
    t.is(refused.status, 2, flags.join(' '));
    t.regex(refused.stderr, /usage:/);
  }
});
