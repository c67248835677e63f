/** What others change behind the layout's back is put back, and said. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test from 'ava';
import { withNetns } from 'linux-sockets';
import type { Mac } from '../../../src/model/address.ts';
import { type Clock, systemClock } from '../../../src/model/clock.ts';
import { NetworkProjection } from '../../../src/vswitch-bridge/slowpath/network/index.ts';
import { instance, network, overlay, quietLog } from './overlay.ts';

const PATIENCE = 15_000;

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Twenty of its seconds in one of ours: it looks every five. */
const hurried: Clock = {
  now: () => systemClock.now() * 20,
  schedule: (at, run) => systemClock.schedule(at / 20, run),
};

test.serial(
  'settings that others change, of which the kernel tells nobody, are put back, and it is said',
  async (t) => {
    const netns = `nvm${process.pid}`;
    const ip = (...words: string[]) => execFileSync('ip', words);
    ip('netns', 'add', netns);
    t.teardown(() => ip('netns', 'del', netns));
    ip('-n', netns, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'far');
    ip('-n', netns, 'address', 'add', '10.20.1.1/24', 'dev', 'eth0');
    ip('-n', netns, 'link', 'set', 'eth0', 'up');
    ip('-n', netns, 'link', 'add', 'veth-c1', 'type', 'veth', 'peer', 'name', 'c1');
    ip('-n', netns, 'link', 'set', 'veth-c1', 'up');
    ip('-n', netns, 'link', 'set', 'c1', 'up');
    const fileOf = (path: string) => `/proc/sys/net/${path}`;
    const settingOf = (path: string) => withNetns(netns, () => readFileSync(fileOf(path), 'utf8').trim());
    const said: string[] = [];
    const projection = await NetworkProjection.open({
      ...{ clock: hurried, log: quietLog(), netns },
      state: overlay({
        networks: [network('blue', 100, '10.200.0.0/16', '10.200.0.1')],
        instances: [instance('c1', 'blue', '10.200.1.2', { mac: '0a:00:00:00:00:01' as Mac })],
      }),
      onMended: (kind, what) => void said.push(...what.map((one) => `${kind} ${one}`)),
    });
    t.teardown(() => projection.close());
    for (const path of ['bridge/bridge-nf-call-iptables', 'ipv4/ip_forward', 'ipv4/conf/plbr100/rp_filter']) {
      const before = settingOf(path);
      said.length = 0;
      const other = before === '0' ? '1' : '0';
      execFileSync('ip', ['netns', 'exec', netns, 'sh', '-c', `echo ${other} > ${fileOf(path)}`]);
      await until(path, () => settingOf(path) === before && said.length > 0);
      t.true(said.includes(`settings net.${path.replaceAll('/', '.')}`), said.join());
    }
    said.length = 0;
    const entries = () => execFileSync('bridge', ['-n', netns, 'fdb', 'show', 'br', 'plbr100'], { encoding: 'utf8' });
    await until('the instance is behind its port', () => /0a:00:00:00:00:01 dev veth-c1 .*static/.test(entries()));
    ip('-n', netns, 'link', 'del', 'veth-c1');
    ip('-n', netns, 'link', 'del', 'plbr100');
    await until('what was removed is said', () => said.some((what) => /^layout .*plbr100/.test(what)));
    t.false(
      said.some((what) => what.includes('veth-c1')),
      'that is not back, and nobody has done it',
    );
  },
);
