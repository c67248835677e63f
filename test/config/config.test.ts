import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import test from 'ava';
import { parseDocument } from 'yaml';
import type { BgpNeighborOptions } from '../../src/bgp/index.ts';
import {
  diffConfig,
  formatDuration,
  formatProblem,
  jsonSchema,
  type Loaded,
  loadConfig,
  parseConfig,
  parseDuration,
  type TorConfig,
} from '../../src/config/index.ts';
import { portsOf } from '../../src/config/port-list.ts';
import type { HostPolicy } from '../../src/hostroutes/index.ts';
import type { OspfInterfaceOptions } from '../../src/ospf/index.ts';
import type { PortLinkGroupConfig } from '../../src/portlink/index.ts';

const root = new URL('../../', import.meta.url).pathname;
const EXAMPLE = join(root, 'docs/peerless.example.yaml');

function load(text: string): Loaded & { config: TorConfig } {
  const result = parseConfig(text, 'F');
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  if (result.config.role !== 'tor') throw new Error('not a switch');
  return result as Loaded & { config: TorConfig };
}

const SMALL = `role: tor
routerId: 10.255.0.1
hostRoutes: { prefixes: [10.10.10.0/24], ports: ['A[1-4]'] }
`;

/** The switch configuration as the design fixed it, secrets aside. */
const FIRM = `role: tor
routerId: 10.255.0.1
hostRoutes:
  prefixes: [10.10.10.0/24]
  ports: [A1, A2, A3, A4]
  sources:
    neighbours: true
    arp: true
    static: [{ address: 10.10.10.9, port: A4 }]
    bgp: { listenRange: 10.10.10.0/24, remoteAs: external }
    kernel: { table: 100 }
  probe: { interval: 5s, retries: 3, timeout: 200ms }
  limits: { perPort: 256, total: 20000 }
  activeActive: false
portLink:
  - name: fabric
    description: to the spine
    enabled: true
    uplinks: [A0]
    downlinks: [A1, A2, A3, A4]
    direction: uplink
    minUplinks: 1
    upWhen: [carrier]
    shut: all
    priority: [A1, A2]
    deferDelay: 0s
    recoveryDelay: 5s
    autoRecover: true
    startupDelay: 10s
    dryRun: false
shadow: { enabled: false, twin: 10.255.0.2, repair: true }
ospf:
  interfaces: [{ name: A0, area: 0.0.0.0, network: point-to-point, hello: 1s, dead: 4s, bfd: true, authentication: { type: hmac-sha-256, keyId: 1, secretFile: KEY } }]
  announce: { as: external, metric: 20, metricType: 2 }
bgp:
  asn: 65001
  neighbors: [{ address: 192.0.2.1, remoteAs: 65000, bfd: true, passwordFile: KEY, timers: { keepalive: 1s, hold: 3s } }]
  announce: { communities: ['65001:100'] }
bfd: { interval: 100ms, multiplier: 3 }
kernel: { table: 254, protocol: 201, handoffTable: null }
control: { socket: /run/peerless/peerless.sock, metrics: 127.0.0.1:9470 }
`;

function withKey(t: { teardown(run: () => void): void }, secret = 'top secret'): { text: string; key: string } {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-config-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const key = join(folder, 'key');
  writeFileSync(key, `${secret}\n`, { mode: 0o600 });
  return { text: FIRM.replaceAll('KEY', key), key };
}

test('every key of the firm surface is taken and resolved', (t) => {
  const { config } = load(withKey(t).text);
  t.like(config, {
    role: 'tor',
    routerId: '10.255.0.1',
    shadow: { enabled: false, twin: '10.255.0.2', repair: true, hold: 3_000, table: 20_101, device: 'rep0' },
    bfd: { interval: 100, multiplier: 3 },
    kernel: { table: 254, protocol: 201, handoffTable: null, handoffReader: 'bird' },
    control: { socket: '/run/peerless/peerless.sock', metrics: { host: '127.0.0.1', port: 9470 } },
    stateDirectory: '/var/lib/peerless',
  });
  t.deepEqual(config.hostRoutes.bgp as unknown, {
    listenRange: '10.10.10.0/24',
    remoteAs: 'external',
    defaultOriginate: false,
  });
  t.deepEqual(config.hostRoutes.kernel, { table: 100 });
  t.deepEqual(config.hostRoutes.policy.probe, { interval: 5000, retries: 3, timeout: 200 });
  t.deepEqual(config.portLink[0]!.priority, ['A1', 'A2']);
  t.is(config.portLink[0]!.recoveryDelay, 5000);
  const authentication = config.ospf!.interfaces[0]!.authentication!;
  t.deepEqual(
    authentication.type === 'simple' ? undefined : Buffer.from(authentication.secret).toString(),
    'top secret',
  );
  t.is(Buffer.from(config.bgp!.neighbors[0]!.password!).toString(), 'top secret');
  t.is(config.bgp!.neighbors[0]!.hold, 3000);
});

test('ports: who shuts them and how; needs a restart', (t) => {
  const small = load(SMALL);
  t.deepEqual(small.config.ports, {
    driver: 'auto',
    redis: '/var/run/redis/redis.sock',
    method: 'auto',
    protodownReason: 5,
    lldp: '/run/lldpd.socket',
  });
  const other = load(`${SMALL}ports: { driver: sonic, redis: '127.0.0.1:6379', method: admin, protodownReason: 7 }\n`);
  t.like(other.config.ports, { driver: 'sonic', redis: '127.0.0.1:6379', method: 'admin', protodownReason: 7 });
  t.is(load(`${SMALL}ports: { lldp: null }\n`).config.ports.lldp, null);
  t.is(diffConfig(small, other).needsRestart.length, 4);
  const refused = [
    'driver: cumulus',
    'redis: redis.sock',
    "redis: '127.0.0.1'",
    'method: off',
    'protodownReason: 32',
    'lldp: run',
  ];
  for (const wrong of refused) t.throws(() => load(`${SMALL}ports: { ${wrong} }\n`), undefined, wrong);
});

test('the resolved parts are what the domains take', (t) => {
  const { config } = load(withKey(t).text);
  // The compiler is what tests here.
  const policy: HostPolicy = { ...config.hostRoutes.policy, ownAddresses: [] };
  const interfaces: readonly OspfInterfaceOptions[] = config.ospf!.interfaces;
  const neighbors: readonly BgpNeighborOptions[] = config.bgp!.neighbors;
  const groups: readonly PortLinkGroupConfig[] = config.portLink;
  t.deepEqual([policy.ports.length, interfaces.length, neighbors.length, groups.length], [4, 1, 1, 1]);
});

test('the settings, which are what is shown, hold no secret', (t) => {
  const loaded = load(withKey(t).text);
  t.false(inspect(loaded.settings, { depth: 20 }).includes('top secret'));
  t.false(JSON.stringify(loaded.settings).includes('top secret'));
  t.true(JSON.stringify(loaded.settings).includes('secretFile'));
});

test('a small file gets the defaults of the firm surface', (t) => {
  const { config } = load(`${SMALL}portLink: [{ name: fabric, uplinks: [A0], downlinks: ['A[1-4]'] }]\n`);
  t.deepEqual(config.portLink as unknown, [
    {
      name: 'fabric',
      description: '',
      enabled: true,
      uplinks: ['A0'],
      downlinks: ['A1', 'A2', 'A3', 'A4'],
      direction: 'uplink',
      minUplinks: 1,
      upWhen: ['carrier'],
      shut: 'all',
      priority: [],
      deferDelay: 0,
      recoveryDelay: 5000,
      autoRecover: true,
      startupDelay: 10000,
      dryRun: false,
      onStop: 'leave',
      shutUplinks: false,
      nexthops: [],
      allowManagementPort: false,
    },
  ]);
  t.deepEqual(config.hostRoutes.policy.limits, { perPort: 256, total: 20000 });
  t.is(config.hostRoutes.policy.sources.arp && config.hostRoutes.policy.sources.neighbours, true);
  t.is(config.ospf, undefined);
  t.is(config.bgp, undefined);
});

test('the shape of role gateway is read', (t) => {
  const result = parseConfig(
    'role: gateway\nrouterId: 10.255.0.254\nmode: observer\nbgp: { asn: 65000 }\nmap: { history: 7d, file: /var/lib/peerless/map.json }\n',
    'F',
  );
  if (!result.ok || result.config.role !== 'gateway') return t.fail();
  t.deepEqual(result.config.map, { history: 7 * 86_400_000, file: '/var/lib/peerless/map.json' });
});

test('the shipped example is right', (t) => {
  const result = loadConfig(EXAMPLE);
  t.true(result.ok, result.ok ? '' : result.problems.map(formatProblem).join('\n'));
});

test('the shipped JSON Schema is up to date (peerless config schema > docs/peerless.schema.json)', (t) => {
  const shipped: unknown = JSON.parse(readFileSync(join(root, 'docs/peerless.schema.json'), 'utf8'));
  t.deepEqual(shipped, JSON.parse(JSON.stringify(jsonSchema())));
});

test('every key of the example is in the JSON Schema, and unknown keys are refused there too', (t) => {
  const schema = jsonSchema() as { oneOf: { properties: Record<string, unknown>; additionalProperties: boolean }[] };
  const tor = schema.oneOf[0]!;
  t.false(tor.additionalProperties);
  for (const key of Object.keys(parseDocument(readFileSync(EXAMPLE, 'utf8')).toJS()))
    t.true(key in tor.properties, key);
});

test('how many ports are shut', (t) => {
  const shut = (value: string) =>
    load(`${SMALL}portLink: [{ name: a, uplinks: [U0], downlinks: ['A[1-4]'], shut: ${value} }]\n`).config.portLink[0]!
      .shut;
  t.deepEqual([shut('all'), shut('3'), shut('25%')], ['all', { count: 3 }, { percent: 25 }]);
});

test('durations', (t) => {
  const rows: [string, number | undefined][] = [
    ['300ms', 300],
    ['5s', 5000],
    ['25m', 1_500_000],
    ['7d', 604_800_000],
    ['1.5s', 1500],
    ['0s', 0],
    ['5', undefined],
    ['5 s', undefined],
    ['-5s', undefined],
    ['s', undefined],
    ['5S', undefined],
    ['1.0005s', undefined],
    ['', undefined],
  ];
  for (const [text, value] of rows) t.is(parseDuration(text), value, text);
  for (const value of [0, 1, 300, 1500, 5000, 60_000, 604_800_000]) t.is(parseDuration(formatDuration(value)), value);
});

test('port lists', (t) => {
  t.deepEqual(portsOf(['swp[1-3]', 'Ethernet[0,4,8]', 'p[08-10]', 'swp[1-2]s[0-1]', 'bond0.100']), [
    'swp1',
    'swp2',
    'swp3',
    'Ethernet0',
    'Ethernet4',
    'Ethernet8',
    'p08',
    'p09',
    'p10',
    'swp1s0',
    'swp1s1',
    'swp2s0',
    'swp2s1',
    'bond0.100',
  ]);
  for (const bad of [
    'swp[',
    'swp[]',
    'swp[1-]',
    'swp[3-1]',
    'swp[1-99999]',
    'a b',
    'a/b',
    '..',
    '',
    'x'.repeat(16),
    'x[1-4096]y[1-2]',
  ]) {
    t.throws(() => portsOf([bad]), undefined, bad);
  }
});

test('a reload is told what differs: by part, in words, and what needs a restart', (t) => {
  const before = load(
    `${SMALL}portLink:\n  - { name: a, uplinks: [U0], downlinks: [A1] }\n  - { name: b, uplinks: [U1], downlinks: [A2] }\nbgp: { asn: 65001 }\n`,
  );
  const after = load(
    `${SMALL.replace('10.10.10.0/24', '10.10.0.0/16')}portLink:\n  - { name: new, uplinks: [U2], downlinks: [A3] }\n  - { name: a, uplinks: [U0], downlinks: [A1], recoveryDelay: 9s }\nkernel: { table: 100 }\n`,
  );
  const diff = diffConfig(before, after);
  t.deepEqual(
    diff.portLink.added.map((group) => group.name),
    ['new'],
  );
  t.deepEqual(
    diff.portLink.removed.map((group) => group.name),
    ['b'],
  );
  t.deepEqual(
    diff.portLink.changed.map((change) => [change.before.recoveryDelay, change.after.recoveryDelay]),
    [[5000, 9000]],
  );
  t.like(diff, {
    hostPolicy: true,
    hostSources: false,
    ospf: 'same',
    bgp: 'removed',
  });
  t.true(diff.changes.includes('portLink.a.recoveryDelay: "5s" -> "9s"'), diff.changes.join('\n'));
  t.deepEqual(diff.needsRestart, ['bgp: removed', 'kernel.table: 254 -> 100']);
});

test('a reload without a difference says nothing; comments are no difference', (t) => {
  const diff = diffConfig(load(SMALL), load(`# a comment\n${SMALL}`));
  t.deepEqual(diff.changes, []);
  t.like(diff, { hostPolicy: false, ospf: 'same', bgp: 'same' });
});

test('a reload notices a new secret in the same file, and does not show it', (t) => {
  const { text, key } = withKey(t);
  const before = load(text);
  writeFileSync(key, 'another one\n');
  const diff = diffConfig(before, load(text));
  t.deepEqual(diff.changes, [
    'ospf.interfaces.A0.authentication: the secret',
    'bgp.neighbors.192.0.2.1.passwordFile: the secret',
  ]);
  t.like(diff, { ospf: 'changed', bgp: 'changed', needsRestart: [] });
});

test('a reload takes a change of how hosts return into the host table', (t) => {
  const diff = diffConfig(load(SMALL), load(SMALL.replace('prefixes:', 'returning: { mode: always }, prefixes:')));
  t.like(diff, { hostPolicy: true, needsRestart: [] });
});

test('a reload of ospf: all of it is live but the memory of adjacencies, and whether it is spoken at all', (t) => {
  const ospf = (settings: string) => `${SMALL}\nospf: { interfaces: [{ name: A0, cost: 5 }]${settings} }\n`;
  const before = load(ospf(''));
  t.like(diffConfig(before, load(ospf('').replace('cost: 5', 'cost: 6, hello: 1s, dead: 4s'))), {
    ospf: 'changed',
    needsRestart: [],
  });
  t.like(diffConfig(before, load(ospf(', announce: { metric: 30 }'))), { ospf: 'changed', needsRestart: [] });
  const { changes, needsRestart } = diffConfig(before, load(ospf(', gracefulRestart: { gracePeriod: 30s }')));
  t.deepEqual([changes, needsRestart], [needsRestart, ['ospf.gracefulRestart.gracePeriod: "10s" -> "30s"']]);
  t.deepEqual(diffConfig(before, load(SMALL)).needsRestart, ['ospf: removed']);
});
