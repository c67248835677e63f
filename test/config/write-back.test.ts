import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { parse } from 'yaml';
import {
  ChangedMeanwhile,
  type GroupEdit,
  type Loaded,
  loadConfig,
  type PortLinkEdit,
  parseConfig,
  planEdit,
  saveConfig,
} from '../../src/config/index.ts';

const TEXT = `# ours, edited by hand
role: tor            # a switch
routerId: 10.255.0.1
hostRoutes:
  prefixes: [10.10.10.0/24]   # the servers
  ports: [A1,   A2]
# groups follow
portLink:
  # the fabric
  - name: fabric     # first
    uplinks: [A0]    # to the spine
    downlinks:
      - A1           # server 1
      - A2           # server 2
    recoveryDelay: 5s   # long enough for OSPF

  # the storage network
  - { name: storage, uplinks: [S0], downlinks: [S1] }   # in one line
  - name: last
    uplinks: L0
    downlinks: [L1]  # the end of the list
# after the list
kernel: { table: 254 }   # main
`;

function load(text: string): Loaded {
  const result = parseConfig(text, 'F');
  if (!result.ok) throw new Error(result.problems.map((problem) => problem.message).join('\n'));
  return result;
}

function edit(text: string, change: PortLinkEdit): string {
  const planned = planEdit(load(text), change);
  if (!planned.ok) throw new Error(planned.problems.map((problem) => problem.message).join('\n'));
  return planned.after.text;
}

const changedLines = (before: string, after: string): string[] => {
  const old = before.split('\n');
  return after.split('\n').filter((line) => !old.includes(line));
};

const comments = (text: string): string[] => [...text.matchAll(/#.*$/gm)].map((match) => match[0].trimEnd());

test('setting a key changes that value alone; the rest stays byte for byte', (t) => {
  const after = edit(TEXT, { type: 'set', name: 'fabric', settings: { recoveryDelay: '30s' } });
  t.is(after, TEXT.replace('recoveryDelay: 5s', 'recoveryDelay: 30s'));
});

test('a key that was a default is added below the last one of its group', (t) => {
  const after = edit(TEXT, { type: 'set', name: 'fabric', settings: { shut: '50%', priority: ['A2'] } });
  t.deepEqual(changedLines(TEXT, after), ['    shut: 50%', '    priority: [A2]']);
  t.deepEqual(comments(after), comments(TEXT));
});

test('a group in one line stays in one line', (t) => {
  const after = edit(TEXT, { type: 'set', name: 'storage', settings: { enabled: false, uplinks: ['S0', 'S9'] } });
  t.is(
    after,
    TEXT.replace(
      '{ name: storage, uplinks: [S0], downlinks: [S1] }',
      '{ name: storage, uplinks: [S0, S9], downlinks: [S1], enabled: false }',
    ),
  );
});

test('a block list is replaced with its other comments kept', (t) => {
  const after = edit(TEXT, { type: 'set', name: 'fabric', settings: { downlinks: ['A2'] } });
  t.deepEqual(parse(after).portLink[0].downlinks, ['A2']);
  for (const comment of comments(TEXT).filter((text) => !text.includes('server')))
    t.true(after.includes(comment), comment);
});

test('a group is added at the end of the list, before what follows it', (t) => {
  const after = edit(TEXT, {
    type: 'add',
    name: 'new',
    settings: { uplinks: ['N0'], downlinks: ['N[1-4]'], minUplinks: 1 },
  });
  t.is(
    after,
    TEXT.replace(
      '# the end of the list\n',
      "# the end of the list\n  - name: new\n    uplinks: [N0]\n    downlinks: ['N[1-4]']\n    minUplinks: 1\n".replaceAll(
        "'N[1-4]'",
        '"N[1-4]"',
      ),
    ),
  );
});

test('the first group comes into a file without any, and leaves it again', (t) => {
  for (const line of ['', 'portLink: []   # none yet\n']) {
    const bare = `${TEXT.slice(0, TEXT.indexOf('# groups'))}${line}kernel: { table: 254 }   # main\n`;
    const one = edit(bare, { type: 'add', name: 'new', settings: { uplinks: ['N0'], downlinks: ['N1'] } });
    t.deepEqual(parse(one).portLink, [{ name: 'new', uplinks: ['N0'], downlinks: ['N1'] }]);
    for (const comment of comments(bare)) t.true(one.includes(comment), comment);
    const none = edit(one, { type: 'remove', name: 'new' });
    t.deepEqual(parse(none).portLink, []);
    for (const comment of comments(bare)) t.true(none.includes(comment), comment);
  }
});

test('removing a group removes its lines alone', (t) => {
  const after = edit(TEXT, { type: 'remove', name: 'storage' });
  t.is(after, TEXT.replace(/ {2}- \{ name: storage.*\n/, ''));
});

test('the name of a group must be new to add, and known to set or remove', (t) => {
  const before = load(TEXT);
  const exists = planEdit(before, { type: 'add', name: 'last', settings: { uplinks: ['N0'], downlinks: ['N1'] } });
  if (exists.ok) return t.fail();
  t.is(exists.reason, 'exists');
  t.deepEqual([exists.problems[0]!.line, exists.problems[0]!.path], [19, 'portLink[2]']);
  const missing = planEdit(before, { type: 'remove', name: 'none' });
  if (missing.ok) return t.fail();
  t.is(missing.reason, 'missing');
  t.regex(missing.problems[0]!.remedy, /fabric, storage, last/);
});

test('settings that make the file wrong are refused with the place they would have had', (t) => {
  const planned = planEdit(load(TEXT), { type: 'set', name: 'fabric', settings: { minUplinks: 4 } });
  if (planned.ok) return t.fail();
  t.is(planned.reason, 'invalid');
  t.regex(planned.problems[0]!.message, /4 is more than the group's 1 uplink/);
});

const settings: fc.Arbitrary<GroupEdit> = fc.record(
  {
    description: fc.oneof(
      fc.constantFrom('# not a comment', 'a: b', "it's", '- x', 'yes', '{', '', 'ä "quoted" \\ text', ' edge '),
      fc.string({ maxLength: 30 }),
    ),
    enabled: fc.boolean(),
    uplinks: fc.constantFrom(['X0'], ['X[0-3]'], ['X0', 'X1', 'X2']),
    direction: fc.constantFrom('uplink', 'downlink', 'both'),
    shut: fc.constantFrom('all', 1, '25%'),
    upWhen: fc.constantFrom(['carrier'], ['carrier', 'nexthop']),
    deferDelay: fc.constantFrom('0s', '300ms', '2m'),
    autoRecover: fc.boolean(),
    onStop: fc.constantFrom('leave', 'reopen'),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<GroupEdit>;

const anyEdit: fc.Arbitrary<PortLinkEdit> = fc.oneof(
  fc.record({ type: fc.constant('set' as const), name: fc.constantFrom('fabric', 'storage', 'last', 'n1'), settings }),
  fc.record({ type: fc.constant('remove' as const), name: fc.constantFrom('fabric', 'storage', 'last', 'n1') }),
  fc.record({
    type: fc.constant('add' as const),
    name: fc.constantFrom('n1', 'n2'),
    settings: settings.map((rest) => ({ uplinks: ['N0'], ...rest, downlinks: [] as string[] })),
  }),
);

test('whatever is edited, the file says exactly that, and comments outside removed groups stay', (t) => {
  fc.assert(
    fc.property(fc.array(anyEdit, { minLength: 1, maxLength: 6 }), (edits) => {
      let loaded = load(TEXT);
      let expected = parse(TEXT).portLink as Record<string, unknown>[];
      const gone = new Set<string>();
      for (const [index, wish] of edits.entries()) {
        const change =
          wish.type === 'add'
            ? { ...wish, settings: { ...wish.settings, downlinks: [`${wish.name}d${index}`] } }
            : wish;
        const planned = planEdit(loaded, change);
        if (!planned.ok) continue;
        loaded = planned.after;
        const at = expected.findIndex((group) => group.name === change.name);
        if (change.type === 'add') expected = [...expected, { name: change.name, ...change.settings }];
        else if (change.type === 'remove') {
          expected = expected.filter((_, other) => other !== at);
          gone.add(change.name);
        } else expected = expected.map((group, other) => (other === at ? { ...group, ...change.settings } : group));
        t.deepEqual(parse(loaded.text).portLink, expected);
      }
      const kept = ['# ours, edited by hand', '# a switch', '# the servers', '# groups follow', '# main'];
      if (!gone.has('fabric')) kept.push('# first', '# to the spine', '# server 1', '# long enough for OSPF');
      if (!gone.has('storage')) kept.push('# in one line');
      if (!gone.has('last')) kept.push('# the end of the list');
      const found = loaded.text;
      for (const comment of kept) t.true(found.includes(comment), `${comment}\n${found}`);
    }),
    { numRuns: 300 },
  );
});

test('saving replaces the file at once, keeps mode and owner, follows a symlink', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-write-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'peerless.yaml');
  const link = join(folder, 'link.yaml');
  writeFileSync(file, TEXT);
  chmodSync(file, 0o640);
  if (process.getuid?.() === 0) chownSync(file, 12345, 23456);
  symlinkSync(file, link);
  const inode = statSync(file).ino;
  const before = loadConfig(link);
  if (!before.ok) return t.fail();
  const planned = planEdit(before, { type: 'set', name: 'last', settings: { dryRun: true } });
  if (!planned.ok) return t.fail();
  saveConfig(before, planned.after);
  const after = statSync(file);
  t.is(readFileSync(file, 'utf8'), planned.after.text);
  t.is(after.mode & 0o7777, 0o640);
  t.not(after.ino, inode);
  t.true(lstatSync(link).isSymbolicLink());
  if (process.getuid?.() === 0) t.deepEqual([after.uid, after.gid], [12345, 23456]);
  t.deepEqual(readdirSync(folder).sort(), ['link.yaml', 'peerless.yaml']);
});

test("saving does not overwrite an operator's edit made meanwhile", (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-write-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'peerless.yaml');
  writeFileSync(file, TEXT);
  const before = loadConfig(file);
  if (!before.ok) return t.fail();
  const planned = planEdit(before, { type: 'remove', name: 'last' });
  if (!planned.ok) return t.fail();
  writeFileSync(file, `${TEXT}# one more\n`);
  t.throws(() => saveConfig(before, planned.after), {
    instanceOf: ChangedMeanwhile,
    message: /was changed by someone else/,
  });
  t.is(readFileSync(file, 'utf8'), `${TEXT}# one more\n`);
});
