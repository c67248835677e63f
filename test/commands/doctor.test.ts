import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Diagnosis } from '../../src/cli/diagnosis.ts';

/** A switch's namespace with one uplink and three server ports, two of them in a bridge. */
const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;
const NETNS = `plsdoc${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), 'peerless-doctor-'));
const file = join(folder, 'peerless.yaml');
const CONFIG = `role: tor
routerId: 10.255.0.1
hostRoutes: { prefixes: [10.10.10.0/24], ports: [A1, A2, A3] }
portLink: [{ name: fabric, uplinks: [A0], downlinks: [A1, A2, A3] }]
ospf: { interfaces: [{ name: A0 }] }
bgp: { asn: 65001, neighbors: [{ address: 192.0.2.1, remoteAs: 65000, localAddress: 192.0.2.2, passwordFile: ${folder}/key }] }
control: { socket: ${folder}/none.sock }
`;

const ip = (...argv: string[]) => execFileSync('ip', ['-n', NETNS, ...argv]);
const sysctl = (...settings: string[]) => execFileSync('ip', ['netns', 'exec', NETNS, 'sysctl', '-qw', ...settings]);

function doctor(prefix: readonly string[] = []): { code: number | null; checks: Diagnosis[]; text: string } {
  const argv = ['netns', 'exec', NETNS, ...prefix, PEERLESS, 'doctor', '--config', file];
  const json = spawnSync('ip', [...argv, '--json'], { encoding: 'utf8' });
  const text = spawnSync('ip', argv, { encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } });
  return { code: json.status, checks: JSON.parse(json.stdout).checks, text: text.stdout };
}

const not = (checks: readonly Diagnosis[], verdict: Diagnosis['verdict']): string[] =>
  checks.filter((check) => check.verdict === verdict).map((check) => `${check.check}: ${check.message}`);

test.before(() => {
  execFileSync('ip', ['netns', 'add', NETNS]);
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'br0', 'type', 'bridge');
  ip('link', 'set', 'br0', 'up');
  for (const port of ['A0', 'A1', 'A2', 'A3']) {
    ip('link', 'add', port, 'type', 'veth', 'peer', 'name', `p${port}`);
    ip('link', 'set', port, 'up');
  }
  for (const port of ['A2', 'A3']) ip('link', 'set', port, 'master', 'br0');
  writeFileSync(file, CONFIG);
  writeFileSync(`${folder}/key`, 'secret\n', { mode: 0o600 });
});

test.after.always(() => {
  spawnSync('ip', ['netns', 'del', NETNS]);
  rmSync(folder, { recursive: true });
});

test.serial('what keeps a bare box from being a switch is named with its remedy', (t) => {
  sysctl(
    'net.ipv4.ip_forward=0',
    'net.ipv4.conf.all.rp_filter=2',
    'net.ipv4.conf.A1.arp_filter=1',
    'net.ipv4.conf.br0.arp_ignore=8',
  );
  const { code, checks, text } = doctor();
  t.is(code, 1);
  const wrong = not(checks, 'wrong');
  for (const expected of [
    /^forwarding: net\.ipv4\.ip_forward is 0/,
    /^gateway address: A1 has no address inside 10\.10\.10\.0\/24/,
    /^gateway address: br0 has no address inside/,
    /^arp_ignore: br0 answers no ARP at all/,
    /^addresses: A0 speaks OSPF but has no IPv4 address/,
    /^addresses: localAddress 192\.0\.2\.2 of BGP neighbour 192\.0\.2\.1 is not on this switch/,
  ]) {
    t.true(
      wrong.some((line) => expected.test(line)),
      `${expected}\n${wrong.join('\n')}`,
    );
  }
  t.is(wrong.length, 6, wrong.join('\n'));
  const warnings = not(checks, 'warning');
  for (const expected of [
    /^rp_filter: A1 /,
    /^rp_filter: br0 /,
    /^proxy_arp: br0 /,
    /^arp_filter: A1 /,
    /^agent: .*there is no socket/,
  ]) {
    t.true(
      warnings.some((line) => expected.test(line)),
      `${expected}\n${warnings.join('\n')}`,
    );
  }
  t.true(
    checks.every((check) => check.verdict === 'fine' || check.remedy),
    'everything that is not fine has a remedy',
  );
  t.regex(text, /^WRONG {4}forwarding .*\n {9,}-> sysctl -w net\.ipv4\.ip_forward=1$/m);
});

test.serial('a box that is set up is fine, but for the agent that does not run', (t) => {
  ip('address', 'add', '192.0.2.2/30', 'dev', 'A0');
  for (const port of ['A1', 'br0']) {
    ip('address', 'add', '10.10.10.254/32', 'dev', port);
    const settings = { rp_filter: 0, arp_filter: 0, arp_ignore: 0, proxy_arp: 1, send_redirects: 0 };
    sysctl(...Object.entries(settings).map(([key, value]) => `net.ipv4.conf.${port}.${key}=${value}`));
  }
  sysctl('net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.all.send_redirects=0');
  const { code, checks } = doctor();
  t.is(code, 0, not(checks, 'wrong').join('\n'));
  const warnings = not(checks, 'warning');
  t.is(warnings.length, 1, warnings.join('\n'));
  t.regex(warnings[0]!, /^agent: /);
});

test.serial(
  'IPv6 addresses that a port loses when it is shut are named, where the agent can not have them kept',
  (t) => {
    const told = () => doctor().checks.filter(({ check }) => check === 'keep_addr_on_down');
    t.deepEqual(told(), [], 'IPv4 alone, and link-local addresses come back by themselves');
    ip('address', 'add', '2001:db8::fe/128', 'dev', 'A1', 'nodad');
    // The bridge has it, and is not shut; the uplink is shut by nobody.
    ip('address', 'add', '2001:db8::fd/128', 'dev', 'br0', 'nodad');
    ip('address', 'add', '2001:db8:1::1/64', 'dev', 'A0', 'nodad');
    t.deepEqual(told(), [], 'the agent has them kept');
    sysctl('net.ipv6.conf.all.keep_addr_on_down=-1');
    const [found, ...others] = told();
    t.deepEqual(others, []);
    t.like(found, { verdict: 'warning', remedy: 'sysctl -w net.ipv6.conf.all.keep_addr_on_down=1' });
    t.regex(found!.message, /^A1 loses 2001:db8::fe whenever it is shut/);
    const lost = () => {
      ip('link', 'set', 'A1', 'down');
      ip('link', 'set', 'A1', 'up');
      return !ip('-6', 'address', 'show', 'dev', 'A1').toString().includes('2001:db8::fe');
    };
    sysctl('net.ipv6.conf.A1.keep_addr_on_down=1');
    t.true(lost(), 'the kernel does what is said of it');
    ip('address', 'add', '2001:db8::fe/128', 'dev', 'A1', 'nodad');
    sysctl('net.ipv6.conf.all.keep_addr_on_down=1');
    t.deepEqual(told(), []);
    t.false(lost());
    sysctl('net.ipv6.conf.all.keep_addr_on_down=0');
    ip('address', 'flush', 'dev', 'br0', 'to', '2001:db8::/32');
  },
);

test.serial('missing capabilities are named', (t) => {
  const { code, checks } = doctor(['setpriv', '--bounding-set=-net_raw', '--inh-caps=-all']);
  t.is(code, 1);
  const wrong = not(checks, 'wrong');
  t.true(
    wrong.some((line) => line.startsWith('capabilities: CAP_NET_RAW is missing')),
    wrong.join('\n'),
  );
  t.true(
    wrong.some((line) => line.startsWith('sockets: packet sockets')),
    wrong.join('\n'),
  );
});

test.serial('a secret that others can read is wrong', (t) => {
  execFileSync('chmod', ['644', `${folder}/key`]);
  const { code, checks } = doctor();
  t.is(code, 1);
  t.regex(
    not(checks, 'wrong').join('\n'),
    /configuration: .*peerless\.yaml:6:\d+: bgp\.neighbors\[0\]\.passwordFile: .* is open to others/,
  );
  execFileSync('chmod', ['600', `${folder}/key`]);
});

test.serial('config check looks into another network namespace', (t) => {
  const there = spawnSync(PEERLESS, ['config', 'check', file, '--netns', NETNS], { encoding: 'utf8' });
  t.is(there.status, 0, there.stderr);
  ip('link', 'del', 'A3');
  const gone = spawnSync(PEERLESS, ['config', 'check', file, '--netns', NETNS], { encoding: 'utf8' });
  t.is(gone.status, 2);
  t.regex(
    gone.stderr,
    /peerless\.yaml:3:58: hostRoutes\.ports\[2\]: there is no interface A3\. Correct the name \(there are A0, A1, A2, br0, /,
  );
  t.is(spawnSync(PEERLESS, ['config', 'check', file, '--netns', 'nosuchnetns'], { encoding: 'utf8' }).status, 2);
});
