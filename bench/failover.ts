/** The worked example in the lab: what a fault costs a server's traffic, with us and with today's practice as the ToRs. */
import { labDown, labRun, labUp } from '../lab/index.ts';
import type { BenchOptions } from './options.ts';
import { type Report, row } from './report.ts';
import type { Wire } from './rig.ts';

const CASES = ['server-link', 'uplink'] as const;

export async function failover(protocol: Wire, options: BenchOptions): Promise<Report> {
  const runs = options.runs ?? 3;
  const name = `bench${process.pid}`;
  const onProgress = (message: string) => options.onProgress(`failover ${protocol}: ${message}`);
  try {
    await labUp({ name, protocol, onProgress });
    const result = await labRun({ name, runs, cases: CASES, compare: ['frr'], onProgress });
    const outages = (tor: 'peerless' | 'frr', labCase: string) =>
      result.runs
        .filter((each) => each.case === labCase && each.phase === 'fault' && each.tor === tor)
        .map(({ outage }) => outage);
    const lost = (tor: 'peerless' | 'frr', labCase: string) =>
      result.runs
        .filter((each) => each.case === labCase && each.phase === 'back' && each.tor === tor)
        .map((each) => each.lost);
    return {
      name: `failover-${protocol}`,
      measures: 'outage of a server by a fault, packets lost on the way back, in the lab of the worked example',
      command: `./run bench failover-${protocol} --runs ${runs}`,
      rows: CASES.flatMap((each) => [
        ...row(`${each}: outage`, 'ms', outages('peerless', each), outages('frr', each), 'FRR+scripts'),
        ...row(`${each}: lost on the way back`, 'packets', lost('peerless', each), lost('frr', each), 'FRR+scripts'),
      ]),
      notes: [
        ...(result.floor ? [`the gateway's own part: median ${result.floor.median.toFixed(2)} ms`] : []),
        ...result.problems,
      ],
    };
  } finally {
    await labDown({ name });
  }
}
