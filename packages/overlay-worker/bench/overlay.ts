/**
 * `node --conditions=source bench/overlay.ts [--runs N] [--seconds N] [--json]`: kernel VXLAN, this worker plain and
 * encrypted, and wireguard-go between two instances of the same machine, in turns: TCP with one and four flows, and packets
 * a second of equal size. Processors: how many were busy in all (the sender and the receiver of the test among them).
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

async function measured(way: Way, work: () => Promise<number>): Promise<Sample> {
  const [busy, own, start] = [busyTicks(), ownTicks(way.processes), performance.now()];
  const rate = await work();
  const seconds = (performance.now() - start) / 1000;
  return {
    rate,
    processors: (busyTicks() - busy) / TICKS / seconds,
    own: (ownTicks(way.processes) - own) / TICKS / seconds,
  };
}

async function tcp(way: Way, flows: number): Promise<number> {
  const server = run(way.to, 'iperf3', '-s', '-1');
  await sleep(300);
  const words = ['-c', way.address, '-t', String(SECONDS), '-P', String(flows), '-O', '1', '-J'];
  const { text } = await run(way.from, 'iperf3', ...words);
  await server;
  const report = JSON.parse(text) as { end?: { sum_received?: { bits_per_second: number } }; error?: string };
  const bits = report.end?.sum_received?.bits_per_second;
  if (bits === undefined) throw new Error(`${way.name}: ${report.error ?? text}`);
  return bits / 1e9;
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

async function packets(way: Way, size: number): Promise<number> {
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
  return count / (elapsed > 0 ? elapsed : (performance.now() - start) / 1000);
}

const MEASURES: Readonly<Record<string, (way: Way) => Promise<number>>> = {
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
        `\n| ${measure} | rate | processors busy | of them its own | to kernel VXLAN | to plain worker |\n`,
      );
      process.stdout.write('| --- | --- | --- | --- | --- | --- |\n');
      for (const { name } of ways) {
        const rate = of(measure, name, 'rate');
        const ratio = (other: string) => (rate / of(measure, other, 'rate')).toFixed(2);
        const cells = [
          name,
          format(rate),
          of(measure, name, 'processors').toFixed(2),
          of(measure, name, 'own').toFixed(2),
        ];
        process.stdout.write(`| ${[...cells, ratio('kernel VXLAN'), ratio('worker, plain VXLAN')].join(' | ')} |\n`);
      }
    }
  }
} finally {
  for (const step of undo.reverse()) await step();
}
