import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Diagnosis } from '../../src/cli/diagnosis.ts';

const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;
const NETNS = `hpdoc${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), 'peerless-doctor-repair-'));
const file = join(folder, 'peerless.yaml');
const CONFIG = `role: tor
routerId: 10.255.0.1
hostRoutes: { prefixes: [10.10.10.0/24], ports: [A1] }
portLink: [{ name: fabric, uplinks: [A0], downlinks: [A1] }]
shadow: { enabled: true }
bgp: { asn: 65001, neighbors: [{ address: 192.0.2.1, remoteAs: 65000 }] }
control: { socket: ${folder}/none.sock }
`;

const ip = (...argv: string[]) => execFileSync('ip', ['-n', NETNS, ...argv]);
const inside = (...argv: string[]) => execFileSync('ip', ['netns', 'exec', NETNS, ...argv]);

function repair(): string[] {
  const argv = ['netns', 'exec', NETNS, PEERLESS, 'doctor', '--config', file, '--json'];
  const { stdout } = spawnSync('ip', argv, { encoding: 'utf8' });
  const checks: Diagnosis[] = JSON.parse(stdout).checks;
  return checks.filter(({ check }) => check === 'repair').map(({ verdict, message }) => `${verdict}: ${message}`);
}

test.before(() => {
  execFileSync('ip', ['netns', 'add', NETNS]);
  ip('link', 'set', 'lo', 'up');
  for (const port of ['A0', 'A1']) {
    ip('link', 'add', port, 'type', 'veth', 'peer', 'name', `p${port}`);
    ip('link', 'set', port, 'up');
  }
  inside('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0');
  writeFileSync(file, CONFIG);
});

test.after.always(() => {
  spawnSync('ip', ['netns', 'del', NETNS]);
  rmSync(folder, { recursive: true });
});

test.serial('what keeps a repair tunnel from working is named', (t) => {
  inside('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1');
  ip('link', 'add', 'rep0', 'type', 'vxlan', 'external', 'gpe', 'dstport', '4790');
  inside(
    '/usr/sbin/nft',
    'add table inet filter; add chain inet filter input { type filter hook input priority 0; policy drop; }',
  );
  const found = repair();
  for (const expected of [
    /^wrong: rep0 is there already, and is not ours/,
    /^wrong: net\.ipv4\.conf\.all\.rp_filter is 1/,
    /^wrong: no uplink of a port-link group has an IPv4 address/,
    /^warning: the MTU of A0 is less than 1536/,
    /^warning: nftables drops what comes in and is not allowed, and no rule names UDP port 4790/,
  ]) {
    t.true(
      found.some((line) => expected.test(line)),
      `${expected}\n${found.join('\n')}`,
    );
  }
  t.is(found.length, 5, found.join('\n'));
});

test.serial('a port that another tunnel has', (t) => {
  inside('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=2');
  ip('link', 'set', 'rep0', 'name', 'other');
  ip('link', 'set', 'other', 'up');
  t.true(repair().some((line) => line.startsWith('wrong: UDP port 4790 is taken by another program or tunnel')));
});

test.serial('a box that is fit for it', (t) => {
  ip('link', 'del', 'other');
  ip('addr', 'add', '192.0.2.2/30', 'dev', 'A0');
  ip('link', 'set', 'A0', 'mtu', '1536');
  inside('/usr/sbin/nft', 'add rule inet filter input ip saddr 192.0.2.6 udp dport 4790 accept');
  t.deepEqual(repair(), ['fine: a tunnel can begin and end at A0']);
});
