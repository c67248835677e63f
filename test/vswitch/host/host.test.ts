import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { StatusView } from '../../../src/agent/api.ts';
import { ControlServer } from '../../../src/agent/control/server.ts';
import type { FoundOverlay } from '../../../src/agent/host/adoption.ts';
import { serveHost } from '../../../src/agent/host/control.ts';
import { Host, type HostLoaded } from '../../../src/agent/host/host.ts';
import type { HostPart, HostPartContext, HostParts, PartName } from '../../../src/agent/host/part.ts';
import { changeTexts } from '../../../src/agent/host/words.ts';
import { AgentClient } from '../../../src/cli/client.ts';
import { CommandFailure } from '../../../src/cli/errors.ts';
import { formatProblem, loadConfig } from '../../../src/config/index.ts';
import type { Address, Prefix } from '../../../src/model/address.ts';
import { systemClock } from '../../../src/model/clock.ts';
import type { OverlayChange, OverlayState } from '../../../src/model/overlay.ts';
import type { Kernel } from '../../../src/netlink/index.ts';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

const FILE = `role: host # ours
underlay: { address: 10.20.1.1, device: bond0 }
networks:
  - { name: blue, vni: 100, subnet: 10.200.0.0/16, gateway: 10.200.0.1 }
instances:
  - { name: c1, network: blue, address: 10.200.1.2, interface: veth-c1 } # the first
policy:
  rules: [{ name: no-telnet, protocol: tcp, ports: [23], action: deny }]
control: { metrics: null }
`;

/** A part that writes down what it is told. */
class Recorder implements HostPart {
  readonly name: PartName;
  readonly told: string[];
  refuse: string | undefined;
  refused: readonly string[] = [];
  state: OverlayState;

  constructor(name: PartName, told: string[], context: HostPartContext) {
    this.name = name;
    this.told = told;
    this.state = context.state();
    told.push(`${name} opened with ${this.state.instances.size} instances`);
  }

  async apply(state: OverlayState, changes: readonly OverlayChange[]): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.refuse !== undefined) throw new Error(this.refuse);
    this.state = state;
    this.told.push(...changeTexts(changes).map((text) => `${this.name}: ${text}`));
  }

  problems(): readonly string[] {
    return this.refused;
  }

  async close({ keep }: { readonly keep: boolean }): Promise<void> {
    this.told.push(`${this.name} ${keep ? 'left' : 'removed'}`);
  }
}

const NOTHING: FoundOverlay = { networks: [], instances: [], remotes: [] };

interface Stand {
  readonly host: Host;
  readonly client: AgentClient;
  readonly told: string[];
  readonly parts: Map<PartName, Recorder>;
  readonly file: string;
  readonly found: { readonly overlay: FoundOverlay; tell: (overlay: FoundOverlay) => void };
}

async function stand(
  t: ExecutionContext,
  options: {
    readonly failing?: PartName;
    readonly folder?: string;
    readonly text?: string;
    readonly found?: FoundOverlay;
  } = {},
): Promise<Stand> {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'peerless-host-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'peerless.yaml');
  if (!options.folder) writeFileSync(file, `${options.text ?? FILE}stateDirectory: ${folder}/state\n`);
  const told: string[] = [];
  const parts = new Map<PartName, Recorder>();
  const opener = (name: PartName) => async (context: HostPartContext) => {
    if (options.failing === name) throw new Error('the verifier refuses it');
    const part = new Recorder(name, told, context);
    parts.set(name, part);
    return part;
  };
  const all: HostParts = { network: opener('network'), fastPath: opener('fastPath'), policy: opener('policy') };
  const found: Stand['found'] = { overlay: options.found ?? NOTHING, tell: () => undefined };
  const kernel = {
    port: (name: string) => (name.startsWith('veth') ? { name, carrier: true } : undefined),
    counters: () => ({}),
    close: () => undefined,
    onChange: () => () => undefined,
  };
  const host = await Host.start({
    loaded: load(file),
    clock: systemClock,
    log: quiet,
    kernel: kernel as unknown as Kernel,
    parts: all,
    find: async (onChange) => {
      found.tell = onChange;
      return { overlay: found.overlay, close: () => undefined };
    },
  });
  const server = new ControlServer();
  serveHost(server, host);
  const socket = join(folder, `control-${Math.random()}.sock`);
  await server.listen(socket);
  t.teardown(() => server.close());
  return { host, client: new AgentClient(socket), told, parts, file, found };
}

function load(file: string): HostLoaded {
  const loaded = loadConfig(file);
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  if (loaded.config.role !== 'host') throw new Error('no host');
  return { ...loaded, config: loaded.config };
}

const C2 = { name: 'c2', network: 'blue', address: '10.200.1.3', interface: 'veth-c2' };

test('R1.1 an instance that is added at run time is in every part, in their order, and in the file', async (t) => {
  const { client, told, file, host } = await stand(t);
  t.deepEqual(told.splice(0), [
    'policy opened with 1 instances',
    'network opened with 1 instances',
    'fastPath opened with 1 instances',
  ]);
  const result = await client.send('POST', '/v1/host/instances', {}, C2);
  t.deepEqual(result, { dryRun: false, actions: ['instance c2 (10.200.1.3 in blue, veth-c2) added'], refused: [] });
  t.deepEqual(told.splice(0), [
    'policy: instance c2 (10.200.1.3 in blue, veth-c2) added',
    'network: instance c2 (10.200.1.3 in blue, veth-c2) added',
    'fastPath: instance c2 (10.200.1.3 in blue, veth-c2) added',
  ]);
  const text = readFileSync(file, 'utf8');
  t.true(text.startsWith('role: host # ours\n') && text.includes('# the first\n  - name: c2\n'));
  t.is(load(file).config.instances.length, 2);
  await client.send('DELETE', '/v1/host/instances/c2');
  t.is(load(file).config.instances.length, 1);
  t.is(host.table.state.instances.size, 1);
});

test('what can not be is refused in the words of the file, and changes nothing', async (t) => {
  const { client, told, file } = await stand(t);
  told.splice(0);
  const before = readFileSync(file, 'utf8');
  const refused = async (method: 'POST' | 'DELETE' | 'PATCH', path: string, body?: unknown) => {
    const error = await t.throwsAsync<CommandFailure>(client.send(method, `/v1/host/${path}`, {}, body), {
      instanceOf: CommandFailure,
    });
    return `${error?.exitCode} ${error?.message}`;
  };
  t.regex(
    await refused('POST', 'instances', { ...C2, address: '10.200.1.2' }),
    /^2 address: 10\.200\.1\.2 is instance c1's/,
  );
  t.regex(await refused('POST', 'instances', { ...C2, name: 'c1' }), /^1 there is an instance c1 already/);
  t.regex(
    await refused('POST', 'instances', { ...C2, adress: 1 }),
    /^2 adress: is not a known key\. Did you mean address/,
  );
  t.regex(await refused('POST', 'instances', [1]), /^2 the body must be an object/);
  t.regex(await refused('POST', 'instances', { ...C2, origin: 'kernel' }), /^2 origin can't be "kernel"/);
  t.regex(await refused('DELETE', 'instances/c9'), /^1 there is no instance c9/);
  t.regex(await refused('DELETE', 'networks/blue'), /^1 network blue has something in it: 1 /);
  t.regex(await refused('DELETE', 'remotes/blue/10.20.1.9'), /^1 there is no remote blue\/10\.20\.1\.9/);
  t.regex(await refused('POST', 'rules', { name: 'x' }), /^2 action: there is neither an action nor a rate/);
  t.regex(await refused('PATCH', 'policy', { default: 'maybe' }), /^2 default: "maybe" is not a possible value/);
  t.is(readFileSync(file, 'utf8'), before);
  t.deepEqual(told, []);
});

test('a dry run says what would be done, and does nothing', async (t) => {
  const { client, told, file, host } = await stand(t);
  told.splice(0);
  const before = readFileSync(file, 'utf8');
  const rule = { name: 'web', protocol: 'tcp', ports: [80], action: 'allow' };
  t.deepEqual(await client.send('POST', '/v1/host/rules', { dryRun: true }, rule), {
    dryRun: true,
    actions: ['rule web added'],
    refused: [],
  });
  t.is(readFileSync(file, 'utf8'), before);
  t.is(host.table.state.policy.rules.length, 1);
  t.deepEqual(told, []);
});

test('R3.8 a reload touches what differs and nothing else; a bad file changes nothing', async (t) => {
  const { client, told, file, host, parts } = await stand(t);
  told.splice(0);
  writeFileSync(file, readFileSync(file, 'utf8').replace('action: deny', 'action: allow'));
  t.deepEqual(await client.send('POST', '/v1/reload'), {
    changes: ['policy.rules.no-telnet.action: "deny" -> "allow"'],
    needsRestart: [],
  });
  await Promise.all(host.parts.map(({ follower }) => follower.settled()));
  t.deepEqual(told.splice(0), ['policy: policy changed', 'network: policy changed', 'fastPath: policy changed']);
  const state = parts.get('policy')?.state;
  writeFileSync(file, readFileSync(file, 'utf8').replace('vni: 100', 'vni: 0'));
  const error = await t.throwsAsync(client.send('POST', '/v1/reload'));
  t.regex(error?.message ?? '', /peerless\.yaml:4:24: networks\[0\]\.vni: 0 is out of range/);
  t.deepEqual(told, []);
  t.is(parts.get('policy')?.state, state);
});

test('what waits for a restart is said until it has come, and nothing says that it were so already', async (t) => {
  const { client, file } = await stand(t);
  const before = readFileSync(file, 'utf8');
  const waits = ['fastPath.mode: "off" -> "tunnel"'];
  writeFileSync(file, `${before}fastPath: { mode: tunnel }\n`);
  for (const changes of [waits, []]) {
    t.deepEqual(await client.send('POST', '/v1/reload'), { changes, needsRestart: waits });
    const { warnings, host } = await client.get<StatusView>('/v1/status');
    t.deepEqual(
      warnings.filter((text) => text.includes('restart')),
      ['the file says what waits for a restart of the agent: fastPath.mode: "off" -> "tunnel"'],
    );
    t.is(host!.fastPath, 'off');
  }
  writeFileSync(file, before);
  t.deepEqual(await client.send('POST', '/v1/reload'), {
    changes: ['fastPath.mode: "tunnel" -> "off"'],
    needsRestart: [],
  });
  t.deepEqual((await client.get<StatusView>('/v1/status')).warnings, []);
});

test('a file that somebody has edited meanwhile is not overwritten', async (t) => {
  const { client, file, host } = await stand(t);
  const theirs = `${readFileSync(file, 'utf8')}# mine\n`;
  writeFileSync(file, theirs);
  const error = await t.throwsAsync<CommandFailure>(client.send('POST', '/v1/host/instances', {}, C2), {
    instanceOf: CommandFailure,
  });
  t.regex(error?.message ?? '', /changed by someone else/);
  t.is(readFileSync(file, 'utf8'), theirs);
  t.is(host.table.state.instances.size, 1, 'neither in the table');
});

test('what the kernel refuses is told, shown and tried again, and holds nothing else up', async (t) => {
  const { client, told, host, parts } = await stand(t);
  told.splice(0);
  parts.get('network')!.refuse = 'no such device';
  const result = await client.send<{ refused: string[] }>('POST', '/v1/host/instances', {}, C2);
  t.deepEqual(result.refused, ['networks: no such device']);
  t.deepEqual(told.splice(0), [
    'policy: instance c2 (10.200.1.3 in blue, veth-c2) added',
    'fastPath: instance c2 (10.200.1.3 in blue, veth-c2) added',
  ]);
  const status = await client.get<{ warnings: string[]; host: { parts: { name: string; state: string }[] } }>(
    '/v1/status',
  );
  t.true(status.warnings.some((text) => /^networks: the kernel refused.*no such device/.test(text)));
  t.is(status.host.parts.find(({ name }) => name === 'networks')?.state, 'behind');
  parts.get('network')!.refuse = undefined;
  // What was refused comes with the next change, and what came and went meanwhile does not come at all.
  await client.send('DELETE', '/v1/host/instances/c2');
  await client.send('POST', '/v1/host/instances', {}, { ...C2, name: 'c3' });
  await Promise.all(host.parts.map(({ follower }) => follower.settled()));
  t.deepEqual(
    told.filter((text) => text.startsWith('network:')).at(-1),
    'network: instance c3 (10.200.1.3 in blue, veth-c2) added',
  );
  t.false(parts.get('network')!.state.instances.has('c2'));
  t.is(host.warnings().length, 0);
});

test('what a part could not do by itself is shown too', async (t) => {
  const { host, parts, client } = await stand(t);
  parts.get('network')!.refused = ['tunnel pltn7: no such kind of device'];
  t.deepEqual(host.warnings(), ['networks: tunnel pltn7: no such kind of device']);
  const { parts: views } = await client.get<{ parts: { name: string; state: string; reason: string }[] }>('/v1/host');
  t.like(
    views.find(({ name }) => name === 'networks'),
    { state: 'behind', reason: 'tunnel pltn7: no such kind of device' },
  );
});

test('R1.6 without a fast path everything goes on, and the operator is told', async (t) => {
  const { host, client } = await stand(t, { failing: 'fastPath' });
  t.deepEqual(host.warnings(), ['no fast path: the verifier refuses it']);
  const error = await t.throwsAsync<CommandFailure>(client.get('/v1/host/flows'), { instanceOf: CommandFailure });
  t.regex(error?.message ?? '', /there is no fast path on this host/);
  t.like(await client.send('POST', '/v1/host/instances', {}, C2), { refused: [] });
});

test('without its policy no host is started, and what was opened is left as it stands', async (t) => {
  const error = await t.throwsAsync(stand(t, { failing: 'network' }));
  t.is(error?.message, 'networks: the verifier refuses it');
});

test('containers of the CNI plugin are in no file, outlive the agent, and are taken up at the next start', async (t) => {
  const first = await stand(t);
  const before = readFileSync(first.file, 'utf8');
  await first.client.send('POST', '/v1/host/instances', {}, { ...C2, mac: '02:00:00:00:00:02', origin: 'cni' });
  t.is(readFileSync(first.file, 'utf8'), before);
  await first.host.pause();
  t.deepEqual(first.told.slice(-3), ['fastPath left', 'network left', 'policy left']);
  const second = await stand(t, { folder: join(first.file, '..') });
  t.deepEqual(second.told, [
    'policy opened with 2 instances',
    'network opened with 2 instances',
    'fastPath opened with 2 instances',
  ]);
  t.is(second.host.table.state.instances.get('c2')?.origin, 'cni');
  await second.client.send('POST', '/v1/reload');
  t.is(second.host.table.state.instances.size, 2, 'a reload leaves it alone');
  await second.client.send('DELETE', '/v1/host/instances/c2');
  await second.host.stop();
  t.deepEqual(second.told.slice(-3), ['fastPath removed', 'network removed', 'policy removed']);
  const third = await stand(t, { folder: join(first.file, '..') });
  t.is(third.host.table.state.instances.size, 1);
});

test('listings say what there is, in the words of the file', async (t) => {
  const { client } = await stand(t);
  const { networks } = await client.get<{ networks: object[] }>('/v1/host/networks');
  t.like(networks[0], { name: 'blue', vni: 100, mtu: 1450, instances: 1, overlaps: [] } as never);
  const { rules } = await client.get<{ rules: object[] }>('/v1/host/rules');
  t.like(rules[0], { name: 'no-telnet', from: 'any', protocol: 'tcp', ports: ['23'], action: 'deny' } as never);
  const remote = { host: '10.20.1.2', network: 'blue', addresses: ['10.200.2.0/24'] };
  await client.send('POST', '/v1/host/remotes', {}, remote);
  t.deepEqual(await client.get('/v1/host/remotes', { network: 'blue' }), {
    remotes: [{ ...remote, origin: 'control' }],
  });
  t.deepEqual(await client.get('/v1/host/remotes', { network: 'red' }), { remotes: [] });
  await client.send('POST', '/v1/host/snat', {}, { network: 'blue', address: '10.20.1.1' });
  t.deepEqual(await client.get('/v1/host/snat'), {
    snat: [{ network: 'blue', to: '0.0.0.0/0', address: '10.20.1.1' }],
  });
  t.like(await client.send('DELETE', `/v1/host/snat/blue/${encodeURIComponent('0.0.0.0/0')}`), {
    actions: ['source for blue towards 0.0.0.0/0 removed'],
  });
  t.like(await client.get('/v1/host'), { networks: 1, rules: 1, policy: { default: 'allow' } });
});

const POD = {
  name: 'veth1',
  network: 'flannel.1',
  address: '10.244.1.5' as Address,
  interface: 'veth1',
  origin: 'kernel',
} as const;
const FLANNEL: FoundOverlay = {
  networks: [
    {
      name: 'flannel.1',
      vni: 1,
      subnet: '10.244.0.0/16' as Prefix,
      encapsulation: 'vxlan',
      origin: 'kernel',
      devices: { bridge: 'cni0', tunnel: 'flannel.1' },
    },
  ],
  instances: [POD],
  remotes: [
    { host: '10.20.1.2' as Address, network: 'flannel.1', addresses: ['10.244.2.0/24' as Prefix], origin: 'kernel' },
  ],
};

test('R1.1 networks that another has laid out are taken as they are, follow the kernel, and are in no file', async (t) => {
  const { host, told, found, client, file } = await stand(t, { text: `${FILE}adopt: true\n`, found: FLANNEL });
  t.deepEqual(told.splice(0)[0], 'policy opened with 2 instances');
  const second = { ...POD, name: 'veth2', interface: 'veth2', address: '10.244.1.6' as Address };
  // Beside it one that the configuration has another meaning for.
  const clash = { ...POD, name: 'c1', interface: 'veth3', address: '10.244.1.7' as Address };
  found.tell({ ...FLANNEL, instances: [second, clash] });
  await Promise.all(host.parts.map(({ follower }) => follower.settled()));
  t.deepEqual(
    told.splice(0).filter((text) => text.startsWith('network')),
    [
      'network: instance veth1 (10.244.1.5 in flannel.1, veth1) removed',
      'network: instance veth2 (10.244.1.6 in flannel.1, veth2) added',
    ],
  );
  await client.send('POST', '/v1/reload');
  t.is(host.table.state.instances.get('veth2')?.origin, 'kernel');
  t.is(host.table.state.instances.get('c1')?.network, 'blue');
  const error = await t.throwsAsync<CommandFailure>(client.send('DELETE', '/v1/host/instances/veth2'));
  t.regex(error?.message ?? '', /was laid out by another/);
  t.false(readFileSync(file, 'utf8').includes('flannel'));
  found.tell(NOTHING);
  t.is(host.table.state.networks.size, 1);
});
