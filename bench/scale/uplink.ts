/**
 * One of two uplinks fails on a switch with 10,000 hosts whose group wants both (R4.6): all downlinks are shut and every
 * host is withdrawn, over the uplink that is left. How long from the cable to the first and the last withdrawal at G?
 */
import { monotonic } from '../../lab/monotonic.ts';
import { sleep, waitUntil } from '../../lab/processes.ts';
import type { FailoverView } from '../../src/agent/api.ts';
import type { BenchOptions } from '../options.ts';
import { type Report, row } from '../report.ts';
import { ScaleBed } from './bed.ts';
import { hostAddress, UPLINKS } from './plan.ts';

const PORTS = 48;
const HOSTS = 10_000;
const FAILING = 0;

interface Loss {
  /** ms from the call that takes the cable down. */
  readonly first: number;
  readonly last: number;
  readonly seen: number;
  readonly kernelRoutes: number;
  readonly shut: number;
  readonly trace: FailoverView | undefined;
}

export async function uplink(protocol: 'ospf' | 'bgp', options: BenchOptions): Promise<Report> {
  const runs = options.runs ?? 5;
  const notes: string[] = [];
  const losses: Loss[] = [];
  const bed = await ScaleBed.open({ ...options, protocol, ports: PORTS, hosts: HOSTS });
  try {
    for (let round = 1; round <= runs; round++) {
      options.onProgress(`uplink ${protocol}: loss ${round}/${runs}`);
      await arrive(bed);
      losses.push(await lose(bed));
    }
  } finally {
    await bed.close();
  }
  for (const [index, { seen, kernelRoutes, shut }] of losses.entries()) {
    if (seen < HOSTS) notes.push(`loss ${index + 1}: ${HOSTS - seen} of ${HOSTS} withdrawals were not seen at G`);
    if (kernelRoutes > 0) notes.push(`loss ${index + 1}: ${kernelRoutes} host routes were left in the kernel`);
    if (shut < PORTS) notes.push(`loss ${index + 1}: ${PORTS - shut} of ${PORTS} ports were not shut`);
  }
  const values = (pick: (loss: Loss) => number) => losses.map(pick);
  const step = (name: string) =>
    losses.flatMap(({ trace }) => trace?.steps.filter((each) => each.name === name).map(({ us }) => us / 1000) ?? []);
  return {
    name: `uplink-${protocol}`,
    measures: `one of two uplinks of a switch with ${HOSTS} hosts fails, and its group wants both; withdrawals at the other link`,
    command: `./run bench uplink-${protocol} --runs ${runs}`,
    rows: [
      ...row(
        'cable down -> first withdrawal at G',
        'ms',
        values(({ first }) => first),
      ),
      ...row(
        'cable down -> last withdrawal at G',
        'ms',
        values(({ last }) => last),
      ),
      ...row("agent's own: link message -> host table", 'ms', step('host table')),
      ...row("agent's own: link message -> first byte", 'ms', step(`${protocol} first byte`)),
      ...row("agent's own: link message -> last byte handed over", 'ms', step(`${protocol} last byte`)),
      ...row("agent's own: link message -> ports shut", 'ms', step('ports shut')),
      ...row("agent's own: link message -> kernel routes gone", 'ms', step('kernel routes')),
    ],
    notes: [
      `${losses.filter(({ seen }) => seen === HOSTS).length} of ${runs} losses complete; last withdrawal: median of the last of ${HOSTS}`,
      ...notes,
    ],
  };
}

async function arrive(bed: ScaleBed): Promise<void> {
  const missing = new Set(Array.from({ length: HOSTS }, (_, host) => hostAddress(host)));
  const forget = bed.onSighting(({ kind, address }) => {
    if (kind === 'announce') missing.delete(address);
  });
  try {
    await bed.ready();
    const all = Array.from({ length: HOSTS }, (_, host) => [host, host % PORTS] as const);
    let round = 0;
    const complete = await waitUntil(
      async () => {
        if (round++ % 50 === 0) await bed.place(all);
        return missing.size === 0;
      },
      60_000,
      100,
    );
    if (!complete) throw new Error(`${missing.size} hosts were not announced: see ${bed.directory}`);
  } finally {
    forget();
  }
  // Acknowledged, installed at G, and longer ago than MinLSArrival.
  await sleep(8000);
}

async function lose(bed: ScaleBed): Promise<Loss> {
  const gone = new Map<string, number>();
  const forget = bed.onSighting(({ kind, address, at }, link) => {
    if (link !== UPLINKS[1 - FAILING]!.peer) return;
    if (kind === 'withdraw' && !gone.has(address)) gone.set(address, at);
  });
  const at = monotonic();
  bed.setUplink(FAILING, false);
  await waitUntil(() => gone.size === HOSTS, 10_000, 50);
  await sleep(500);
  forget();
  const kernelRoutes = await bed.kernelHosts();
  const shut = await bed.shutPorts();
  const trace = (await bed.failovers(50)).findLast(({ hosts }) => hosts === HOSTS);
  bed.setUplink(FAILING, true);
  let [first, last] = [Number.POSITIVE_INFINITY, 0];
  for (const seen of gone.values()) {
    first = Math.min(first, seen - at);
    last = Math.max(last, seen - at);
  }
  return { first, last, seen: gone.size, kernelRoutes, shut, trace };
}
