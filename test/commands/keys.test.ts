import { mkdtempSync, readFileSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { run } from './program.ts';

test('keys init, rotate, list, revoke: versions, fingerprints and ages, never a key; exit codes', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-keys-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const directory = join(folder, 'keys');
  const keys = (...argv: string[]) => run(['keys', ...argv, '--directory', directory]);
  const said: string[] = [];

  const missing = await keys('list');
  t.is(missing.code, 1);
  t.regex(missing.err, /is missing\nMake it and the first key: peerless keys init/);
  t.is((await keys('rotate')).code, 1);

  const made = await keys('init');
  t.is(made.code, 0, made.err);
  t.regex(made.out, /VERSION.*FINGERPRINT.*AGE/);
  t.is((await stat(directory)).mode & 0o777, 0o700);
  const again = await keys('init', '--json');
  t.is(again.code, 1);
  t.deepEqual(JSON.parse(again.out), {
    error: { message: 'there are keys already', remedy: 'A new one: peerless keys rotate.' },
  });

  for (const wanted of [2, 3, 1]) {
    const { out, code } = await keys('rotate', '--cycle', '3', '--keep', '2', '--json');
    t.is(code, 0);
    const { version, removed, keys: held } = JSON.parse(out);
    t.is(version, wanted);
    t.is(held.length, 2);
    t.deepEqual(removed, wanted === 2 ? [] : [wanted === 3 ? 1 : 2]);
    said.push(out);
  }
  const list = await keys('list', '--json');
  const view = JSON.parse(list.out);
  t.deepEqual(
    view.keys.map(({ version, newest }: { version: number; newest: boolean }) => [version, newest]),
    [
      [1, true],
      [3, false],
    ],
  );
  t.deepEqual(Object.keys(view.keys[0]).sort(), ['age', 'fingerprint', 'issued', 'newest', 'version']);
  said.push(list.out, made.out);

  for (const version of [1, 3]) {
    const text = readFileSync(join(directory, `${version}.key`), 'latin1');
    const secret = /\nkey ([0-9a-f]{64})\n$/.exec(text)![1]!;
    for (const out of said) t.false(out.includes(secret) || out.includes(secret.slice(0, 16)));
  }

  t.is((await keys('revoke', '3')).code, 0);
  t.is((await keys('revoke', '3')).code, 1);
  for (const word of ['0', 'x', '1e2', '256']) t.is((await keys('revoke', word)).code, 2, word);
  t.is((await keys('revoke')).code, 2);
  t.is((await keys('rotate', '--cycle', '2', '--keep', '3')).code, 2);
  const unreachable = await run(['keys', 'list', '--etcd', 'http://127.0.0.1:9']);
  t.is(unreachable.code, 3);
  t.regex(unreachable.err, /etcd: http:\/\/127\.0\.0\.1:9: /);
  const https = await run(['keys', 'list', '--etcd', 'https://127.0.0.1:9', '--ca', join(folder, 'none.pem')]);
  t.is(https.code, 3);
  t.regex(https.err, /the CA: .*none\.pem: there is no such file/);
  const login = ['--user', 'host', '--password-file', join(folder, 'password')];
  const open = await run(['keys', 'list', '--etcd', 'http://127.0.0.1:9', ...login]);
  t.is(open.code, 2);
  t.regex(open.err, /the password would go to http:\/\/127\.0\.0\.1:9 in plain text/);
  t.is((await run(['keys', 'list', '--etcd', 'https://127.0.0.1:9', '--cert', '/c'])).code, 2);
  for (const command of ['init', 'rotate', 'list', 'revoke']) {
    const help = await run(['keys', command, '--help']);
    t.is(help.code, 0);
    t.regex(help.out, /--directory=PATH/);
    t.regex(help.out, /--etcd=URL/);
  }
});
