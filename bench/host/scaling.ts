/**
 * What the hit path costs as tables grow: rules, and live connections. The same two hosts and the same stream for every size,
 * in turn, and each beside the smallest of the same run. The programs' own time hardly depends on what else the machine does.
 */
import type { BenchOptions } from '../options.ts';
import { type Report, row } from '../report.ts';
import { Crowd } from './crowd.ts';
import { type Ground, makeGround } from './grounds.ts';
import { udpPackets } from './measure.ts';
import { liveConnections, ProgramAt, perRun, sentBy, whileCounting } from './programs.ts';

const RUNS = 7;
export const RULES: readonly number[] = [1, 100, 10_000];
export const CONNECTIONS: readonly number[] = [1, 1000, 100_000];
const FEW_RULES = 20;
/** ms; a record is live for two minutes after its last packet. */
const LONGEST_SILENCE = 30_000;

const FIGURES = [
  ['UDP of 64 octets', 'packets/s'],
  ["sender's program", 'ns/packet'],
  ["receiver's program", 'ns/packet'],
] as const;

interface Size {
  readonly label: string;
  readonly ground: Ground;
  readonly programs: readonly ProgramAt[];
  readonly crowd: Crowd;
  /** Of the stream, at the sender. */
  readonly carried: { packets: number; hits: number };
  /** As in `FIGURES`. */
  readonly figures: readonly (number | undefined)[][];
}

interface Scale {
  readonly name: string;
  /** Of which there is one, or are many. */
  readonly of: readonly [string, string];
  readonly sizes: readonly number[];
  readonly option: string;
  make(size: number, at: number): Promise<{ readonly ground: Ground; readonly crowd: Crowd }>;
}

/** None of them is this stream's; a hit looks at none, what it costs to judge a connection's first packet may grow. */
export const ruleScaling = (options: BenchOptions): Promise<Report> =>
  measured(options, {
    name: 'host-rules',
    of: ['rule', 'rules'],
    sizes: options.rules ?? RULES,
    option: '--rules',
    make: async (rules, at) => {
      const ground = await makeGround('tunnel', { rules, label: `r${at}` });
      return { ground, crowd: new Crowd(ground.lab, 0) };
    },
  });

export const connectionScaling = (options: BenchOptions): Promise<Report> =>
  measured(options, {
    name: 'host-connections',
    of: ['live connection', 'live connections'],
    sizes: options.connections ?? CONNECTIONS,
    option: '--connections',
    make: async (connections, at) => {
      const ground = await makeGround('tunnel', { rules: FEW_RULES, label: `n${at}` });
      try {
        // The stream that is measured is one of them.
        const crowd = new Crowd(ground.lab, connections - 1);
        for (let time = 0; time < 2; time++) await crowd.talk();
        return { ground, crowd };
      } catch (error) {
        await ground.lab.down();
        throw error;
      }
    },
  });

async function measured({ runs = RUNS, onProgress }: BenchOptions, scale: Scale): Promise<Report> {
  const { name, option } = scale;
  const [one, many] = scale.of;
  const sizes: Size[] = [];
  try {
    for (const [at, size] of scale.sizes.entries()) {
      const label = `${size.toLocaleString('en')} ${size === 1 ? one : many}`;
      onProgress(`${name}: ${label}`);
      const { ground, crowd } = await scale.make(size, at);
      const { lab } = ground;
      const programs = [
        new ProgramAt(lab, 'h1', lab.instance('c1').interface),
        new ProgramAt(lab, 'h2', lab.host('h2').device),
      ];
      sizes.push({ label, ground, crowd, programs, carried: { packets: 0, hits: 0 }, figures: FIGURES.map(() => []) });
    }
    await whileCounting(async () => {
      for (let round = 0; round <= runs; round++) {
        onProgress(`${name}: round ${round} of ${runs}${round === 0 ? ', not counted' : ''}`);
        for (const size of sizes) {
          const figures = await once(size);
          if (round > 0) for (const [index, figure] of figures.entries()) size.figures[index]!.push(figure);
        }
      }
    });
    const [first, ...rest] = sizes;
    const valuesOf = (size: Size, index: number): number[] =>
      size.figures[index]!.filter((figure) => figure !== undefined);
    return {
      name,
      measures: `a stream of small packets by the fast path (tunnel) beside more and more ${many}; each in turn, in every round`,
      command: `./run bench ${name} ${option} ${scale.sizes.join(',')} --runs ${runs}`,
      rows: FIGURES.flatMap(([what, unit], index) =>
        rest.flatMap((size) =>
          row(`${what}, ${size.label}`, unit, valuesOf(size, index), valuesOf(first!, index), first!.label),
        ),
      ),
      notes: sizes.map(describe),
    };
  } finally {
    for (const { ground, crowd, programs } of sizes) {
      crowd.close();
      for (const program of programs) program.close();
      await ground.lab.down();
    }
  }
}

async function once({ ground, crowd, programs, carried }: Size): Promise<(number | undefined)[]> {
  if (crowd.silence > LONGEST_SILENCE) await crowd.talk();
  const before = programs.map((program) => program.counted());
  const senderBefore = sentBy(ground.lab, 'h1');
  const { rate } = await udpPackets(ground);
  const sender = sentBy(ground.lab, 'h1');
  carried.packets += sender.packets - senderBefore.packets;
  carried.hits += sender.hits - senderBefore.hits;
  return [rate, ...programs.map((program, index) => perRun(before[index]!, program.counted()))];
}

const describe = ({ label, ground: { lab }, carried: { packets, hits } }: Size): string =>
  `${label}: ${liveConnections(lab, 'h1').toLocaleString('en')} live records at the sender; of the stream ${((hits / packets) * 100).toFixed(2)} % were hits`;
