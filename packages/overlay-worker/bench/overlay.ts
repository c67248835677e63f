/**
 * `node --conditions=source bench/overlay.ts [--runs N] [--seconds N] [--json]`: kernel VXLAN, this worker plain and
 * encrypted, and wireguard-go between two instances of the same machine, in turns: TCP with one and four flows, and packets
 * a second of equal size. Processors: how many were busy in all (the sender and the receiver of the test among them).
 * Nanoseconds: processor time of the way's own processes and, for TCP, of iperf3's at both ends, for each octet or
 * datagram that arrived: it tells more than the rate where other things run on the machine.
 *
 * Root, iperf3 and wireguard-go are needed. The figures inform; nothing passes or fails by them.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { LinuxSocket } from 'linux-sockets';
import { inside, run } from '../test/support.ts';
import { allWays, type Way } from './ways.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const RUNS = Number(values.runs);
const SECONDS = Number(values.seconds);
const SENDER = fileURLToPath(new URL('./sender.ts', import.meta.url));
const TICKS = 100;

interface Sample {
  /** Gbit/s, or packets a second. */
  readonly rate: number;
  readonly processors: number;
  /** Of `processors`, what the way's own processes took. */
  readonly own: number;
  /** Nanoseconds of processor time for each octet or datagram. */
  readonly each: number;
}

interface Result {
  readonly rate: number;
  /** Octets or datagrams that arrived. */
  readonly count: number;
  /** Seconds of processor time that the ends of the test took, as far as they say. */
  readonly ends: number;
}

function busyTicks(): number {
  const fields = /^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))![1]!.split(' ').map(Number);
  return fields.reduce((sum, ticks, index) => (index === 3 || index === 4 ? sum : sum + ticks), 0);
}

function ownTicks(processes: readonly number[]): number {
  return processes.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return sum + Number(fields[11]) + Number(fields[12]);
  }, 0);
}

async function measured(way: Way, work: () => Promise<Result>): Promise<Sample> {
  const [busy, before, start] = [busyTicks(), ownTicks(way.processes), performance.now()];
  const { rate, count, ends } = await work();
  const seconds = (performance.now() - start) / 1000;
  const own = (ownTicks(way.processes) - before) / TICKS;
  return {
    rate,
    processors: (busyTicks() - busy) / TICKS / seconds,
    own: own / seconds,
    each: ((ends + own) / count) * 1e9,
  };
}

/** Of iperf3. */
interface Report {
  readonly end?: {
    readonly sum_sent: { readonly seconds: number };
    readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number };
    readonly cpu_utilization_percent: { readonly host_total: number; readonly remote_total: number };
  };
  readonly error?: string;
}

async function tcp(way: Way, flows: number): Promise<Result> {
  const server = run(way.to, 'iperf3', '-s', '-1');
  await sleep(300);
  const words = ['-c', way.address, '-t', String(SECONDS), '-P', String(flows), '-J'];
  const { text } = await run(way.from, 'iperf3', ...words);
  await server;
  const { end, error } = JSON.parse(text) as Report;
  if (!end?.sum_received) throw new Error(`${way.name}: ${error ?? text}`);
  const { bytes, bits_per_second: rate } = end.sum_received;
  const { host_total: ours, remote_total: theirs } = end.cpu_utilization_percent;
  return { rate: rate / 1e9, count: bytes, ends: ((ours + theirs) / 100) * end.sum_sent.seconds };
}

/** Datagrams that UDP has seen in a namespace, whatever became of them there. */
function arrived(netns: string): number {
  const [names, numbers] = inside(netns, 'cat', '/proc/net/snmp')
    .split('\n')
    .filter((line) => line.startsWith('Udp:'))
    .map((line) => line.split(' '));
  const of = (name: string) => Number(numbers![names!.indexOf(name)]);
  return of('InDatagrams') + of('NoPorts') + of('InErrors');
}

async function packets(way: Way, size: number): Promise<Result> {
  const before = arrived(way.to);
  const start = performance.now();
  const { code, text } = await run(
    way.from,
    process.execPath,
    ...['--conditions=source', SENDER, way.address, String(size), String(SECONDS)],
  );
  if (code !== 0) throw new Error(text);
  const elapsed = Number(text);
  const count = arrived(way.to) - before;
  return { rate: count / (elapsed > 0 ? elapsed : (performance.now() - start) / 1000), count, ends: 0 };
}

const MEASURES: Readonly<Record<string, (way: Way) => Promise<Result>>> = {
  'TCP, 1 flow (Gbit/s)': (way) => tcp(way, 1),
  'TCP, 4 flows (Gbit/s)': (way) => tcp(way, 4),
  'UDP, 64 octets (packets/s)': (way) => packets(way, 64),
  'UDP, 1,300 octets (packets/s)': (way) => packets(way, 1300),
};

const median = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
const format = (rate: number) => (rate >= 1000 ? Math.round(rate).toLocaleString('en-US') : rate.toFixed(2));

const undo: (() => void | Promise<void>)[] = [];
try {
  const ways = await allWays({ teardown: (step) => undo.push(step) });
  // Nobody reads there: a datagram that has come this far is counted and forgotten.
  const sinks = ways.map(({ to }) => {
    const sink = LinuxSocket.open({ family: 2, type: 2, protocol: 17, netns: to });
    sink.bind({ family: 'ipv4', address: '0.0.0.0', port: 9 });
    return sink;
  });
  undo.push(() => {
    for (const sink of sinks) sink.close();
  });
  const samples = new Map<string, Sample[]>();
  for (let turn = 0; turn < RUNS; turn++) {
    for (const [measure, work] of Object.entries(MEASURES)) {
      for (const way of ways) {
        await run(way.from, 'ping', '-c', '1', '-W', '5', way.address);
        const key = `${measure}\n${way.name}`;
        samples.set(key, [...(samples.get(key) ?? []), await measured(way, () => work(way))]);
      }
    }
  }
  const of = (measure: string, way: string, what: keyof Sample) =>
    median(samples.get(`${measure}\n${way}`)!.map((sample) => sample[what]));
  if (values.json) {
    process.stdout.write(`${JSON.stringify(Object.fromEntries(samples), undefined, 2)}\n`);
  } else {
    for (const measure of Object.keys(MEASURES)) {
      process.stdout.write(
        `\n| ${measure} | rate | to kernel VXLAN | to plain worker | processors busy | of them its own | ns each |\n`,
      );
      process.stdout.write('| --- | --- | --- | --- | --- | --- | --- |\n');
      for (const { name } of ways) {
        const rate = of(measure, name, 'rate');
        const ratio = (other: string) => (rate / of(measure, other, 'rate')).toFixed(2);
        const cells = [name, format(rate), ratio('kernel VXLAN'), ratio('worker, plain VXLAN')];
        const times = (['processors', 'own', 'each'] as const).map((what) => of(measure, name, what).toFixed(2));
        process.stdout.write(`| ${[...cells, ...times].join(' | ')} |\n`);
      }
    }
  }
} finally {
  for (const step of undo.reverse()) await step();
}
