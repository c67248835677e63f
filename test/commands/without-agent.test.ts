/** What needs no agent: the configuration's file, help, and the executable itself. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { PEERLESS, run } from './program.ts';

const ROOT = new URL('../../', import.meta.url).pathname;

function yaml(t: ExecutionContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-cli-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'peerless.yaml');
  writeFileSync(file, text);
  return file;
}

const RIGHT = `role: tor
routerId: 10.255.0.1
hostRoutes:
  prefixes: [10.10.10.0/24]
  ports: [lo]
`;

test('config check: 0 when fine, 2 with file, line and remedy when not', async (t) => {
  const good = yaml(t, RIGHT);
  t.deepEqual(await run(['config', 'check', good]), { code: 0, out: `${good}: fine\n`, err: '' });
  const bad = yaml(t, RIGHT.replace('10.0/24', '1/24').replace('routerId', 'routerID'));
  const text = await run(['config', 'check', bad]);
  t.is(text.code, 2);
  t.regex(text.err, /peerless\.yaml:2:1: routerID: is not a known key\. Did you mean routerId\?\n/);
  const json = await run(['config', 'check', bad, '--json']);
  t.is(json.code, 2);
  t.false(JSON.parse(json.out).ok);
  t.is(JSON.parse(json.out).problems[0].line, 2);
});

test('config check: an interface that is missing is exit code 2, unless --offline', async (t) => {
  const file = yaml(t, RIGHT.replace('[lo]', '[lo, nosuchport0]'));
  const here = await run(['config', 'check', file]);
  t.is(here.code, 2);
  t.regex(
    here.err,
    /peerless\.yaml:5:15: hostRoutes\.ports\[1\]: there is no interface nosuchport0\. Correct the name \(there are /,
  );
  t.is((await run(['config', 'check', file, '--offline'])).code, 0);
});

test("config check: a file of whose interfaces none is here is another machine's: said, and fine", async (t) => {
  const host = 'role: host\nunderlay: { address: 10.20.1.1, device: nosuchport0 }\n';
  for (const text of [RIGHT.replace('[lo]', '[nosuchport0, nosuchport1]'), host]) {
    const file = yaml(t, text);
    const note = 'None of its interfaces is on this machine';
    const here = await run(['config', 'check', file]);
    t.deepEqual({ ...here, err: here.err.slice(0, note.length) }, { code: 0, out: `${file}: fine\n`, err: note });
    const { ok, problems, notes } = JSON.parse((await run(['config', 'check', file, '--json'])).out);
    t.deepEqual({ ok, problems, notes: notes.length }, { ok: true, problems: [], notes: 1 });
    t.is((await run(['config', 'check', file.replace('.yaml', '.yml')])).code, 2, 'there is no such file');
  }
});

test('config check: one name that is mistyped on the right machine is wrong, also when there is no other', async (t) => {
  const host = 'role: host\nunderlay: { address: 127.0.0.1, device: nosuchport0 }\n';
  const files = ['[nosuchport0]', "['nosuchport[1-48]']"].map((ports) => RIGHT.replace('[lo]', ports));
  for (const text of [...files, host]) {
    const { code, out, err } = await run(['config', 'check', yaml(t, text)]);
    t.deepEqual({ code, out }, { code: 2, out: '' });
    t.regex(err, /: there is no interface nosuchport/);
  }
});

test('config schema prints the schema that is shipped', async (t) => {
  const { code, out } = await run(['config', 'schema']);
  t.is(code, 0);
  t.is(JSON.parse(out).$schema, 'https://json-schema.org/draft/2020-12/schema');
});

test('agent refuses a wrong configuration with exit code 2 and all problems', async (t) => {
  const file = yaml(t, RIGHT.replace('role: tor', 'role: leaf'));
  const { code, err } = await run(['agent', '--config', file]);
  t.is(code, 2);
  t.regex(err, /the configuration is wrong:\n.*peerless\.yaml:1:7: role: "leaf" is not a role/);
});

const COMMANDS = readdirSync(join(ROOT, 'src/commands'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.replace(/\.ts$/, '').split('/'));

test('help: every command has a summary and an example', async (t) => {
  t.true(COMMANDS.length > 30);
  const all = await run(['--help']);
  for (const topic of new Set(COMMANDS.filter(({ length }) => length > 1).map(([name]) => name)))
    t.regex(all.out, new RegExp(`^  ${topic} `, 'm'));
  for (const command of COMMANDS) {
    const { code, out } = await run([...command, '--help']);
    t.is(code, 0, command.join(' '));
    t.regex(out, /^\S.*\.\n/, command.join(' '));
    t.regex(out, new RegExp(`EXAMPLES\n[\\s\\S]*\\$ (.* )?peerless ${command.join(' ')}`), command.join(' '));
  }
});

test('help and version answer to the words and letters that other programs take for them', async (t) => {
  const { out } = await run(['portlink', 'set', '--help']);
  for (const args of [
    ['help', 'portlink', 'set'],
    ['portlink', 'set', '-h'],
  ])
    t.like(await run(args), { code: 0, out });
  const all = await run(['--help']);
  t.like(await run(['help']), { code: 0, out: all.out });
  t.like(await run(['-h']), { code: 0, out: all.out });
  const version = await run(['--version']);
  t.like(await run(['version']), { code: 0, out: version.out });
  t.like(await run(['-V']), { code: 0, out: version.out });
});

test('the executable works from any folder, through symlinks', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-cli-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  symlinkSync(PEERLESS, join(folder, 'absolute'));
  symlinkSync('absolute', join(folder, 'relative'));
  const { code, out } = await run(['--version'], { file: join(folder, 'relative'), cwd: '/' });
  t.is(code, 0);
  t.regex(out, /^peerless\/\S+ linux-\S+ node-v24\./);
});

test('an executable without what it runs says how to build it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-cli-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'bin'));
  copyFileSync(PEERLESS, join(folder, 'bin/peerless'));
  const file = join(folder, 'bin/peerless');
  const unbuilt = await run(['status'], { file });
  t.is(unbuilt.code, 2);
  t.is(unbuilt.err, `peerless: not built yet. Build it: ${folder}/run build\n`);
  mkdirSync(join(folder, 'dist/src/commands'), { recursive: true });
  const bare = await run(['status'], { file });
  t.is(bare.code, 2);
  t.regex(bare.err, /the pinned Node\.js is missing/);
});
