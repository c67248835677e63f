import { execFileSync } from 'node:child_process';
import test from 'ava';
import { Rtnetlink } from 'rtnetlink-ts';
import { systemClock } from '../../../src/model/clock.ts';
import { NetworkProjection } from '../../../src/vswitch-bridge/slowpath/network/index.ts';
import { network, overlay, quietLog, remote } from './overlay.ts';

test.serial(
  'R3.8 with a host that leaves a network goes what its tunnel has learned of it, and nothing else',
  async (t) => {
    const netns = `nvl${process.pid}`;
    const ip = (...words: string[]) => execFileSync('ip', words);
    ip('netns', 'add', netns);
    t.teardown(() => ip('netns', 'del', netns));
    ip('-n', netns, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'far');
    ip('-n', netns, 'address', 'add', '10.20.1.1/24', 'dev', 'eth0');
    ip('-n', netns, 'link', 'set', 'eth0', 'up');
    const networks = [network('blue', 100, '10.200.0.0/16', '10.200.0.1'), network('red', 101, '10.201.0.0/16')];
    const [gone, ...rest] = [
      remote('10.20.1.2', 'blue', '10.200.2.0/24'),
      remote('10.20.1.3', 'blue', '10.200.3.0/24'),
      remote('10.20.1.2', 'red', '10.201.2.0/24'),
    ];
    const projection = await NetworkProjection.open({
      ...{ clock: systemClock, log: quietLog(), netns },
      state: overlay({ networks, remotes: [gone!, ...rest] }),
    });
    t.teardown(() => projection.close());
    const learn = (mac: string, device: string, host: string) =>
      execFileSync('bridge', ['-n', netns, 'fdb', 'add', mac, 'dev', device, 'dst', host, 'self', 'dynamic']);
    learn('0a:00:00:00:00:02', 'pltn100', '10.20.1.2');
    learn('0a:00:00:00:00:03', 'pltn100', '10.20.1.3');
    learn('0a:00:00:00:00:04', 'pltn101', '10.20.1.2');
    await projection.apply(overlay({ networks, remotes: rest }), [{ kind: 'remote', op: 'removed', item: gone! }]);
    const entries = (device: string) =>
      execFileSync('bridge', ['-n', netns, 'fdb', 'show', 'dev', device], { encoding: 'utf8' });
    t.notRegex(entries('pltn100'), /10\.20\.1\.2/);
    t.regex(entries('pltn100'), /0a:00:00:00:00:03 dst 10\.20\.1\.3/);
    t.regex(entries('pltn101'), /0a:00:00:00:00:04 dst 10\.20\.1\.2/);
  },
);

test.serial('what the kernel refuses is known also when what was learned can not be read', async (t) => {
  const netns = `nvp${process.pid}`;
  const ip = (...words: string[]) => execFileSync('ip', words);
  ip('netns', 'add', netns);
  t.teardown(() => ip('netns', 'del', netns));
  ip('-n', netns, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'far');
  ip('-n', netns, 'address', 'add', '10.20.1.1/24', 'dev', 'eth0');
  ip('-n', netns, 'link', 'set', 'eth0', 'up');
  // Two devices can't have one number.
  ip('-n', netns, 'link', 'add', 'theirs', 'type', 'vxlan', 'id', '101', 'dstport', '4789');
  const blue = network('blue', 100, '10.200.0.0/16', '10.200.0.1');
  const red = network('red', 101, '10.201.0.0/16');
  const gone = remote('10.20.1.2', 'blue', '10.200.2.0/24');
  const projection = await NetworkProjection.open({
    ...{ clock: systemClock, log: quietLog(), netns },
    state: overlay({ networks: [blue], remotes: [gone] }),
  });
  t.teardown(() => projection.close());
  const { dumpFdb } = Rtnetlink.prototype;
  t.teardown(() => {
    Rtnetlink.prototype.dumpFdb = dumpFdb;
  });
  Rtnetlink.prototype.dumpFdb = () => Promise.reject(new Error('not now'));
  const state = overlay({ networks: [blue, red] });
  const changing = projection.apply(state, [
    { kind: 'remote', op: 'removed', item: gone },
    { kind: 'network', op: 'added', item: red },
  ]);
  await t.throwsAsync(changing, { message: 'not now' });
  Rtnetlink.prototype.dumpFdb = dumpFdb;
  t.true(projection.view().problems.some((problem) => problem.includes('pltn101')));
  t.true(projection.counters().refused > 0);
  ip('-n', netns, 'link', 'del', 'theirs');
  await projection.apply(state, []);
  t.deepEqual(projection.view().problems, []);
});
