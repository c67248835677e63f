import { readFileSync } from 'node:fs';
import test from 'ava';
import { diffConfig, formatProblem, type HostConfig, type Loaded, parseConfig } from '../../src/config/index.ts';

/** The configuration of a host as the design fixed it. */
const FIRM = `role: host
underlay: { address: 10.20.1.1, device: bond0 }              # the tunnels' source
networks:
  - { name: blue, vni: 100, subnet: 10.200.0.0/16, gateway: 10.200.0.1, encapsulation: vxlan }
instances:                           # also by control API, CNI, or found in the kernel
  - { name: c1, network: blue, address: 10.200.1.2, interface: veth-c1 }
remotes:
  - { host: 10.20.1.2, network: blue, addresses: [10.200.2.0/24] }
policy:
  default: allow                     # allow (deny list) | deny (allow list)
  initiate: both                     # both | inside : who may open connections
  rules: [{ name: no-telnet, direction: in, from: any, to: 10.200.1.2, protocol: tcp, ports: [23], action: deny }, { name: cap, to: 10.200.1.2, rate: 100mbit }]
services: [{ name: web, network: blue, address: 10.200.255.10, port: 80, protocol: tcp, backends: [10.200.1.2:8080], balance: random }]
snat: [{ network: blue, to: 0.0.0.0/0, address: 10.20.1.1 }]
fastPath: { mode: rewrite, keyField: ip-id, lifetime: { send: 30s, receive: 60s }, checkInterval: 5s }
neighbours: { proactive: true, poll: 5s, hold: { enabled: true, lifetime: 1s, perNeighbour: 256, total: 8192 }, ovs: { socket: /var/run/openvswitch/db.sock } }
encryption: { policy: overlap, keys: { directory: /etc/peerless/keys }, notifyIdle: 25m }
control: { socket: /run/peerless/peerless.sock, metrics: 127.0.0.1:9470 }
`;

const SMALL = `role: host
underlay: { address: 10.20.1.1, device: bond0 }
`;

function load(text: string): Loaded & { config: HostConfig } {
  const result = parseConfig(text, 'F');
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  if (result.config.role !== 'host') throw new Error('not a host');
  return result as Loaded & { config: HostConfig };
}

function problems(text: string): string[] {
  const result = parseConfig(text, 'F');
  return result.ok ? [] : result.problems.map(formatProblem);
}

test('R1.1 R3.2 the configuration of a host, as the design fixed it, is taken', (t) => {
  const { config } = load(FIRM);
  t.deepEqual(config.networks[0], {
    name: 'blue',
    vni: 100,
    subnet: '10.200.0.0/16',
    gateway: '10.200.0.1',
    encapsulation: 'vxlan',
  } as never);
  t.is(config.instances[0]?.origin, 'configuration');
  t.deepEqual(config.policy.rules[0], {
    name: 'no-telnet',
    direction: 'in',
    from: 'any',
    to: '10.200.1.2/32',
    protocol: 6,
    ports: [{ first: 23, last: 23 }],
    sourcePorts: [],
    action: 'deny',
  } as never);
  t.is(config.policy.rules[1]?.rate, 100_000_000);
  t.deepEqual(config.services[0]?.backends, [{ address: '10.200.1.2', port: 8080 }] as never);
  t.deepEqual(config.fastPath.lifetime, { send: 30_000, receive: 60_000 });
  t.deepEqual(config.neighbours.ovs, { socket: '/var/run/openvswitch/db.sock' });
  t.deepEqual(config.encryption, {
    policy: 'overlap',
    backend: 'auto',
    keys: { directory: '/etc/peerless/keys' },
    notifyIdle: 1_500_000,
    versions: 5,
    plain: 'esp',
    port: 4500,
    sourcePorts: { first: 61_440, count: 16 },
  });
});

test('R1.6 a host needs an underlay and nothing else: no fast path, no encryption', (t) => {
  const { config } = load(SMALL);
  t.is(config.fastPath.mode, 'off');
  t.is(config.encryption.policy, 'off');
  t.deepEqual(config.policy, { default: 'allow', initiate: 'both', rules: [] });
  t.is(config.control.socket, '/run/peerless/peerless.sock');
});

test('R0.1 keys from somewhere and no word of a policy: never plain text', (t) => {
  t.is(load(`${SMALL}encryption: { keys: { etcd: ['http://192.0.2.1:2379'] } }\n`).config.encryption.policy, 'overlap');
  const tls = 'tls: { ca: /ca, cert: /c, key: /k }, user: { name: host, passwordFile: /p }';
  t.deepEqual(
    load(`${SMALL}encryption: { keys: { etcd: ['https://192.0.2.1:2379'], ${tls} } }\n`).config.encryption.keys,
    {
      etcd: ['https://192.0.2.1:2379'],
      tls: { ca: '/ca', cert: '/c', key: '/k' },
      user: { name: 'host', passwordFile: '/p' },
    },
  );
});

test('R1.1 two networks may have the same subnet, and an address in each', (t) => {
  const { config } = load(`${SMALL}networks:
  - { name: blue, vni: 1, subnet: 10.200.0.0/16 }
  - { name: red, vni: 2, subnet: 10.200.0.0/16 }
instances:
  - { name: a, network: blue, address: 10.200.1.2, interface: a0 }
  - { name: b, network: red, address: 10.200.1.2, interface: b0 }
`);
  t.is(config.instances.length, 2);
});

const BASE = `${SMALL}networks:
  - { name: blue, vni: 100, subnet: 10.200.0.0/16, gateway: 10.200.0.1 }
  - { name: red, vni: 200, subnet: 10.201.0.0/16 }
instances:
  - { name: c1, network: blue, address: 10.200.1.2, interface: veth-c1 }
  - { name: c2, network: blue, address: 10.200.1.3, interface: veth-c2 }
remotes:
  - { host: 10.20.1.2, network: blue, addresses: [10.200.2.0/24] }
  - { host: 10.20.1.3, network: blue, addresses: [10.200.3.0/24] }
services:
  - { name: web, network: blue, address: 10.200.255.10, port: 80, backends: ['10.200.1.2:8080'] }
policy:
  rules:
    - { name: one, protocol: tcp, ports: [23, 8000-8100], action: deny }
    - { name: two, to: 10.200.1.0/24, rate: 100mbit }
snat:
  - { network: blue, address: 10.20.1.1 }
`;

/** [what is broken, text in BASE, what stands there instead, `LINE:COL: path: message. Remedy` as a pattern] */
const ROWS: readonly (readonly [string, string, string, RegExp, string?])[] = [
  ['a VNI twice', 'vni: 200', 'vni: 100', /^5:23: networks\[1\]\.vni: 100 is network blue's already\. Give each/],
  ['a VNI too large', 'vni: 200', 'vni: 16777216', /^5:23: networks\[1\]\.vni: 16777216 is out of range\. .*16777215/],
  ['a name twice', 'name: red', 'name: blue', /^5:13: networks\[1\]\.name: there is a network blue already\. Choose/],
  ['gateway outside', '10.200.0.1 }', '10.201.0.1 }', /gateway: 10\.201\.0\.1 is outside the network's subnet 10\.200/],
  ['IPv6', '10.201.0.0/16', '2001:db8::/64', /subnet: "2001:db8::\/64" is not an IPv4 prefix\. Write an IPv4 prefix/],
  ['the underlay inside', '10.201.0.0/16', '10.20.0.0/16', /subnet: 10\.20\.0\.0\/16 has 10\.20\.1\.1 in it/],
  ['instance outside', '10.200.1.3,', '10.202.1.3,', /^8:41: instances\[1\]\.address: 10\.202\.1\.3 is outside/],
  ['instance twice', '10.200.1.3,', '10.200.1.2,', /address: 10\.200\.1\.2 is instance c1's in network blue\. Choose/],
  ['the broadcast address', '10.200.1.3,', '10.200.255.255,', /is the subnet's broadcast address\. Choose/],
  [
    'the subnet itself as gateway',
    '10.200.0.1 }',
    '10.200.0.0 }',
    /gateway: 10\.200\.0\.0 is the subnet's own\. Choose/,
  ],
  ['a service for all', '10.200.255.10', '10.200.255.255', /^13:42: services\[0\]\.address: .* the subnet's broadcast/],
  ['the gateway as instance', '10.200.1.3,', '10.200.0.1,', /10\.200\.0\.1 is the gateway's in network blue/],
  [
    'unknown network',
    'c2, network: blue',
    'c2, network: green',
    /network: there is no network green\. Add it .* blue, red/,
  ],
  ['an interface twice', 'veth-c2', 'veth-c1', /interface: veth-c1 is instance c1's already\. Each instance/],
  ['the underlay as interface', 'veth-c2', 'bond0', /interface: bond0 is the device of the underlay\. Name the host/],
  [
    'a remote that is us',
    'host: 10.20.1.3',
    'host: 10.20.1.1',
    /^11:13: remotes\[1\]\.host: 10\.20\.1\.1 is this host/,
  ],
  ['a remote twice', 'host: 10.20.1.3', 'host: 10.20.1.2', /host: 10\.20\.1\.2 is there for network blue already/],
  [
    'remote outside',
    '10.200.3.0/24',
    '10.201.3.0/24',
    /addresses\[0\]: 10\.201\.3\.0\/24 is outside 10\.200\.0\.0\/16/,
  ],
  [
    'behind two hosts',
    '10.200.3.0/24',
    '10.200.2.0/24',
    /addresses\[0\]: 10\.200\.2\.0\/24 is behind 10\.20\.1\.2 already/,
  ],
  ['here and there', '10.200.3.0/24', '10.200.1.2/32', /10\.200\.1\.2\/32 is instance c1's on this host/],
  ['a service on an instance', '10.200.255.10', '10.200.1.3', /services\[0\]\.address: 10\.200\.1\.3 is instance c2's/],
  ['a service outside', '10.200.255.10', '10.205.255.10', /services\[0\]\.address: 10\.205\.255\.10 is outside/],
  [
    'a backend outside',
    "'10.200.1.2:8080'",
    "'10.205.1.2:80'",
    /services\[0\]\.backends\[0\]: 10\.205\.1\.2 is outside/,
  ],
  [
    'a backend without port',
    "'10.200.1.2:8080'",
    "'10.200.1.2'",
    /is not an address with a port\. Write .* 10\.200\.1\.2:8080/,
  ],
  ['its own backend', "'10.200.1.2:8080'", "'10.200.255.10:80'", /10\.200\.255\.10:80 is the service itself/],
  [
    'a range upside down',
    '8000-8100',
    '8100-8000',
    /^16:47: policy\.rules\[0\]\.ports\[1\]: "8100-8000" is neither a port/,
  ],
  ['ports without protocol', 'protocol: tcp, ', '', /rules\[0\]\.ports: ports need a protocol that has them\. Write/],
  ['unknown protocol', 'protocol: tcp', 'protocol: tpc', /"tpc" is not a protocol\. Write any, one of icmp, .*tcp/],
  ['a rate without unit', '100mbit', '100', /rate: 100 is not a rate\. Write a rate .* 100mbit/],
  ['neither action nor rate', ', rate: 100mbit', '', /rules\[1\]\.action: there is neither an action nor a rate/],
  [
    'flags of UDP',
    'protocol: tcp, ports: [23, 8000-8100]',
    'protocol: udp, tcpFlags: {set: [syn]}',
    /flags need protocol tcp/,
  ],
  [
    'flags not looked at',
    'ports: [23, 8000-8100]',
    'tcpFlags: {set: [syn], of: [ack]}',
    /syn is to be set but is not looked at/,
  ],
  ['an end that is none', 'to: 10.200.1.0/24', 'to: c1', /to: "c1" is neither any, an address nor a prefix/],
  ['SNAT twice', 'snat:\n', 'snat:\n  - { network: blue, address: 10.20.1.9 }\n', /snat\[1\].* has a source already/],
  [
    'SNAT of nobody',
    'snat:\n  - { network: blue',
    'snat:\n  - { network: blu',
    /snat\[0\]\.network: there is no network blu\./,
  ],
  [
    'receive not longer',
    'snat:',
    'fastPath: { lifetime: { send: 60s } }\nsnat:',
    /receive: 60s is not longer than send \(60s\)/,
  ],
  [
    'tunnels beside encryption',
    'subnet: 10.201.0.0/16',
    'subnet: 10.201.0.0/16, encapsulation: gre',
    /encapsulation: gre is not encrypted, and encryption is on\. Write vxlan/,
    'encryption: { keys: { directory: /k } }\n',
  ],
  [
    'others beside encryption',
    'snat:',
    'adopt: true\nencryption: { keys: { directory: /k } }\nsnat:',
    /adopt: networks of others are not encrypted/,
  ],
  [
    'no keys',
    'snat:',
    'encryption: { policy: strict }\nsnat:',
    /encryption\.keys: says nothing of where keys come from/,
  ],
  [
    'two places of keys',
    'snat:',
    "encryption: { keys: { directory: /k, etcd: ['http://e'] } }\nsnat:",
    /both a directory and etcd/,
  ],
  [
    'TLS without etcd',
    'snat:',
    'encryption: { keys: { directory: /k, tls: { ca: /ca } } }\nsnat:',
    /keys\.tls: says something of etcd/,
  ],
  [
    'TLS to nobody',
    'snat:',
    "encryption: { keys: { etcd: ['http://e:1'], tls: { ca: /ca } } }\nsnat:",
    /keys\.tls: no URL of etcd is https/,
  ],
  [
    'a certificate alone',
    'snat:',
    "encryption: { keys: { etcd: ['https://e:1'], tls: { cert: /c } } }\nsnat:",
    /keys\.tls\.cert: a certificate and its private key go together/,
  ],
  [
    'a password in plain text',
    'snat:',
    "encryption: { keys: { etcd: ['https://e:1', 'http://f:1'], user: { name: u, passwordFile: /p } } }\nsnat:",
    /keys\.user: the password would go to http:\/\/f:1 in plain text/,
  ],
  [
    'available by the kernel',
    'snat:',
    'encryption: { policy: available, backend: xfrm, keys: { directory: /k } }\nsnat:',
    /encryption\.backend: xfrm can't do what the policy available does/,
  ],
  [
    'source ports where packets arrive',
    'snat:',
    'encryption: { keys: { directory: /k }, sourcePorts: { first: 4490, count: 16 } }\nsnat:',
    /encryption\.sourcePorts: packets arrive at port 4500/,
  ],
  [
    'source ports beyond the last',
    'snat:',
    'encryption: { keys: { directory: /k }, sourcePorts: { first: 65530, count: 16 } }\nsnat:',
    /encryption\.sourcePorts: 65530 and 15 more go beyond 65535/,
  ],
  ['hold', 'snat:', 'neighbours: { hold: { perNeighbour: 9000 } }\nsnat:', /9000 is more than the total 8192\. Lower/],
];

test('the configuration that mistakes are made in is right itself', (t) => {
  t.deepEqual(problems(BASE), []);
});

for (const [what, text, instead, pattern, more = ''] of ROWS) {
  test(`a mistake is named with file, line and remedy: ${what}`, (t) => {
    t.true(BASE.includes(text), text);
    const lines = problems(BASE.replace(text, instead) + more);
    const found = lines.some((line) => pattern.test(line.replace(/^F:/, '')));
    t.true(found, lines.join('\n'));
    t.is(lines.length, 1, lines.join('\n'));
  });
}

test('one mistake hides no other, and is not told twice', (t) => {
  const lines = problems(BASE.replace('vni: 100', 'vin: 100').replace('10.200.1.3,', '10.200.1.2,'));
  t.is(lines.length, 2, lines.join('\n'));
});

test('what differs is told by name, and what needs a restart', (t) => {
  const before = load(BASE);
  const after = load(
    BASE.replace('10.200.3.0/24', '10.200.4.0/24').replace('rate: 100mbit', 'rate: 1gbit') +
      'fastPath: { mode: tunnel }\n',
  );
  const { changes, needsRestart } = diffConfig(before, after);
  t.deepEqual(changes, [
    'remotes.blue/10.20.1.3.addresses: ["10.200.3.0/24"] -> ["10.200.4.0/24"]',
    'policy.rules.two.rate: "100mbit" -> "1gbit"',
    'fastPath.mode: "off" -> "tunnel"',
  ]);
  t.deepEqual(needsRestart, ['fastPath.mode: "off" -> "tunnel"']);
});

test('docs: the example of a host is a configuration', (t) => {
  const text = readFileSync(new URL('../../docs/peerless.host.example.yaml', import.meta.url), 'utf8');
  t.deepEqual(problems(text), []);
});
