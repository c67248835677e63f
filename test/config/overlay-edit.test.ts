import test from 'ava';
import fc from 'fast-check';
import {
  formatProblem,
  type Loaded,
  type OverlayFileEdit,
  parseConfig,
  planOverlayEdit,
  readItem,
} from '../../src/config/index.ts';

const FILE = `role: host # of the rack's left side
underlay: { address: 10.20.1.1, device: bond0 }
networks:
  # the tenants'
  - { name: blue, vni: 100, subnet: 10.200.0.0/16, gateway: 10.200.0.1 } # the first
  - name: red
    vni: 200 # not 100
    subnet: 10.201.0.0/16
instances: # more by the plugin
  - { name: c1, network: blue, address: 10.200.1.2, interface: veth-c1 }
policy:
  default: allow # for now
  rules: [{ name: one, protocol: tcp, ports: [23, 8000-8100], action: deny }, { name: two, rate: 100mbit }] # all
# the end
`;

function load(text: string): Loaded {
  const loaded = parseConfig(text, 'F');
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  return loaded;
}

function after(text: string, ...edits: OverlayFileEdit[]): string {
  const planned = planOverlayEdit(load(text), edits);
  if (!planned.ok) throw new Error(planned.problems.map(formatProblem).join('\n'));
  return planned.after.text;
}

test('an item is added below the last one, and the rest stays byte for byte', (t) => {
  const raw = { name: 'c2', network: 'blue', address: '10.200.1.3', interface: 'veth-c2' };
  const line = '  - { name: c1, network: blue, address: 10.200.1.2, interface: veth-c1 }\n';
  const added = '  - name: c2\n    network: blue\n    address: 10.200.1.3\n    interface: veth-c2\n';
  const text = after(FILE, { op: 'add', kind: 'instance', raw });
  t.is(text, FILE.replace(line, line + added));
  t.is(after(text, { op: 'remove', kind: 'instance', key: 'c2' }), FILE);
});

test('a rule is added to rules in one line, and taken out of them', (t) => {
  const text = after(FILE, { op: 'add', kind: 'rule', raw: { name: 'three', to: '10.200.1.2', action: 'deny' } });
  t.is(text, FILE.replace('rate: 100mbit }]', 'rate: 100mbit }, {name: three, to: 10.200.1.2, action: deny}]'));
  t.is(after(text, { op: 'remove', kind: 'rule', key: 'three' }), FILE);
  const [first] = FILE.split('{ name: one');
  t.true(after(FILE, { op: 'remove', kind: 'rule', key: 'one' }).startsWith(`${first}{ name: two`));
});

test('the first of its kind brings its section', (t) => {
  const remote = { host: '10.20.1.2', network: 'blue', addresses: ['10.200.2.0/24'] };
  const text = after(FILE, { op: 'add', kind: 'remote', raw: remote });
  t.true(text.startsWith(FILE.trimEnd()));
  t.like(load(text).config, { remotes: [{ host: '10.20.1.2' }] } as never);
  t.true(
    after(FILE.replace(/policy:[\s\S]*# the end/, '# the end'), {
      op: 'add',
      kind: 'rule',
      raw: { name: 'x', action: 'deny' },
    }).includes('# the end'),
  );
});

test('a value is changed in its place', (t) => {
  t.is(after(FILE, { op: 'policy', settings: { default: 'deny' } }), FILE.replace('default: allow', 'default: deny'));
  const raw = { name: 'red', vni: 300, subnet: '10.201.0.0/16' };
  t.is(after(FILE, { op: 'set', kind: 'network', raw }), FILE.replace('vni: 200', 'vni: 300'));
});

test('what would make the file wrong is refused with its place', (t) => {
  const raw = { name: 'c2', network: 'blue', address: '10.200.1.2', interface: 'veth-c2' };
  const planned = planOverlayEdit(load(FILE), [{ op: 'add', kind: 'instance', raw }]);
  t.regex(
    planned.ok ? '' : formatProblem(planned.problems[0]!),
    /^F:13:14: instances\[1\]\.address: 10\.200\.1\.2 is instance c1's/,
  );
});

test('an item is read as the file would be', (t) => {
  const read = readItem('rule', { name: 'x', ports: ['9-8'], actoin: 'deny' }, 'control');
  t.false(read.ok);
  t.regex(read.ok ? '' : read.message, /actoin: is not a known key\. Did you mean action\?/);
  t.regex(read.ok ? '' : read.message, /ports\[0\]: "9-8" is neither a port nor a range/);
  t.like(readItem('snat', { network: 'blue', address: '192.0.2.1' }, 'control'), {
    ok: true,
    item: { to: '0.0.0.0/0' },
  });
  for (const nothing of [undefined, null, 7, 'x', []]) t.false(readItem('instance', nothing, 'cni').ok);
});

const names = fc.constantFrom('one', 'two', 'three', 'four');
test('R3.8 whatever is edited, the file says exactly that, and its comments stay', (t) => {
  const edit: fc.Arbitrary<OverlayFileEdit> = fc.oneof(
    fc.record({
      op: fc.constant('set' as const),
      kind: fc.constant('rule' as const),
      raw: fc.record({ name: names, rate: fc.constantFrom('1mbit', '2mbit') }),
    }),
    fc.record({ op: fc.constant('remove' as const), kind: fc.constant('rule' as const), key: names }),
    fc.record({
      op: fc.constant('policy' as const),
      settings: fc.record({ initiate: fc.constantFrom('inside' as const, 'both' as const) }),
    }),
  );
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 8 }), (edits) => {
      const rules = new Map<string, string | undefined>([
        ['one', undefined],
        ['two', '100mbit'],
      ]);
      for (const one of edits) {
        if (one.op === 'remove') rules.delete(one.key);
        else if (one.op === 'set') rules.set(String(one.raw.name), String(one.raw.rate));
      }
      const text = after(FILE, ...edits);
      const { policy } = load(text).settings as { policy: { rules: { name: string; rate?: string }[] } };
      t.deepEqual(
        new Set(policy.rules.map(({ name, rate }) => `${name} ${rate}`)),
        new Set([...rules].map(([name, rate]) => `${name} ${rate}`)),
      );
      for (const comment of ["# of the rack's", '# the first', '# not 100', '# for now', '# the end'])
        t.true(text.includes(comment));
    }),
    { numRuns: 100 },
  );
});
