/** One figure of one ground at a time. Sender and receiver are pinned to a processor each. */
import { readFileSync } from 'node:fs';
import { outcome, type ProcessRecord, run, sleep, startDetached, stop } from '../../lab/processes.ts';
import { FAR, type Ground } from './grounds.ts';

const SECONDS = 2;
const SENDER = ['taskset', '-c', '0'];
const RECEIVER = ['taskset', '-c', '1'];
const PORT = 11_111;

async function withServer<T>({ lab }: Ground, command: readonly string[], work: () => Promise<T>): Promise<T> {
  const server: ProcessRecord = await startDetached(
    'receiver',
    lab.inside('c2', [...RECEIVER, ...command]),
    '/dev/null',
  );
  try {
    await sleep(200);
    return await work();
  } finally {
    await stop([server]);
  }
}

/** Gbit/s of one TCP stream. */
export function tcpThroughput(ground: Ground): Promise<number> {
  return withServer(ground, ['iperf3', '-s', '-p', String(PORT)], async () => {
    const client = [...SENDER, 'iperf3', '-c', FAR, '-p', String(PORT), '-t', String(SECONDS), '-J'];
    const { code, stdout, stderr } = await outcome(ground.lab.inside('c1', client));
    if (code !== 0) throw new Error(`iperf3: ${stdout}${stderr}`);
    return (
      (JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } }).end.sum_received.bits_per_second /
      1e9
    );
  });
}

/** Packets of 64 octets of payload a second that reach the far instance, and processor time for each, in microseconds. */
export function udpPackets(ground: Ground): Promise<{ readonly rate: number; readonly cpu: number }> {
  return withServer(ground, ['sockperf', 'server', '-i', FAR, '-p', String(PORT)], async () => {
    // Answers now and then: both sides of a connection have spoken.
    const client = ['sockperf', 'under-load', '-i', FAR, '-p', String(PORT), '-t', String(SECONDS), '-m', '64'];
    const pace = ['--mps=max', '--reply-every=100'];
    const [before, busyBefore, at] = [await received(ground), busy(), performance.now()];
    const { code, stdout, stderr } = await outcome(ground.lab.inside('c1', [...SENDER, ...client, ...pace]));
    if (code !== 0) throw new Error(`sockperf: ${stdout}${stderr}`);
    const packets = (await received(ground)) - before;
    return { rate: (packets / (performance.now() - at)) * 1000, cpu: ((busy() - busyBefore) * 10_000) / packets };
  });
}

/** Microseconds from a request to its answer, median. */
export function roundTrip(ground: Ground): Promise<number> {
  return withServer(ground, ['sockperf', 'server', '-i', FAR, '-p', String(PORT)], async () => {
    const client = [
      'sockperf',
      'ping-pong',
      '-i',
      FAR,
      '-p',
      String(PORT),
      '-t',
      String(SECONDS),
      '-m',
      '64',
      '--full-rtt',
    ];
    const { code, stdout, stderr } = await outcome(ground.lab.inside('c1', [...SENDER, ...client]));
    const median = /percentile 50\.000\s*=\s*([\d.]+)/.exec(stdout)?.[1];
    if (code !== 0 || median === undefined) throw new Error(`sockperf: ${stdout}${stderr}`);
    return Number(median);
  });
}

async function received({ lab }: Ground): Promise<number> {
  const text = await run(['ip', '-n', lab.netnsOf('c2'), '-s', '-j', 'link', 'show', 'eth0']);
  return (JSON.parse(text) as { stats64: { rx: { packets: number } } }[])[0]!.stats64.rx.packets;
}

/** Ticks of 10 ms that all processors were not idle. */
function busy(): number {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.trim().split(/\s+/).slice(1).map(Number);
  return fields.reduce((sum, value) => sum + value, 0) - fields[3]! - fields[4]!;
}
