/** How rulesets come into the kernel: differences, restarts, refusals; what others do to them; many rules; rates; IPv6. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { systemClock } from '../../../src/model/clock.ts';
import type { OverlayService, OverlayState } from '../../../src/model/overlay.ts';
import { missingFeatures, NftError, PolicyProjection } from '../../../src/vswitch-bridge/slowpath/policy/index.ts';
import { quietLog } from '../network/overlay.ts';
import { address, instance, network, rule, service, state } from './support/state.ts';
import { sleep, until, World } from './support/world.ts';

const BLUE = network('blue', 100, '10.200.0.0/16', '10.200.0.1');
let made = 0;

const run = (...command: string[]): string =>
  execFileSync(command[0]!, command.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** An empty namespace; nothing of it is left. */
function namespace(t: ExecutionContext): string {
  const name = `pld${process.pid}x${made++}`;
  run('ip', 'netns', 'add', name);
  t.teardown(() => void run('ip', 'netns', 'delete', name));
  run('ip', '-n', name, 'link', 'set', 'lo', 'up');
  return name;
}

const nft = (netns: string, ...args: string[]): string => run('ip', 'netns', 'exec', netns, '/usr/sbin/nft', ...args);
const open = (netns: string, stateFile?: string): Promise<PolicyProjection> =>
  PolicyProjection.open({ clock: systemClock, log: quietLog(), netns, stateFile });

const SMALL = {
  networks: [BLUE],
  instances: [instance('c1', 'blue', '10.200.1.2'), instance('c2', 'blue', '10.200.1.3')],
  policy: { rules: [rule({ name: 'no-telnet', direction: 'in', protocol: 'tcp', ports: [23], action: 'deny' })] },
  services: [service('web', 'blue', '10.200.255.10:80', ['10.200.1.2:8080', '10.200.2.2:8080'])],
};

test.serial(
  'R3.8: after a restart nothing is loaded when nothing changed, and a difference when something did',
  async (t) => {
    const netns = namespace(t);
    const directory = mkdtempSync(join(tmpdir(), 'peerless-policy-'));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const file = join(directory, 'policy.json');
    const first = await open(netns, file);
    await first.apply(state(SMALL), []);
    t.is(first.counters()['loads.whole'], 1);
    await first.close({ keep: true });
    // Counters of the kernel's are what shows whether it was touched.
    nft(
      netns,
      'add',
      'element',
      'inet',
      'peerless',
      'acl_in_ip_0to0_p_d1_deny',
      '{ 6 . 99 counter packets 7 bytes 700 comment "rule_mine" : drop }',
    );

    const second = await open(netns, file);
    await second.apply(state(SMALL), []);
    t.like(second.counters(), { 'loads.whole': 0, 'loads.incremental': 0, 'loads.unchanged': 1 });
    await second.close({ keep: true });

    const third = await open(netns, file);
    const more = rule({ name: 'no-ftp', direction: 'in', protocol: 'tcp', ports: [21], action: 'deny' });
    await third.apply(state({ ...SMALL, policy: { rules: [...SMALL.policy.rules, more] } }), []);
    t.like(third.counters(), { 'loads.whole': 0, 'loads.incremental': 1 });
    t.regex(nft(netns, 'list', 'ruleset'), /tcp \. 99 counter packets 7 bytes 700/);
    await third.close({ keep: true });

    // Without the file: the whole, since nobody knows what stands there.
    rmSync(file);
    const fourth = await open(netns, file);
    await fourth.apply(state(SMALL), []);
    t.like(fourth.counters(), { 'loads.whole': 1, 'loads.incremental': 0 });
    await fourth.close({ keep: false });
    t.is(nft(netns, 'list', 'ruleset').trim(), '');
  },
);

test.serial('a refused load changes nothing, tells what nft said, and the next one works', async (t) => {
  const netns = namespace(t);
  // Another's tables are left alone throughout.
  nft(netns, 'add', 'table', 'inet', 'other');
  const policy = await open(netns);
  await policy.apply(state(SMALL), []);
  const before = nft(netns, 'list', 'ruleset');
  const wrong: OverlayState = state({ ...SMALL, services: [{ ...SMALL.services[0]!, protocol: 'nonsense' as 'tcp' }] });
  const error = await t.throwsAsync(policy.apply(wrong, []), { instanceOf: NftError });
  t.regex((error as NftError).said, /nonsense/);
  t.regex(policy.warnings().join(' '), /nonsense/);
  t.is(nft(netns, 'list', 'ruleset'), before);
  await policy.apply(state({ ...SMALL, services: [] }), []);
  t.deepEqual(policy.warnings(), []);
  // Somebody flushes all: it is seen, and put back.
  nft(netns, 'flush', 'ruleset');
  await until('it is loaded again', () => policy.counters()['loads.whole'] === 2);
  t.regex(nft(netns, 'list', 'ruleset'), /table inet peerless/);
  nft(netns, 'delete', 'table', 'bridge', 'peerless');
  await until('it is whole again', () => policy.counters()['loads.whole'] === 3);
  // What others do beside us is not our affair.
  nft(netns, 'add', 'table', 'inet', 'beside');
  await sleep(600);
  t.is(policy.counters()['loads.whole'], 3);
  await policy.close({ keep: false });
});

test.serial(
  'R1.6: what the kernel lacks can be asked for; this one has all, and nothing is left of the question',
  async (t) => {
    const netns = namespace(t);
    t.deepEqual(await missingFeatures({ netns }), []);
    t.is(nft(netns, 'list', 'ruleset').trim(), '');
    t.deepEqual(await missingFeatures({ netns: 'no-such-namespace' }).then((missing) => missing.length > 0), true);
  },
);

test.serial('changes that come while one is loaded are one load afterwards, of the newest', async (t) => {
  const netns = namespace(t);
  const policy = await open(netns);
  const withRule = (port: number) =>
    state({
      ...SMALL,
      policy: { rules: [rule({ name: `p${port}`, direction: 'in', protocol: 'tcp', ports: [port], action: 'deny' })] },
    });
  await Promise.all(Array.from({ length: 20 }, (_, index) => policy.apply(withRule(1000 + index), [])));
  const { 'loads.whole': whole, 'loads.incremental': incremental } = policy.counters();
  t.is(whole! + incremental!, 2);
  t.regex(nft(netns, 'list', 'table', 'inet', 'peerless'), /tcp \. 1019 counter/);
  await policy.close({ keep: false });
});

test.serial('R1.2 R3.7: ten thousand rules load, change and are listed; the kernel takes every shape', async (t) => {
  const netns = namespace(t);
  const policy = await open(netns);
  const rules = Array.from({ length: 10_000 }, (_, index) =>
    rule({
      name: `r${index}`,
      direction: (['in', 'out', 'both'] as const)[index % 3],
      from: index % 4 ? `10.${index >> 8}.${index & 255}.0/24` : 'any',
      to: index % 5 ? `10.200.1.${index % 250}` : 'any',
      protocol: index % 2 ? 'tcp' : 'any',
      ports: index % 7 ? [index % 60_000, (index % 60_000) + 1] : [[index, index + 200]],
      sourcePorts: index % 11 ? [] : [index],
      network: index % 13 ? undefined : 'blue',
      action: index % 3 ? 'deny' : 'allow',
    }),
  );
  // Both families of everything else too.
  const six: OverlayService = {
    ...service('six', 'six', '10.200.255.10:80', []),
    address: address('fd00:6::ffff'),
    backends: [
      { address: address('fd00:6::2'), port: 80 },
      { address: address('fd00:6::3'), port: 80 },
    ],
    healthCheck: { interval: 60_000, timeout: 1000, retries: 3 },
  };
  const parts = {
    networks: [BLUE, network('six', 600, 'fd00:6::/64', 'fd00:6::1')],
    instances: [...SMALL.instances, instance('s2', 'six', 'fd00:6::2')],
    services: [...SMALL.services, six],
    snat: [
      ['blue', '0.0.0.0/0', '10.20.1.1'],
      ['six', '::/0', '2001:db8::1'],
      ['six', '2001:db8:1::/48', '2001:db8::2'],
    ] as [string, string, string][],
  };
  const started = performance.now();
  await policy.apply(state({ ...parts, policy: { initiate: 'inside', rules } }), []);
  const loaded = performance.now();
  await policy.apply(state({ ...parts, policy: { initiate: 'inside', rules: rules.slice(1) } }), []);
  const changed = performance.now();
  await policy.refresh();
  t.log(
    `loaded in ${(loaded - started).toFixed()} ms, one rule less in ${(changed - loaded).toFixed()} ms, listed in ${(performance.now() - changed).toFixed()} ms`,
  );
  t.is(policy.ruleCounters().size, 9999);
  t.like(policy.counters(), { 'loads.whole': 1, 'loads.incremental': 1 });
  await policy.close({ keep: false });
});

test.serial('R3.7: a rate holds on the slow path, for what goes its way only', async (t) => {
  const world = await World.up(t, {
    networks: [{ name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' }],
    instances: [
      { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
      { name: 'c2', host: 1, network: 'blue', address: '10.200.1.3' },
      { name: 'c3', host: 2, network: 'blue', address: '10.200.2.2' },
    ],
  });
  // 8 Mbit/s are 1,000 packets of 1,000 octets a second; the bucket holds 128 KiB.
  await world.set({ policy: { rules: [rule({ name: 'cap', to: '10.200.1.3', rate: 8_000_000 })] } });
  const { policy } = world.host('h1');
  for (const from of ['c1', 'c3']) {
    const begun = performance.now();
    const { received, sent } = await world.lab.udp(from, 'c2', { port: 7400, count: 2000, size: 1000, interval: 0 });
    // The longer a busy machine takes to send them, the more may pass.
    const most = Math.max(1900, 200 + (performance.now() - begun) * 1.1);
    t.true(received >= 100 && received < most, `${from}: ${received} of ${sent}`);
  }
  await policy.refresh();
  t.true(policy.ruleCounters().get('cap')!.packets > 100);
  t.like(await world.lab.udp('c2', 'c3', { port: 7400, count: 1000, size: 1000, interval: 0 }), { lost: 0 });
});

test.serial('R1.2: rules hold for IPv6; neighbour discovery and errors pass an allow list', async (t) => {
  const netns = namespace(t);
  const names = ['a', 'b'].map((name) => `${netns}${name}`);
  for (const [index, name] of names.entries()) {
    run('ip', 'netns', 'add', name);
    t.teardown(() => void run('ip', 'netns', 'delete', name));
    run('ip', '-n', netns, 'link', 'add', `v6p${index}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    run('ip', '-n', name, 'address', 'add', `fd00:6::${index + 2}/64`, 'dev', 'eth0', 'nodad');
    for (const device of ['lo', 'eth0']) run('ip', '-n', name, 'link', 'set', device, 'up');
  }
  run('ip', '-n', netns, 'link', 'add', 'plbr600', 'type', 'bridge');
  for (const device of ['v6p0', 'v6p1']) run('ip', '-n', netns, 'link', 'set', device, 'master', 'plbr600', 'up');
  run('ip', '-n', netns, 'link', 'set', 'plbr600', 'up');
  run('ip', 'netns', 'exec', netns, 'sysctl', '-qw', 'net.bridge.bridge-nf-call-ip6tables=1');
  const policy = await open(netns);
  const parts = {
    networks: [network('six', 600, 'fd00:6::/64')],
    instances: [instance('a', 'six', 'fd00:6::2', 'v6p0'), instance('b', 'six', 'fd00:6::3', 'v6p1')],
  };
  const ping = (): boolean => {
    try {
      run('ip', 'netns', 'exec', names[0]!, 'ping', '-6', '-c', '1', '-W', '1', 'fd00:6::3');
      return true;
    } catch {
      return false;
    }
  };
  await policy.apply(state(parts), []);
  await until('IPv6 works at all', ping);
  const deny = rule({
    name: 'six',
    direction: 'in',
    from: 'fd00:6::/96',
    to: 'fd00:6::3',
    protocol: 58,
    action: 'deny',
  });
  await policy.apply(state({ ...parts, policy: { rules: [deny] } }), []);
  t.false(ping());
  await policy.refresh();
  t.true(policy.ruleCounters().get('six')!.packets >= 1);
  run('ip', '-n', names[0]!, '-6', 'neigh', 'flush', 'dev', 'eth0');
  const allow = rule({ name: 'six', from: 'fd00:6::2', to: 'fd00:6::3', protocol: 58, action: 'allow' });
  await policy.apply(state({ ...parts, policy: { default: 'deny', rules: [allow] } }), []);
  await until('neighbour discovery passes', ping);
  await policy.apply(state({ ...parts, policy: { default: 'deny' } }), []);
  t.false(ping());
  await policy.close({ keep: false });
});
