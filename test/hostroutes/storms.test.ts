/** R4.1: when a port is in a storm, what is counted of it, and when it is over. */
import test from 'ava';
import type { HostEvent } from '../../src/hostroutes/machine/types.ts';
import type { PortEar } from '../../src/hostroutes/options.ts';
import { Storms } from '../../src/hostroutes/sources/storms.ts';
import type { Address } from '../../src/model/address.ts';
import { STORM_SAMPLE } from '../../src/netlink/frames/index.ts';
import { VirtualClock } from './clock.ts';
import { heard } from './helpers.ts';

class Bench {
  readonly clock = new VirtualClock();
  readonly narrowed: (readonly Address[] | undefined)[] = [];
  readonly news: string[] = [];
  readonly weeded: string[] = [];
  known: Address[] = ['10.10.10.1' as Address];
  readonly ear = { narrow: (known: readonly Address[] | undefined) => this.narrowed.push(known) } as unknown as PortEar;
  readonly storms: Storms;

  constructor(perPort = 256) {
    this.storms = new Storms({
      clock: this.clock,
      perPort: () => perPort,
      knownOn: () => this.known,
      weed: (port) => this.weeded.push(`${port} ${this.clock.time}`),
      onStorm: (port, began) => this.news.push(`${port} ${began ? 'began' : 'over'}`),
    });
  }

  read(frames: number, events: readonly HostEvent[] = []): void {
    this.storms.read('A1', this.ear, frames, events);
  }
}

test('R4.1 a burst that is a second worth of all its hosts is no storm; a little more is', (t) => {
  const bench = new Bench();
  for (let frames = 0; frames < 4_096; frames += 64) bench.read(64);
  t.deepEqual(bench.storms.ports, []);
  bench.clock.advance(1_000);
  bench.read(4_096);
  t.deepEqual(bench.news, []);
  bench.read(1);
  t.deepEqual(bench.storms.ports, ['A1']);
  t.deepEqual(bench.news, ['A1 began']);
  t.deepEqual(bench.narrowed, [['10.10.10.1' as Address]]);
});

test('R4.1 a port that may have thousands of hosts may speak as much', (t) => {
  const bench = new Bench(4_096);
  bench.read(65_536);
  t.deepEqual(bench.news, []);
  bench.read(1);
  t.deepEqual(bench.news, ['A1 began']);
});

test('R4.1 in a storm samples stand for what the kernel dropped, the known hosts for themselves; each second the known are told anew', (t) => {
  const bench = new Bench();
  bench.read(4_097);
  bench.known = ['10.10.10.1', '10.10.10.2'] as Address[];
  bench.read(3, [heard('10.10.10.1', 'A1'), heard('10.10.10.9', 'A1')]);
  bench.clock.advance(1_000);
  t.is(bench.storms.count['frames.storm'], 2 * (STORM_SAMPLE - 1), 'one unknown and one malformed');
  t.deepEqual(bench.narrowed.at(-1), ['10.10.10.1', '10.10.10.2']);
});

test('R4.1 a storm is over after three calm seconds, and not while samples say that it goes on', (t) => {
  const bench = new Bench();
  bench.read(4_097);
  for (let second = 0; second < 10; second++) {
    bench.read(100);
    bench.clock.advance(1_000);
  }
  t.deepEqual(bench.storms.ports, ['A1']);
  bench.clock.advance(2_000);
  t.deepEqual(bench.storms.ports, ['A1']);
  bench.clock.advance(1_000);
  t.deepEqual(bench.storms.ports, []);
  t.deepEqual(bench.news, ['A1 began', 'A1 over']);
  t.is(bench.narrowed.at(-1), undefined);
  bench.read(4_097);
  t.is(bench.storms.count.storms, 2);
});

test('R4.1 a storm by the name of a known host is sampled as well', (t) => {
  const bench = new Bench();
  bench.read(4_097);
  t.true(bench.storms.answers('A1', '10.10.10.1' as Address));
  for (let frames = 0; frames <= 4_096; frames++) bench.read(1, [heard('10.10.10.1', 'A1')]);
  t.deepEqual(bench.narrowed.at(-1), []);
  t.false(bench.storms.answers('A1', '10.10.10.1' as Address));
  bench.read(100);
  bench.clock.advance(1_000);
  t.deepEqual(bench.narrowed.at(-1), []);
  bench.clock.advance(3_000);
  t.deepEqual(bench.storms.ports, []);
});

test('R4.1 a port whose socket is closed takes its storm along, and leaves no timer', (t) => {
  const bench = new Bench();
  bench.read(4_097);
  bench.storms.forget('A1');
  const told = bench.narrowed.length;
  bench.clock.advance(10_000);
  t.is(bench.narrowed.length, told);
  t.deepEqual(bench.news, ['A1 began']);
});

test('R4.1 the kernel is weeded when a storm begins, shortly after, and in every round of it', (t) => {
  const bench = new Bench();
  bench.read(4_096);
  bench.clock.advance(10);
  t.deepEqual(bench.weeded, []);
  bench.read(1);
  t.deepEqual(bench.weeded, ['A1 10']);
  bench.clock.advance(99);
  t.is(bench.weeded.length, 1);
  bench.clock.advance(10_000);
  t.deepEqual(bench.weeded, ['A1 10', 'A1 110', 'A1 1010', 'A1 2010', 'A1 3010'], 'the last one when it is over');
  bench.read(4_097);
  bench.storms.forget('A1');
  bench.clock.advance(10_000);
  t.is(bench.weeded.length, 6, 'a port that has gone is not weeded');
});
