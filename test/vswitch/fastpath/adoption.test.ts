/** Packets while agents die, come back, and while the underlay changes: two hosts, the slow path laid by hand. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { BpfMap, mountBpffs } from 'linux-sockets';
import { HostLab } from '../../../lab/hosts/index.ts';
import { run } from '../../../lab/processes.ts';
import { systemClock } from '../../../src/model/clock.ts';
import { Kernel } from '../../../src/netlink/index.ts';
import { type FastPath, openFastPath, removeFastPath } from '../../../src/vswitch-bridge/fastpath/index.ts';
import { PROGRAMS, STATISTICS } from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { sumOverCpus } from '../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import { SETTINGS } from './support/box.ts';
import { BLUE, laySlowPath, nft } from './support/ground.ts';
import { stateOfHost } from './support/host-state.ts';

const PROGRAM = fileURLToPath(new URL('support/agent-program.ts', import.meta.url));

let lab: HostLab;
test.before(async () => {
  mountBpffs('/sys/fs/bpf');
  lab = await HostLab.up({
    name: `fpadopt${process.pid}`,
    networks: [BLUE],
    instances: [
      { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
      { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
    ],
  });
  for (const { name } of lab.hosts) await laySlowPath(lab, name, 1450);
});
const started = new Set<ChildProcess>();
test.after.always(async () => {
  for (const agent of started) if (agent.exitCode === null && agent.signalCode === null) agent.kill('SIGKILL');
  for (const { netns } of lab?.hosts ?? []) removeFastPath({ netns });
  await lab?.down();
});

async function startAgent(host: string): Promise<{ agent: ChildProcess; adopted: boolean }> {
  const plain = (_: string, value: unknown) => (value instanceof Map ? [...value] : value);
  const agent = fork(PROGRAM, [lab.netnsOf(host), JSON.stringify(stateOfHost(lab, host), plain)]);
  started.add(agent);
  const [said] = await Promise.race([
    once(agent, 'message'),
    once(agent, 'exit').then(([code]) => Promise.reject(new Error(`the agent ended with ${code}`))),
  ]);
  if (said.problems.length > 0) throw new Error(said.problems.join());
  return { agent, adopted: said.adopted };
}

const directoryOf = (host: string) => `/sys/fs/bpf/peerless-${statSync(`/run/netns/${lab.netnsOf(host)}`).ino}`;

/** Hits of all programs, as they stand in the pinned map. */
function hits(host: string): number {
  using statistics = BpfMap.pinned(`${directoryOf(host)}/map-statistics`);
  return PROGRAMS.reduce((sum, _, at) => sum + sumOverCpus(statistics, at)[STATISTICS.indexOf('hit')]!, 0);
}

test.serial('R3.6 a flow goes on by the fast path while its agent is dead, and through the next one', async (t) => {
  const agents = await Promise.all(lab.hosts.map(({ name }) => startAgent(name)));
  t.false(agents[0]!.adopted);
  await lab.udp('c1', 'c2', { port: 7000, count: 20, wait: 2000 });
  const flow = { port: 7001, sourcePort: 40_001, interval: 1, size: 200, wait: 2000 };
  const stream = lab.udp('c1', 'c2', { ...flow, count: 4000 });
  await sleep(700);
  const before = lab.hosts.map(({ name }) => hits(name));
  for (const { agent } of agents) {
    agent.kill('SIGKILL');
    await once(agent, 'exit');
  }
  const atDeath = lab.hosts.map(({ name }) => hits(name));
  await sleep(500);
  const dead = lab.hosts.map(({ name }) => hits(name));
  const again = await Promise.all(lab.hosts.map(({ name }) => startAgent(name)));
  const taken = lab.hosts.map(({ name }) => hits(name));
  const { lost, answered, sent } = await stream;
  t.deepEqual([lost, answered], [0, sent]);
  // However long they took to come back: the same connection, once more.
  t.like(await lab.udp('c1', 'c2', { ...flow, count: 400 }), { lost: 0, answered: 400 });
  for (const at of [0, 1]) {
    t.true(before[at]! > 100, `${before[at]} hits before`);
    t.true(dead[at]! - atDeath[at]! > 100, `${dead[at]! - atDeath[at]!} hits while the agents were dead`);
    t.true(hits(lab.hosts[at]!.name) - taken[at]! > 100, 'hits after the next one took over');
    t.true(again[at]!.adopted);
  }
  for (const { agent } of again) {
    agent.send('end');
    await once(agent, 'exit');
  }
  for (const { name } of lab.hosts) t.false(existsSync(directoryOf(name)));
  t.like(await lab.udp('c1', 'c2', { port: 7002, count: 20, wait: 2000 }), { lost: 0, answered: 20 });
});

async function openIn(netns: string, host: string): Promise<{ fastPath: FastPath; kernel: Kernel }> {
  const kernel = await Kernel.open({ netns });
  const fastPath = await openFastPath({
    settings: SETTINGS,
    state: stateOfHost(lab, host),
    links: kernel,
    rtnetlink: kernel.rtnetlink,
    routes: await kernel.watchRoutes(),
    clock: systemClock,
    netns,
    connections: 4096,
  });
  return { fastPath, kernel };
}

/** Tunnel packets of h1 on the fabric: straight to h2, and to the gateway between. */
const COUNTING = (from: string, to: string) => `
  table bridge count {
    chain c {
      type filter hook prerouting priority 0;
      ether saddr ${from} ether daddr ${to} udp dport 4789 counter
      ether saddr ${from} ether daddr != ${to} udp dport 4789 counter
    }
  }`;

async function macOf(host: string): Promise<string> {
  const shown = await run(lab.inside(host, ['ip', '-j', 'link', 'show', 'dev', lab.host(host).device]));
  return (JSON.parse(shown) as { address: string }[])[0]!.address;
}

async function counted(): Promise<number[]> {
  const list = ['/usr/sbin/nft', 'list', 'table', 'bridge', 'count'];
  const text = await run(['nsenter', `--net=/run/netns/${lab.fabric}`, ...list]);
  return [...text.matchAll(/counter packets (\d+)/g)].map(([, count]) => Number(count));
}

test.serial('R3.8 the way to a peer changes: no packet leaves by the old one once the agent has heard', async (t) => {
  const h2 = lab.host('h2');
  const open: { fastPath: FastPath; kernel: Kernel }[] = [];
  try {
    for (const { name, netns } of lab.hosts) open.push(await openIn(netns, name));
    await nft(lab, 'fabric', COUNTING(await macOf('h1'), await macOf('h2')));
    const watch = await open[0]!.kernel.watchRoutes();
    const heard = new Promise<void>((resolve) => {
      watch.onRoute(({ after }) => after?.destination === `${h2.address}/32` && resolve());
    });
    await lab.udp('c1', 'c2', { port: 7000, count: 20, wait: 2000 });
    const stream = lab.udp('c1', 'c2', { port: 7003, count: 3000, interval: 1, size: 200, wait: 2000 });
    await sleep(800);
    const before = hits('h1');
    await lab.ip('h1', `route add ${h2.address}/32 via 10.20.1.254`);
    await heard;
    const [straight] = await counted();
    const { lost } = await stream;
    const [after, around] = await counted();
    t.true(before > 300 && straight! > 300, `${before} hits, ${straight} straight`);
    t.is(after, straight);
    t.is(lost, 0);
    t.true(around! > 500, `${around} by the gateway`);
    t.true(hits('h1') - before > 500, 'by the fast path, on the new way');
    t.true(open[0]!.fastPath.counters().invalidated.peers! > 0);
  } finally {
    await lab.ip('h1', `route del ${h2.address}/32`).catch(() => undefined);
    for (const { fastPath, kernel } of open) {
      await fastPath.close({ keep: false });
      kernel.close();
    }
  }
});
