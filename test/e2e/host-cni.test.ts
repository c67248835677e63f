/** The CNI plugin against a running agent, as a container runtime calls it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { HostLab } from '../../lab/hosts/index.ts';
import { type Outcome, outcome, run, waitUntil } from '../../lab/processes.ts';

const PLUGIN = new URL('../../bin/peerless-cni', import.meta.url).pathname;
const networks = [{ name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' }];

let lab: HostLab;
let directory: string;

test.before(async (t) => {
  t.timeout(120_000);
  directory = mkdtempSync(join(tmpdir(), 'peerless-cni-'));
  lab = await HostLab.up({ name: `cni${process.pid}`, networks });
  for (const { name, number } of lab.hosts) {
    const other = lab.hosts.find((host) => host.name !== name)!;
    const remotes = [{ host: other.address, network: 'blue', addresses: [`10.200.${other.number}.0/24`] }];
    lab.agent(name).configure(lab.configuration(name, { remotes }));
    await lab.agent(name).start();
    for (const container of ['a', 'b']) await run(['ip', 'netns', 'add', containerOf(number, container)]);
  }
});

test.after.always(async () => {
  if (!lab) return;
  await lab.down();
  rmSync(directory, { recursive: true, force: true });
});

/** Beginning with the lab's name: removed with the lab. */
const containerOf = (host: number, name: string): string => `${lab.name}-k${host}${name}`;

const configurationOf = (host: string, ipam: object, more: object = {}) => ({
  cniVersion: '1.0.0',
  name: 'blue',
  type: 'peerless-cni',
  socket: lab.agent(host).socket,
  ipam,
  ...more,
});

const own = (host: number) => ({
  type: 'peerless',
  ranges: [`10.200.${host}.0/24`],
  directory: join(directory, `h${host}`),
});
const hostLocal = (host: number) => ({
  type: 'host-local',
  dataDir: join(directory, `local${host}`),
  ranges: [[{ subnet: '10.200.0.0/16', rangeStart: `10.200.${host}.50`, rangeEnd: `10.200.${host}.60` }]],
  routes: [{ dst: '172.30.0.0/16' }, { dst: '172.31.0.0/16', gw: '10.200.0.9' }],
});

/** As the runtime does it: in the host's network, environment and configuration on standard input. */
function cni(
  host: string,
  command: string,
  container: string,
  configuration: object,
  extra: object = {},
): Promise<Outcome> {
  const input = join(directory, 'input.json');
  writeFileSync(input, JSON.stringify(configuration));
  return outcome(lab.inside(host, ['sh', '-c', `exec "${PLUGIN}" <"${input}"`]), {
    CNI_COMMAND: command,
    CNI_CONTAINERID: container,
    CNI_NETNS: `/run/netns/${container}`,
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/usr/lib/cni',
    ...extra,
  });
}

interface Result {
  readonly interfaces: readonly { name: string; mac: string; sandbox?: string }[];
  readonly ips: readonly { address: string; gateway: string; interface: number }[];
  readonly routes: readonly { dst: string; gw?: string }[];
  readonly dns: object;
}

const instancesOf = async (host: string): Promise<{ name: string; address: string; state: string; origin: string }[]> =>
  JSON.parse((await lab.agent(host).cli(['host', 'instances', '--json'])).stdout);

test.serial('R1.1 CNI 1.0: ADD, CHECK and DEL; containers of two hosts reach each other', async (t) => {
  t.timeout(120_000);
  const results: Result[] = [];
  for (const { name, number } of lab.hosts) {
    for (const [container, ipam] of [
      ['a', own(number)],
      ['b', hostLocal(number)],
    ] as const) {
      const dns = { nameservers: ['10.200.0.53'], search: ['blue'] };
      const configuration = configurationOf(name, ipam, { dns });
      const id = containerOf(number, container);
      const added = await cni(name, 'ADD', id, configuration);
      t.is(added.code, 0, added.stdout + added.stderr);
      const result = JSON.parse(added.stdout) as Result;
      results.push(result);
      t.is(result.interfaces[1]!.sandbox, `/run/netns/${id}`);
      t.is(result.ips[0]!.gateway, '10.200.0.1');
      t.deepEqual(result.dns, dns);
      const routes = [
        { dst: '0.0.0.0/0', gw: '10.200.0.1' },
        { dst: '172.30.0.0/16', gw: '10.200.0.1' },
        { dst: '172.31.0.0/16', gw: '10.200.0.9' },
      ];
      t.deepEqual(result.routes, container === 'b' ? routes : routes.slice(0, 1));
      const inside = await run(['ip', '-n', id, 'route', 'show', 'proto', 'static']);
      for (const { dst, gw } of result.routes)
        t.true(inside.includes(`${dst === '0.0.0.0/0' ? 'default' : dst} via ${gw} dev eth0`), inside);
      t.regex((await cni(name, 'ADD', id, configuration)).stdout, /"code":4.*attached already/);
      const checked = await cni(name, 'CHECK', id, { ...configuration, prevResult: result });
      t.is(checked.code, 0, `a second ADD has taken nothing away: ${checked.stdout}`);
      if (container === 'a') continue;
      const route = ['172.31.0.0/16', 'via', '10.200.0.9', 'dev', 'eth0', 'proto', 'static'];
      await run(['ip', '-n', id, 'route', 'del', ...route]);
      const lacking = await cni(name, 'CHECK', id, { ...configuration, prevResult: result });
      t.regex(lacking.stdout, /"code":103.*172\.31\.0\.0\/16 by 10\.200\.0\.9 is gone/);
      await run(['ip', '-n', id, 'route', 'add', ...route]);
    }
  }
  const addresses = results.map(({ ips }) => ips[0]!.address);
  t.deepEqual(addresses, ['10.200.1.1/16', '10.200.1.50/16', '10.200.2.1/16', '10.200.2.50/16']);
  const instances = await instancesOf('h1');
  t.deepEqual(
    instances.map(({ origin, state }) => [origin, state]),
    [
      ['cni', 'up'],
      ['cni', 'up'],
    ],
  );
  for (const [from, to] of [
    [containerOf(1, 'a'), '10.200.1.50'],
    [containerOf(1, 'a'), '10.200.2.1'],
    [containerOf(2, 'b'), '10.200.1.50'],
    [containerOf(2, 'b'), '10.200.0.1'],
  ]) {
    const ping = await outcome(['nsenter', `--net=/run/netns/${from}`, 'ping', '-c', '3', '-i', '0.2', '-W', '2', to!]);
    t.is(ping.code, 0, ping.stdout);
  }
});

test.serial(
  'a static address and MAC by CNI_ARGS; an address that is taken is refused, and nothing is left of the attempt',
  async (t) => {
    t.timeout(60_000);
    const container = containerOf(1, 'c');
    await run(['ip', 'netns', 'add', container]);
    const configuration = configurationOf('h1', own(1));
    const wanted = (address: string) => ({ CNI_ARGS: `IgnoreUnknown=1;IP=${address};MAC=02:aa:00:00:00:77` });
    const refused = await cni('h1', 'ADD', container, configuration, wanted('10.200.1.50'));
    t.is(refused.code, 1);
    t.is((JSON.parse(refused.stdout) as { code: number }).code, 4, refused.stdout);
    const before = await instancesOf('h1');
    const added = await cni('h1', 'ADD', container, configuration, wanted('10.200.1.77'));
    t.is(added.code, 0, added.stdout);
    const { interfaces, ips } = JSON.parse(added.stdout) as Result;
    t.deepEqual([interfaces[1]!.mac, ips[0]!.address], ['02:aa:00:00:00:77', '10.200.1.77/16']);
    t.is((await instancesOf('h1')).length, before.length + 1);
    for (let time = 0; time < 2; time++)
      t.is((await cni('h1', 'DEL', container, configuration)).code, 0, 'DEL may be repeated');
    t.deepEqual(await instancesOf('h1'), before);
    const links = await run(lab.inside('h1', ['ip', '-br', 'link']));
    t.false(links.includes(interfaces[0]!.name));
    const check = await cni('h1', 'CHECK', container, { ...configuration, prevResult: JSON.parse(added.stdout) });
    t.is(check.code, 1);
  },
);

test.serial(
  "errors are the specification's: an unknown network, an agent that is not there; DEL goes without both",
  async (t) => {
    t.timeout(60_000);
    const container = containerOf(2, 'd');
    await run(['ip', 'netns', 'add', container]);
    const unknown = await cni('h2', 'ADD', container, { ...configurationOf('h2', own(2)), network: 'green' });
    t.is(unknown.code, 1);
    t.regex(unknown.stdout, /"code":7.*no network green.*it knows: blue/);
    const silent = { ...configurationOf('h2', own(2)), socket: join(directory, 'nobody.sock') };
    const unreachable = await cni('h2', 'ADD', container, silent);
    t.regex(unreachable.stdout, /"code":100/);
    t.is((await cni('h2', 'DEL', container, silent, { CNI_NETNS: '' })).code, 0);
    const version = await cni('h2', 'VERSION', container, { cniVersion: '1.0.0' });
    t.deepEqual(JSON.parse(version.stdout), {
      cniVersion: '1.0.0',
      supportedVersions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0'],
    });
  },
);

test.serial(
  'R1.1 containers outlive a restart of the agent; one whose interface went meanwhile is forgotten',
  async (t) => {
    t.timeout(60_000);
    await lab.agent('h1').kill();
    const interfaces = async () => (await run(lab.inside('h1', ['ip', '-br', 'link']))).trim().split('\n').length;
    const before = await interfaces();
    await run(['ip', 'netns', 'delete', containerOf(1, 'b')]);
    // The kernel takes a namespace apart behind the back of who deletes it.
    t.true(await waitUntil(async () => (await interfaces()) === before - 1, 30_000));
    await lab.agent('h1').start();
    t.deepEqual(
      (await instancesOf('h1')).map(({ address }) => address),
      ['10.200.1.1'],
    );
    const ping = await outcome([
      'nsenter',
      `--net=/run/netns/${containerOf(1, 'a')}`,
      'ping',
      '-c',
      '3',
      '-i',
      '0.2',
      '10.200.2.1',
    ]);
    t.is(ping.code, 0, ping.stdout);
  },
);
