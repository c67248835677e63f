/** `peerless cleanup` of a gateway whose agent died: the kernel has nothing of it afterwards, and all of what is another's. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { GatewayLeftovers } from '../../src/agent/cleanup/gateway.ts';
import { routerMemory } from '../../src/agent/memory-store.ts';
import type { LearnedRoute } from '../../src/model/hosts.ts';
import { address, type Box, inBoxes, prefix, upAndThere, withKernel } from '../netlink/helpers.ts';

const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), 'peerless-cleanup-'));
const file = join(directory, 'peerless.yaml');
const state = join(directory, 'state');
const map = join(directory, 'map.json');
const HOSTS = 600;

function configure(mode: 'router' | 'observer'): void {
  writeFileSync(
    file,
    `role: gateway
routerId: 10.255.0.250
mode: ${mode}
kernel: { protocol: 211 }
bgp:
  asn: 65000
  neighbors: [{ address: 192.0.2.2, remoteAs: 65001 }]
map: { file: ${map} }
stateDirectory: ${state}
control: { socket: ${directory}/none.sock }
`,
  );
}

test.after.always(() => rmSync(directory, { recursive: true, force: true }));

interface Said {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const cleanup = (box: Box, ...words: string[]): Said =>
  spawnSync('ip', ['netns', 'exec', box.netns, PEERLESS, 'cleanup', '--config', file, ...words], { encoding: 'utf8' });

const found = ({ stdout }: Said, which: 'found' | 'left'): GatewayLeftovers => JSON.parse(stdout)[which];
const compatMode = ({ netns }: Box): string =>
  spawnSync('ip', ['netns', 'exec', netns, 'sysctl', '-n', 'net.ipv4.nexthop_compat_mode'], {
    encoding: 'utf8',
  }).stdout.trim();

const route = (to: string, via: string, backup?: string): LearnedRoute => ({
  prefix: prefix(to),
  metric: 20,
  nextHops: [{ via: address(via) }],
  ...(backup === undefined ? {} : { backup: [{ via: address(backup) }] }),
});

/** What a router that is killed leaves: routes of both protocols with their backups, objects, and a setting. */
async function leftBehind(box: Box): Promise<void> {
  for (const [index, port] of ['A0', 'B0'].entries()) {
    box.ip(`link add ${port} index ${10 + index} type veth peer name ${port}t index ${20 + index}`);
    for (const end of [port, `${port}t`]) box.ip(`link set ${end} up`);
    box.ip(`addr add 192.0.2.${1 + 4 * index}/30 dev ${port}`);
    box.ip(`addr add fd00:${index}::1/64 dev ${port} nodad`);
  }
  await withKernel(box, async (kernel) => {
    await upAndThere(kernel, 'A0', 'B0');
    const memory = routerMemory(state, (error) => {
      throw error;
    });
    const bgp = kernel.backedRoutes({ protocol: 213, metric: 20, memory });
    const ospf = kernel.backedRoutes({ protocol: 212, metric: 110, memory });
    const learned = [
      ...Array.from({ length: HOSTS }, (_, index) =>
        route(`10.10.${10 + (index >> 8)}.${index & 255}/32`, '192.0.2.2', '192.0.2.6'),
      ),
      route('2001:db8:10::1/128', 'fd00:0::2', 'fd00:1::2'),
    ];
    bgp.update(learned);
    ospf.update([route('10.10.10.1/32', '192.0.2.2')]);
    await Promise.all(learned.map((each) => bgp.installed(each.prefix)));
    await ospf.installed(prefix('10.10.10.1/32'));
  });
}

test.serial(
  'R4.7 of a gateway that routed: its routes, objects and settings go, and nobody else loses any',
  async (t) => {
    await inBoxes(1, async (box) => {
      configure('router');
      await leftBehind(box);
      writeFileSync(map, '[]');
      writeFileSync(join(state, 'bfd.json'), '{}');
      box.ip('nexthop add id 77 via 192.0.2.6 dev B0 protocol 4');
      box.ip('route add 10.20.0.0/16 nhid 77 protocol 4');
      // Of the same number, but of no id of ours.
      box.ip('nexthop add id 78 via 192.0.2.6 dev B0 protocol 213');
      const others = box.ip('nexthop show proto 4');
      t.is(compatMode(box), '0');

      const dry = cleanup(box, '--dry-run', '--json');
      t.is(dry.status, 0, dry.stderr);
      t.like(found(dry, 'found'), {
        routes: 2 * (HOSTS + 1) + 1,
        settings: ['net.ipv4.nexthop_compat_mode'],
        problems: [],
      });
      t.true(found(dry, 'found').nextHops >= 8);
      t.is(compatMode(box), '0', 'a dry run changes nothing');

      const done = cleanup(box);
      t.is(done.status, 0, done.stdout + done.stderr);
      t.regex(
        done.stdout,
        /found: 1203 learned routes\nfound: \d+ next-hop objects\nfound: settings: net\.ipv4\.nexthop_c/,
      );
      for (const family of ['-4', '-6']) {
        for (const protocol of [212, 213]) t.is(box.ip(`${family} route show table all proto ${protocol}`), '');
      }
      t.is(box.ip('nexthop show proto 212'), '');
      t.regex(box.ip('nexthop show proto 213'), /^id 78 [^\n]*\n$/);
      t.is(box.ip('nexthop show proto 4'), others);
      t.regex(box.ip('route show proto 4'), /^10\.20\.0\.0\/16 nhid 77 [^\n]*\n$/);
      t.is(compatMode(box), '1');
      t.true(existsSync(map), 'what the map knows of the past is kept');

      const again = cleanup(box);
      t.deepEqual([again.status, again.stdout], [0, 'Nothing of an agent is here.\n']);
      const purged = cleanup(box, '--purge', '--json');
      t.is(purged.status, 0, purged.stderr);
      t.deepEqual(found(purged, 'left').files, []);
      t.is(found(purged, 'found').files.length, 3, purged.stdout);
      t.false(existsSync(map));
    });
  },
);

test.serial('a setting that somebody has changed since is his', async (t) => {
  await inBoxes(1, async (box) => {
    configure('router');
    mkdirSync(state, { recursive: true });
    await leftBehind(box);
    spawnSync('ip', ['netns', 'exec', box.netns, 'sysctl', '-qw', 'net.ipv4.nexthop_compat_mode=1']);
    const done = cleanup(box, '--json');
    t.is(done.status, 0, done.stderr);
    t.deepEqual(found(done, 'found').settings, []);
    t.is(compatMode(box), '1');
  });
});

test.serial('an observer has left nothing in the kernel', async (t) => {
  await inBoxes(1, async (box) => {
    configure('observer');
    const said = cleanup(box, '--dry-run');
    t.deepEqual([said.status, said.stdout], [0, 'Nothing of an agent is here.\n']);
  });
});
