import test from 'ava';
import { EventLog, WallClock } from '../../src/agent/events.ts';
import { Failovers } from '../../src/agent/failovers.ts';
import { Projection } from '../../src/agent/tor/projection.ts';
import type { Address, Mac } from '../../src/model/address.ts';
import { ipv4FromNumber } from '../../src/model/address.ts';
import type { HostDelta, HostRoute } from '../../src/model/hosts.ts';
import { VirtualClock } from '../hostroutes/clock.ts';

const SILENT = () => undefined;
const LOG = { debug: SILENT, info: SILENT, warn: SILENT, error: SILENT };

const host = (index: number): HostRoute => ({
  address: ipv4FromNumber(0x0a200100 + index),
  interface: 'A1',
  ifindex: 1,
  mac: '02:00:00:00:00:01' as Mac,
  level: 0,
});

const hosts = (count: number): HostRoute[] => Array.from({ length: count }, (_, index) => host(index));

const RETURNING = { kind: 'returning', reason: 'A1 is about to open' };
const DOWN = { kind: 'portDown', reason: 'A1 lost carrier' };
const HEARD = { kind: 'heard', reason: 'heard on A1' };

interface World {
  readonly whole?: boolean;
  /** In the midst of what the first announcer is told. */
  readonly meanwhile?: (delta: HostDelta) => void;
  /** What a second one is told. */
  readonly others?: HostDelta[];
}

function make({ whole = false, meanwhile, others }: World = {}) {
  const clock = new VirtualClock();
  const wall = new WallClock(clock, () => 0);
  const told: { who: string; delta: HostDelta }[] = [];
  const failovers = new Failovers(clock, wall);
  const sizes = () => told.map(({ who, delta }) => `${who} -${delta.withdrawn.length} +${delta.announced.length}`);
  const onWire = (): readonly HostRoute[] =>
    told.filter(({ who }) => who === 'wire').flatMap(({ delta }) => delta.announced);
  const projection = new Projection({
    clock,
    kernel: { apply: (delta) => told.push({ who: 'kernel', delta }), settled: () => Promise.resolve() },
    announcers: [
      {
        name: whole ? 'ospf' : 'bgp',
        whole,
        apply: (delta) => {
          told.push({ who: 'wire', delta });
          meanwhile?.(delta);
          clock.time += 1;
          return { packets: 1, firstByteAt: clock.now(), lastByteAt: clock.now() };
        },
      },
      ...(others ? [{ name: 'second', apply: (delta: HostDelta) => ({ packets: others.push(delta) }) }] : []),
    ],
    failovers,
    events: new EventLog(clock, wall, LOG),
  });
  return { projection, told, failovers, clock, sizes, onWire };
}

function runNext({ timers }: VirtualClock): void {
  const [next] = timers;
  timers.delete(next!);
  next?.run();
}

const GONE = '10.32.0.9' as Address;

test('R4.2 who has all hosts in one message hears of all of them in one delta', (t) => {
  const { projection, told } = make({ whole: true });
  const announced = Array.from({ length: 2_000 }, (_, index) => host(index));
  projection.apply({ withdrawn: [], announced }, { kind: 'returning', reason: 'A1 is about to open' }, 0);
  t.deepEqual(
    told.map(({ who, delta }) => `${who} +${delta.announced.length}`),
    ['kernel +400', 'kernel +400', 'kernel +400', 'kernel +400', 'kernel +400', 'wire +2000'],
  );
});

test('R4.7 thousands of hosts that come back at once: each is in the kernel before it is on the wire, and each portion has a turn', (t) => {
  const { projection, told, failovers, clock, sizes, onWire } = make();
  const announced = hosts(2_000);
  projection.apply({ withdrawn: [GONE], announced }, RETURNING, 0);
  t.deepEqual(sizes(), ['kernel -1 +400', 'wire -1 +400']);
  t.true(projection.announcing);
  for (let turn = 2; turn <= 5; turn++) {
    runNext(clock);
    t.is(told.length, 2 * turn, 'one portion in a turn');
    t.deepEqual(sizes().slice(-2), ['kernel -0 +400', 'wire -0 +400']);
  }
  t.false(projection.announcing);
  t.deepEqual(onWire(), announced);
  const [trace] = failovers.last();
  t.is(trace?.hosts, 2_001);
  t.like(
    Object.fromEntries(trace!.steps.map(({ name, us }) => [name, us])),
    { 'bgp first byte': 1_000, 'bgp last byte': 5_000 },
    'the last byte is that of the last portion',
  );
});

test('R4.5 what is withdrawn alone goes to the wire first and whole', (t) => {
  const { projection, told } = make();
  const withdrawn = Array.from({ length: 2_000 }, (_, index) => host(index).address);
  projection.apply({ withdrawn, announced: [] }, { kind: 'portDown', reason: 'A1 lost carrier' }, 0);
  t.like(told[0], { who: 'wire', delta: { withdrawn } });
  t.is(told[1]?.who, 'kernel');
  projection.finish();
  t.is(told.filter(({ who }) => who === 'wire').length, 1);
});

test('R4.5 a host that is withdrawn while its announcement waits is never announced', (t) => {
  const { projection, told, onWire, clock } = make();
  const announced = hosts(2_000);
  projection.apply({ withdrawn: [], announced }, RETURNING, 0);
  const gone = announced.slice(300, 1_300).map(({ address }) => address);
  projection.apply({ withdrawn: gone, announced: [] }, DOWN, 0);
  t.like(told[2], { who: 'wire', delta: { withdrawn: gone } }, 'at once, with what was not announced yet');
  clock.advance(100);
  t.deepEqual(onWire(), [...announced.slice(0, 400), ...announced.slice(1_300)]);
  const inKernel = told.filter(({ who }) => who === 'kernel').flatMap(({ delta }) => delta.announced);
  t.deepEqual(inKernel, onWire());
  t.false(projection.announcing);

  projection.apply({ withdrawn: [], announced }, RETURNING, 0);
  projection.apply({ withdrawn: announced.map(({ address }) => address), announced: [] }, DOWN, 0);
  t.false(projection.announcing);
});

test('R4.7 the newest word on a host that waits is the one that is said, once', (t) => {
  const { projection, onWire, clock } = make();
  const announced = hosts(1_000);
  projection.apply({ withdrawn: [], announced }, RETURNING, 0);
  const newer: HostRoute = { ...host(900), level: 2 };
  projection.apply({ withdrawn: [], announced: [newer] }, HEARD, 0);
  t.is(onWire().at(-1), newer, 'it does not wait behind the others');
  clock.advance(100);
  t.deepEqual(
    onWire().filter(({ address }) => address === newer.address),
    [newer],
  );
  t.is(onWire().length, 1_000);
});

test('R4.5 what a listener says of a host while it is told is newer than what others are still to hear', (t) => {
  const second = host(400);
  const others: HostDelta[] = [];
  let said = false;
  const { projection, clock, told } = make({
    meanwhile: ({ announced }) => {
      if (said || announced[0] !== second) return;
      said = true;
      projection.apply({ withdrawn: [second.address], announced: [] }, DOWN, 0);
    },
    others,
  });
  projection.apply({ withdrawn: [], announced: [...hosts(400), second, host(401)] }, RETURNING, 0);
  clock.advance(100);
  t.true(said);
  t.like(told.at(-2), { who: 'wire', delta: { withdrawn: [second.address] } });
  t.like(told.at(-1), { who: 'kernel', delta: { withdrawn: [second.address] } });
  const last = others.slice(1).map(({ withdrawn, announced }) => [withdrawn, announced.map(({ address }) => address)]);
  t.deepEqual(last, [
    [[second.address], []],
    [[], [host(401).address]],
  ]);
});

test('R4.2 hosts whose port is about to be shut are all turned to where packets wait at once', (t) => {
  const { projection, onWire } = make();
  projection.apply({ withdrawn: [], announced: hosts(1_000) }, { kind: 'leaving', reason: 'drained' }, 0);
  t.is(onWire().length, 1_000);
});

test('R4.7 routes that wait to be removed do not keep an announcement: only those of its hosts go first', (t) => {
  const { projection, told, sizes, clock } = make();
  const announced = hosts(2_000);
  projection.apply({ withdrawn: announced.map(({ address }) => address), announced: [] }, DOWN, 0);
  t.deepEqual(sizes(), ['wire -2000 +0', 'kernel -512 +0']);
  projection.apply({ withdrawn: [], announced: [host(10), host(1_500), host(5_000)] }, HEARD, 0);
  t.deepEqual(sizes().slice(2), ['kernel -1 +0', 'kernel -0 +3', 'wire -0 +3']);
  t.deepEqual(told[2]?.delta.withdrawn, [host(1_500).address]);
  projection.finish();
  clock.advance(100);
  const removed = told.filter(({ who }) => who === 'kernel').flatMap(({ delta }) => delta.withdrawn);
  t.is(removed.length, 2_000);
  t.is(new Set(removed).size, 2_000);
});

test('when the agent leaves, nobody who waits is announced any more', (t) => {
  const { projection, onWire, clock } = make();
  projection.apply({ withdrawn: [], announced: hosts(1_000) }, RETURNING, 0);
  projection.leave();
  clock.advance(100);
  projection.close();
  t.is(onWire().length, 400);
});

test('R4.7 a host yields when the way by the fabric is there, and has its own again before that goes', (t) => {
  const { projection, told } = make();
  const [leaves, back] = [{ ...host(1), yields: true } as const, host(2)];
  projection.apply({ withdrawn: [], announced: [leaves, back] }, { kind: 'yielding', reason: 'claimed above us' }, 0);
  t.deepEqual(
    told.map(({ who, delta }) => ({ who, announced: delta.announced })),
    [
      { who: 'kernel', announced: [back] },
      { who: 'wire', announced: [leaves, back] },
      { who: 'kernel', announced: [leaves] },
    ],
  );
});
