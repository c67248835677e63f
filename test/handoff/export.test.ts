/** R4.10 R4.2: the announced hosts as static routes, taken by those they are written for. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { HostView } from '../../src/agent/api.ts';
import { difference, type StaticRoute, staticRoutes, wholeList } from '../../src/cli/host-export.ts';
import { fakeAgent } from '../commands/fake-agent.ts';
import { address } from '../netlink/helpers.ts';
import { Bench, until } from './bench.ts';

const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;
const [A, B] = ['192.0.2.2', '192.0.2.6'].map(address) as [ReturnType<typeof address>, ReturnType<typeof address>];
const A6 = address('2001:db8::a');
const route = (text: string, ...via: StaticRoute['via'][number][]): StaticRoute => ({ address: address(text), via });
const ours = { routerId: '10.255.0.1', metric: 20 } as const;
const theirs = { routerId: '10.255.0.2', metric: 21 } as const;
const ROUTES = [route('10.10.10.1', A), route('10.10.10.2', A), route('2001:db8:10::2', A6)];

const directory = mkdtempSync(join(tmpdir(), 'peerless-export-'));
test.after.always(() => rmSync(directory, { recursive: true, force: true }));

test('R4.2 what is announced becomes a /32 with the next hop of its family, in order; the rest is named', (t) => {
  const view = (text: string, ...announcedBy: string[]) =>
    ({ address: address(text), announcedBy }) as unknown as HostView;
  const hosts = [
    view('10.10.10.20', 'kernel'),
    view('10.10.10.3', 'kernel'),
    view('10.10.10.4'),
    view('fd00::1', 'kernel'),
  ];
  t.deepEqual(staticRoutes(hosts, [A]), {
    routes: [route('10.10.10.3', A), route('10.10.10.20', A)],
    left: [address('fd00::1')],
  });
});

test('R4.10 a change names what comes before what goes, and what goes with its next hop', (t) => {
  const before = [route('10.10.10.1', A), route('10.10.10.2', A), route('10.10.10.3', A)];
  const after = [route('10.10.10.2', A), route('10.10.10.3', A, B), route('10.10.10.4', A)];
  t.is(
    difference(before, after, { ...ours, format: 'iproute2' }),
    `route prepend 10.10.10.3/32 proto 201 metric 20 nexthop via ${A} nexthop via ${B}
route prepend 10.10.10.4/32 proto 201 metric 20 via ${A}
route del 10.10.10.1/32 proto 201 metric 20 via ${A}
route del 10.10.10.3/32 proto 201 metric 20 via ${A}
`,
  );
  t.is(
    difference(before, after, { ...ours, format: 'frr' }),
    `ip route 10.10.10.3/32 ${A} 20
ip route 10.10.10.3/32 ${B} 20
ip route 10.10.10.4/32 ${A} 20
no ip route 10.10.10.1/32 ${A} 20
`,
  );
  t.is(difference(after, after, { ...ours, format: 'frr' }), '');
});

test('R4.10 BIRD takes the lists of both switches side by side, and FRR takes one; neither takes nonsense', (t) => {
  const [one, two, whole] = ['a.conf', 'b.conf', 'bird.conf'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(one, wholeList(ROUTES, { ...ours, format: 'bird' }));
  writeFileSync(two, wholeList([route('10.10.10.2', B)], { ...theirs, format: 'bird' }));
  writeFileSync(whole, `router id 10.255.0.254;\nprotocol device {}\ninclude "${one}";\ninclude "${two}";\n`);
  const bird = () => spawnSync('bird', ['-p', '-c', whole], { encoding: 'utf8' });
  t.is(bird().status, 0, bird().stderr);
  writeFileSync(two, wholeList([route('10.10.10.2', B)], { ...theirs, format: 'bird' }).replace('via', 'by'));
  t.not(bird().status, 0);

  const vtysh = () => spawnSync('vtysh', ['--config_dir', directory, '-C'], { encoding: 'utf8' });
  writeFileSync(join(directory, 'vtysh.conf'), 'service integrated-vtysh-config\n');
  writeFileSync(join(directory, 'frr.conf'), wholeList(ROUTES, { ...ours, format: 'frr' }));
  t.is(vtysh().status, 0, vtysh().stderr);
  writeFileSync(join(directory, 'frr.conf'), 'ip rout 10.10.10.2/32 by nobody\n');
  t.not(vtysh().status, 0);
});

test.serial(
  'R4.10 R4.3 at G: FRR installs the list, and the kernel follows the newest claim of both lists',
  async (t) => {
    const bench = new Bench();
    try {
      const file = join(bench.directory, 'static.conf');
      writeFileSync(file, wholeList(ROUTES.slice(0, 2), { ...ours, format: 'frr' }));
      await bench.frr(bench.g, file, ['zebra', 'staticd']);
      await until(
        () => bench.gatewayHosts().join() === '10.10.10.1 192.0.2.2,10.10.10.2 192.0.2.2',
        'the routes of FRR',
      );

      const commands = (text: string) =>
        spawnSync('ip', ['-n', bench.a, '-force', '-batch', '-'], { input: text, encoding: 'utf8' });
      bench.ip(bench.a, 'address add 192.0.2.5/30 dev A1');
      bench.ip(bench.a, 'address add 192.0.2.9/30 dev A2');
      const [left, right] = [address('192.0.2.6'), address('192.0.2.10')];
      const options = { ...ours, format: 'iproute2' } as const;
      const used = () => execFileSync('ip', ['-n', bench.a, 'route', 'get', '10.10.10.2'], { encoding: 'utf8' });
      const alone = (via: typeof left) => [route('10.10.10.2', via)];
      t.is(commands(wholeList(alone(left), options)).status, 0);
      t.regex(used(), /via 192\.0\.2\.6 dev A1/);
      // The host appears behind the other switch, before the first has noticed; then it does.
      t.is(commands(difference([], alone(right), options)).stderr, '');
      t.regex(used(), /via 192\.0\.2\.10 dev A2/);
      t.is(commands(difference(alone(left), [], options)).stderr, '');
      t.regex(used(), /via 192\.0\.2\.10 dev A2/);
      // And back: what is newer counts, and the other is there when it goes.
      t.is(commands(difference([], alone(left), options)).stderr, '');
      t.regex(used(), /via 192\.0\.2\.6 dev A1/);
      t.is(commands(difference(alone(left), [], options)).stderr, '');
      t.regex(used(), /via 192\.0\.2\.10 dev A2/);
    } finally {
      await bench.down();
    }
  },
);

test.serial('peerless hosts --export prints, asks for a next hop, and writes files whole', async (t) => {
  const agent = await fakeAgent();
  t.teardown(() => agent.close());
  const run = (...words: string[]) =>
    new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
      const child = spawn(PEERLESS, ['hosts', '--socket', agent.socket, ...words], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let out = '';
      let err = '';
      child.stdout.on('data', (text) => (out += text));
      child.stderr.on('data', (text) => (err += text));
      child.once('close', (code) => resolve({ code, out, err }));
    });
  const without = await run('--export', 'iproute2');
  t.regex(without.err, /no next hop for 1 hosts such as 10\.10\.10\.1: name one with --via/);
  const printed = await run('--export', 'iproute2', '--via', '192.0.2.2', '--metric', '30');
  t.regex(printed.out, /^# hosts behind .*\nroute replace 10\.10\.10\.1\/32 proto 201 metric 30 via 192\.0\.2\.2\n$/);
  const folder = mkdtempSync(join(directory, 'out-'));
  const file = join(folder, 'hosts.conf');
  t.is((await run('--export', 'bird', '--via', '192.0.2.2', '--output', file)).code, 0);
  t.regex(readFileSync(file, 'utf8'), /route 10\.10\.10\.1\/32 via 192\.0\.2\.2;/);
  t.deepEqual(readdirSync(folder), ['hosts.conf']);
  t.is((await run('--export', 'frr', '--via', 'nowhere')).code, 2);
  t.is((await run('--follow')).code, 2);
  t.true(existsSync(file));
});
