/**
 * First packets to a hundred remote hosts that nobody knows yet, ARP taking 200 ms: 200 packets of 1,200 bytes to each, all
 * at once. What the kernel alone loses of them, and what is lost with each mechanism and with both.
 */

import { sleep } from '../lab/processes.ts';
import { Rack } from '../lab/tunnels/rack.ts';
import { systemClock } from '../src/model/clock.ts';
import { TunnelNeighbours } from '../src/vswitch-bridge/neighbours/index.ts';
import type { BenchOptions } from './options.ts';
import { type Report, row } from './report.ts';

const REMOTES = 100;
const PACKETS = 200;
const ARP_DELAY = 200;
const PATIENCE = 10_000;

interface Way {
  readonly name: string;
  readonly proactive: boolean;
  readonly hold: boolean;
}

const WAYS: readonly Way[] = [
  { name: 'mechanism 1', proactive: true, hold: false },
  { name: 'mechanism 2', proactive: false, hold: true },
  { name: 'both', proactive: true, hold: true },
];

export async function firstPackets(options: BenchOptions): Promise<Report> {
  const runs = options.runs ?? 3;
  const notes: string[] = [];
  const kernel: number[] = [];
  const ours = new Map<Way, number[]>(WAYS.map((way) => [way, []]));
  for (let run = 0; run < runs; run++) {
    options.onProgress(`first-packets: run ${run + 1} of ${runs}`);
    kernel.push(await once(undefined, notes));
    for (const way of WAYS) ours.get(way)!.push(await once(way, notes));
  }
  return {
    name: 'first-packets',
    measures: `${REMOTES} cold remotes × ${PACKETS} packets of 1,200 bytes, ARP answers after ${ARP_DELAY} ms; packets lost`,
    command: `./run bench first-packets --runs ${runs}`,
    rows: WAYS.flatMap((way) => row(`lost, ${way.name}`, 'packets', ours.get(way)!, kernel, 'kernel alone')),
    notes: [...new Set(notes)],
  };
}

/** @returns packets lost */
async function once(way: Way | undefined, notes: string[]): Promise<number> {
  const rack = await Rack.open(REMOTES);
  let neighbours: TunnelNeighbours | undefined;
  try {
    rack.arpDelay = ARP_DELAY;
    rack.addTunnels();
    if (way) neighbours = await agent(rack, way, notes);
    if (way?.proactive && !way.hold) await allKnown(neighbours!);
    rack.burst(PACKETS);
    const all = REMOTES * PACKETS;
    const patience = way ? PATIENCE : ARP_DELAY + 2_000;
    for (let waited = 0; waited < patience && rack.arrivals.length < all; waited += 50) await sleep(50);
    const { lost, inOrder } = rack.outcome();
    if (!inOrder) notes.push(`${way?.name ?? 'kernel alone'}: packets came out of order`);
    const hold = neighbours?.counters().hold;
    if (hold && hold.held !== hold.sent) notes.push(`${way!.name}: ${hold.held} held, ${hold.sent} sent`);
    return lost;
  } finally {
    await neighbours?.close();
    await rack.close();
  }
}

function agent(rack: Rack, { proactive, hold: enabled }: Way, notes: string[]): Promise<TunnelNeighbours> {
  const note = (_fields: object, message: string) => void notes.push(message);
  return TunnelNeighbours.open({
    netns: rack.near,
    clock: systemClock,
    log: { debug: () => undefined, info: () => undefined, warn: note, error: note },
    proactive,
    poll: 5_000,
    hold: { enabled, lifetime: 5_000, perNeighbour: 256, total: 32_768 },
  });
}

async function allKnown(neighbours: TunnelNeighbours): Promise<void> {
  for (let waited = 0; waited < PATIENCE; waited += 20) {
    if (neighbours.view().filter(({ state }) => state === 'reachable').length === REMOTES) return;
    await sleep(20);
  }
  throw new Error('the remote hosts were not resolved');
}
