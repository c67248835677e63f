import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync, rmSync } from 'node:fs';
import test from 'ava';
import { unpin } from 'linux-sockets';
import type { FastPath } from '../../../src/vswitch-bridge/fastpath/index.ts';
import { removeFastPath } from '../../../src/vswitch-bridge/fastpath/index.ts';
import * as layout from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { indexKey, readIndex } from '../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { Box, instanceOf, SETTINGS, stateOf, until } from './support/box.ts';
import { policyRule } from './support/policy.ts';

const instanceAt = (box: Box, ifindex: number) =>
  box.map('instances', (map) => {
    const bytes = map.get(indexKey(ifindex));
    return bytes && layout.instance.decode(bytes);
  });
const portGeneration = (box: Box, ifindex: number) =>
  box.map('port_generation', (map) => readIndex(map, ifindex, { read: (bytes) => bytes.readUInt32LE(0) }));
const exits = (box: Box) => box.map('generations', (map) => readIndex(map, 0, layout.generations)).exits;

/** As a build with another structure, and no other version, would have left it. */
function replaceMap(box: Box): void {
  unpin(`${box.directory}/map-rates`);
  box.map('rate_clock', (map) => map.pin(`${box.directory}/map-rates`));
}

test.serial(
  'R3.4 R3.6 programs stand on the underlay and on instances, whose map follows devices as they come and go',
  async (t) => {
    const box = await Box.make(t);
    await box.device('c1');
    const one = { name: 'c1', interface: 'c1', mac: '02:00:00:00:00:01' };
    const two = { name: 'c2', interface: 'c2' };
    const fastPath = await box.open(stateOf([one, two]));
    t.like(box.config(), {
      layout: layout.LAYOUT_VERSION,
      mode: layout.MODE.tunnel,
      features: 3,
      underlay_address: '192.0.2.1',
      underlay_ifindex: box.index('u0'),
      vxlan_port: 4789,
      connection_mask: 1023,
      lifetime_send: 30_000_000_000n,
      lifetime_receive: 60_000_000_000n,
    });
    t.deepEqual(
      fastPath
        .status()
        .attachments.map((each) => `${each.interface} ${each.program} ${each.by}`)
        .sort(),
      ['c1 from_instance tcx', 'c1 to_instance tcx', 'u0 nic_egress tcx', 'u0 nic_ingress tcx'],
    );
    t.deepEqual(fastPath.status().problems, []);
    const { address, mac, peer } = layout.INSTANCE_FLAG;
    t.deepEqual(instanceAt(box, box.index('c1')), {
      vni: 100,
      address: '10.200.1.2',
      mac: '02:00:00:00:00:01',
      flags: address | mac | peer,
    } as never);

    // c2's device comes later, and its other end stays in this namespace.
    await box.device('c2', true);
    await until(() => box.programs('c2') === 2);
    t.like(instanceAt(box, box.index('c2')), { address: '10.200.1.3', flags: address } as never);
    t.is((await fastPath.cache()).instances.length, 2);
    box.moveAway('c2');
    await until(() => (instanceAt(box, box.index('c2'))?.flags ?? 0) === (address | peer));

    const index = box.index('c2');
    const before = portGeneration(box, index);
    box.removeDevice('c2');
    await until(() => instanceAt(box, index) === undefined);
    t.not(portGeneration(box, index), before);
    t.false(existsSync(`${box.directory}/link-${index}-ingress`));
    await box.device('c2');
    await until(() => box.programs('c2') === 2);

    // Taken from the table: at once, and the device stays.
    const gone = fastPath.apply(stateOf([two]), [{ kind: 'instance', op: 'removed', item: instanceOf(one, 0) }]);
    t.is(instanceAt(box, box.index('c1')), undefined);
    t.is(box.programs('c1'), 0);
    await gone;
  },
);

test.serial(
  'R3.6 an agent that died left everything; the next one goes on with it and replaces the programs',
  async (t) => {
    const box = await Box.make(t);
    await box.device('c1');
    await box.device('c2');
    const state = stateOf([
      { name: 'c1', interface: 'c1' },
      { name: 'c2', interface: 'c2' },
    ]);
    const first = await box.open(state);
    t.false(first.status().adopted);
    // What only the programs write: it shows whether the maps are the same.
    box.map('rate_clock', (map) => map.set(indexKey(7), Buffer.alloc(8, 7)));
    const ids = box.programIds('u0');
    const old = exits(box);
    await first.close({ keep: true });
    t.is(box.programs('c1'), 2);
    t.deepEqual(box.programIds('u0'), ids);

    // While nobody looks, an instance goes.
    const second = await box.open(stateOf([{ name: 'c1', interface: 'c1' }]));
    t.true(second.status().adopted);
    t.deepEqual(
      box.map('rate_clock', (map) => map.get(indexKey(7))),
      Buffer.alloc(8, 7),
    );
    t.is(box.programs('u0'), 2);
    t.not(box.programIds('u0')[0], ids[0]);
    t.is(box.programs('c1'), 2);
    t.is(box.programs('c2'), 0);
    t.is(instanceAt(box, box.index('c2')), undefined);
    // What has changed meanwhile nobody knows: ways are learned anew.
    t.not(exits(box), old);
  },
);

test.serial('R3.6 another layout, other sizes or missing maps are not gone on with', async (t) => {
  const box = await Box.make(t);
  const state = stateOf([]);
  const moved = { ...state, underlay: { device: 'u0', address: '192.0.2.9' as never } };
  const spoil: [string, () => void, object][] = [
    ['layout', () => box.map('config', (map) => map.set(indexKey(0), layout.config.encode({ layout: 99 }))), {}],
    ['map', () => execFileSync('rm', [`${box.directory}/map-peers`]), {}],
    ['form', () => replaceMap(box), {}],
    ['address', () => undefined, { state: moved }],
    ['size', () => undefined, { state: moved, connections: 2048 }],
  ];
  let open = await box.open(state);
  for (const [what, run, options] of spoil) {
    box.map('rate_clock', (map) => map.set(indexKey(7), Buffer.alloc(8, 7)));
    await open.close({ keep: true });
    run();
    open = await box.open(state, options);
    t.false(open.status().adopted, what);
    t.deepEqual(
      box.map('rate_clock', (map) => map.get(indexKey(7))),
      Buffer.alloc(8),
      what,
    );
    t.is(box.programs('u0'), 2, what);
  }
});

test.serial('R3.3 keys live on with their maps; with another field a life of theirs begins', async (t) => {
  const box = await Box.make(t);
  const open = async (keyField: 'ip-id' | 'dscp') => {
    const fastPath = await box.open(stateOf([]), { settings: { ...SETTINGS, mode: 'rewrite', keyField } });
    const [epoch, born] = box.config().rewrite;
    return { fastPath, life: { epoch: epoch!, born: born! } };
  };
  const before = process.hrtime.bigint();
  const first = await open('ip-id');
  // Two readings of one clock, one of them in fractions of milliseconds.
  t.true(first.life.born >= before - 1_000_000n && first.life.born <= process.hrtime.bigint() + 1_000_000n);
  await first.fastPath.close({ keep: true });
  const second = await open('ip-id');
  t.true(second.fastPath.status().adopted);
  t.deepEqual(second.life, first.life);
  await second.fastPath.close({ keep: true });
  const third = await open('dscp');
  t.true(third.fastPath.status().adopted);
  t.not(third.life.epoch, first.life.epoch);
  t.true(third.life.born > first.life.born);
});

test.serial('R1.6 R3.6 closed for good, or removed after a death, nothing is left in the kernel', async (t) => {
  const box = await Box.make(t);
  await box.device('c1');
  const state = stateOf([{ name: 'c1', interface: 'c1' }]);
  const closed = await box.open(state);
  await closed.close({ keep: false });
  t.false(existsSync(box.directory));
  t.is(box.programs('u0') + box.programs('c1'), 0);
  const left = await box.open(state);
  await left.close({ keep: true });
  t.is(box.programs('u0') + box.programs('c1'), 4);
  t.true(removeFastPath({ netns: box.netns }));
  t.false(existsSync(box.directory));
  t.is(box.programs('u0') + box.programs('c1'), 0);
  t.false(removeFastPath({ netns: box.netns }));
});

test.serial(
  'R3.4 without tcx the programs stand in clsact queues, are adopted there, and leave no filter',
  async (t) => {
    const box = await Box.make(t);
    await box.device('c1');
    const filters = () =>
      execFileSync('ip', ['netns', 'exec', box.netns, 'tc', 'filter', 'show', 'dev', 'c1', 'ingress'], {
        encoding: 'utf8',
      });
    const state = stateOf([{ name: 'c1', interface: 'c1' }]);
    const first = await box.open(state, { attach: 'clsact' });
    t.true(first.status().attachments.every(({ by }) => by === 'clsact'));
    t.regex(filters(), /from_instance/);
    await first.close({ keep: true });
    t.regex(filters(), /from_instance/);
    const second = await box.open(state, { attach: 'clsact' });
    t.true(second.status().adopted);
    t.is(filters().match(/handle 0x706c/g)?.length, 1);
    await second.close({ keep: false });
    t.notRegex(filters(), /from_instance/);
  },
);

test.serial('R3.7 R3.8 rules are in force when the call returns, and an old set is removed', async (t) => {
  const box = await Box.make(t);
  const deny = policyRule({ name: 'telnet', protocol: 6, ports: [{ first: 23, last: 23 }], action: 'deny' });
  const cap = policyRule({ name: 'cap', rate: 8_000_000 });
  const fastPath = await box.open(stateOf([], { rules: [deny] }));
  const rules = () => box.map('rule_state', (map) => readIndex(map, 0, layout.ruleState));
  const entries = () => box.map('rules', (map) => [...map.batches()].reduce((sum, { count }) => sum + count, 0));
  const { generation, set } = rules();
  t.like(rules(), { masks: 1, default_verdict: layout.VERDICT.allow });
  t.is(entries(), 1);
  const applied = fastPath.apply(stateOf([], { rules: [deny, cap] }), [{ kind: 'policy' }]);
  t.like(rules(), { generation: generation + 1, set: 1 - set, masks: 2 });
  await applied;
  await until(() => entries() === 2);
  // 8 Mbit/s: a microsecond a byte.
  const rate = box.map('rates', (map) => readIndex(map, 1, layout.rate));
  t.is(rate.cost, 1000n << 20n);
  t.deepEqual(
    fastPath.rules().map(({ name }) => name),
    ['telnet', 'cap'],
  );
  await fastPath.apply(stateOf([], { rules: [], default: 'deny' }), [{ kind: 'policy' }]);
  t.like(rules(), { generation: generation + 2, masks: 0, default_verdict: layout.VERDICT.slow });
  await until(() => entries() === 0);
});

test.serial(
  'R3.8 each change makes invalid what it must, in the turn in which it is heard, and nothing else',
  async (t) => {
    const box = await Box.make(t);
    await box.device('c1');
    const own = [{ name: 'c1', interface: 'c1' }];
    const near = { host: '192.0.2.2', addresses: ['10.200.2.0/24'] };
    const far = { host: '192.0.2.3', addresses: ['10.200.3.0/24'] };
    const before = stateOf(own, {}, [near, far]);
    const fastPath = await box.open(before);
    // As the programs would write them.
    box.map('peers', (map) => {
      map.set(indexKey(11), layout.peer.encode({ address: near.host as never }));
      map.set(indexKey(900), layout.peer.encode({ address: far.host as never }));
    });
    const generationsNow = () => ({
      near: box.map('peer_generation', (map) => map.get(indexKey(11))!.readUInt32LE()),
      far: box.map('peer_generation', (map) => map.get(indexKey(900))!.readUInt32LE()),
      all: exits(box),
      c1: portGeneration(box, box.index('c1')),
    });
    const changed = (run: () => void): string => {
      const old = generationsNow();
      run();
      const now = generationsNow();
      return Object.keys(old)
        .filter((key) => old[key as 'all'] !== now[key as 'all'])
        .join(' ');
    };
    const apply = (state: typeof before, changes: Parameters<FastPath['apply']>[1]) => () => {
      void fastPath.apply(state, changes);
    };
    t.is(
      changed(() => fastPath.underlayChanged([near.host as never])),
      'near',
    );
    t.is(
      changed(() => fastPath.underlayChanged()),
      'near far',
    );
    t.is(
      changed(() => fastPath.portChanged(box.index('c1'))),
      'c1',
    );
    t.is(
      changed(() => fastPath.relearn()),
      'all',
    );
    const remote = (host: string, key = host) =>
      before.remotes.get(`blue/${key}`) ?? { ...before.remotes.get('blue/192.0.2.2')!, host: host as never };
    const lost = { ...before, remotes: new Map([...before.remotes].filter(([key]) => key.endsWith('.3'))) };
    t.is(changed(apply(lost, [{ kind: 'remote', op: 'removed', item: remote(near.host) }])), 'near');
    // It takes an address out of what `near` holds.
    const thief = { ...remote('192.0.2.4'), addresses: ['10.200.2.7/32'] as never };
    const stolen = { ...before, remotes: new Map([...before.remotes, ['blue/192.0.2.4', thief]]) };
    t.is(changed(apply(stolen, [{ kind: 'remote', op: 'added', item: thief }])), 'near');
    // What it holds was nobody's.
    const fresh = { ...remote('192.0.2.5'), addresses: ['10.200.9.0/24'] as never };
    t.is(changed(apply(before, [{ kind: 'remote', op: 'added', item: fresh }])), 'all');
    t.is(changed(apply(before, [{ kind: 'snat' }])), 'all');
    t.is(changed(apply(stateOf(own, { initiate: 'inside' }, [near, far]), [{ kind: 'policy' }])), 'all');
    const removed = { kind: 'instance', op: 'removed', item: instanceOf(own[0]!, 0) } as const;
    t.is(changed(apply(stateOf([], { initiate: 'inside' }, [near, far]), [removed])), 'c1');
    t.is(fastPath.counters().invalidated.all, 4);
  },
);

test.serial('R3.6 what has expired is removed, what was taken over by another is too, what lives stays', async (t) => {
  const box = await Box.make(t);
  const fastPath = await box.open(stateOf([]), { settings: { ...SETTINGS, checkInterval: 50 } });
  const now = process.hrtime.bigint();
  const key = (port: number) => layout.flowKey.encode({ protocol: 17, sport: port });
  const record = (expires: bigint, generation: number) => layout.connection.encode({ state: 2, expires, generation });
  box.map('connections', (map) => {
    map.set(indexKey(5), record(now + 3_600_000_000_000n, 1));
    map.set(indexKey(6), record(now - 1n, 1));
    map.set(indexKey(7), record(now + 3_600_000_000_000n, 2));
  });
  const flow = (slot: number, generation: number) => layout.flowValue.encode({ record: slot * 2, generation });
  box.map('flows', (map) => {
    map.set(key(5), flow(5, 1));
    map.set(key(6), flow(6, 1));
    map.set(key(7), flow(7, 1));
    map.set(key(8), flow(4_000_000, 1));
  });
  const pair = (peer: number) =>
    layout.sentPair.encode({ peer, vni: 100, daddr: '10.200.2.2' as never, dscp: 46 << 2 });
  box.map('peers', (map) => map.set(indexKey(3), layout.peer.encode({ address: '192.0.2.2' as never })));
  box.map('sent_keys', (map) => {
    map.set(pair(3), layout.sentKey.encode({ key: 17, heard: now, until: now + 3_600_000_000_000n }));
    map.set(pair(4), layout.sentKey.encode({ key: 18, heard: now, until: now }));
  });
  await until(() => {
    const { expired, stale, keys } = fastPath.counters().ageing;
    return expired + stale + keys === 4;
  });
  t.like(fastPath.counters().ageing, { expired: 1, stale: 2, keys: 1, connections: 2 });
  t.like((await fastPath.cache()).keys.sent, [
    { key: 17, peer: '192.0.2.2', vni: 100, destination: '10.200.2.2', dscp: 46 },
  ]);
  const left = (port: number) => box.map('flows', (map) => map.get(key(port)) !== undefined);
  t.deepEqual([5, 6, 7, 8].map(left), [true, false, false, false]);
  t.is((await fastPath.flows()).length, 2);
});

test.serial(
  'R1.6 pins that somebody removes take the programs along: both are back with the next look, and it is said',
  async (t) => {
    const box = await Box.make(t);
    await box.device('veth-c1');
    const said: string[][] = [];
    await box.open(stateOf([{ name: 'c1', interface: 'veth-c1' }]), {
      settings: { ...SETTINGS, checkInterval: 50 },
      mended: (devices) => void said.push([...devices]),
    });
    const ids = () => [...box.programIds('u0'), ...box.programIds('veth-c1')];
    const before = ids();
    t.is(before.length, 4);
    const learned = exits(box);
    rmSync(box.directory, { recursive: true });
    // A look in the midst of the removal mends one device, and the next look the other.
    await until(() => new Set(said.flat()).size === 2);
    t.deepEqual(new Set(said.flat()), new Set(['u0', 'veth-c1']));
    await until(() => JSON.stringify(ids()) === JSON.stringify(before));
    t.true(exits(box) > learned, 'every way is learned anew');
  },
);

test.serial('R1.6 a device whose programs can not be put back keeps those of no other from it', async (t) => {
  const box = await Box.make(t);
  await box.device('veth-c1');
  const said = new Set<string>();
  await box.open(stateOf([{ name: 'c1', interface: 'veth-c1' }]), {
    settings: { ...SETTINGS, checkInterval: 50 },
    mended: (devices) => devices.forEach((device) => void said.add(device)),
  });
  const pin = (device: string, way: string) => `${box.directory}/link-${box.index(device)}-${way}`;
  for (const device of ['u0', 'veth-c1']) for (const way of ['ingress', 'egress']) unpin(pin(device, way));
  const obstacle = pin('u0', 'ingress');
  mkdirSync(obstacle);
  const learned = exits(box);
  await until(() => said.size > 0);
  t.deepEqual([...said], ['veth-c1']);
  t.true(exits(box) > learned);
  await until(() => box.programs('veth-c1') === 2);
  rmdirSync(obstacle);
  await until(() => said.has('u0') && box.programs('u0') === 2);
  t.deepEqual([...said], ['veth-c1', 'u0']);
});
