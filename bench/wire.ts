/** A port with a thousand hosts behind it loses its link: how long until the gateway's port has the withdrawals. */
import { monotonic } from '../lab/monotonic.ts';
import { sleep, waitUntil } from '../lab/processes.ts';
import type { FailoverView } from '../src/agent/api.ts';
import type { BenchOptions } from './options.ts';
import { type Report, row } from './report.ts';
import { hostAddress, hostMac, Rig, type Way, type Wire } from './rig.ts';

export const HOSTS = 1000;
const STARTS = 2;

const ADDRESSES = Array.from({ length: HOSTS }, (_, index) => hostAddress(index));
const SPEAKERS = ADDRESSES.map((address, index) => [address, hostMac(index)] as const);

interface Loss {
  /** Milliseconds from the call that takes the cable down. */
  readonly first: number;
  readonly last: number;
}

interface Losses {
  /** The first of each start. */
  readonly cold: Loss[];
  readonly warm: Loss[];
  readonly traces: { readonly cold: FailoverView[]; readonly warm: FailoverView[] };
}

export async function wire(protocol: Wire, options: BenchOptions): Promise<Report> {
  const runs = options.runs ?? 6;
  const notes: string[] = [];
  const rig = await Rig.open(protocol, options.agent);
  const seen: Record<Way, Losses> = { peerless: noLosses(), frr: noLosses() };
  try {
    for (let start = 1; start <= STARTS; start++) {
      for (const way of ['peerless', 'frr'] as const) {
        options.onProgress(`wire ${protocol}: start ${start}/${STARTS} of ${way}, ${runs} losses of ${HOSTS} hosts`);
        await rig.withSwitch(way, () => lose(rig, way, runs, seen[way], notes));
      }
    }
  } finally {
    await rig.close();
  }
  const { peerless, frr } = seen;
  const first = ({ first }: Loss) => first;
  const last = ({ last }: Loss) => last;
  const step = (name: string) => (traces: readonly FailoverView[]) =>
    traces.flatMap(({ steps }) => steps.filter((each) => each.name === name).map(({ us }) => us));
  const firstByte = step(`${protocol} first byte`);
  return {
    name: `wire-${protocol}`,
    measures: `a port with ${HOSTS} hosts loses its link; the withdrawals at the gateway's port`,
    command: `./run bench wire-${protocol} --runs ${runs}`,
    rows: [
      ...row('cable down -> first withdrawal', 'ms', peerless.warm.map(first), frr.warm.map(first), 'FRR+script'),
      ...row('cable down -> last withdrawal', 'ms', peerless.warm.map(last), frr.warm.map(last), 'FRR+script'),
      ...row(
        'the same, first loss after a start: first',
        'ms',
        peerless.cold.map(first),
        frr.cold.map(first),
        'FRR+script',
      ),
      ...row(
        'the same, first loss after a start: last',
        'ms',
        peerless.cold.map(last),
        frr.cold.map(last),
        'FRR+script',
      ),
      ...row("agent's own: link message -> host table", 'us', step('host table')(peerless.traces.warm)),
      ...row("agent's own: link message -> first byte", 'us', firstByte(peerless.traces.warm)),
      ...row("agent's own: link message -> last byte", 'us', step(`${protocol} last byte`)(peerless.traces.warm)),
      ...row("agent's own, first loss after a start", 'us', firstByte(peerless.traces.cold)),
    ],
    notes,
  };
}

const noLosses = (): Losses => ({ cold: [], warm: [], traces: { cold: [], warm: [] } });

async function lose(rig: Rig, way: Way, runs: number, into: Losses, notes: string[]): Promise<void> {
  for (let round = 0; round <= runs; round++) {
    if (!(await arrive(rig, way))) notes.push(`${way}: not all hosts were announced before a loss`);
    await sleep(1300);
    const gone = new Map<string, number>();
    const forget = rig.onSighting(({ kind, address, at }) => {
      if (kind === 'withdraw' && !gone.has(address)) gone.set(address, at);
      if (kind === 'announce') gone.delete(address);
    });
    const at = monotonic();
    rig.setLink('s1', false);
    const complete = await waitUntil(() => ADDRESSES.every((address) => gone.has(address)), 10_000, 100);
    await sleep(200);
    forget();
    rig.setLink('s1', true);
    if (!complete) {
      notes.push(`${way}: a loss with ${gone.size} of ${HOSTS} withdrawals within 10 s is not in the figures`);
      continue;
    }
    const times = ADDRESSES.map((address) => gone.get(address)! - at);
    const loss = { first: Math.min(...times), last: Math.max(...times) };
    (round === 0 ? into.cold : into.warm).push(loss);
  }
  if (way !== 'peerless') return;
  const traces = (await rig.failovers(1000)).filter(({ port, hosts }) => port === 'A1' && hosts === HOSTS);
  const losses = traces.filter(({ cause }) => cause.includes('carrier'));
  into.traces.cold.push(...losses.slice(0, 1));
  into.traces.warm.push(...losses.slice(1));
}

/** All hosts speak until the gateway has heard of all. */
async function arrive(rig: Rig, way: Way): Promise<boolean> {
  const missing = new Set(ADDRESSES);
  const forget = rig.onSighting(({ kind, address }) => {
    if (kind === 'announce') missing.delete(address);
  });
  await sleep(100);
  let round = 0;
  const complete = await waitUntil(
    async () => {
      if (round++ % 30 === 0) {
        if (way === 'frr') await rig.setKernelRoutes('A1', ADDRESSES);
        else
          await rig.speak(
            's1',
            SPEAKERS.filter(([address]) => missing.has(address)),
          );
      }
      return missing.size === 0;
    },
    15_000,
    100,
  );
  forget();
  return complete;
}
