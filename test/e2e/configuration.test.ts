/** Mistakes in the configuration, as the operator meets them: `peerless config check` and `peerless agent`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { outcome, run } from '../../lab/processes.ts';
import { peerless } from './stand.ts';

const directory = mkdtempSync(join(tmpdir(), 'peerless-e2e-'));
test.after.always(() => rmSync(directory, { recursive: true, force: true }));

const secret = join(directory, 'open.key');
writeFileSync(secret, 'a secret that everybody reads\n', { mode: 0o644 });

const HEAD = `role: tor
routerId: 10.255.0.1
hostRoutes: { prefixes: [10.10.10.0/24], ports: [A1, A2] }
`;
const group = (name: string, uplinks: string, downlinks: string, more = '') =>
  `  - { name: ${name}, uplinks: [${uplinks}], downlinks: [${downlinks}]${more} }\n`;

interface Mistake {
  readonly title: string;
  readonly text: string;
  readonly line: number;
  readonly says: RegExp;
}

const MISTAKES: readonly Mistake[] = [
  {
    title: 'an unknown key',
    text: `${HEAD}portLink:\n${group('a', 'A0', 'A1', ', recoverDelay: 5s')}`,
    line: 5,
    says: /recoverDelay: is not a known key\. Did you mean recoveryDelay\?/,
  },
  {
    title: 'a port in two groups',
    text: `${HEAD}portLink:\n${group('a', 'A0', 'A1')}${group('b', 'A0', 'A1, A2')}`,
    line: 6,
    says: /A1.*\. \S+/,
  },
  {
    title: 'an uplink that is a downlink too',
    text: `${HEAD}portLink:\n${group('a', 'A0, A1', 'A1, A2')}`,
    line: 5,
    says: /A1.*\. \S+/,
  },
  {
    title: 'a static host outside the prefixes',
    text: HEAD.replace('ports: [A1, A2]', 'ports: [A1, A2], sources: { static: [{ address: 10.99.0.1, port: A1 }] }'),
    line: 3,
    says: /10\.99\.0\.1 is outside hostRoutes\.prefixes.*\. \S+/,
  },
  {
    title: 'a bad duration',
    text: `${HEAD}portLink:\n${group('a', 'A0', 'A1', ', deferDelay: fast')}`,
    line: 5,
    says: /"fast" is not a duration\. Write a number with a unit/,
  },
  {
    title: 'a prefix that is none',
    text: HEAD.replace('10.10.10.0/24', '10.10.10.0/42'),
    line: 3,
    says: /10\.10\.10\.0\/42.*\. \S+/,
  },
  {
    title: 'a secret that others can read',
    text: `${HEAD}bgp:\n  asn: 65001\n  neighbors:\n    - address: 192.0.2.1\n      remoteAs: 65000\n      passwordFile: ${secret}\n`,
    line: 9,
    says: /open\.key.*chmod 600/s,
  },
  { title: 'no YAML at all', text: `${HEAD}bgp: [`, line: 4, says: /\. \S+/ },
];

for (const { title, text, line, says } of MISTAKES) {
  test.serial(`config check and agent name file, line and remedy, exit code 2: ${title}`, async (t) => {
    t.timeout(60_000);
    const file = join(directory, `${title.replaceAll(' ', '-')}.yaml`);
    writeFileSync(file, text);
    for (const command of [
      ['config', 'check', file, '--offline'],
      ['agent', '--config', file],
    ]) {
      const { code, stderr } = await peerless(...command);
      t.is(code, 2, `${command[0]}: ${stderr}`);
      t.true(stderr.includes(`${file}:${line}:`), stderr);
      t.regex(stderr, says);
      t.notRegex(stderr, /at .*\.js:\d+/, 'no stack');
      t.notRegex(stderr, /everybody reads/, 'no secret');
    }
  });
}

test.serial('an interface that is missing: config check names it with its line, exit code 2', async (t) => {
  t.timeout(60_000);
  const file = join(directory, 'missing.yaml');
  writeFileSync(file, `${HEAD}portLink:\n${group('a', 'A0', 'A1')}`);
  const netns = `e2ec${process.pid}`;
  await run(['ip', 'netns', 'add', netns]);
  t.teardown(() => run(['ip', 'netns', 'delete', netns]));
  for (const port of ['A0', 'A1'])
    await run(['ip', '-n', netns, 'link', 'add', port, 'type', 'veth', 'peer', 'name', `p${port}`]);
  const inside = await peerless('config', 'check', file, '--netns', netns);
  t.is(inside.code, 2);
  t.true(inside.stderr.includes(`${file}:3:`), inside.stderr);
  t.regex(inside.stderr, /there is no interface A2\. \S+/);
  await run(['ip', '-n', netns, 'link', 'add', 'A2', 'type', 'veth', 'peer', 'name', 'pA2']);
  const fine = await peerless('config', 'check', file, '--netns', netns);
  t.is(fine.code, 0, fine.stderr);
});

test.serial('a file that is not there: exit code 2 and a sentence', async (t) => {
  t.timeout(60_000);
  for (const words of [
    ['agent', '--config', '/nowhere/peerless.yaml'],
    ['config', 'check', '/nowhere/peerless.yaml'],
  ]) {
    const { code, stderr } = await peerless(...words);
    t.is(code, 2, stderr);
    t.regex(stderr, /\/nowhere\/peerless\.yaml/);
    t.notRegex(stderr, /at .*\.js:\d+/);
  }
});

test.serial('no agent answers: exit code 3 and what to do', async (t) => {
  t.timeout(60_000);
  const { code, stderr } = await outcome([
    new URL('../../bin/peerless', import.meta.url).pathname,
    'status',
    '--socket',
    join(directory, 'nobody.sock'),
  ]);
  t.is(code, 3, stderr);
  t.regex(stderr, /nobody\.sock/);
});
