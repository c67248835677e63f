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

function make({ whole = false } = {}) {
  const clock = new VirtualClock();
  const wall = new WallClock(clock, () => 0);
  const told: { who: string; delta: HostDelta }[] = [];
  const failovers = new Failovers(clock, wall);
  const projection = new Projection({
    clock,
    kernel: { apply: (delta) => told.push({ who: 'kernel', delta }), settled: () => Promise.resolve() },
    announcers: [
      {
        name: whole ? 'ospf' : 'bgp',
        whole,
        apply: (delta) => {
          told.push({ who: 'wire', delta });
          clock.time += 1;
          return { packets: 1, firstByteAt: clock.now(), lastByteAt: clock.now() };
        },
      },
    ],
    failovers,
    events: new EventLog(clock, wall, LOG),
  });
  return { projection, told, failovers };
}

const GONE = '10.32.0.9' as Address;

test('R4.2 who has all hosts in one message hears of all of them in one delta', (t) => {
  const { projection, told } = make({ whole: true });
  const announced = Array.from({ length: 2_000 }, (_, index) => host(index));
  projection.apply({ withdrawn: [], announced }, { kind: 'returning', reason: 'A1 is about to open' }, 0);
  t.deepEqual(
    told.map(({ who, delta }) => `${who} +${delta.announced.length}`),
    ['kernel +800', 'kernel +800', 'kernel +400', 'wire +2000'],
  );
});

test('R4.7 ten thousand hosts that come back at once: the fabric hears of the first while the kernel takes the others', (t) => {
  const { projection, told, failovers } = make();
  const announced = Array.from({ length: 2_000 }, (_, index) => host(index));
  projection.apply({ withdrawn: [GONE], announced }, { kind: 'returning', reason: 'A1 is about to open' }, 0);
  t.deepEqual(
    told.map(({ who, delta }) => `${who} -${delta.withdrawn.length} +${delta.announced.length}`),
    ['kernel -1 +800', 'wire -1 +800', 'kernel -0 +800', 'wire -0 +800', 'kernel -0 +400', 'wire -0 +400'],
    'each of them is in the kernel before it is on the wire',
  );
  const onWire = told.filter(({ who }) => who === 'wire').flatMap(({ delta }) => delta.announced);
  t.deepEqual(onWire, announced);
  const [trace] = failovers.last();
  t.is(trace?.hosts, 2_001);
  t.like(
    Object.fromEntries(trace!.steps.map(({ name, us }) => [name, us])),
    { 'bgp first byte': 1_000, 'bgp last byte': 3_000 },
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
