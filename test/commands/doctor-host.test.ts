import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Diagnosis } from '../../src/cli/diagnosis.ts';

/** A host's namespace with an underlay and one instance. */
const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;
const NETNS = `plshod${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), 'peerless-host-doctor-'));
const file = join(folder, 'peerless.yaml');

const ip = (...argv: string[]) => execFileSync('ip', ['-n', NETNS, ...argv]);

function doctor(config: string): Diagnosis[] {
  writeFileSync(file, `role: host\ncontrol: { socket: ${folder}/none.sock, metrics: null }\n${config}`);
  const argv = ['netns', 'exec', NETNS, PEERLESS, 'doctor', '--config', file, '--json'];
  const { stdout, stderr } = spawnSync('ip', argv, { encoding: 'utf8' });
  const { checks } = JSON.parse(stdout || `{"checks":[{"message":${JSON.stringify(stderr)}}]}`) as {
    checks: Diagnosis[];
  };
  return checks;
}

test.before(() => {
  execFileSync('ip', ['netns', 'add', NETNS]);
  ip('link', 'add', 'bond0', 'type', 'veth', 'peer', 'name', 'other');
  ip('address', 'add', '10.20.1.1/24', 'dev', 'bond0');
  ip('link', 'add', 'veth-c1', 'mtu', '1500', 'type', 'veth', 'peer', 'name', 'c1');
});

test.after.always(() => {
  spawnSync('ip', ['netns', 'del', NETNS]);
  rmSync(folder, { recursive: true });
});

const NETWORK = '{ name: blue, vni: 100, subnet: 10.200.0.0/16, gateway: 10.200.0.1 }';

test.serial('R1.6 a host that is as it should be; what is too large for the tunnels, and who shares addresses', (t) => {
  const checks = doctor(`underlay: { address: 10.20.1.1, device: bond0 }
networks:
  - ${NETWORK}
  - { name: red, vni: 200, subnet: 10.200.4.0/24 }
instances:
  - { name: c1, network: blue, address: 10.200.1.2, interface: veth-c1 }
fastPath: { mode: tunnel }
`);
  const lines = checks.map(({ verdict, check, message }) => `${verdict} ${check}: ${message}`);
  const has = (pattern: RegExp) =>
    t.true(
      lines.some((line) => pattern.test(line)),
      `${pattern}\n${lines.join('\n')}`,
    );
  has(/^fine underlay: 10\.20\.1\.1 is on bond0/);
  has(/^fine kernel: has vxlan devices/);
  has(/^fine policy: nftables with connection tracking/);
  has(/^fine policy: br_netfilter/);
  t.false(lines.some((line) => /drops what it does not know/.test(line)));
  has(/^fine eBPF: types of the kernel/);
  has(/^warning MTU: blue carries 1450 octets over bond0 \(1500\), but its instances send more: veth-c1 1500/);
  has(/^warning networks: blue \(10\.200\.0\.0\/16\) has addresses in common with red/);
  t.deepEqual(
    lines.filter((line) => line.startsWith('wrong')),
    [],
  );
});

test.serial("R1.6 another's rules that drop what they do not know, until they know us", (t) => {
  const nft = (...argv: string[]) => execFileSync('ip', ['netns', 'exec', NETNS, '/usr/sbin/nft', ...argv]);
  nft('add table ip filter');
  nft('add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }');
  const said = () =>
    doctor(`underlay: { address: 10.20.1.1, device: bond0 }\nnetworks: [${NETWORK}]\n`).find(({ message }) =>
      message.startsWith('FORWARD in nft table ip filter drops'),
    );
  const { remedy, verdict } = said()!;
  t.is(verdict, 'warning');
  for (const command of remedy!.split('; ')) nft(command.replace(/^nft /, ''));
  t.is(said(), undefined);
  nft('delete table ip filter');
});

test.serial('R1.1 an underlay that is not there, keys that nobody has put there', (t) => {
  const checks = doctor(`underlay: { address: 10.20.1.9, device: bond0 }
networks: [${NETWORK}]
encryption: { policy: strict, keys: { directory: ${folder}/keys } }
`);
  const wrong = checks.filter(({ verdict }) => verdict === 'wrong');
  t.deepEqual(
    wrong.map(({ check }) => check),
    ['underlay', 'keys'],
  );
  t.regex(wrong[0]?.remedy ?? '', /ip address add 10\.20\.1\.9\/LENGTH dev bond0/);
  t.regex(wrong[1]?.remedy ?? '', /peerless keys init --directory/);
});

test.serial('R0.1 who encrypts, whether the other could, and files of etcd that are not there', (t) => {
  const checks = (encryption: string) =>
    doctor(`underlay: { address: 10.20.1.1, device: bond0 }\nencryption: ${encryption}\n`)
      .filter(({ check }) => check === 'encryption' || check === 'keys')
      .map(({ verdict, check, message }) => `${verdict} ${check}: ${message}`);
  const etcd = `keys: { etcd: ['https://192.0.2.1:2379'], tls: { ca: ${folder}/none.pem } }`;
  const [files, worker] = checks(`{ ${etcd} }`);
  t.is(files, `wrong keys: there is no ${folder}/none.pem`);
  t.regex(
    worker ?? '',
    /^fine encryption: by the packet worker; xfrm: (the kernel has no .*|possible, if all hosts .*)/,
  );
  const [, kernel] = checks(`{ backend: xfrm, ${etcd} }`);
  t.regex(kernel ?? '', /^(wrong encryption: backend xfrm: the kernel has no |fine encryption: by the kernel)/);
  t.deepEqual(checks('{ policy: off }'), []);
});
