import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Diagnosis } from '../../src/cli/diagnosis.ts';

/** A gateway's namespace with a veth pair for its observer. */
const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;
const NETNS = `plsgwd${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), 'peerless-gateway-doctor-'));
const file = join(folder, 'peerless.yaml');

const ip = (...argv: string[]) => execFileSync('ip', ['-n', NETNS, ...argv]);
const sysctl = (...settings: string[]) => execFileSync('ip', ['netns', 'exec', NETNS, 'sysctl', '-qw', ...settings]);

function doctor(config: string): string[] {
  writeFileSync(
    file,
    `role: gateway\nrouterId: 10.255.0.250\ncontrol: { socket: ${folder}/none.sock, metrics: null }\n${config}`,
  );
  const argv = ['netns', 'exec', NETNS, PEERLESS, 'doctor', '--config', file, '--json'];
  const { checks } = JSON.parse(spawnSync('ip', argv, { encoding: 'utf8' }).stdout) as { checks: Diagnosis[] };
  return checks.filter(({ check }) => check === 'gateway').map(({ verdict, message }) => `${verdict}: ${message}`);
}

test.before(() => {
  execFileSync('ip', ['netns', 'add', NETNS]);
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'obs0', 'type', 'veth', 'peer', 'name', 'obs1');
  ip('address', 'add', '10.254.0.2/30', 'dev', 'obs1');
});

test.after.always(() => {
  spawnSync('ip', ['netns', 'del', NETNS]);
  rmSync(folder, { recursive: true });
});

test.serial('an observer at a pair inside its own box is told what keeps packets from it', (t) => {
  const config = 'mode: observer\nospf: { interfaces: [{ name: obs1 }] }\n';
  sysctl('net.ipv4.conf.all.rp_filter=1');
  const [local, strict] = doctor(config);
  t.regex(local ?? '', /^warning: obs1 takes no packets from this box itself/);
  t.regex(strict ?? '', /^warning: obs1 checks the way back strictly/);
  sysctl('net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.obs1.rp_filter=0', 'net.ipv4.conf.obs1.accept_local=1');
  t.deepEqual(doctor(config).slice(0, 1), ['fine: settings of an observer']);
});

test.serial('who can hear nobody is told so', (t) => {
  t.deepEqual(doctor('mode: observer\n'), ['wrong: no protocol is configured: nothing can be heard']);
});

test.serial('a router is told of forwarding, and of what makes its switch-over slow', (t) => {
  const config = 'mode: router\nbgp: { asn: 65000, neighbors: [{ address: 192.0.2.2, remoteAs: 65001 }] }\n';
  sysctl('net.ipv4.ip_forward=0', 'net.ipv4.nexthop_compat_mode=1');
  const [forward, objects] = doctor(config);
  t.regex(forward ?? '', /^wrong: net\.ipv4\.ip_forward is 0/);
  t.regex(objects ?? '', /^warning: net\.ipv4\.nexthop_compat_mode is 1/);
  sysctl('net.ipv4.ip_forward=1', 'net.ipv4.nexthop_compat_mode=0');
  t.deepEqual(doctor(config), ['fine: settings of a router']);
});
