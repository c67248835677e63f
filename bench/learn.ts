/**
 * A server that was never heard speaks (one gratuitous ARP): how long until its announcement is at the gateway's port.
 * Beside us today's practice: a neighbour-table redistributor that writes kernel routes, FRR that redistributes them.
 */
import { sleep, waitUntil } from '../lab/processes.ts';
import type { BenchOptions } from './options.ts';
import { type Report, row } from './report.ts';
import { hostMac, Rig, type Way, type Wire } from './rig.ts';
import { tapArp } from './wiretap.ts';

const SPACING = 15;
const STARTS = 2;
/** The redistributor of the lab believes in 10.10.10.0/24 only. */
const MOST = 250;

export async function learn(protocol: Wire, options: BenchOptions): Promise<Report> {
  const runs = Math.min(options.runs ?? 150, MOST);
  const notes: string[] = [];
  const warm: Record<Way, number[]> = { peerless: [], frr: [] };
  const cold: Record<Way, number[]> = { peerless: [], frr: [] };
  const rig = await Rig.open(protocol, options.agent);
  try {
    for (let start = 1; start <= STARTS; start++) {
      for (const way of ['peerless', 'frr'] as const) {
        options.onProgress(`learn ${protocol}: start ${start}/${STARTS} of ${way}, ${runs} hosts`);
        await rig.withSwitch(
          way,
          async () => {
            const [first, ...rest] = await introduce(rig, runs, way, notes);
            if (first !== undefined) cold[way].push(first);
            warm[way].push(...rest);
          },
          { redistribute: true },
        );
      }
    }
  } finally {
    await rig.close();
  }
  return {
    name: `learn-${protocol}`,
    measures: "a new host's gratuitous ARP at the switch's port -> its announcement at the gateway's port",
    command: `./run bench learn-${protocol} --runs ${runs}`,
    rows: [
      ...row('ARP -> announcement', 'ms', warm.peerless, warm.frr, 'FRR+redistributor'),
      ...row('the same, first host after a start', 'ms', cold.peerless, cold.frr, 'FRR+redistributor'),
    ],
    notes,
  };
}

async function introduce(rig: Rig, count: number, way: Way, notes: string[]): Promise<number[]> {
  const heard = new Map<string, number>();
  const announced = new Map<string, number>();
  const tap = tapArp(rig.namespace('A'), 'A1', (address, at) => {
    if (!heard.has(address)) heard.set(address, at);
  });
  const forget = rig.onSighting(({ kind, address, at }) => {
    if (kind === 'announce' && !announced.has(address)) announced.set(address, at);
  });
  const addresses = Array.from({ length: count }, (_, index) => `10.10.10.${index + 1}`);
  try {
    for (const [index, address] of addresses.entries()) {
      rig.speakNow('s1', address, hostMac(3000 + index));
      await sleep(SPACING);
    }
    await waitUntil(() => addresses.every((address) => announced.has(address)), 5000, 50);
  } finally {
    forget();
    tap.close();
  }
  const times = addresses.flatMap((address) => {
    const [from, to] = [heard.get(address), announced.get(address)];
    return from === undefined || to === undefined ? [] : [to - from];
  });
  if (times.length < count) notes.push(`${way}: ${count - times.length} of ${count} hosts were never announced`);
  return times;
}
