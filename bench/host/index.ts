/** From instance to instance over two hosts: ours beside no overlay at all and beside today's practice, interleaved. */
import type { BenchOptions } from '../options.ts';
import { type Report, row } from '../report.ts';
import { type Ground, KINDS, type Kind, makeGround, OURS } from './grounds.ts';
import { roundTrip, tcpThroughput, udpPackets } from './measure.ts';

const RUNS = 7;

type Figures = Record<'tcp' | 'udp' | 'cpu' | 'rtt', Record<Kind, number[]>>;

const nothing = (): Record<Kind, number[]> => ({ bare: [], plain: [], slow: [], tunnel: [], rewrite: [] });

export async function host({ runs = RUNS, onProgress }: BenchOptions): Promise<Report> {
  const figures: Figures = { tcp: nothing(), udp: nothing(), cpu: nothing(), rtt: nothing() };
  const grounds: Ground[] = [];
  try {
    for (const kind of KINDS) {
      onProgress(`host: making ${kind}`);
      grounds.push(await makeGround(kind));
    }
    for (let round = 0; round <= runs; round++) {
      onProgress(`host: round ${round} of ${runs}${round === 0 ? ', not counted' : ''}`);
      for (const ground of grounds) await measure(ground, round === 0 ? undefined : figures);
    }
  } finally {
    for (const { lab } of grounds) await lab.down();
  }
  const rows = (what: string, unit: string, of: keyof Figures) =>
    OURS.flatMap((kind) => [
      ...row(`${what}, ${kind}`, unit, figures[of][kind], figures[of].bare, 'bare'),
      ...row(`${what}, ${kind}`, unit, figures[of][kind], figures[of].plain, 'plain'),
    ]);
  return {
    name: 'host',
    measures: 'packets from an instance on one host to one on another; each kind in turn, in every round',
    command: './run bench host',
    rows: [
      ...rows('TCP, one stream', 'Gbit/s', 'tcp'),
      ...rows('UDP of 64 octets', 'packets/s', 'udp'),
      ...rows('processor a packet', 'us', 'cpu'),
      ...rows('round trip', 'us', 'rtt'),
    ],
    notes: ['bare: routed, no overlay; plain: bridge, VXLAN of the kernel, nftables with connection tracking'],
  };
}

async function measure(ground: Ground, figures: Figures | undefined): Promise<void> {
  const tcp = await tcpThroughput(ground);
  const { rate, cpu } = await udpPackets(ground);
  const rtt = await roundTrip(ground);
  if (!figures) return;
  figures.tcp[ground.kind].push(tcp);
  figures.udp[ground.kind].push(rate);
  figures.cpu[ground.kind].push(cpu);
  figures.rtt[ground.kind].push(rtt);
}
