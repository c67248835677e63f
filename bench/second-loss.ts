/**
 * Two ports lose their carriers 100 ms apart. The kernel tells of at most one such event a second (net/core/link_watch.c)
 * for devices that are nobody's peer, as switch ports are; taps behave like them. The second loss must cost no more than
 * the first.
 */
import { monotonic } from '../lab/monotonic.ts';
import { sleep, waitUntil } from '../lab/processes.ts';
import type { BenchOptions } from './options.ts';
import { type Report, row } from './report.ts';
import { hostAddress, hostMac, Rig, type Way, type Wire } from './rig.ts';

const APART = 100;
const PROTOCOL: Wire = 'bgp';
const HOSTS = [
  { tap: 'T1', address: hostAddress(2001), mac: hostMac(2001) },
  { tap: 'T2', address: hostAddress(2002), mac: hostMac(2002) },
] as const;

export async function secondLoss(options: BenchOptions): Promise<Report> {
  const runs = options.runs ?? 8;
  const notes: string[] = [];
  const times: Record<Way, [number[], number[]]> = { peerless: [[], []], frr: [[], []] };
  const rig = await Rig.open(PROTOCOL, options.agent);
  try {
    for (const way of ['peerless', 'frr'] as const) {
      options.onProgress(`second-loss: ${runs} pairs with ${way}`);
      await rig.withSwitch(way, async () => {
        for (let round = 0; round < runs; round++) await pair(rig, way, times[way], notes);
      });
    }
  } finally {
    await rig.close();
  }
  const { peerless, frr } = times;
  return {
    name: 'second-loss',
    measures: `two ports (taps) lose their carriers ${APART} ms apart; the withdrawal at the gateway's port (BGP)`,
    command: `./run bench second-loss --runs ${runs}`,
    rows: [
      ...row('carrier off -> withdrawal, first port', 'ms', peerless[0], frr[0], 'FRR+script'),
      ...row('carrier off -> withdrawal, second port', 'ms', peerless[1], frr[1], 'FRR+script'),
    ],
    notes,
  };
}

async function pair(rig: Rig, way: Way, times: [number[], number[]], notes: string[]): Promise<void> {
  for (const { tap } of HOSTS) rig.setCarrier(tap, true);
  // Both events of the way back are told by then.
  await sleep(2200);
  const missing = new Set<string>(HOSTS.map(({ address }) => address));
  const gone = new Map<string, number>();
  const forget = rig.onSighting(({ kind, address, at }) => {
    if (kind === 'announce') missing.delete(address);
    else if (!gone.has(address)) gone.set(address, at);
  });
  for (const { tap, address, mac } of HOSTS) {
    if (way === 'frr') await rig.setKernelRoutes(tap, [address]);
    else rig.speakOnTap(tap, address, mac);
  }
  const present = await waitUntil(() => missing.size === 0, 5000, 20);
  await sleep(1500);
  gone.clear();
  const instants: number[] = [];
  for (const { tap } of HOSTS) {
    if (instants.length > 0) await sleep(APART);
    instants.push(monotonic());
    rig.setCarrier(tap, false);
  }
  const complete = await waitUntil(() => gone.size === HOSTS.length, 5000, 50);
  forget();
  if (!present || !complete) {
    notes.push(
      `${way}: a pair was left out: ${present ? '' : 'hosts not announced'} ${complete ? '' : 'not withdrawn'}`,
    );
    return;
  }
  for (const [index, { address }] of HOSTS.entries()) times[index]!.push(gone.get(address)! - instants[index]!);
}
