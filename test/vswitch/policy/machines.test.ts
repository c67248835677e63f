/** The pure parts beside the renderer: health, shares, the messages of the connection table. */
import test from 'ava';
import fc from 'fast-check';
import { fillingWeights, sameShares } from '../../../src/vswitch-bridge/slowpath/policy/balance/index.ts';
import {
  decodeConnection,
  encodeDump,
  Malformed,
} from '../../../src/vswitch-bridge/slowpath/policy/conntrack/codec/index.ts';
import { countedFrom } from '../../../src/vswitch-bridge/slowpath/policy/counted.ts';
import { departed, presenceOf } from '../../../src/vswitch-bridge/slowpath/policy/departures.ts';
import { HealthMachine } from '../../../src/vswitch-bridge/slowpath/policy/health/machine/index.ts';
import { openerMark, ruleCounter } from '../../../src/vswitch-bridge/slowpath/policy/ruleset/index.ts';
import { generationsOf } from '../../../src/vswitch-bridge/slowpath/policy/table-watch.ts';
import { address, instance, network, rule, service, state } from './support/state.ts';

const CHECK = { interval: 1000, timeout: 300, retries: 3, silence: 'dead' } as const;

/** Lets the machine run to `end`, answering each probe by `answer` after 10 ms (undefined: never). */
function play(
  machine: HealthMachine,
  from: number,
  end: number,
  answer: (probe: number) => boolean | undefined,
): [number, boolean][] {
  const changes: [number, boolean][] = [];
  const answers: { at: number; probe: number; alive: boolean }[] = [];
  const note = (now: number, effects: ReturnType<HealthMachine['handle']>): void => {
    for (const effect of effects) {
      if (effect.kind === 'changed') changes.push([now, effect.alive]);
      if (effect.kind !== 'probe') continue;
      const alive = answer(effect.probe);
      if (alive !== undefined) answers.push({ at: now + 10, probe: effect.probe, alive });
    }
  };
  for (let now = from; now <= end; ) {
    const next = answers[0];
    const deadline = machine.nextDeadline();
    if (next && next.at <= deadline) {
      answers.shift();
      now = next.at;
      note(now, machine.handle({ kind: 'answer', probe: next.probe, alive: next.alive }, now));
    } else {
      now = deadline;
      if (now <= end) note(now, machine.handle({ kind: 'deadline' }, now));
    }
  }
  return changes;
}

test('R1.2: a backend is out after `retries` failures in a row, by refusal or silence, and in after one success', (t) => {
  for (const failure of [false, undefined]) {
    const machine = new HealthMachine(CHECK, 0);
    const late = failure === undefined ? 300 : 10;
    // Probes 1..3 fine; 4, 5 fail, 6 fine; 7, 8, 9 fail; 12 fine.
    const good = new Set([1, 2, 3, 6, 12]);
    t.deepEqual(
      play(machine, 0, 13_000, (probe) => (good.has(probe) ? true : failure)),
      [
        [8000 + late, false],
        [11_010, true],
      ],
    );
    t.true(machine.alive);
  }
});

test('R1.2: to UDP silence says nothing bad; an answer that comes too late is none', (t) => {
  const udp = new HealthMachine({ ...CHECK, silence: 'alive' }, 0);
  t.deepEqual(
    play(udp, 0, 10_000, () => undefined),
    [],
  );
  t.deepEqual(
    play(udp, 11_000, 20_000, () => false).map(([, alive]) => alive),
    [false],
  );
  const tcp = new HealthMachine({ ...CHECK, retries: 1 }, 0);
  t.deepEqual(tcp.handle({ kind: 'deadline' }, 0), [{ kind: 'probe', probe: 1 }]);
  t.deepEqual(tcp.handle({ kind: 'deadline' }, 300), [
    { kind: 'abandon', probe: 1 },
    { kind: 'changed', alive: false },
  ]);
  t.deepEqual(tcp.handle({ kind: 'answer', probe: 1, alive: true }, 301), []);
  t.deepEqual(tcp.handle({ kind: 'deadline' }, 1000), [{ kind: 'probe', probe: 2 }]);
  t.deepEqual(tcp.handle({ kind: 'answer', probe: 1, alive: true }, 1001), []);
  t.deepEqual(tcp.handle({ kind: 'answer', probe: 2, alive: true }, 1002), [{ kind: 'changed', alive: true }]);
});

test('R1.2: shares fill up whoever has least, to one level', (t) => {
  t.deepEqual(fillingWeights([0, 0], 10), [5, 5]);
  t.deepEqual(fillingWeights([20, 0], 15), [0, 15]);
  t.deepEqual(fillingWeights([20, 0], 40), [10, 30]);
  t.deepEqual(fillingWeights([7], 0), [1]);
  t.deepEqual(fillingWeights([], 3), []);
  fc.assert(
    fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 20 }), fc.nat(500), (loads, expected) => {
      const weights = fillingWeights(loads, expected);
      const amount = Math.max(1, expected, loads.length);
      t.true(Math.abs(weights.reduce((sum, each) => sum + each, 0) - amount) < 1e-6);
      const levels = loads.map((load, index) => load + weights[index]!).filter((_, index) => weights[index]! > 0);
      t.true(Math.max(...levels) - Math.min(...levels) < 1e-6, 'who gets something ends at one level');
      for (const [index, load] of loads.entries()) if (weights[index] === 0) t.true(load >= Math.max(...levels) - 1e-6);
    }),
  );
  t.true(sameShares([1, 1], [50, 50.4]));
  t.false(sameShares([1, 1], [50, 60]));
  t.false(sameShares([1000, 1], [1000, 0]));
});

/** `src=10.200.1.2 dst=10.200.255.10 sport=4660 dport=80 → 10.200.1.3:8080`, as the kernel writes it. */
function connectionMessage(): Buffer {
  const attribute = (type: number, ...parts: (Buffer | number[])[]): Buffer => {
    const value = Buffer.concat(parts.map((part) => Buffer.from(part as number[])));
    const head = Buffer.alloc(4);
    head.writeUInt16LE(value.length + 4, 0);
    head.writeUInt16LE(type, 2);
    return Buffer.concat([head, value, Buffer.alloc((4 - (value.length & 3)) & 3)]);
  };
  const nest = (type: number, ...parts: Buffer[]): Buffer => attribute(type | 0x8000, ...parts);
  const tuple = (type: number, from: number[], to: number[], sport: number, dport: number): Buffer =>
    nest(
      type,
      nest(1, attribute(1, from), attribute(2, to)),
      nest(2, attribute(1, [6]), attribute(2, [sport >> 8, sport & 255]), attribute(3, [dport >> 8, dport & 255])),
    );
  const body = Buffer.concat([
    Buffer.from([2, 0, 0, 0]),
    tuple(1, [10, 200, 1, 2], [10, 200, 255, 10], 0x1234, 80),
    tuple(2, [10, 200, 1, 3], [10, 200, 1, 2], 8080, 0x1234),
    attribute(3, [0, 0, 1, 0xae]),
    nest(4, nest(1, attribute(1, [3]))),
    attribute(8, [0x71, 0, 0, 100]),
    attribute(12, [1, 2, 3, 4]),
    attribute(18, [0, 1]),
  ]);
  const head = Buffer.alloc(16);
  head.writeUInt32LE(16 + body.length, 0);
  head.writeUInt16LE(0x100, 4);
  return Buffer.concat([head, body]);
}

test("a connection is read from the kernel's message; a spoilt one is told, never thrown", (t) => {
  const bytes = connectionMessage();
  const connection = decodeConnection(bytes, 0, bytes.length);
  t.like(connection, {
    family: 4,
    original: {
      source: '10.200.1.2',
      destination: '10.200.255.10',
      protocol: 6,
      sourcePort: 0x1234,
      destinationPort: 80,
    },
    reply: { source: '10.200.1.3', destination: '10.200.1.2', sourcePort: 8080 },
    status: 0x1ae,
    mark: openerMark('instance', 100),
    zone: 1,
    tcpState: 3,
  });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      fc.nat(bytes.length),
      (changes, end) => {
        const spoilt = Buffer.from(bytes);
        for (const [at, value] of changes) spoilt[at] = value;
        t.notThrows(() => decodeConnection(spoilt, 0, end));
      },
    ),
    { numRuns: 2000 },
  );
  t.true(decodeConnection(bytes, 0, 12) instanceof Malformed);
  t.is(encodeDump(7, { mark: { value: 0x70000000, mask: 0xf0000000 }, status: 32 }).length, 20 + 4 * 8);
});

test("who changed a ruleset is read from the kernel's notification; a spoilt one is no generation", (t) => {
  const bytes = Buffer.alloc(36);
  bytes.writeUInt32LE(36, 0);
  bytes.writeUInt16LE(0x0a0f, 4);
  bytes.writeUInt16LE(8, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt16LE(8, 28);
  bytes.writeUInt16LE(2, 30);
  bytes.writeUInt32BE(4711, 32);
  t.deepEqual(generationsOf(bytes), [4711]);
  t.deepEqual(generationsOf(Buffer.concat([bytes, bytes])), [4711, 4711]);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(35), fc.nat(255)), { maxLength: 6 }), fc.nat(36), (changes, end) => {
      const spoilt = Buffer.from(bytes.subarray(0, end));
      for (const [at, value] of changes) if (at < end) spoilt[at] = value;
      t.true(generationsOf(spoilt).length <= 1);
    }),
  );
});

test('R3.8: only the connections of who went are ended', (t) => {
  const parts = {
    networks: [network('blue', 100, '10.200.0.0/16', '10.200.0.1')],
    instances: [instance('c1', 'blue', '10.200.1.2'), instance('c2', 'blue', '10.200.1.3')],
    services: [service('web', 'blue', '10.200.255.10:80', ['10.200.1.3:8080', '10.200.2.2:8080'])],
  };
  const weigh = (alive: boolean[]) =>
    new Map([
      ['blue/web', parts.services[0]!.backends.map((backend, index) => ({ backend, weight: 1, alive: alive[index]! }))],
    ]);
  const all = presenceOf(state(parts), weigh([true, true]));
  t.is(departed(all, presenceOf(state(parts), weigh([true, true]))), undefined);
  const bytes = connectionMessage();
  const connection = decodeConnection(bytes, 0, bytes.length);
  if (connection instanceof Malformed) return t.fail();
  t.true(departed(all, presenceOf(state(parts), weigh([false, true])))!(connection), 'its backend is out');
  t.false(departed(all, presenceOf(state(parts), weigh([true, false])))!(connection), 'the other is');
  const without = (name: string) => ({ ...parts, instances: parts.instances.filter((each) => each.name !== name) });
  t.true(departed(all, presenceOf(state(without('c1')), weigh([true, true])))!(connection));
  t.true(departed(all, presenceOf(state(without('c2')), weigh([true, true])))!(connection));
  // One of another network with the same addresses.
  t.false(departed(all, presenceOf(state(without('c1')), weigh([true, true])))!({ ...connection, zone: 7 }));
  // Of one that leaves by SNAT only the way out has a zone: the mark says whose it is.
  t.true(departed(all, presenceOf(state(without('c1')), weigh([true, true])))!({ ...connection, zone: undefined }));
  t.is(address('10.200.1.2'), connection.original.source);
});

test('counters: elements and named counters of one rule are summed', (t) => {
  const one = rule({ name: 'one', action: 'deny' });
  const cap = rule({ name: 'cap', rate: 1000, action: 'allow' });
  const count = (packets: number) => ({ packets, bytes: packets * 100 });
  const { rules, reasons } = countedFrom(
    [one, cap],
    [
      { metainfo: {} },
      { counter: { name: 'invalid', ...count(3) } },
      { counter: { name: ruleCounter(one), ...count(1) } },
      { counter: { name: `over_${ruleCounter(cap)}`, ...count(9) } },
      { counter: { name: ruleCounter(cap), ...count(77) } },
      {
        map: {
          name: 'acl',
          elem: [
            [{ elem: { val: 1, comment: ruleCounter(one), counter: count(4) } }, { drop: null }],
            ['x', 'y'],
          ],
        },
      },
      { map: { name: 'none' } },
      { chain: {} },
    ],
  );
  t.deepEqual(rules.get('one'), count(5));
  t.deepEqual(rules.get('cap'), count(9));
  t.deepEqual([...reasons], [['invalid', count(3)]]);
});
