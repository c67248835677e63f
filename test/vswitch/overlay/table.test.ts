import test from 'ava';
import fc from 'fast-check';
import type { Address, Prefix } from '../../../src/model/address.ts';
import type { OverlayChange, OverlayState, PolicyRule } from '../../../src/model/overlay.ts';
import { OVERLAY_KINDS, OVERLAY_LIMITS } from '../../../src/model/overlay-items.ts';
import { OverlayRegister } from '../../../src/model/overlay-register.ts';
import { type OverlayContent, type OverlayEdit, OverlayTable } from '../../../src/vswitch-bridge/overlay/index.ts';

const UNDERLAY = { address: '10.20.1.1' as Address, device: 'bond0' };

const network = (name: string, vni: number, subnet = '10.200.0.0/16') =>
  ({ name, vni, subnet: subnet as Prefix, encapsulation: 'vxlan' }) as const;
const instance = (
  name: string,
  network: string,
  address: string,
  origin: 'control' | 'cni' | 'configuration' = 'control',
) => ({ name, network, address: address as Address, interface: `if-${name}`, origin }) as const;
const remote = (host: string, network: string, ...addresses: string[]) =>
  ({ host: host as Address, network, addresses: addresses as Prefix[], origin: 'control' }) as const;
const service = (name: string, network: string, address: string, ...backends: string[]) =>
  ({
    name,
    network,
    address: address as Address,
    port: 80,
    protocol: 'tcp',
    backends: backends.map((backend) => ({ address: backend as Address, port: 80 })),
    balance: 'random',
  }) as const;
const rule = (name: string, more: Partial<PolicyRule> = {}): PolicyRule => ({
  name,
  direction: 'both',
  from: 'any',
  to: 'any',
  protocol: 'any',
  ports: [],
  sourcePorts: [],
  action: 'deny',
  ...more,
});

const CONTENT: OverlayContent = {
  networks: [network('blue', 100), network('red', 200)],
  instances: [instance('a', 'blue', '10.200.1.2', 'configuration')],
  remotes: [{ ...remote('10.20.1.2', 'blue', '10.200.2.0/24'), origin: 'configuration' }],
  policy: { default: 'allow', initiate: 'both', rules: [rule('one'), rule('two')] },
  services: [service('web', 'blue', '10.200.255.10', '10.200.1.2')],
  snat: [{ network: 'blue', to: '0.0.0.0/0' as Prefix, address: '10.20.1.1' as Address }],
};

function filled(): OverlayTable {
  const table = new OverlayTable(UNDERLAY);
  table.replace(CONTENT);
  return table;
}

const words = (changes: readonly OverlayChange[]): string[] =>
  changes.map((change) =>
    'op' in change
      ? `${change.op} ${change.kind} ${'name' in change.item ? change.item.name : change.item.host}`
      : change.kind,
  );

test('R1.1 the whole configuration comes as one list of changes, networks first', (t) => {
  const table = new OverlayTable(UNDERLAY);
  const { changes, state } = table.replace(CONTENT);
  t.deepEqual(words(changes), [
    'added network blue',
    'added network red',
    'added instance a',
    'added remote 10.20.1.2',
    'added service web',
    'policy',
    'snat',
  ]);
  t.deepEqual([...state.networks.keys()], ['blue', 'red']);
  t.deepEqual(table.replace(CONTENT).changes, [], 'the same again is no change');
});

test('R1.1 one address in two networks; in one network it has one meaning', (t) => {
  const table = filled();
  const add = (item: ReturnType<typeof instance>) => table.edit([{ op: 'add', kind: 'instance', item }]);
  t.true(add(instance('b', 'red', '10.200.1.2')).ok);
  for (const address of ['10.200.1.2', '10.200.255.10', '10.201.0.1', '10.200.255.255', '10.200.0.0']) {
    const refused = add(instance('c', 'blue', address));
    t.false(refused.ok, address);
  }
});

test('edits take effect together or not at all, and say which did not fit', (t) => {
  const table = filled();
  const { state } = table;
  const refused = table.edit([
    { op: 'add', kind: 'network', item: network('green', 300) },
    { op: 'remove', kind: 'rule', key: 'one' },
    { op: 'policy', default: 'deny' },
    { op: 'set', kind: 'rule', item: rule('two', { protocol: 6 }) },
    { op: 'add', kind: 'instance', item: instance('b', 'grey', '10.200.1.3') },
  ]);
  t.like(refused, { ok: false, index: 4 });
  t.is(!refused.ok && refused.faults[0]?.reason, 'unknown-network');
  t.deepEqual(table.state, state);
  t.is(table.state, state, 'not even a new snapshot');
  const checked = table.edit([{ op: 'add', kind: 'rule', item: rule('three') }]);
  t.deepEqual(checked.ok && checked.state.policy.rules.map(({ name }) => name), ['one', 'two', 'three']);
});

test('a state that was given away stays as it was', (t) => {
  const table = filled();
  const { state } = table;
  const copy = structuredClone(state);
  table.edit([{ op: 'remove', kind: 'instance', key: 'a' }]);
  t.deepEqual(state, copy);
  t.false(table.state.instances.has('a'));
});

test('R3.8 a change of an item is its removal and its addition, of nothing else', (t) => {
  const table = filled();
  const edited = table.edit([{ op: 'set', kind: 'remote', item: remote('10.20.1.2', 'blue', '10.200.3.0/24') }]);
  t.deepEqual(edited.ok && words(edited.changes), ['removed remote 10.20.1.2', 'added remote 10.20.1.2']);
  const again = table.edit([{ op: 'set', kind: 'remote', item: remote('10.20.1.2', 'blue', '10.200.3.0/24') }]);
  t.deepEqual(again.ok && again.changes, []);
});

test('a network with something in it stays; one that is exchanged takes what is in it along', (t) => {
  const table = filled();
  const refused = table.edit([{ op: 'remove', kind: 'network', key: 'blue' }]);
  t.is(!refused.ok && refused.faults[0]?.reason, 'in-use');
  const edited = table.edit([{ op: 'set', kind: 'network', item: network('blue', 101) }]);
  t.deepEqual(edited.ok && words(edited.changes), [
    'removed service web',
    'removed remote 10.20.1.2',
    'removed instance a',
    'removed network blue',
    'added network blue',
    'added instance a',
    'added remote 10.20.1.2',
    'added service web',
  ]);
  const narrow = table.edit([{ op: 'set', kind: 'network', item: network('blue', 101, '10.200.1.0/24') }]);
  t.is(!narrow.ok && narrow.faults[0]?.key, 'subnet', 'what is in it would be outside');
  t.is(table.state.networks.get('blue')?.subnet, '10.200.0.0/16' as Prefix);
});

test('a rule that is changed keeps its place; its order is a change of the policy', (t) => {
  const table = filled();
  const edited = table.edit([{ op: 'set', kind: 'rule', item: rule('one', { protocol: 17 }) }]);
  t.deepEqual(edited.ok && words(edited.changes), ['policy']);
  t.deepEqual(
    table.state.policy.rules.map(({ name, protocol }) => [name, protocol]),
    [
      ['one', 17],
      ['two', 'any'],
    ],
  );
  const rules = [...CONTENT.policy.rules].reverse();
  t.deepEqual(words(table.replace({ ...CONTENT, policy: { ...CONTENT.policy, rules } }).changes), ['policy']);
  t.deepEqual(words(table.replace({ ...CONTENT, policy: { ...CONTENT.policy, rules } }).changes), []);
});

test('a new configuration leaves containers of the CNI plugin alone, unless there is no place for them', (t) => {
  const table = filled();
  table.edit([
    { op: 'add', kind: 'instance', item: instance('pod', 'red', '10.200.7.7', 'cni') },
    { op: 'add', kind: 'instance', item: instance('byhand', 'red', '10.200.7.8', 'control') },
  ]);
  const kept = table.replace(CONTENT);
  t.deepEqual(words(kept.changes), ['removed instance byhand'], 'what was written into the file goes with the file');
  t.deepEqual(kept.dropped, []);
  const without = table.replace({ ...CONTENT, networks: [network('blue', 100)] });
  t.deepEqual(words(without.changes), ['removed instance pod', 'removed network red']);
  t.is(without.dropped[0]?.faults[0]?.reason, 'unknown-network');
});

test('an instance that moves from the control socket into the file is the same', (t) => {
  const table = filled();
  const item = instance('b', 'blue', '10.200.1.9');
  table.edit([{ op: 'add', kind: 'instance', item }]);
  const content = { ...CONTENT, instances: [...CONTENT.instances, { ...item, origin: 'configuration' as const }] };
  t.deepEqual(table.replace(content).changes, []);
  t.is(table.state.instances.get('b')?.origin, 'configuration');
});

test('there is a limit for everything', (t) => {
  const table = filled();
  const edits: OverlayEdit[] = Array.from({ length: OVERLAY_LIMITS.network }, (_, index) => ({
    op: 'add',
    kind: 'network',
    item: network(`n${index}`, 1000 + index),
  }));
  const refused = table.edit(edits);
  t.is(!refused.ok && refused.faults[0]?.reason, 'limit');
  t.is(table.state.networks.size, 2);
});

// ------------------------------------------------------------------ any edits at all

const name = fc.constantFrom('blue', 'red', 'green');
const names = fc.constantFrom('a', 'b', 'c');
const some = fc.constantFrom('10.200.1.2', '10.200.1.3', '10.200.255.10', '10.201.1.1');
const subnet = fc.constantFrom('10.200.0.0/16', '10.200.1.0/24', '10.201.0.0/16');
const host = fc.constantFrom('10.20.1.1', '10.20.1.2', '10.20.1.3');
const behind = fc.array(fc.constantFrom('10.200.2.0/24', '10.200.1.3/32', '10.201.0.0/24'), { maxLength: 2 });

const itemEdit = fc.oneof(
  fc.record({
    kind: fc.constant('network'),
    item: fc.tuple(name, fc.integer({ min: 1, max: 4 }), subnet).map((of) => network(...of)),
  }),
  fc.record({
    kind: fc.constant('instance'),
    item: fc
      .tuple(names, name, some, fc.constantFrom('cni', 'control'))
      .map((of) => instance(...(of as Parameters<typeof instance>))),
  }),
  fc.record({
    kind: fc.constant('remote'),
    item: fc.tuple(host, name, behind).map(([at, of, list]) => remote(at, of, ...list)),
  }),
  fc.record({ kind: fc.constant('service'), item: fc.tuple(names, name, some, some).map((of) => service(...of)) }),
  fc.record({
    kind: fc.constant('rule'),
    item: fc
      .tuple(names, fc.constantFrom(6, 17), fc.option(name, { nil: undefined }))
      .map(([of, protocol, at]) => rule(of, { protocol, ...(at ? { network: at } : {}) })),
  }),
  fc.record({
    kind: fc.constant('snat'),
    item: fc
      .tuple(name, some)
      .map(([of, address]) => ({ network: of, to: '0.0.0.0/0' as Prefix, address: address as Address })),
  }),
);

const edit: fc.Arbitrary<OverlayEdit> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constantFrom('add', 'set'), itemEdit).map(([op, of]) => ({ op, ...of }) as OverlayEdit),
  },
  {
    weight: 2,
    arbitrary: fc.oneof(
      fc.record({ op: fc.constant('remove' as const), kind: fc.constant('network' as const), key: name }),
      fc.record({
        op: fc.constant('remove' as const),
        kind: fc.constantFrom('instance', 'service', 'rule'),
        key: names,
      }),
      fc.record({
        op: fc.constant('remove' as const),
        kind: fc.constant('remote' as const),
        key: fc.tuple(name, host).map(([of, at]) => `${of}/${at}`),
      }),
    ) as fc.Arbitrary<OverlayEdit>,
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('policy' as const),
      default: fc.constantFrom('allow' as const, 'deny' as const),
    }),
  },
);

/** A projection that believes the changes alone. */
class Follower {
  readonly items = new Map<string, object>();

  follow(changes: readonly OverlayChange[]): void {
    for (const change of changes) {
      if (!('op' in change)) continue;
      const key = `${change.kind} ${'host' in change.item ? `${change.item.network}/${change.item.host}` : change.item.name}`;
      if (change.op === 'added') {
        if (this.items.has(key)) throw new Error(`${key} is added twice`);
        this.items.set(key, change.item);
      } else if (!this.items.delete(key)) throw new Error(`${key} was not there`);
      const { network: of } = change.item as { network?: string };
      if (of !== undefined && !this.items.has(`network ${of}`)) throw new Error(`${key} without its network`);
    }
  }

  agrees(state: OverlayState): boolean {
    const { networks, instances, remotes, services } = state;
    const all = [
      ...[...networks].map(([key, item]) => [`network ${key}`, item] as const),
      ...[...instances].map(([key, item]) => [`instance ${key}`, item] as const),
      ...[...remotes].map(([key, item]) => [`remote ${key}`, item] as const),
      ...[...services].map(([key, item]) => [`service ${key}`, item] as const),
    ];
    const bare = (item: object | undefined) =>
      JSON.stringify({ ...item, origin: '' }, Object.keys({ ...item, origin: '' }).sort());
    return all.length === this.items.size && all.every(([key, item]) => bare(this.items.get(key)) === bare(item));
  }
}

/** The state says of itself that it may be. */
function coherent(state: OverlayState): boolean {
  const register = new OverlayRegister(state.underlay);
  const items = {
    network: state.networks.values(),
    instance: state.instances.values(),
    remote: state.remotes.values(),
    service: state.services.values(),
    rule: state.policy.rules.values(),
    snat: state.snat.values(),
  };
  return OVERLAY_KINDS.every((kind) => {
    for (const item of items[kind]) {
      if (register.check(kind, item as never).length > 0) return false;
      register.put(kind, item as never);
    }
    return true;
  });
}

test('R1.1 R3.8 whatever is asked, the table stays one that could be a configuration, and its changes tell all of it', (t) => {
  fc.assert(
    fc.property(fc.array(fc.array(edit, { minLength: 1, maxLength: 4 }), { maxLength: 40 }), (batches) => {
      const table = new OverlayTable(UNDERLAY);
      const follower = new Follower();
      for (const batch of batches) {
        const { state } = table;
        const frozen = structuredClone(state);
        const edited = table.edit(batch);
        if (edited.ok) follower.follow(edited.changes);
        else t.is(table.state, state);
        t.deepEqual(state, frozen);
        t.true(coherent(table.state));
        t.true(follower.agrees(table.state));
      }
    }),
    { numRuns: 150 },
  );
});
