import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import { claimLab, LabTakenError } from '../../lab/claim.ts';

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

test('a second demo does not take the lab from under the first: it says who has it', (t) => {
  for (const [lab, flags] of [
    ['demo', ['--runs', '1']],
    ['overlay', ['--host']],
    ['overlay', ['--all']],
  ] as const) {
    if (flags[0] !== '--all') claimLab(lab, 'a test');
    const refused = demo(...flags);
    t.is(refused.status, 2, refused.stderr);
    t.is(
      refused.stderr,
      `demo: lab ${lab} is in use by process ${process.pid} (a test): wait until it has ended, or end it with \`kill ${process.pid}\`\n`,
    );
  }
});

test('what a demo claimed that was killed is free', async (t) => {
  const name = `claim${process.pid}`;
  const claim = `
    import { claimLab } from ${JSON.stringify(new URL('../../lab/claim.ts', import.meta.url).href)};
    claimLab(${JSON.stringify(name)}, 'the first');
    process.send?.('claimed');
    setInterval(() => {}, 1000);`;
  const first = spawn(process.execPath, ['--conditions=source', '--input-type=module', '--eval', claim], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await once(first, 'message');
  const error = t.throws(() => claimLab(name, 'the second'), { instanceOf: LabTakenError });
  t.regex(error!.message, new RegExp(`process ${first.pid} \\(the first\\)`));
  first.kill('SIGKILL');
  await once(first, 'close');
  t.notThrows(() => claimLab(name, 'the second'));
});
