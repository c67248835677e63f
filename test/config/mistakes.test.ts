import test from 'ava';
import { formatProblem, loadConfig, missingPorts, parseConfig } from '../../src/config/index.ts';

/** Every row breaks one thing of this file. The line numbers in the rows are those of this text. */
const BASE = `role: tor
routerId: 10.255.0.1
hostRoutes:
  prefixes: [10.10.10.0/24]
  ports: [A1, A2, A3, A4]
  sources:
    static: [{ address: 10.10.10.9, port: A4 }]
  probe: { interval: 5s, retries: 3, timeout: 200ms }
  limits: { perPort: 256, total: 20000 }
  bindings: [{ address: 10.10.10.9, ports: [A4] }]
portLink:
  - name: fabric
    uplinks: [A0]
    downlinks: [A1, A2]
    priority: [A1]
    shut: all
    deferDelay: 0s
  - name: second
    uplinks: [U1, U2]
    downlinks:
      - A3
      - A4
    minUplinks: 1
ospf:
  interfaces:
    - { name: A0, area: 0.0.0.0, hello: 1s, dead: 4s }
    - { name: U1, area: 0.0.0.1, hello: 1s, dead: 4s }
  announce: { as: external, metric: 20 }
bgp:
  asn: 65001
  neighbors:
    - address: 192.0.2.1
      remoteAs: 65000
      timers: { keepalive: 1s, hold: 3s }
    - { address: 192.0.2.5, remoteAs: internal }
kernel: { table: 254 }
control: { socket: /run/p.sock }
`;

/** [what is broken, text in BASE, what stands there instead, `LINE:COL: path: message. Remedy` as a pattern] */
const ROWS: readonly (readonly [string, string, string, RegExp])[] = [
  ['missing role', 'role: tor\n', '', /^1:1: role: is missing\. Write role: tor/],
  ['unknown role', 'role: tor', 'role: leaf', /^1:7: role: "leaf" is not a role\. Write tor, gateway or host/],
  ['missing routerId', 'routerId: 10.255.0.1\n', '', /^1:1: routerId: is missing\. Add it\. .* 10\.255\.0\.1/],
  ['bad routerId', '10.255.0.1', '10.255.0.256', /^2:11: routerId: "10.255.0.256" is not a router id\. Write four/],
  ['zero routerId', '10.255.0.1', '0.0.0.0', /^2:11: routerId: "0.0.0.0" is not a router id/],
  ['unknown key', 'hostRoutes:', 'hostRouts:', /^3:1: hostRouts: is not a known key\. Did you mean hostRoutes\?/],
  [
    'unknown inner key',
    'minUplinks: 1',
    'minUplink: 1',
    /^23:5: portLink\[1\]\.minUplink: is not a known key\. Did you mean minUplinks\?/,
  ],
  [
    'unknown key far from any',
    'total: 20000',
    'zzzzzzzzz: 20000',
    /^9:27: hostRoutes\.limits\.zzzzzzzzz: is not a known key\. Remove it, or use one of perPort, total/,
  ],
  [
    'host bits',
    '[10.10.10.0/24]',
    '[10.10.10.1/24]',
    /^4:14: hostRoutes\.prefixes\[0\]: 10\.10\.10\.1\/24 has host bits set\. Write 10\.10\.10\.0\/24/,
  ],
  [
    'no prefix at all',
    '[10.10.10.0/24]',
    '[10.10.10.0]',
    /^4:14: hostRoutes\.prefixes\[0\]: "10\.10\.10\.0" is not a prefix/,
  ],
  ['no prefixes', '[10.10.10.0/24]', '[]', /^4:13: hostRoutes\.prefixes: is empty\. List at least one/],
  [
    'overlapping prefixes',
    '[10.10.10.0/24]',
    '[10.10.10.0/24, 10.10.0.0/16]',
    /^4:29: hostRoutes\.prefixes\[1\]: 10\.10\.0\.0\/16 overlaps 10\.10\.10\.0\/24\. Keep the wider/,
  ],
  [
    'bad port range',
    'A3, A4]',
    "'A[4-3]']",
    /^5:19: hostRoutes\.ports\[2\]: 'A\[4-3\]' has a bad range\. Write numbers/,
  ],
  [
    'port name too long',
    'A3, A4]',
    'abcdefghijklmnop]',
    /^5:19: hostRoutes\.ports\[2\]: 'abcdefghijklmnop' can't be the name/,
  ],
  ['port twice', 'A3, A4]', "'A[2-4]']", /^5:19: hostRoutes\.ports\[2\]: A2 is in the list twice\. Remove/],
  ['port not a text', 'A3, A4]', '3]', /^5:19: hostRoutes\.ports\[2\]: 3 is not the name of an interface/],
  [
    'range without quotes',
    '[A1, A2, A3, A4]',
    '[A[1-4]]',
    /^5:\d+: .*\. Put port ranges in quotes inside \[\.\.\.\]: \['A\[1-4\]'\]/,
  ],
  [
    'static outside prefixes',
    'static: [{ address: 10.10.10.9',
    'static: [{ address: 10.10.11.9',
    /^7:25: hostRoutes\.sources\.static\[0\]\.address: 10\.10\.11\.9 is outside hostRoutes\.prefixes \(10\.10\.10\.0\/24\)\. Correct/,
  ],
  [
    'static on no port of ours',
    'port: A4',
    'port: A5',
    /^7:43: hostRoutes\.sources\.static\[0\]\.port: A5 is not in hostRoutes\.ports\. Correct/,
  ],
  [
    'static twice',
    'static: [{',
    'static: [{ address: 10.10.10.9, port: A3 }, {',
    /^7:60: hostRoutes\.sources\.static\[1\]\.address: 10\.10\.10\.9 is here twice/,
  ],
  [
    'binding on no port of ours',
    'ports: [A4] }',
    'ports: [A9] }',
    /^10:45: hostRoutes\.bindings\[0\]\.ports\[0\]: A9 is not in hostRoutes\.ports/,
  ],
  [
    'binding of nothing',
    ', ports: [A4] }',
    ' }',
    /^10:14: hostRoutes\.bindings\[0\]: binds the address to nothing\. Add ports or macs/,
  ],
  [
    'binding with a bad MAC',
    'ports: [A4] }',
    'macs: [02-00-00-00-00-01] }',
    /^10:44: hostRoutes\.bindings\[0\]\.macs\[0\]: "02-00-00-00-00-01" is not a MAC address/,
  ],
  [
    'activeActive is neither',
    '  limits: {',
    '  activeActive: maybe\n  limits: {',
    /^9:17: hostRoutes\.activeActive: "maybe" is not a possible value\. Write one of true, false, a group of keys/,
  ],
  [
    'activeActive port',
    '  limits: {',
    "  activeActive: { ports: ['A[4-5]'] }\n  limits: {",
    /^9:27: hostRoutes\.activeActive\.ports\[0\]: A5 is not in hostRoutes\.ports/,
  ],
  [
    'activeActive prefix',
    '  limits: {',
    '  activeActive: { prefixes: [10.10.0.0/16] }\n  limits: {',
    /^9:30: hostRoutes\.activeActive\.prefixes\[0\]: 10\.10\.0\.0\/16 is outside hostRoutes\.prefixes \(10\.10\.10\.0\/24\)\. Write one of them, or a part/,
  ],
  [
    'activeActive key',
    '  limits: {',
    '  activeActive: { port: [A1] }\n  limits: {',
    /^9:19: hostRoutes\.activeActive\.port: is not a known key\. Did you mean ports\?/,
  ],
  [
    'sweep of too much',
    '  prefixes: [10.10.10.0/24]',
    '  prefixes: [10.10.0.0/16]\n  sweep: { enabled: true }',
    /^5:21: hostRoutes\.sweep\.enabled: 65536 IPv4 addresses in hostRoutes\.prefixes are too many to ask for \(at most 4096\)\. Write false, or smaller/,
  ],
  ['sweep rate', '  limits: {', '  sweep: { rate: 0 }\n  limits: {', /^9:18: hostRoutes\.sweep\.rate: /],
  [
    'activeActive of nothing',
    '  limits: {',
    '  activeActive: {}\n  limits: {',
    /^9:17: hostRoutes\.activeActive: names no ports and no prefixes\. Name some, or write true or false/,
  ],
  [
    'duration without unit',
    'interval: 5s',
    'interval: 5',
    /^8:22: hostRoutes\.probe\.interval: 5 is not a duration\. Write a number with a unit/,
  ],
  ['bad duration', 'interval: 5s', 'interval: 5sec', /^8:22: hostRoutes\.probe\.interval: "5sec" is not a duration/],
  [
    'probe longer than its interval',
    'timeout: 200ms',
    'timeout: 6s',
    /^8:47: hostRoutes\.probe\.timeout: 6s is not shorter than the interval 5s/,
  ],
  [
    'number out of range',
    'perPort: 256',
    'perPort: 0',
    /^9:22: hostRoutes\.limits\.perPort: 0 is out of range\. Write a whole number from 1/,
  ],
  [
    'perPort over total',
    'perPort: 256',
    'perPort: 20001',
    /^9:22: hostRoutes\.limits\.perPort: 20001 is more than the total 20000/,
  ],
  [
    'nothing where keys belong',
    'limits: { perPort: 256, total: 20000 }',
    'limits:',
    /^9:3: hostRoutes\.limits: nothing is not a group of keys\. Write a value, or remove/,
  ],
  ['no group name', 'name: fabric\n    uplinks', 'uplinks', /^12:5: portLink\[0\]\.name: is missing/],
  [
    'group name twice',
    'name: second',
    'name: fabric',
    /^18:11: portLink\[1\]\.name: a second group has the name fabric\. Choose another/,
  ],
  ['bad group name', 'name: second', 'name: a b', /^18:11: portLink\[1\]\.name: "a b" can't be a name/],
  [
    'downlink of two groups',
    '      - A4',
    '      - A2',
    /^22:9: portLink\[1\]\.downlinks\[1\]: A2 is a downlink of group fabric already\. A downlink obeys one/,
  ],
  [
    'uplink is a downlink of its group',
    'uplinks: [U1, U2]',
    'uplinks: [A4, U2]',
    /^22:9: portLink\[1\]\.downlinks\[1\]: A4 is an uplink of this group too/,
  ],
  [
    'uplink is a downlink of another group',
    '      - A4',
    '      - A0',
    /^22:9: portLink\[1\]\.downlinks\[1\]: A0 is an uplink of group fabric too/,
  ],
  [
    'uplink in hostRoutes.ports',
    'A3, A4]',
    'A3, A4, A0]',
    /^13:15: portLink\[0\]\.uplinks\[0\]: the uplink A0 is in hostRoutes\.ports too/,
  ],
  [
    'priority is no downlink',
    'priority: [A1]',
    'priority: [A1, A3]',
    /^15:20: portLink\[0\]\.priority\[1\]: A3 is not a downlink of this group/,
  ],
  [
    'minUplinks too many',
    'minUplinks: 1',
    'minUplinks: 3',
    /^23:17: portLink\[1\]\.minUplinks: 3 is more than the group's 2 uplinks\. Lower/,
  ],
  ['shut too many', 'shut: all', 'shut: 3', /^16:11: portLink\[0\]\.shut: 3 is more than the group's 2 downlinks/],
  [
    'shut nonsense',
    'shut: all',
    'shut: 101%',
    /^16:11: portLink\[0\]\.shut: "101%" is not an amount of ports\. Write all/,
  ],
  [
    'unknown condition',
    'shut: all',
    'upWhen: [carier]',
    /^16:14: portLink\[0\]\.upWhen\[0\]: "carier" is not a possible value\. Write one of carrier, adjacency/,
  ],
  [
    'bfd condition without sessions',
    'shut: all',
    'upWhen: [bfd]',
    /^16:14: portLink\[0\]\.upWhen\[0\]: bfd is asked for, but no OSPF interface/,
  ],
  [
    'yes for true',
    'shut: all',
    'enabled: yes',
    /^16:14: portLink\[0\]\.enabled: "yes" is not true or false\. Write true or false \(yes, no/,
  ],
  [
    'wrong direction',
    'shut: all',
    'direction: up',
    /^16:16: portLink\[0\]\.direction: "up" is not a possible value\. Write one of uplink, downlink, both/,
  ],
  [
    'uplinks shut in the wrong direction',
    'shut: all',
    'shutUplinks: true',
    /^16:18: portLink\[0\]\.shutUplinks: shuts uplinks when downlinks are lost/,
  ],
  [
    'OSPF dead not over hello',
    'hello: 1s, dead: 4s }\n    - { name: U1',
    'hello: 4s, dead: 4s }\n    - { name: U1',
    /^26:51: ospf\.interfaces\[0\]\.dead: 4s is not longer than hello \(4s\)\. Write four times/,
  ],
  [
    'OSPF hello under a second',
    'hello: 1s, dead: 4s }\n    - { name: U1',
    'hello: 300ms, dead: 4s }\n    - { name: U1',
    /^26:41: ospf\.interfaces\[0\]\.hello: 300ms is out of range\. Write a duration from 1s/,
  ],
  [
    'OSPF hello not whole seconds',
    'hello: 1s, dead: 4s }\n    - { name: U1',
    'hello: 1500ms, dead: 4s }\n    - { name: U1',
    /^26:41: ospf\.interfaces\[0\]\.hello: 1500ms is not whole seconds\. The protocol/,
  ],
  ['OSPF interface twice', '- { name: U1', '- { name: A0', /^27:15: ospf\.interfaces\[1\]\.name: A0 is here twice/],
  [
    'OSPF bad area',
    'area: 0.0.0.1',
    'area: backbone',
    /^27:25: ospf\.interfaces\[1\]\.area: "backbone" is not an area id/,
  ],
  [
    'OSPF backbone as NSSA',
    'as: external',
    'as: nssa',
    /^26:25: ospf\.interfaces\[0\]\.area: the backbone can't be an NSSA/,
  ],
  ['BGP without asn', '  asn: 65001\n', '', /^29:1: bgp\.asn: is missing/],
  ['BGP AS_TRANS', 'asn: 65001', 'asn: 23456', /^30:8: bgp\.asn: 23456 is not an AS number/],
  ['BGP neighbour twice', '192.0.2.5', '192.0.2.1', /^35:18: bgp\.neighbors\[1\]\.address: 192\.0\.2\.1 is here twice/],
  [
    'BGP neighbour without remoteAs',
    '      remoteAs: 65000\n',
    '',
    /^32:7: bgp\.neighbors\[0\]\.remoteAs: is missing\. Add it\. Write the neighbour's AS number/,
  ],
  [
    'BGP bad remoteAs',
    'remoteAs: internal',
    'remoteAs: any',
    /^35:39: bgp\.neighbors\[1\]\.remoteAs: "any" is not an AS number/,
  ],
  [
    'BGP hold under 3 s',
    'hold: 3s',
    'hold: 2s',
    /^34:38: bgp\.neighbors\[0\]\.timers\.hold: 2s is too short\. Write 3s or more, or 0s/,
  ],
  [
    'BGP keepalive not under hold',
    'keepalive: 1s',
    'keepalive: 3s',
    /^34:28: bgp\.neighbors\[0\]\.timers\.keepalive: 3s is not shorter than hold \(3s\)/,
  ],
  [
    'servers speak BGP, we do not',
    /bgp:\n {2}asn[\s\S]*internal }\n/.exec(BASE)![0],
    '',
    /^7:10: hostRoutes\.sources\.bgp: servers announce themselves by BGP/,
  ],
  ['kernel local table', 'table: 254', 'table: 255', /^36:18: kernel\.table: 255 is the kernel's own local table/],
  [
    'table of routes that yield',
    'table: 254',
    'table: 20100',
    /^36:18: kernel\.table: 20100 is for hosts that another switch claims above us/,
  ],
  [
    'handoff into the same table',
    'table: 254',
    'table: 254, handoffTable: 254',
    /^36:37: kernel\.handoffTable: 254 is kernel\.table too/,
  ],
  [
    'R4.10 handoff table that the box forwards by',
    'table: 254',
    'table: 100, handoffTable: 254',
    /^36:\d+: kernel\.handoffTable: 254 is the main table/,
  ],
  [
    'R4.1 hosts read from a table of our own',
    'static: [{ address: 10.10.10.9, port: A4 }]',
    'static: [{ address: 10.10.10.9, port: A4 }]\n    kernel: { table: 254 }',
    /hostRoutes\.sources\.kernel\.table: 254 is kernel\.table too/,
  ],
  ['socket not a full path', '/run/p.sock', 'p.sock', /^37:20: control\.socket: "p\.sock" is not a full path/],
  ['socket path too long', '/run/p.sock', `/run/${'p'.repeat(110)}`, /^37:20: control\.socket: the path is too long/],
  [
    'metrics without a port',
    'socket: /run/p.sock',
    'metrics: 127.0.0.1',
    /^37:21: control\.metrics: "127\.0\.0\.1" is not an address with a port/,
  ],
  [
    'key twice',
    'routerId: 10.255.0.1',
    'routerId: 10.255.0.1\nrouterId: 10.255.0.2',
    /^3:1: routerId is here twice\. Remove one/,
  ],
  ['a second document', 'hostRoutes:', '---\nhostRoutes:', /^3:1: a second document begins here\. A file is one/],
  [
    'multicast prefix',
    '[10.10.10.0/24]',
    '[10.10.10.0/24, 239.0.0.0/8]',
    /^4:29: .*239\.0\.0\.0\/8 is multicast: no host/,
  ],
  ['link-local prefix', '[10.10.10.0/24]', '[10.10.10.0/24, fe80::/64]', /^4:29: .*fe80::\/64 is link-local: no host/],
  [
    'static at the network',
    'address: 10.10.10.9, port',
    'address: 10.10.10.0, port',
    /^7:25: .*10\.10\.10\.0 is the network's own/,
  ],
  [
    'bound broadcast',
    'address: 10.10.10.9, ports',
    'address: 10.10.10.255, ports',
    /^10:25: .*10\.10\.10\.255 is the broadcast/,
  ],
  ['multicast neighbour', '192.0.2.5', '224.0.0.5', /^35:18: .*224\.0\.0\.5 is multicast, and no router's\. Write/],
  ['tab', '  prefixes', '\tprefixes', /^\d+:\d+: .*Indent with spaces, not tabs/],
  ['empty file', BASE, '', /^1:1: the file is empty\. Begin with `role: tor`/],
  ['a list', BASE, '- a\n', /^1:1: the file is not a group of keys/],
];

for (const [what, from, to, pattern] of ROWS) {
  test(`a mistake is named with file, line and remedy: ${what}`, (t) => {
    t.true(BASE.includes(from), 'the row must break something');
    let text = BASE.replace(from, to);
    if (what === 'servers speak BGP, we do not') {
      text = text.replace('static: [{ address: 10.10.10.9, port: A4 }]', 'bgp: { listenRange: 10.10.10.0/24 }');
    }
    const result = parseConfig(text, 'F');
    if (result.ok) return t.fail('accepted');
    const lines = result.problems.map(formatProblem);
    t.true(
      lines.some((line) => line.startsWith('F:') && pattern.test(line.slice(2))),
      lines.join('\n'),
    );
    if (!/range without|tab|key twice|downlink of its group|document/.test(what))
      t.is(lines.length, 1, lines.join('\n'));
  });
}

test('the file that the mistakes are made in is right', (t) => {
  const result = parseConfig(BASE, 'F');
  t.true(result.ok, result.ok ? '' : result.problems.map(formatProblem).join('\n'));
});

test('all mistakes are reported at once, in the order of the file, whatever their kind', (t) => {
  const text = BASE.replace('routerId: 10.255.0.1', 'routerId: x')
    .replace('port: A4 }', 'port: A7 }')
    .replace('minUplinks: 1', 'minUplinks: 5')
    .replace('hold: 3s', 'hold: 1s')
    .replace('kernel: { table: 254 }', 'kernel: { table: none, colour: red }');
  const result = parseConfig(text, 'F');
  if (result.ok) return t.fail('accepted');
  t.deepEqual(
    result.problems.map((problem) => [problem.line, problem.path]),
    [
      [2, 'routerId'],
      [7, 'hostRoutes.sources.static[0].port'],
      [23, 'portLink[1].minUplinks'],
      [34, 'bgp.neighbors[0].timers.keepalive'],
      [34, 'bgp.neighbors[0].timers.hold'],
      [36, 'kernel.table'],
      [36, 'kernel.colour'],
    ],
  );
});

test('a mistake in one port-link group does not hide those of the others', (t) => {
  const result = parseConfig(BASE.replace('shut: all', 'shut: none').replace('minUplinks: 1', 'minUplinks: 9'), 'F');
  if (result.ok) return t.fail('accepted');
  t.deepEqual(
    result.problems.map((problem) => problem.path),
    ['portLink[0].shut', 'portLink[1].minUplinks'],
  );
});

test('missing interfaces are named where they stand in the file', (t) => {
  const result = parseConfig(BASE, 'F');
  if (!result.ok) return t.fail();
  const problems = missingPorts(result, new Set(['lo', 'A0', 'A1', 'A2', 'A4', 'U1', 'U2']));
  t.deepEqual(problems.map(formatProblem), [
    'F:5:19: hostRoutes.ports[2]: there is no interface A3. Correct the name (there are A0, A1, A2, A4, U1, U2), or check with --offline.',
    'F:21:9: portLink[1].downlinks[0]: there is no interface A3. Correct the name (there are A0, A1, A2, A4, U1, U2), or check with --offline.',
  ]);
});

test('a file that is not there, and one that is a folder, are problems and not exceptions', (t) => {
  const missing = loadConfig('/nonexistent/peerless.yaml');
  if (missing.ok) return t.fail();
  t.regex(formatProblem(missing.problems[0]!), /^\/nonexistent\/peerless\.yaml:1:1: there is no such file\. Write one/);
  const folder = loadConfig('/');
  t.false(folder.ok);
});

test('aliases that multiply are refused', (t) => {
  const bomb = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
  for (let level = 0; level < 8; level++) {
    const [from, to] = [String.fromCharCode(97 + level), String.fromCharCode(98 + level)];
    bomb.push(`${to}: &${to} [${Array.from({ length: 10 }, () => `*${from}`).join(', ')}]`);
  }
  const result = parseConfig(bomb.join('\n'), 'F');
  if (result.ok) return t.fail();
  t.regex(result.problems[0]!.message, /alias/i);
});
