/**
 * A next hop dies behind a port that is up: from the word of it until the last of its routes leads elsewhere in the
 * kernel. Ours: one replacement of the group that all of them point to. The peer: a replacement of each route, as every
 * daemon does it, by our own installer of routes without objects, in the same run and the same kernel.
 */
import { execFileSync } from 'node:child_process';
import { monotonic } from '../lab/monotonic.ts';
import type { Address, Prefix } from '../src/model/address.ts';
import type { LearnedRoute } from '../src/model/hosts.ts';
import { Kernel } from '../src/netlink/index.ts';
import type { BenchOptions } from './options.ts';
import { type Report, type Row, row } from './report.ts';

const SIZES = [1, 1_000, 10_000] as const;
const A = '192.0.2.2' as Address;
const B = '198.51.100.2' as Address;

const routes = (count: number, via: Address, backup?: Address): LearnedRoute[] =>
  Array.from({ length: count }, (_, index) => ({
    prefix: `10.${64 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}/32` as Prefix,
    metric: 20,
    nextHops: [{ via }],
    ...(backup === undefined ? {} : { backup: [{ via: backup }] }),
  }));

export async function switchOver(options: BenchOptions): Promise<Report> {
  const runs = options.runs ?? 10;
  const netns = `pbench-so${process.pid}`;
  const ip = (command: string) => execFileSync('ip', ['-n', netns, ...command.split(' ')]);
  execFileSync('ip', ['netns', 'add', netns]);
  try {
    for (const [name, index, own] of [
      ['A0', 10, '192.0.2.1/24'],
      ['B0', 20, '198.51.100.1/24'],
    ] as const) {
      ip(`link add ${name} index ${index} type veth peer name ${name}t index ${index + 1}`);
      for (const end of [name, `${name}t`]) ip(`link set ${end} up`);
      ip(`addr add ${own} dev ${name}`);
    }
    const rows: Row[] = [];
    for (const size of SIZES) {
      options.onProgress(`switch-over: ${runs} times ${size} routes`);
      rows.push(...(await ofSize(netns, size, runs)));
    }
    return {
      name: 'switch-over',
      measures: 'a next hop dies behind a port that is up, until its last route leads elsewhere in the kernel',
      command: `./run bench switch-over --runs ${runs}`,
      rows,
      notes: ['both in one network namespace, one after the other; no packets'],
    };
  } finally {
    execFileSync('ip', ['netns', 'del', netns]);
  }
}

async function ofSize(netns: string, size: number, runs: number): Promise<Row[]> {
  const kernel = await Kernel.open({ netns });
  const ours: number[] = [];
  const each: number[] = [];
  try {
    const backed = kernel.backedRoutes({ protocol: 203 });
    const wanted = routes(size, A, B);
    backed.update(wanted);
    await Promise.all(wanted.map(({ prefix }) => backed.installed(prefix)));
    for (let run = 0; run < runs; run++) {
      const before = monotonic();
      const { messages, routes: moved } = backed.switchOver(A);
      ours.push(monotonic() - before);
      if (messages !== 1 || moved !== size) throw new Error(`${moved} of ${size} routes moved by ${messages} messages`);
      backed.restore(A);
    }
    await backed.leave();
    const plain = kernel.learnedRoutes({ protocol: 203 });
    for (let run = 0; run <= runs; run++) {
      const next = routes(size, run % 2 === 0 ? A : B);
      const before = monotonic();
      plain.update(next);
      await Promise.all(next.map(({ prefix }) => plain.installed(prefix)));
      if (run > 0) each.push(monotonic() - before);
    }
    await plain.leave();
  } finally {
    kernel.close();
  }
  return row(`${size.toLocaleString('en')} routes moved`, 'ms', ours, each, 'route by route');
}
